/**
 * One source in one recording, from its first Blob to `complete`: segments one after the other. The one rule: whatever
 * happens to a recorder, its device or the network, the source goes on as a new segment of the same track.
 */

import { CallreelError, randomId } from "./protocol.js";
import { SegmentRecorder } from "./recorder.js";

/** @typedef {import("./clock.js").Clock} Clock */
/** @typedef {import("./depot.js").DepotLike} DepotLike */
/** @typedef {import("./outbox.js").ChunkRow} ChunkRow */
/** @typedef {import("./protocol.js").FactType} FactType */
/** @typedef {import("./recorder.js").RecordedBlob} RecordedBlob */
/** @typedef {import("./recorder.js").RecorderOptions} RecorderOptions */
/** @typedef {import("./uploader.js").Which} Which */
/** @typedef {{ which: Which, nextSeg: number }} Home the track, and the number that its next run gets */
/**
 * @typedef {object} TakeParts
 * @property {DepotLike} depot
 * @property {Clock} clock
 * @property {() => number} now
 * @property {() => RecorderOptions} recorder asked for every segment: the bit rate may have changed
 * @property {boolean} mayBeStill
 * @property {(error: unknown) => void} onError
 * @property {(chunk: ChunkRow, blob: Blob) => void} onChunk
 * @property {(segment: { seg: number, mimeType: string, reason: string }) => void} onSegment
 */

const FIRST_REST_MS = 250;
const LONGEST_REST_MS = 30_000;
/** How often a track is asked whether its page switched it off: a card that comes so late is nothing anybody sees. */
const SWITCHED_MS = 200;
/** A source that is silent whatever recorder looks at it is looked at less often. */
const PATIENCE_MS = 6_000;
/** A second device may be given at once; a track that ended twice a second would be a loop. */
const HOPELESS = ["no_recorder", "unsupported_codec", "track_ended"];

export class Take {
  #parts;
  #home;
  /** @type {MediaStreamTrack | null} */ #track = null;
  /** @type {SegmentRecorder | null} */ #segment = null;
  /** @type {Set<Promise<unknown>>} */ #running = new Set();
  /** @type {Set<Promise<unknown>>} */ #keeping = new Set();
  #runs = 0;
  #failures = 0;
  /** Who wants nothing to be captured now: the host, or this person. @type {Set<string>} */ #held = new Set();
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #rest;
  /** @type {Promise<void> | null} */ #finished = null;
  #unwatch = () => {};

  /** @param {Promise<Home>} home recording does not wait for it @param {TakeParts} parts */
  constructor(home, parts) {
    this.#home = home;
    this.#parts = parts;
  }

  /** Now, and after what was recorded before: another device for the same source. @param {MediaStreamTrack} track @param {string} [reason] */
  record(track, reason = "replaced") {
    if (this.#finished) return;
    this.#unwatch();
    this.#track = track;
    this.#failures = 0;
    const say = (/** @type {Event} */ { type }) => this.tell(type === "mute" ? "muted" : type === "unmute" ? "unmuted" : "ended");
    for (const type of ["mute", "unmute", "ended"]) track.addEventListener?.(type, say);
    // No event tells that a page switched its camera off; its recorder goes on with black pictures.
    let on = track.enabled;
    const switched = setInterval(() => {
      if (track.enabled !== on) this.tell((on = track.enabled) ? "unmuted" : "muted");
    }, SWITCHED_MS);
    this.#unwatch = () => {
      clearInterval(switched);
      for (const type of ["mute", "unmute", "ended"]) track.removeEventListener?.(type, say);
    };
    if (track.muted || track.enabled === false) this.tell("muted");
    this.restart(reason);
  }

