/**
 * Whom this window speaks for. A token is one participant; the same link opened in a second window makes that window
 * another participant, with a token of its own, as long as the link is the host's to invite with.
 */

import { CallreelError } from "/client/callreel.js";
import { claimsOf } from "./link.js";
import { Signal } from "./signal.js";

/** @typedef {import("./link.js").Link} Link */
/** @typedef {import("./signal.js").Who} Who */
/** @typedef {{ signal: Signal, welcomed: Who, token: string }} Seat */

/** This window over reloads, so that its seat in the call stays its own. */
function windowId() {
  const known = sessionStorage.getItem("callreel.window") ?? crypto.randomUUID();
  sessionStorage.setItem("callreel.window", known);
  return known;
}

/** A token for one more participant. @param {Link} link @param {string} name @returns {Promise<string>} */
export async function invite(link, name) {
  const response = await fetch(`${link.endpoint}/video-calls/${encodeURIComponent(link.call)}/invite`, {
    method: "POST",
    headers: { Authorization: `Bearer ${link.token}`, "Content-Type": "application/json" },
    body: JSON.stringify({ name }),
  });
  const answer = await response.json();
  if (!response.ok) throw new CallreelError(answer.code ?? "network", answer.detail ?? "No invitation could be made.");
  return answer.data.token;
}

/** @param {Link} link @param {string} token @returns {Promise<Seat>} */
function connect(link, token) {
  const signal = new Signal({ ...link, token, windowId: windowId() });
  return new Promise((resolve, reject) => {
    signal.on("welcome", (welcomed) => resolve({ signal, welcomed, token }));
    signal.on("refused", ({ reason }) => reject(new CallreelError(reason, `The server refused: ${reason}.`)));
    signal.connect();
  });
}

/** Seats that windows of this browser once had: a tab that was closed by accident finds its own again. */
const SEATS_KEPT = 8;

/** Raises what the last attempt was refused with. @param {Link} link @param {string} name @returns {Promise<Seat>} */
export async function takeSeat(link, name) {
  const key = `callreel.seats.${link.call}.${link.token.slice(-16)}`;
  const mine = sessionStorage.getItem(key);
  /** @type {string[]} */
  const others = JSON.parse(localStorage.getItem(key) ?? "[]");
  const tokens = [...new Set([...(mine ? [mine] : []), link.token, ...others])].map((token) => async () => token);
  if (["host", "service"].includes(claimsOf(link.token).role ?? "")) tokens.push(() => invite(link, name));
  /** @type {unknown} */
  let refusal;
  for (const token of tokens) {
    try {
      const seat = await connect(link, await token());
      if (seat.token !== link.token) {
        sessionStorage.setItem(key, seat.token);
        const kept = [seat.token, ...others.filter((other) => other !== seat.token)].slice(0, SEATS_KEPT);
        localStorage.setItem(key, JSON.stringify(kept));
      }
      return seat;
    } catch (error) {
      refusal = error;
    }
  }
  throw refusal;
}
