/**
 * One track on its way to the server, and what is to be made of a refusal. The one rule: what may succeed later is
 * tried without end; what never will holds nothing else up.
 */

import { CallreelError } from "./protocol.js";

/** @typedef {import("./protocol.js").Completion} Completion */
/** @typedef {import("./outbox.js").ChunkRow} ChunkRow */
/** @typedef {import("./outbox.js").TrackRow} TrackRow */
/** @typedef {import("./protocol.js").Fact} Fact */

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 30_000;
/** So often a chunk breaks the server or is garbled on the way before others of its track go first. */
const IN_FRONT = 3;

/** Nothing of this recording, or this track, will ever be taken again. */
const OVER = ["unknown_recording", "recording_sealed", "recording_deleted"];
/** A server that was set up wrongly may know them again; the rest is refused for ever. */
const KEPT = ["unknown_recording", "sequence_too_far"];

/** The server will never take this, from whomever: no reason to keep it. @param {CallreelError} error */
export function isWorthless(error) {
  return error.fromServer && !error.retryable && error.status >= 400 && ![401, 403].includes(error.status) && !KEPT.includes(error.code);
}

/** Every other chunk of the track would be refused as well. @param {CallreelError} error */
export function endsLane(error) {
  return error.fromServer && OVER.includes(error.code);
}

/**
 * Full jitter, so that a thousand browsers do not come back in step; never before the server asked for it.
 * @param {number} attempt from 1
 * @param {CallreelError} error
 * @param {() => number} random
 */
export function delayMs(attempt, error, random) {
  const ceiling = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(attempt - 1, 16));
  return error.retryAfterMs + random() * ceiling;
}

export class Lane {
  /** @type {ChunkRow[]} */ queue = [];
  /** @type {Completion | null} */ completion = null;
  announced = false;
  busy = false;
  attempt = 0;
  notBeforeMs = 0;
  /** Facts that the server could not take are tried again beside the chunks, not before them. */
  factsNotBeforeMs = 0;
  /** Chunks that were refused and are still in the outbox, for a next visit. */
  kept = 0;
  /** Done or given up: nothing of it moves any more. */
  closed = false;
  /** @type {CallreelError | null} */ refused = null;
  #settle = () => {};
  /** @type {Promise<void>} */ settled;

  /** @param {TrackRow} track @param {number} openedMs */
  constructor(track, openedMs) {
    this.track = track;
    this.openedMs = openedMs;
    this.settled = new Promise((resolve) => (this.#settle = resolve));
  }

  get which() {
    return { recordingId: this.track.recordingId, trackId: this.track.trackId };
  }

  get pendingBytes() {
    return this.queue.reduce((sum, chunk) => sum + chunk.sizeBytes, 0);
  }

  /** What is to be said next, and not before when. @returns {{ what: "announce" | "facts" | "chunk" | "complete", atMs: number } | null} */
  get next() {
    if (this.closed || this.busy) return null;
    if (!this.announced) return { what: "announce", atMs: this.notBeforeMs };
    const facts = this.track.facts.length > 0;
    const chunks = this.queue.length > 0;
    if (facts && (!chunks || this.factsNotBeforeMs <= this.notBeforeMs)) {
      return { what: "facts", atMs: Math.max(this.notBeforeMs, this.factsNotBeforeMs) };
    }
    if (chunks) return { what: "chunk", atMs: this.notBeforeMs };
    return this.completion && { what: "complete", atMs: this.notBeforeMs };
  }

  /** When its next piece was made: who is oldest goes first. */
  get ageMs() {
    return this.announced ? (this.queue[0]?.atMs ?? this.openedMs) : this.openedMs;
  }

  /** A chunk that the server, or the way there, cannot carry lets the others pass. @param {CallreelError} error */
  yieldAfter(error) {
    const head = this.queue[0];
    const itsFault = error.status === 500 || error.status === 400;
    if (head && itsFault && this.announced && this.attempt % IN_FRONT === 0) this.queue.push(...this.queue.splice(0, 1));
  }

  close() {
    this.closed = true;
    this.#settle();
  }
}
