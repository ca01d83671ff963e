/**
 * Brings to the server what the outbox holds. Each track is a lane: announce it, send its chunks oldest first, say
 * that it is complete; at most one request a lane and three in all. The one rule: what may succeed later is tried
 * without end; what the server refuses for good is told and skipped, so that it holds nothing else up.
 */

import { CallreelError } from "./protocol.js";
import { Emitter } from "./emitter.js";

/** @typedef {import("./protocol.js").Api} Api */
/** @typedef {import("./protocol.js").Completion} Completion */
/** @typedef {import("./outbox.js").Outbox} Outbox */
/** @typedef {import("./outbox.js").ChunkRow} ChunkRow */
/** @typedef {import("./outbox.js").TrackRow} TrackRow */
/** @typedef {{ recordingId: string, trackId: string }} Which */
/** @typedef {{ pendingChunks: number, pendingBytes: number, sentChunks: number, sentBytes: number }} Progress */
/**
 * @typedef {object} UploaderEvents
 * @property {Which & { seg: number, seq: number, sizeBytes: number, duplicate: boolean }} acknowledged
 * @property {Which & { error: CallreelError, attempt: number, delayMs: number }} retry
 * @property {Which & { error: CallreelError, seg?: number, seq?: number }} refused without seg and seq: the whole track
 * @property {Which & { missing: unknown }} completed
 * @property {Progress} progress
 */
/**
 * @typedef {object} UploaderOptions
 * @property {number} [maxParallel]
 * @property {() => number} [random]
 * @property {(work: () => void, ms: number) => unknown} [setTimeout]
 * @property {(timer: any) => void} [clearTimeout]
 * @property {() => number} [now]
 */

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 30_000;
/** An upload is given 30 s and what it would take at 256 kbit/s; slower lines do not carry a call. */
const TIMEOUT_MS = 30_000;
const BYTES_PER_MS = 32;

