/**
 * The wire between the windows of one call. Reconnects without end; hands out what others say, and who says it.
 */

import { Emitter } from "/client/emitter.js";

/** @typedef {{ id: string, name: string, role: string, connection: string }} Who */
/**
 * @typedef {object} SignalEvents
 * @property {Who} welcome we are in; others do not know us yet
 * @property {Who} left
 * @property {{ from: Who, data: any }} message
 * @property {{ online: boolean }} connection
 * @property {{ reason: string }} refused for good: `seat-taken`, or the server's code
 */

const FIRST_DELAY_MS = 300;
const LONGEST_DELAY_MS = 5_000;
const CLOSE_UNAUTHORIZED = 4401;

/** @extends {Emitter<SignalEvents>} */
export class Signal extends Emitter {
  #url;
  #hello;
  #open = true;
  #failures = 0;
  /** @type {WebSocket | null} */ #socket = null;

  /** @param {{ endpoint: string, call: string, token: string, windowId: string }} options */
  constructor({ endpoint, call, token, windowId }) {
    super();
    this.#url = `${endpoint.replace(/^http/, "ws")}/video-calls/${encodeURIComponent(call)}/signal`;
    this.#hello = JSON.stringify({ token, window: windowId });
  }

  connect() {
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.onopen = () => socket.send(this.#hello);
    socket.onmessage = (event) => this.#take(JSON.parse(event.data));
    socket.onclose = ({ code, reason }) => {
      if (!this.#open || this.#socket !== socket) return;
      if (code === CLOSE_UNAUTHORIZED) return this.#refuse(reason || "unauthorized");
      this.emit("connection", { online: false });
      const delay = Math.random() * Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** this.#failures++);
      setTimeout(() => this.#open && this.connect(), delay);
    };
  }

  /** @param {object} data @param {string} [to] one participant; else everybody */
  say(data, to) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ to, data }));
  }

  close() {
    this.#open = false;
    this.#socket?.close();
  }

  /** @param {{ type: string, from: Who, data?: any }} frame */
  #take(frame) {
    if (frame.type === "seat-taken") this.#refuse("seat-taken");
    else if (frame.type === "welcome") {
      this.#failures = 0;
      this.emit("connection", { online: true });
      this.emit("welcome", frame.from);
    } else if (frame.type === "left") this.emit("left", frame.from);
    else if (frame.type === "message") this.emit("message", { from: frame.from, data: frame.data });
  }

  /** @param {string} reason */
  #refuse(reason) {
    this.close();
    this.emit("refused", { reason });
  }
}
