/**
 * The call's events, followed for as long as somebody wants them: over a WebSocket, and where none gets through as
 * Server-Sent Events, read by `fetch` so that an expired token can be replaced and a silent connection noticed.
 */

import { CallreelError, SILENT_MS } from "./protocol.js";

/** @typedef {import("./protocol.js").Api} Api */
/** @typedef {import("./protocol.js").CallEvent} CallEvent */

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 15_000;
/** A connection that held this long was a good one: the next failure counts as the first. */
const GOOD_MS = 10_000;

/**
 * Lines of an event stream to messages, https://html.spec.whatwg.org/multipage/server-sent-events.html.
 * Fed with text in any pieces.
 */
export class EventStreamDecoder {
  #rest = "";
  /** @type {string[]} */ #data = [];
  #type = "";
  lastEventId = "";

  /** @param {string} text @returns {{ type: string, data: string, id: string }[]} */
  feed(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    const messages = [];
    for (const line of lines) {
      if (line === "") {
        if (this.#data.length) messages.push({ type: this.#type || "message", data: this.#data.join("\n"), id: this.lastEventId });
        this.#data = [];
        this.#type = "";
        continue;
      }
      const colon = line.indexOf(":");
      if (colon === 0) continue; // a comment: the heartbeat
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (field === "data") this.#data.push(value);
      else if (field === "event") this.#type = value;
      else if (field === "id" && !value.includes("\0")) this.lastEventId = value;
    }
    return messages;
  }
}

/**
 * Hands every event to `onEvent` until `signal` ends it. Reconnects without end, from where it was.
 * @param {Pick<Api, "events" | "eventFrames" | "hasSockets">} api
 * @param {{ signal: AbortSignal, onEvent: (event: CallEvent) => void, onConnection?: (state: { online: boolean, error?: unknown }) => void }} options
 */
export async function follow(api, { signal, onEvent, onConnection }) {
  let lastEventId = "";
  let failures = 0;
  while (!signal.aborted) {
    const connection = new AbortController();
    const abort = () => connection.abort();
    signal.addEventListener("abort", abort, { once: true });
    const openedMs = performance.now();
    try {
      for await (const event of messages(api, lastEventId, connection, () => onConnection?.({ online: true }))) {
        lastEventId = event.id ?? lastEventId;
        onEvent(event);
      }
    } catch (error) {
      if (!signal.aborted) onConnection?.({ online: false, error });
    } finally {
      signal.removeEventListener("abort", abort);
      connection.abort();
    }
    if (performance.now() - openedMs > GOOD_MS) failures = 0;
    if (!signal.aborted) await pause(Math.random() * Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** failures++), signal);
  }
}

/**
 * The events of one connection. Every one tries the WebSocket first: what was in its way may be gone.
 * @param {Pick<Api, "events" | "eventFrames" | "hasSockets">} api @param {string} lastEventId @param {AbortController} connection @param {() => void} onOpen
 * @returns {AsyncGenerator<CallEvent>}
 */
async function* messages(api, lastEventId, connection, onOpen) {
  let heard = false;
  if (api.hasSockets) {
    try {
      for await (const frame of api.eventFrames(lastEventId, connection.signal)) {
        if (!heard) onOpen();
        heard = true;
        if (frame.type !== "heartbeat") yield frame;
      }
      return;
    } catch (error) {
      if (heard || (error instanceof CallreelError && error.code !== "network")) throw error;
    }
  }
  const stream = await api.events(lastEventId, connection.signal);
  onOpen();
  const decoder = new EventStreamDecoder();
  for await (const text of texts(stream, connection)) {
    for (const { data, id } of decoder.feed(text)) {
      const event = parsed(data);
      if (event) yield { ...(id && { id }), ...event };
    }
  }
}

/** @param {ReadableStream<Uint8Array>} stream @param {AbortController} connection */
async function* texts(stream, connection) {
  const decoder = new TextDecoder();
  const reader = stream.getReader();
  connection.signal.addEventListener("abort", () => void reader.cancel().catch(() => {}), { once: true });
  try {
    while (true) {
      const silent = setTimeout(() => connection.abort(), SILENT_MS);
      const { done, value } = await reader.read().finally(() => clearTimeout(silent));
      if (done) return;
      yield decoder.decode(value, { stream: true });
    }
  } finally {
    reader.releaseLock();
  }
}

/** @param {string} data @returns {CallEvent | null} */
function parsed(data) {
  try {
    const event = JSON.parse(data);
    return event && typeof event.type === "string" ? event : null;
  } catch {
    return null;
  }
}

/** @param {number} ms @param {AbortSignal} signal @returns {Promise<void>} */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
  });
}