/** The server will never take this chunk, from whomever: no reason to keep it. @param {CallreelError} error */
export function isWorthless(error) {
  return error.fromServer && !error.retryable && error.status >= 400 && ![401, 403].includes(error.status);
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

/** One track on its way. */
export class Lane {
  /** @type {ChunkRow[]} */ queue = [];
  /** @type {Completion | null} */ completion = null;
  announced = false;
  busy = false;
  attempt = 0;
  notBeforeMs = 0;
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

  /** Something is to be said to the server. */
  get ready() {
    return !this.closed && !this.busy && (!this.announced || this.queue.length > 0 || this.completion !== null);
  }

  /** When its next piece was made: who is oldest goes first. */
  get ageMs() {
    return this.announced ? (this.queue[0]?.atMs ?? this.openedMs) : this.openedMs;
  }

  close() {
    this.closed = true;
    this.#settle();
  }
}

/** @extends {Emitter<UploaderEvents>} */
export class Uploader extends Emitter {
  #api;
  #outbox;
  #maxParallel;
  #random;
  #setTimeout;
  #clearTimeout;
  #now;
  /** @type {Set<Lane>} */ #lanes = new Set();
  #inFlight = 0;
  #stop = new AbortController();
  /** @type {unknown} */ #timer;
  #sent = { chunks: 0, bytes: 0 };

  /** @param {Pick<Api, "putTrack" | "postChunk" | "completeTrack">} api @param {Outbox} outbox @param {UploaderOptions} [options] */
  constructor(api, outbox, options = {}) {
    super();
    this.#api = api;
    this.#outbox = outbox;
    this.#maxParallel = options.maxParallel ?? 3;
    this.#random = options.random ?? Math.random;
    this.#setTimeout = options.setTimeout ?? ((work, ms) => setTimeout(work, ms));
    this.#clearTimeout = options.clearTimeout ?? ((timer) => clearTimeout(timer));
    this.#now = options.now ?? (() => performance.timeOrigin + performance.now());
  }

  /** @returns {Progress} */
  get progress() {
    let pendingChunks = 0;
    let pendingBytes = 0;
    for (const lane of this.#lanes) {
      pendingChunks += lane.queue.length;
      for (const chunk of lane.queue) pendingBytes += chunk.sizeBytes;
    }
    return { pendingChunks, pendingBytes, sentChunks: this.#sent.chunks, sentBytes: this.#sent.bytes };
  }

  /** @param {TrackRow} track */
  open(track) {
    const lane = new Lane(track, this.#now());
    this.#lanes.add(lane);
    this.#pump();
    return lane;
  }

  /** @param {Lane} lane @param {ChunkRow[]} chunks already in the outbox */
  add(lane, ...chunks) {
    if (lane.closed) return; // refused as a whole; the outbox keeps them
    lane.queue.push(...chunks);
    this.emit("progress", this.progress);
    this.#pump();
  }

  /** No chunk will follow. @param {Lane} lane @param {Completion} completion @returns {Promise<void>} settled when the server knows, or refused */
  complete(lane, completion) {
    lane.completion = completion;
    this.#pump();
    return lane.settled;
  }

  /** The network is back: no need to wait any longer. */
  nudge() {
    for (const lane of this.#lanes) lane.notBeforeMs = 0;
    this.#pump();
  }

  /** Ends all sending. What is not acknowledged stays in the outbox. */
  close() {
    this.#stop.abort();
    this.#clearTimeout(this.#timer);
    for (const lane of this.#lanes) lane.close();
    this.#lanes.clear();
  }

  #pump() {
    this.#clearTimeout(this.#timer);
    if (this.#stop.signal.aborted) return;
    const nowMs = this.#now();
    const ready = [...this.#lanes].filter((lane) => lane.ready).sort((a, b) => a.ageMs - b.ageMs);
    for (const lane of ready) {
      if (this.#inFlight >= this.#maxParallel) return;
      if (lane.notBeforeMs <= nowMs) void this.#run(lane);
    }
    const waiting = ready.filter((lane) => !lane.busy && !lane.closed).map((lane) => lane.notBeforeMs - nowMs);
    if (waiting.length) this.#timer = this.#setTimeout(() => this.#pump(), Math.max(0, Math.min(...waiting)));
  }

  /** @param {Lane} lane */
  async #run(lane) {
    lane.busy = true;
    this.#inFlight++;
    try {
      await this.#step(lane);
      lane.attempt = 0;
    } catch (cause) {
      const error = cause instanceof CallreelError ? cause : new CallreelError("client", String(cause), { retryable: true, cause });
      if (this.#stop.signal.aborted) return;
      if (error.retryable) {
        lane.attempt++;
        const wait = delayMs(lane.attempt, error, this.#random);
        lane.notBeforeMs = this.#now() + wait;
        this.emit("retry", { ...lane.which, error, attempt: lane.attempt, delayMs: wait });
      } else {
        lane.attempt = 0;
        await this.#refuse(lane, error);
      }
    } finally {
      lane.busy = false;
      this.#inFlight--;
    }
    this.emit("progress", this.progress);
    this.#pump();
  }

  /** Says the next thing of this lane. @param {Lane} lane */
  async #step(lane) {
    const { recordingId, trackId, body } = lane.track;
    const signal = this.#stop.signal;
    const chunk = lane.queue[0];
    if (!lane.announced) {
      await this.#api.putTrack(recordingId, trackId, body, { signal });
      lane.announced = true;
    } else if (chunk) {
      const bytes = await this.#outbox.bytes(chunk);
      if (bytes) {
        const timeoutMs = TIMEOUT_MS + chunk.sizeBytes / BYTES_PER_MS;
        const { mimeType, digest, header } = chunk;
        const answer = await this.#api.postChunk(recordingId, trackId, { bytes, mimeType, digest, header }, { signal, timeoutMs });
        await this.#outbox.deleteChunk(chunk);
        this.#sent.chunks++;
        this.#sent.bytes += chunk.sizeBytes;
        const { seg, seq, sizeBytes } = chunk;
        this.emit("acknowledged", { recordingId, trackId, seg, seq, sizeBytes, duplicate: answer.duplicate === true });
      }
      lane.queue.shift();
    } else if (lane.completion) {
      const answer = await this.#api.completeTrack(recordingId, trackId, lane.completion, { signal });
      if (!lane.kept) await this.#outbox.deleteTrack(recordingId, trackId);
      this.#drop(lane);
      this.emit("completed", { recordingId, trackId, missing: answer?.missing ?? [] });
    }
  }

  /** @param {Lane} lane @param {CallreelError} error */
  async #refuse(lane, error) {
    const chunk = lane.announced ? lane.queue.shift() : undefined;
    if (chunk) {
      if (isWorthless(error)) await this.#outbox.deleteChunk(chunk);
      else lane.kept++;
      this.emit("refused", { ...lane.which, error, seg: chunk.seg, seq: chunk.seq });
      return;
    }
    // The track itself, or its completion: nothing more can come of it. A refusal for who we are may end, so the
    // outbox keeps what it has; any other is for ever.
    lane.refused = error;
    if (isWorthless(error)) {
      for (const left of lane.queue) await this.#outbox.deleteChunk(left);
      await this.#outbox.deleteTrack(lane.track.recordingId, lane.track.trackId);
    }
    this.#drop(lane);
    this.emit("refused", { ...lane.which, error });
  }

  /** @param {Lane} lane */
  #drop(lane) {
    this.#lanes.delete(lane);
    lane.close();
  }
}
