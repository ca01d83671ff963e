/**
 * Brings to the server what the outbox holds. Each track is a lane: announce it, tell its facts, send its chunks oldest
 * first, say that it is complete; at most one request a lane and three in all. The one rule: nothing here can fail in a
 * way that a recorder would notice.
 */

import { CallreelError, contentDigest } from "./protocol.js";
import { Emitter } from "./emitter.js";
import { Lane, delayMs, endsLane, isWorthless } from "./lane.js";

/** @typedef {import("./protocol.js").Api} Api */
/** @typedef {import("./protocol.js").Completion} Completion */
/** @typedef {import("./protocol.js").Fact} Fact */
/** @typedef {import("./outbox.js").Outbox} Outbox */
/** @typedef {import("./outbox.js").ChunkRow} ChunkRow */
/** @typedef {import("./outbox.js").TrackRow} TrackRow */
/** @typedef {{ recordingId: string, trackId: string }} Which */
/** @typedef {{ pendingChunks: number, pendingBytes: number, pendingMs: number, sentChunks: number, sentBytes: number }} Progress `pendingMs`: how old the oldest of it is */
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

/** An upload is given 30 s and what it would take at 256 kbit/s; slower lines do not carry a call. */
const TIMEOUT_MS = 30_000;
const BYTES_PER_MS = 32;
const FACTS_AT_ONCE = 100;

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

  /** @param {Pick<Api, "putTrack" | "postChunk" | "postFacts" | "completeTrack">} api @param {Outbox} outbox @param {UploaderOptions} [options] */
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
    let [pendingChunks, pendingBytes, pendingMs] = [0, 0, 0];
    const nowMs = this.#now();
    for (const lane of this.#lanes) {
      pendingChunks += lane.queue.length;
      pendingBytes += lane.pendingBytes;
      for (const chunk of lane.queue) pendingMs = Math.max(pendingMs, Math.round(nowMs - chunk.atMs));
    }
    return { pendingChunks, pendingBytes, pendingMs, sentChunks: this.#sent.chunks, sentBytes: this.#sent.bytes };
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

  /** Facts that were added to the lane's track. */
  told() {
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
    for (const lane of this.#lanes) lane.notBeforeMs = lane.factsNotBeforeMs = 0;
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
    let waitMs = Infinity;
    for (const lane of [...this.#lanes].sort((a, b) => a.ageMs - b.ageMs)) {
      const next = lane.next;
      if (!next) continue;
      if (this.#inFlight >= this.#maxParallel) return; // whoever ends asks again
      if (next.atMs <= nowMs) void this.#run(lane, next.what);
      else waitMs = Math.min(waitMs, next.atMs - nowMs);
    }
    if (waitMs < Infinity) this.#timer = this.#setTimeout(() => this.#pump(), waitMs);
  }

  /** @param {Lane} lane @param {"announce" | "facts" | "chunk" | "complete"} what */
  async #run(lane, what) {
    lane.busy = true;
    this.#inFlight++;
    try {
      await this.#say(lane, what);
      lane.attempt = 0;
    } catch (cause) {
      const error = cause instanceof CallreelError ? cause : new CallreelError("client", String(cause), { retryable: true, cause });
      if (this.#stop.signal.aborted) return;
      if (error.code === "unknown_track" && what !== "announce") {
        lane.announced = false; // the server has forgotten it, or never heard
        this.#again(lane, what, error);
      } else if (error.retryable) this.#again(lane, what, error);
      else await this.#refuse(lane, what, error);
    } finally {
      lane.busy = false;
      this.#inFlight--;
    }
    this.emit("progress", this.progress);
    this.#pump();
  }

  /** @param {Lane} lane @param {string} what @param {CallreelError} error */
  #again(lane, what, error) {
    lane.attempt++;
    const wait = delayMs(lane.attempt, error, this.#random);
    if (what === "facts") lane.factsNotBeforeMs = this.#now() + wait;
    else lane.notBeforeMs = this.#now() + wait;
    if (what === "chunk") lane.yieldAfter(error);
    this.emit("retry", { ...lane.which, error, attempt: lane.attempt, delayMs: wait });
  }

  /** Says the next thing of this lane. @param {Lane} lane @param {"announce" | "facts" | "chunk" | "complete"} what */
  async #say(lane, what) {
    const { recordingId, trackId, body, facts } = lane.track;
    const signal = this.#stop.signal;
    if (what === "announce") {
      await this.#api.putTrack(recordingId, trackId, body, { signal });
      lane.announced = true;
    } else if (what === "facts") {
      const now = facts.slice(0, FACTS_AT_ONCE);
      await this.#api.postFacts(recordingId, trackId, now, { signal });
      await this.#forget(lane, now);
    } else if (what === "chunk") {
      await this.#send(lane, /** @type {ChunkRow} */ (lane.queue[0]));
    } else {
      const completion = /** @type {Completion} */ (lane.completion);
      const answer = await this.#api.completeTrack(recordingId, trackId, completion, { signal });
      if (lane.completion !== completion || lane.queue.length || facts.length) return; // more has come meanwhile
      if (!lane.kept) await this.#outbox.deleteTrack(recordingId, trackId);
      this.#drop(lane);
      this.emit("completed", { recordingId, trackId, missing: answer?.missing ?? [] });
    }
  }

  /** @param {Lane} lane @param {Fact[]} told */
  async #forget(lane, told) {
    lane.track.facts = lane.track.facts.filter((fact) => !told.includes(fact));
    await this.#outbox.putTrack(lane.track);
  }

  /** @param {Lane} lane @param {ChunkRow} chunk */
  async #send(lane, chunk) {
    const { recordingId, trackId, seg, seq, sizeBytes, mimeType, digest, header } = chunk;
    const bytes = await this.#outbox.bytes(chunk);
    if (!bytes) throw new CallreelError("chunk_gone", "The browser no longer has this chunk.");
    const timeoutMs = TIMEOUT_MS + sizeBytes / BYTES_PER_MS;
    let answer;
    try {
      answer = await this.#api.postChunk(recordingId, trackId, { bytes, mimeType, digest, header }, { signal: this.#stop.signal, timeoutMs });
    } catch (error) {
      if (error instanceof CallreelError && error.code === "digest_mismatch" && contentDigest(await crypto.subtle.digest("SHA-256", bytes)) !== digest) {
        throw new CallreelError("chunk_gone", "What the browser kept of this chunk is not what was recorded.", { cause: error });
      }
      throw error;
    }
    lane.queue.splice(lane.queue.indexOf(chunk), 1);
    await this.#outbox.deleteChunk(chunk);
    this.#sent.chunks++;
    this.#sent.bytes += sizeBytes;
    this.emit("acknowledged", { recordingId, trackId, seg, seq, sizeBytes, duplicate: answer.duplicate === true });
  }

  /** @param {Lane} lane @param {string} what @param {CallreelError} error */
  async #refuse(lane, what, error) {
    lane.attempt = 0;
    if (what === "facts" && !endsLane(error)) {
      await this.#forget(lane, lane.track.facts.slice(0, FACTS_AT_ONCE));
      if (error.status !== 404 && error.status !== 405) this.emit("refused", { ...lane.which, error }); // an older server knows no facts
      return;
    }
    const chunk = what === "chunk" && !endsLane(error) ? lane.queue.shift() : undefined;
    if (chunk) {
      if (isWorthless(error) || error.code === "chunk_gone") await this.#outbox.deleteChunk(chunk);
      else lane.kept++;
      this.emit("refused", { ...lane.which, error, seg: chunk.seg, seq: chunk.seq });
      return;
    }
    // The track itself, or its completion: nothing more can come of it. A refusal for who we are may end, so the
    // outbox keeps what it has; any other is for ever.
    lane.refused = error;
    if (isWorthless(error)) await this.#outbox.deleteTrack(lane.track.recordingId, lane.track.trackId);
    this.#drop(lane);
    this.emit("refused", { ...lane.which, error });
  }

  /** @param {Lane} lane */
  #drop(lane) {
    this.#lanes.delete(lane);
    lane.close();
  }
}
