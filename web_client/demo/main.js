/**
 * The call page: lobby, call, film. Uses the recording library as any page would; everything about calls here is the
 * page's own.
 */

import { createControl, CallreelError } from "/client/callreel.js";
import { Call } from "./call.js";
import { byId, make, setIcon, toast } from "./dom.js";
import { claimsOf, readLink } from "./link.js";
import { meter, openMedia } from "./media.js";

/** @typedef {import("./link.js").Link} Link */

const RETRY_MS = 2_000;

/** @param {"loading" | "lobby" | "call" | "message"} name */
function view(name) {
  document.body.dataset.view = name;
}

/** A page of its own for what cannot go on. @param {{ title: string, text: string, steps?: (string | Node)[][], action?: [string, () => void] }} message */
function message({ title, text, steps = [], action }) {
  byId("message-title", HTMLElement).textContent = title;
  byId("message-text", HTMLElement).textContent = text;
  byId("message-steps", HTMLElement).replaceChildren(...steps.map((parts) => make("li", {}, ...parts)));
  const button = byId("message-action", HTMLButtonElement);
  button.hidden = !action;
  if (action) [button.textContent, button.onclick] = action;
  view("message");
}

const code = (/** @type {string} */ text) => make("code", { textContent: text });

/** Whether a call is possible at all. @param {Link} link */
function possible(link) {
  if (!window.isSecureContext || !navigator.mediaDevices || typeof MediaRecorder === "undefined") {
    const secure = window.isSecureContext;
    message({
      title: secure ? "This browser cannot record" : "This address is not secure",
      text: secure
        ? "Callreel needs MediaRecorder and WebRTC: a current Chrome, Edge, Firefox or Safari."
        : "Browsers give camera and microphone only to pages on https, or on this very machine.",
      steps: secure
        ? []
        : [
            ["On the machine that runs Callreel, open ", code(`http://localhost:${location.port || 80}/`), " with the same part behind #."],
            ["From other machines: start it with ", code("callreel up --tls-cert cert.pem --tls-key key.pem"), " or behind a proxy that speaks TLS."],
          ],
    });
    return false;
  }
  const claims = claimsOf(link.token);
  if (!link.call || !link.token) {
    message({
      title: "This link is not complete",
      text: "A link to a call carries its name and a token behind the # sign. Copy the whole line.",
      steps: [["The host finds it where ", code("callreel up"), " was started."], ["Guests get theirs from the host, by “Copy invite link”."]],
    });
    return false;
  }
  if (claims.exp && claims.exp * 1000 < Date.now()) {
    message({ title: "This link has expired", text: "Ask the host for a new one. Hosts: restart Callreel, it prints a fresh link." });
    return false;
  }
  return true;
}

