/**
 * One run of a MediaRecorder over one MediaStreamTrack: a segment. Numbers its Blobs, stamps their instants, and says
 * when it is no longer worth going on. The one rule: a segment never knows of the network, so nothing there can stop it.
 */

import { now } from "./clock.js";
import { CallreelError } from "./protocol.js";

/** @typedef {{ seq: number, blob: Blob, mimeType: string, startMs: number, atMs: number }} RecordedBlob */
/**
 * @typedef {object} RecorderOptions
 * @property {number} [timesliceMs]
 * @property {string[]} [mimeTypes] in order of preference, instead of ours
 * @property {number} [videoBitsPerSecond]
 * @property {number} [audioBitsPerSecond]
 * @property {number} [keyFrameIntervalMs]
 * @property {typeof MediaRecorder} [MediaRecorder]
 * @property {() => number} [now]
 */
/**
 * @typedef {object} Run
 * @property {(blob: RecordedBlob) => void} onBlob
 * @property {(error: CallreelError) => void} onTrouble it records no longer as it should: `stalled` or `resized`
 * @property {boolean} [mayBeStill] a shared screen that does not move has nothing to deliver
 * @property {number} [patienceMs] how long it may be silent
 */

/**
 * WebM first: its recorders write in the middle of a group of pictures, so a crash costs less. In MP4 `avc3` before
 * `avc1`: the latter is corrupt after a change of resolution.
 */
export const MIME_TYPES = {
  video: [
    "video/webm;codecs=vp9",
    "video/webm;codecs=vp8",
    "video/webm",
    "video/mp4;codecs=avc3.42E01F",
    "video/mp4;codecs=avc1.42E01F",
    "video/mp4",
  ],
  audio: ["audio/webm;codecs=opus", "audio/webm", "audio/ogg;codecs=opus", "audio/mp4;codecs=opus", "audio/mp4"],
};

/** Nothing for so many timeslices: ask. Nothing for one more: this recorder is dead. Chromium's may be, after sleep. */
const SILENT_SLICES = 3;
/** A recorder that was told to stop and does not say that it has. */
const STOPPING_MS = 5_000;

/**
 * The types of these that this browser can record, or "" to let it choose.
 * @param {string[]} preferred
 * @param {Pick<typeof MediaRecorder, "isTypeSupported">} Recorder
 */
export function usableTypes(preferred, Recorder) {
  const usable = preferred.filter((type) => Recorder.isTypeSupported(type));
  return usable.length ? usable : [""];
}

/** A size changed in the middle is written so that nothing behind it decodes. @param {string} mimeType */
const breaksOnResize = (mimeType) => /mp4/.test(mimeType) && /avc1|^[^=]*$/.test(mimeType);

export class SegmentRecorder {
  #track;
  #run;
  #recorder;
  #timesliceMs;
  #now;
  #seq = 0;
  #startMs = 0;
  #aliveMs = 0;
  #askedMs = 0;
  #size = "";
  /** @type {ReturnType<typeof setInterval> | undefined} */ #watchdog;
  /** @type {unknown} */ #error = null;
  #settle = () => {};

  /** @type {Promise<{ error: unknown }>} settled when the last Blob was handed over, whoever ended the run */
  stopped;

  /**
   * Begins to record, in the first type that works.
   * @param {MediaStreamTrack} track
   * @param {RecorderOptions} options
   * @param {Run} run
   * @throws {CallreelError} `no_recorder`, `track_ended`, `unsupported_codec`
   */
  static begin(track, options, run) {
    const Recorder = options.MediaRecorder ?? globalThis.MediaRecorder;
    if (!Recorder) throw new CallreelError("no_recorder", "This browser cannot record: it has no MediaRecorder.");
    const kind = track.kind === "audio" ? "audio" : "video";
    let cause;
    for (const mimeType of usableTypes(options.mimeTypes ?? MIME_TYPES[kind], Recorder)) {
      if (track.readyState === "ended") throw new CallreelError("track_ended", `The ${kind} has ended: give another track.`);
      try {
        const segment = new SegmentRecorder(track, options, run, mimeType, Recorder);
        segment.#start();
        return segment;
      } catch (error) {
        cause = error; // it said that it could; the next type perhaps can
      }
    }
    throw new CallreelError("unsupported_codec", `This browser records this ${kind} in no type that was asked for.`, { cause });
  }

