/**
 * One source in one recording, from its first Blob to `complete`: segments one after the other, every Blob hashed,
 * kept, and handed to the uploader. The one rule: whatever fails behind it, the recorder goes on.
 */

import { chunkHeader, contentDigest } from "./protocol.js";
import { SegmentRecorder } from "./recorder.js";

/** @typedef {import("./clock.js").Clock} Clock */
/** @typedef {import("./outbox.js").Outbox} Outbox */
/** @typedef {import("./outbox.js").ChunkRow} ChunkRow */
/** @typedef {import("./outbox.js").TrackRow} TrackRow */
/** @typedef {import("./recorder.js").RecordedBlob} RecordedBlob */
/** @typedef {import("./recorder.js").RecorderOptions} RecorderOptions */
/** @typedef {import("./uploader.js").Uploader} Uploader */
/**
 * @typedef {object} TakeParts
 * @property {Outbox} outbox
 * @property {Uploader} uploader
 * @property {Clock} clock
 * @property {RecorderOptions} recorder
 * @property {(error: unknown) => void} onError
 * @property {(chunk: ChunkRow) => void} onChunk
 * @property {() => void} onEnded the MediaStreamTrack ended by itself
 */

export class Take {
  #parts;
  #row;
  #lane;
  /** @type {SegmentRecorder | null} */ #segment = null;
  #nextSeg = 0;
  /** Which of `record` and `pause` was said last. */
  #round = 0;
  /** Blobs are hashed and kept one after the other, in the order in which they came. */
  #storing = Promise.resolve();
  /** @type {Promise<void> | null} */ #finished = null;

  /** @param {TrackRow} row @param {TakeParts} parts */
  constructor(row, parts) {
    this.#row = row;
    this.#parts = parts;
    void parts.outbox.putTrack(row);
    this.#lane = parts.uploader.open(row);
  }

  get trackId() {
    return this.#row.trackId;
  }

  /** Settled when the server has everything, or refused. @returns {Promise<void>} */
  get done() {
    return this.#lane.settled;
  }

  /** Starts a segment on this track, after ending the one before. @param {MediaStreamTrack} track */
  async record(track) {
    const round = ++this.#round;
    await this.#end();
    if (this.#finished || round !== this.#round) return; // over, paused, or another device already
    const seg = this.#nextSeg++;
    try {
      const segment = new SegmentRecorder(track, this.#parts.recorder, (blob) => this.#keep(seg, blob));
      this.#segment = segment;
      segment.start();
      void segment.stopped.then(({ error }) => {
        if (error) this.#parts.onError(error);
        if (this.#segment === segment) this.#parts.onEnded();
      });
    } catch (error) {
      this.#segment = null;
      this.#parts.onError(error); // this source cannot be recorded; the others can
    }
  }

  /** Ends the segment; what comes next is said by `record`. */
  async pause() {
    this.#round++;
    await this.#end();
  }

  flush() {
    this.#segment?.flush();
  }

  /** Ends the recorder and resolves when the server has everything and knows so, or refused. @param {string} reason */
  finish(reason) {
    this.#finished ??= this.#finish(reason);
    return this.#finished;
  }

  /** @param {string} reason */
  async #finish(reason) {
    await this.#end();
    await this.#storing;
    await this.#parts.uploader.complete(this.#lane, { segments: this.#row.segments, reason });
  }

  async #end() {
    const segment = this.#segment;
    this.#segment = null;
    await segment?.stop();
  }

  /** @param {number} seg @param {RecordedBlob} recorded */
  #keep(seg, recorded) {
    const belief = this.#parts.clock.belief;
    this.#storing = this.#storing
      .then(async () => {
        const { recordingId, trackId, segments } = this.#row;
        const bytes = await recorded.blob.arrayBuffer();
        const digest = contentDigest(await crypto.subtle.digest("SHA-256", bytes));
        const header = chunkHeader({
          seg,
          seq: recorded.seq,
          start: recorded.startMs,
          at: recorded.atMs,
          offset: belief?.offsetMs,
          err: belief ? Math.ceil(belief.errMs) : undefined,
        });
        const { seq, atMs, mimeType } = recorded;
        const sizeBytes = bytes.byteLength;
        let sum = segments.find((s) => s.seg === seg);
        if (!sum) segments.push((sum = { seg, chunks: 0, bytes: 0 }));
        sum.chunks = seq + 1;
        sum.bytes += sizeBytes;
        const row = { recordingId, trackId, seg, seq, sizeBytes, atMs, mimeType, digest, header };
        await this.#parts.outbox.putChunk(row, bytes, this.#row);
        this.#parts.uploader.add(this.#lane, row);
        this.#parts.onChunk(row);
      })
      .catch((error) => this.#parts.onError(error));
  }
}