/** Watches the server until it answers, so that nobody joins into nothing. @param {Link} link */
async function untilServer(link) {
  const net = byId("net", HTMLElement);
  while (true) {
    try {
      await createControl({ endpoint: link.endpoint, callId: link.call, token: link.token }).list({ limit: 1 });
      net.hidden = true;
      return;
    } catch (error) {
      if (error instanceof CallreelError && error.fromServer && !error.retryable) throw error;
      byId("net-text", HTMLElement).textContent = `No answer from ${new URL(link.endpoint).host}`;
      net.hidden = false;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

class Lobby {
  #stream = new MediaStream();
  #stopMeter = () => {};
  #wants = { mic: true, cam: true };
  #video = byId("preview-video", HTMLVideoElement);
  #cameras = byId("cameras", HTMLSelectElement);
  #microphones = byId("microphones", HTMLSelectElement);

  /** @param {Link} link */
  constructor(link) {
    const { role } = claimsOf(link.token);
    byId("lobby-role", HTMLElement).textContent = role === "host" ? "You are hosting" : "You are invited";
    byId("lobby-text", HTMLElement).replaceChildren("Call ", make("b", { textContent: link.call }));
    byId("name", HTMLInputElement).value = claimsOf(link.token).name ?? localStorage.getItem("callreel.name") ?? "";
    byId("preview-retry", HTMLButtonElement).onclick = () => void this.open();
    this.#cameras.onchange = this.#microphones.onchange = () => void this.open();
    byId("lobby-mic", HTMLButtonElement).onclick = () => this.#toggle("mic");
    byId("lobby-cam", HTMLButtonElement).onclick = () => this.#toggle("cam");
  }

  /** Gets camera and microphone, and shows what came of it. */
  async open() {
    this.#stopMeter();
    for (const track of this.#stream.getTracks()) track.stop();
    const { stream, trouble } = await openMedia({ camera: this.#cameras.value, microphone: this.#microphones.value });
    this.#stream = stream;
    this.#video.srcObject = stream;
    const bars = [...byId("lobby-level", HTMLElement).children];
    this.#stopMeter = meter(stream, (level) => bars.forEach((bar, i) => bar.classList.toggle("on", level * 5 > i + 0.3)));
    this.#apply();
    const empty = byId("preview-empty", HTMLElement);
    empty.hidden = !trouble && stream.getVideoTracks().length > 0;
    if (trouble) {
      byId("preview-title", HTMLElement).textContent = trouble.title;
      byId("preview-text", HTMLElement).textContent = trouble.text;
    }
    byId("preview-retry", HTMLButtonElement).hidden = !trouble;
    byId("join", HTMLButtonElement).textContent = stream.getTracks().length ? "Join the call" : "Join without camera and microphone";
    await this.#list();
  }

  /** @returns {Promise<{ name: string, stream: MediaStream }>} when the person has pressed join */
  joined() {
    const input = byId("name", HTMLInputElement);
    return new Promise((resolve) => {
      byId("join-form", HTMLFormElement).onsubmit = (event) => {
        event.preventDefault();
        const name = input.value.trim();
        byId("name-error", HTMLElement).hidden = name !== "";
        if (!name) return input.focus();
        localStorage.setItem("callreel.name", name);
        this.#stopMeter();
        resolve({ name, stream: this.#stream });
      };
    });
  }

  async #list() {
    const devices = await navigator.mediaDevices.enumerateDevices();
    for (const [select, kind] of /** @type {const} */ ([[this.#cameras, "videoinput"], [this.#microphones, "audioinput"]])) {
      const found = devices.filter((d) => d.kind === kind && d.label);
      if (!found.length) continue;
      const track = this.#stream.getTracks().find((t) => t.kind === kind.slice(0, 5));
      const used = track?.getSettings().deviceId;
      select.replaceChildren(...found.map((d) => make("option", { value: d.deviceId, textContent: d.label, selected: d.deviceId === used })));
    }
  }

  /** @param {"mic" | "cam"} which */
  #toggle(which) {
    this.#wants[which] = !this.#wants[which];
    this.#apply();
  }

  #apply() {
    for (const [which, kind] of /** @type {const} */ ([["mic", "audio"], ["cam", "video"]])) {
      const on = this.#wants[which];
      const button = byId(`lobby-${which}`, HTMLButtonElement);
      for (const track of this.#stream.getTracks()) if (track.kind === kind) track.enabled = on;
      button.setAttribute("aria-pressed", String(on));
      button.disabled = !this.#stream.getTracks().some((t) => t.kind === kind);
      setIcon(button, on && !button.disabled ? which : `${which}-off`);
    }
  }
}

/** @param {CallreelError} error */
function refused(error) {
  const expired = error.code === "unauthorized";
  message({
    title: expired ? "The server does not know this link" : "The server refused",
    text: expired ? "It was made for another server, or has expired. Ask the host for a new one." : error.message,
    action: ["Try again", () => location.reload()],
  });
}

async function run() {
  const link = readLink(location.hash);
  if (!possible(link)) return;
  const lobby = new Lobby(link);
  view("lobby");
  const name = byId("name", HTMLInputElement);
  if (!name.value) name.focus();
  const [server] = [untilServer(link).catch(refused), lobby.open()];
  while (true) {
    const { name: who, stream } = await lobby.joined();
    const join = byId("join", HTMLButtonElement);
    join.disabled = true;
    await server;
    try {
      const call = await Call.join(link, who, stream);
      view("call");
      const { drained } = await call.over;
      goodbye(drained);
      return;
    } catch (error) {
      join.disabled = false;
      if (error instanceof CallreelError && error.code === "seat-taken") {
        message({ title: "This link is in use", text: "Each invite link is for one person. Ask the host for one of your own.", action: ["Try again", () => location.reload()] });
        return;
      }
      toast(error instanceof Error ? error.message : String(error));
    }
  }
}

/** @param {Promise<boolean>} drained */
function goodbye(drained) {
  const meterBox = byId("message-meter", HTMLElement);
  byId("message-icon", SVGElement).setAttribute("href", "#i-up");
  meterBox.hidden = false;
  meterBox.querySelector("progress")?.removeAttribute("value");
  message({ title: "Sending the rest…", text: "Please keep this window open until everything you recorded has arrived." });
  void drained.then((all) => {
    meterBox.hidden = true;
    byId("message-icon", SVGElement).setAttribute("href", all ? "#i-check" : "#i-alert");
    message({
      title: all ? "You have left the call" : "Not everything was sent",
      text: all ? "Everything you recorded is safe." : "What is left is kept in this browser. Open the same link again, and it is sent.",
      action: ["Join again", () => location.reload()],
    });
  });
}

addEventListener("hashchange", () => location.reload());
void run();