  /** A new segment: the one before ends at this instant. @param {string} reason */
  restart(reason) {
    if (this.#finished || this.#held.size || !this.#track) return;
    clearTimeout(this.#rest);
    const track = this.#track;
    this.#endSegment();
    const run = this.#runs;
    try {
      const segment = SegmentRecorder.begin(track, this.#parts.recorder(), {
        mayBeStill: this.#parts.mayBeStill,
        patienceMs: this.#failures && PATIENCE_MS * 2 ** Math.min(this.#failures, 3),
        onBlob: (blob) => this.#keep(run, blob),
        onTrouble: (error) => {
          if (this.#segment !== segment) return;
          if (error.code === "stalled") this.#failures++;
          this.#parts.onError(error);
          this.restart(error.code);
        },
      });
      this.#runs++;
      this.#segment = segment;
      void segment.stopped.then(({ error }) => this.#stopped(segment, error));
      this.tell("settings", settingsOf(track, segment.mimeType));
      void this.#home.then(({ nextSeg }) => this.#parts.onSegment({ seg: nextSeg + run, mimeType: segment.mimeType, reason }));
    } catch (error) {
      this.#parts.onError(error);
      if (!(error instanceof CallreelError && HOPELESS.includes(error.code))) this.#later();
    }
  }

  /** Nothing is captured until everybody released it. Ends the segment: what a recorder writes does not tell how long a pause was. @param {string} who */
  hold(who) {
    if (this.#finished || this.#held.has(who)) return;
    this.#held.add(who);
    if (this.#held.size > 1) return;
    clearTimeout(this.#rest);
    this.#endSegment();
    if (this.#track) this.tell("paused");
  }

  /** @param {string} who */
  release(who) {
    if (this.#finished || !this.#held.delete(who) || this.#held.size) return;
    this.tell("resumed");
    if (this.#track?.readyState !== "ended") this.restart("resumed");
  }

  flush() {
    this.#segment?.flush();
  }

  /** @param {FactType} type @param {Record<string, unknown>} [data] */
  tell(type, data) {
    const fact = { id: randomId(8), type, atMs: Math.round(this.#parts.now()), ...(data && { data }) };
    void this.#home.then(({ which }) => this.#parts.depot.tell(which, fact));
  }

  /** Ends the recorder and resolves when the server has everything and knows so, or refused. @param {string} reason */
  finish(reason) {
    this.#finished ??= this.#finish(reason);
    return this.#finished;
  }

  /** @param {string} reason */
  async #finish(reason) {
    clearTimeout(this.#rest);
    this.#unwatch();
    this.#endSegment();
    await Promise.all(this.#running);
    await Promise.all(this.#keeping);
    const { which } = await this.#home;
    await this.#parts.depot.complete(which, reason);
  }

  #endSegment() {
    const segment = this.#segment;
    this.#segment = null;
    if (!segment) return;
    const stopped = segment.stop();
    this.#running.add(stopped);
    void stopped.then(() => this.#running.delete(stopped));
  }

  /** A segment ended that nobody ended. @param {SegmentRecorder} segment @param {unknown} error */
  #stopped(segment, error) {
    if (this.#segment !== segment) return;
    this.#segment = null;
    if (this.#track?.readyState === "ended") {
      this.#parts.onError(new CallreelError("track_ended", "The device is gone, or its sharing was ended: give another track, or none.", { cause: error }));
      return;
    }
    this.#parts.onError(new CallreelError("recorder_failed", "The browser's recorder stopped by itself: it is started again.", { cause: error }));
    this.#later();
  }

  #later() {
    const restMs = Math.min(LONGEST_REST_MS, FIRST_REST_MS * 2 ** Math.min(this.#failures++, 10));
    clearTimeout(this.#rest);
    this.#rest = setTimeout(() => this.restart("recovered"), restMs);
  }

  /** @param {number} run @param {RecordedBlob} recorded */
  #keep(run, { seq, blob, mimeType, startMs, atMs }) {
    if (seq > 0) this.#failures = 0;
    const belief = this.#parts.clock.belief;
    const probe = belief && { offset: Math.round(belief.offsetMs), err: Math.ceil(belief.errMs) };
    const keeping = this.#home
      .then(({ which, nextSeg }) =>
        this.#parts.depot.keep(which, { seg: nextSeg + run, seq, start: Math.round(startMs), at: Math.round(atMs), ...probe }, mimeType, blob),
      )
      .then((row) => row && this.#parts.onChunk(row, blob))
      .catch((error) => this.#parts.onError(error));
    this.#keeping.add(keeping);
    void keeping.then(() => this.#keeping.delete(keeping));
  }
}

/** @param {MediaStreamTrack} track @param {string} mimeType */
function settingsOf(track, mimeType) {
  const { width, height, frameRate, sampleRate, channelCount, displaySurface } = /** @type {MediaTrackSettings & { displaySurface?: string }} */ (track.getSettings?.() ?? {});
  return { mimeType, width, height, frameRate, sampleRate, channelCount, displaySurface };
}
