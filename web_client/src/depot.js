/**
 * What happens to a Blob behind its recorder: hashed, kept, sent. One depot a recorder, in a worker or on the page; its
 * methods take and give nothing that a message could not carry. The one rule: a track's row is written here alone.
 */

import { chunkHeader, contentDigest } from "./protocol.js";
import { Emitter } from "./emitter.js";
import { Uploader } from "./uploader.js";

/** @typedef {import("./protocol.js").Api} Api */
/** @typedef {import("./protocol.js").Fact} Fact */
/** @typedef {import("./lane.js").Lane} Lane */
/** @typedef {import("./outbox.js").ChunkRow} ChunkRow */
/** @typedef {import("./outbox.js").Outbox} Outbox */
/** @typedef {import("./outbox.js").OutboxEvents} OutboxEvents */
/** @typedef {import("./outbox.js").TrackRow} TrackRow */
/** @typedef {import("./uploader.js").Which} Which */
/** @typedef {import("./uploader.js").UploaderEvents} UploaderEvents */
/** @typedef {import("./uploader.js").UploaderOptions} UploaderOptions */
/** @typedef {import("./protocol.js").ChunkFields} ChunkFields */
/** @typedef {OutboxEvents & UploaderEvents} DepotEvents */
/** @typedef {TrackRow & { chunks: number, bytes: number }} Leftover a track of an earlier visit, and what of it is not sent */
/** @typedef {Pick<Depot, "open" | "adopt" | "keep" | "tell" | "complete" | "leftovers" | "purge" | "nudge" | "close"> & Emitter<DepotEvents>} DepotLike */

/** What everybody has forgotten by now. The server takes late chunks for a day, by default. */
const EXPIRY_MS = 7 * 24 * 3_600_000;
const HAVE_TIMEOUT_MS = 5_000;

export const DEPOT_EVENTS = /** @type {const} */ ([
  ...["degraded", "restored", "lost"],
  ...["acknowledged", "retry", "refused", "completed", "progress"],
]);

/** @param {Which} which */
export const nameOf = ({ recordingId, trackId }) => `${recordingId}/${trackId}`;

/** @extends {Emitter<DepotEvents>} */
export class Depot extends Emitter {
  #api;
  #outbox;
  #uploader;
  /** @type {Map<string, Lane>} */ #lanes = new Map();
  /** Rows are changed and chunks kept one after the other, in the order in which they came. */
  #storing = Promise.resolve();

  /** @param {Api} api @param {Outbox} outbox @param {UploaderOptions} [options] */
  constructor(api, outbox, options) {
    super();
    this.#api = api;
    this.#outbox = outbox;
    this.#uploader = new Uploader(api, outbox, options);
    for (const name of DEPOT_EVENTS) {
      const pass = (/** @type {any} */ detail) => this.emit(/** @type {any} */ (name), detail);
      outbox.on(/** @type {any} */ (name), pass);
      this.#uploader.on(/** @type {any} */ (name), pass);
    }
  }