  /** @param {MediaStreamTrack} track @param {RecorderOptions} options @param {Run} run @param {string} mimeType @param {typeof MediaRecorder} Recorder */
  constructor(track, options, run, mimeType, Recorder) {
    this.#track = track;
    this.#run = run;
    this.#timesliceMs = options.timesliceMs ?? 2_000;
    this.#now = options.now ?? now;
    /** @type {MediaRecorderOptions & { videoKeyFrameIntervalDuration?: number }} */
    const wanted = mimeType ? { mimeType } : {};
    if (track.kind === "audio") {
      if (options.audioBitsPerSecond) wanted.audioBitsPerSecond = options.audioBitsPerSecond;
    } else {
      if (options.videoBitsPerSecond) wanted.videoBitsPerSecond = options.videoBitsPerSecond;
      // Pictures before the next key frame are lost with a chunk: two seconds bound that. Others ignore the member.
      wanted.videoKeyFrameIntervalDuration = options.keyFrameIntervalMs ?? 2_000;
    }
    this.#recorder = new Recorder(new MediaStream([track]), wanted);
    this.stopped = new Promise((resolve) => {
      this.#settle = () => {
        clearInterval(this.#watchdog);
        resolve({ error: this.#error });
      };
    });
    // Not at once: Firefox may deliver the last Blob right behind `stop`.
    this.#recorder.addEventListener("stop", () => setTimeout(this.#settle, 0));
    this.#recorder.addEventListener("dataavailable", (event) => this.#take(event.data));
    this.#recorder.addEventListener("error", (event) => (this.#error = /** @type {any} */ (event).error ?? event));
  }

  /** What the browser writes; it may differ from what it was asked for. */
  get mimeType() {
    return this.#recorder.mimeType;
  }

  #start() {
    // Media time zero is this call, to a few milliseconds; the `start` event is up to 0.2 s late.
    this.#startMs = this.#aliveMs = this.#now();
    this.#recorder.start(this.#timesliceMs);
    this.#size = this.#sizeNow();
    this.#watchdog = setInterval(() => this.#watch(), Math.min(500, this.#timesliceMs));
  }

  /** Asks for what was recorded since the last Blob. */
  flush() {
    if (this.#recorder.state === "recording") this.#recorder.requestData();
  }

  /** Ends the run at this instant; its last Blob comes a little later. */
  stop() {
    if (this.#recorder.state !== "inactive") {
      this.#recorder.stop();
      setTimeout(this.#settle, STOPPING_MS);
    }
    return this.stopped;
  }

  #sizeNow() {
    const { width, height } = this.#track.getSettings?.() ?? {};
    return `${width}x${height}`;
  }

  #watch() {
    const nowMs = this.#now();
    // Chromium records silence and black of a track that its page switched off, Firefox nothing at all.
    const off = this.#track.muted || this.#track.enabled === false;
    if (this.#recorder.state !== "recording" || off || this.#track.readyState === "ended") {
      this.#aliveMs = nowMs; // nothing is owed now
      this.#askedMs = 0;
      return;
    }
    if (breaksOnResize(this.mimeType) && this.#sizeNow() !== this.#size) {
      this.#run.onTrouble(new CallreelError("resized", `The picture is ${this.#sizeNow()} now: a new segment begins.`));
      return;
    }
    const silentMs = nowMs - this.#aliveMs;
    const patienceMs = Math.max(this.#run.patienceMs ?? 0, SILENT_SLICES * this.#timesliceMs);
    if (silentMs <= patienceMs) return;
    if (!this.#askedMs) {
      this.#askedMs = nowMs;
      this.flush();
    } else if (nowMs - this.#askedMs > this.#timesliceMs) {
      this.#run.onTrouble(new CallreelError("stalled", `The recorder was silent for ${Math.round(silentMs)} ms: it is started again.`));
    }
  }

  /** @param {Blob} blob */
  #take(blob) {
    const atMs = this.#now();
    if (blob.size > 0 || this.#run.mayBeStill) {
      this.#aliveMs = atMs;
      this.#askedMs = 0;
    }
    if (blob.size === 0) return; // the last one of a run often is
    const mimeType = this.#recorder.mimeType || blob.type;
    this.#run.onBlob({ seq: this.#seq++, blob, mimeType, startMs: this.#startMs, atMs });
  }
}
