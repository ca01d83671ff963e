/**
 * What a host does with recordings. The one rule: nothing here captures anything; recorders follow the server's events.
 */

import { Api, CallreelError } from "./protocol.js";
import { follow } from "./events.js";

/** @typedef {import("./protocol.js").CallEvent} CallEvent */
/** @typedef {import("./protocol.js").Recording} Recording */
/** @typedef {import("./protocol.js").Layout} Layout */
/** @typedef {import("./protocol.js").Composition} Composition */
/** @typedef {import("./protocol.js").CompositionBody} CompositionBody */
/** @typedef {import("./options.js").CallOptions} CallOptions */

/** What a host may do. */
export class CallControl {
  #api;

  /** @param {CallOptions} options */
  constructor(options) {
    this.#api = new Api(options);
  }

  /** @param {{ layout?: Layout, preset?: string, outputs?: unknown[], maxDurationS?: number, metadata?: unknown }} [options] */
  start(options) {
    return this.#api.start(options);
  }

  stop() {
    return this.#api.stop();
  }

  /** From now on nothing is recorded, anywhere, until `resume`. */
  pause() {
    return this.#api.pause();
  }

  resume() {
    return this.#api.resume();
  }

  /** From now on the running recording is arranged like this. @param {Layout} layout */
  layout(layout) {
    return this.#api.layout(layout);
  }

  /** Asks for another film of a recording that was stopped; `artifact` tells how far it is. @param {string} recordingId @param {CompositionBody} body @returns {Promise<Composition>} */
  compose(recordingId, body) {
    return this.#api.compositions("POST", recordingId, { json: body });
  }

  /** The films that were asked for. @param {string} recordingId @returns {Promise<{ items: Composition[], nextCursor: null }>} */
  compositions(recordingId) {
    return this.#api.compositions("GET", recordingId);
  }

  /** Takes such a film back. @param {string} recordingId @param {string} name @returns {Promise<{ recordingId: string, name: string }>} */
  discard(recordingId, name) {
    return this.#api.compositions("DELETE", recordingId, {}, `/${encodeURIComponent(name)}`);
  }

  /** Takes a recording away for good, whatever its state; `recordingdeleted` says when all of it is gone. @param {string} recordingId */
  delete(recordingId) {
    return this.#api.deleteRecording(recordingId);
  }

  /** One recording, or the running one; null where none runs. @param {string} [recordingId] @returns {Promise<Recording | null>} */
  async status(recordingId) {
    try {
      return await this.#api.recording(recordingId);
    } catch (error) {
      if (error instanceof CallreelError && error.code === "no_active_recording") return null;
      throw error;
    }
  }

  /** The call's recordings, newest first. @param {{ cursor?: string, limit?: number }} [page] */
  list(page) {
    return this.#api.recordings(page);
  }

  /** Follows the call's events until the returned function is called. @param {(event: CallEvent) => void} onEvent @param {(state: { online: boolean, error?: unknown }) => void} [onConnection] */
  events(onEvent, onConnection) {
    const following = new AbortController();
    void follow(this.#api, { signal: following.signal, onEvent, onConnection });
    return () => following.abort();
  }

  /** A file's address, as the recording's JSON tells it, made absolute. @param {string} url */
  resolve(url) {
    return this.#api.resolve(url);
  }
}

/** @param {CallOptions} options */
export function createControl(options) {
  return new CallControl(options);
}