  /** A new track. @param {TrackRow} row */
  async open(row) {
    if (this.#lanes.has(nameOf(row))) return;
    this.#lanes.set(nameOf(row), this.#uploader.open(row));
    await this.#outbox.putTrack(row);
  }

  /**
   * A track of an earlier visit, with what is left of it.
   * @param {TrackRow} row
   * @param {boolean} goOn more will be recorded of it
   * @returns {Promise<number>} the number of the next segment; -1 where the server could not be asked, so that a number might be taken already
   */
  async adopt(row, goOn) {
    let lane = this.#lanes.get(nameOf(row));
    if (!lane || lane.closed) {
      lane = this.#uploader.open({ ...row, facts: row.facts ?? [] });
      this.#lanes.set(nameOf(row), lane);
      this.#uploader.add(lane, ...(await this.#outbox.chunks(row.recordingId, row.trackId)));
    }
    if (!goOn) return -1;
    const before = lane.completion;
    lane.completion = null;
    try {
      const { recordingId, trackId, segments } = lane.track;
      const { segments: have } = await this.#api.haveChunks(recordingId, trackId, { timeoutMs: HAVE_TIMEOUT_MS });
      // What is here says what was recorded; should the disk have missed something, the server knows of it.
      for (const { seg, next, bytes } of have) if (!segments.some((s) => s.seg === seg)) segments.push({ seg, chunks: next, bytes });
      return Math.max(-1, ...segments.map((s) => s.seg), ...lane.queue.map((chunk) => chunk.seg)) + 1;
    } catch (error) {
      if (/** @type {any} */ (error)?.code === "unknown_track") return Math.max(-1, ...lane.track.segments.map((s) => s.seg)) + 1;
      lane.completion = before;
      return -1;
    }
  }

  /** A track whose depot has died, as the disk remembers it. @param {TrackRow} row as it was opened */
  async restore(row) {
    const stored = (await this.#outbox.tracks()).find((each) => nameOf(each) === nameOf(row));
    await this.adopt(stored ?? row, false);
  }

  /**
   * Hashes, keeps and sends a Blob. Never fails: what is lost is told.
   * @param {Which} which @param {ChunkFields} fields @param {string} mimeType @param {Blob} blob
   * @returns {Promise<ChunkRow | null>} when it is kept; null where it could not be
   */
  async keep(which, fields, mimeType, blob) {
    const lane = this.#lanes.get(nameOf(which));
    if (!lane) return null;
    const kept = this.#storing.then(async () => {
      const { recordingId, trackId, segments } = lane.track;
      const { seg, seq, at: atMs } = fields;
      let sum = segments.find((s) => s.seg === seg);
      if (!sum) segments.push((sum = { seg, chunks: 0, bytes: 0 }));
      sum.chunks = seq + 1;
      sum.bytes += blob.size;
      const row = { recordingId, trackId, seg, seq, sizeBytes: blob.size, atMs, mimeType, digest: "", header: chunkHeader(fields) };
      try {
        const bytes = await blob.arrayBuffer();
        row.digest = contentDigest(await crypto.subtle.digest("SHA-256", bytes));
        if (!(await this.#outbox.putChunk(row, bytes, lane.track))) return null;
      } catch (cause) {
        this.emit("lost", { ...row, reason: String(cause) });
        return null;
      }
      this.#uploader.add(lane, row);
      return row;
    });
    this.#storing = kept.then(
      () => {},
      () => {},
    );
    return kept;
  }

  /** @param {Which} which @param {Fact} fact */
  async tell(which, fact) {
    const lane = this.#lanes.get(nameOf(which));
    if (!lane || lane.closed) return;
    if (fact.type === "health") {
      // How it is now is what counts: a night without network must not pile up.
      lane.track.facts = lane.track.facts.filter(({ type }) => type !== "health");
      const oldestMs = lane.queue.reduce((oldest, { atMs }) => Math.min(oldest, atMs), fact.atMs);
      fact = { ...fact, data: { ...fact.data, pendingBytes: lane.pendingBytes, pendingMs: Math.round(fact.atMs - oldestMs) } };
    }
    lane.track.facts.push(fact);
    this.#uploader.told();
    await this.#outbox.putTrack(lane.track);
  }

  /** Nothing more will be recorded of it. @param {Which} which @param {string} reason @returns {Promise<void>} when the server has everything and knows so, or refused */
  async complete(which, reason) {
    const lane = this.#lanes.get(nameOf(which));
    if (!lane) return;
    await this.#storing;
    await this.#uploader.complete(lane, { segments: lane.track.segments, reason });
    if (lane.closed && this.#lanes.get(nameOf(which)) === lane) this.#lanes.delete(nameOf(which));
  }

  /** What earlier visits of this person to this call left behind. @param {Pick<TrackRow, "endpoint" | "callId" | "owner">} whose @returns {Promise<Leftover[]>} */
  async leftovers({ endpoint, callId, owner }) {
    const found = [];
    for (const row of await this.#outbox.tracks()) {
      if (row.endpoint !== endpoint || row.callId !== callId || row.owner !== owner || this.#lanes.has(nameOf(row))) continue;
      const chunks = await this.#outbox.chunks(row.recordingId, row.trackId);
      found.push({ ...row, chunks: chunks.length, bytes: chunks.reduce((sum, chunk) => sum + chunk.sizeBytes, 0) });
    }
    return found;
  }

  /** Lets go of what is older than a week, whosever it was. @param {number} [nowMs] @returns {Promise<Which[]>} */
  async purge(nowMs = Date.now()) {
    const old = (await this.#outbox.tracks()).filter((row) => nowMs - row.openedMs > EXPIRY_MS && !this.#lanes.has(nameOf(row)));
    for (const row of old) await this.#outbox.deleteTrack(row.recordingId, row.trackId);
    return old.map(({ recordingId, trackId }) => ({ recordingId, trackId }));
  }

  async nudge() {
    this.#uploader.nudge();
  }

  /** Ends all sending; what is not acknowledged stays. */
  async close() {
    this.#uploader.close();
    await this.#storing;
    await this.#outbox.close();
  }
}
