/**
 * One run of a MediaRecorder over one MediaStreamTrack: a segment. Numbers its Blobs and stamps their instants.
 * The one rule: a segment never knows of the network, so nothing there can stop it.
 */

import { now } from "./clock.js";

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

/** After sleep, Chromium may keep everything back until somebody asks. */
const SILENT_SLICES = 4;

/**
 * The first type that this browser can record, or "" to let it choose.
 * @param {string[]} preferred
 * @param {Pick<typeof MediaRecorder, "isTypeSupported">} Recorder
 */
export function pickMimeType(preferred, Recorder) {
  return preferred.find((type) => Recorder.isTypeSupported(type)) ?? "";
}

export class SegmentRecorder {
  #recorder;
  #timesliceMs;
  #now;
  #onBlob;
  #seq = 0;
  #startMs = 0;
  #lastMs = 0;
  /** @type {ReturnType<typeof setInterval> | undefined} */ #watchdog;
  /** @type {unknown} */ #error = null;

  /** @type {Promise<{ error: unknown }>} settled when the last Blob was handed over, whoever ended the run */
  stopped;

  /**
   * @param {MediaStreamTrack} track
   * @param {RecorderOptions} options
   * @param {(blob: RecordedBlob) => void} onBlob
   */
  constructor(track, options, onBlob) {
    const Recorder = options.MediaRecorder ?? globalThis.MediaRecorder;
    const kind = track.kind === "audio" ? "audio" : "video";
    /** @type {MediaRecorderOptions & { videoKeyFrameIntervalDuration?: number }} */
    const wanted = { mimeType: pickMimeType(options.mimeTypes ?? MIME_TYPES[kind], Recorder) };
    if (kind === "audio" && options.audioBitsPerSecond) wanted.audioBitsPerSecond = options.audioBitsPerSecond;
    if (kind === "video" && options.videoBitsPerSecond) wanted.videoBitsPerSecond = options.videoBitsPerSecond;
    // Pictures before the next key frame are lost with a chunk: two seconds bound that. Others ignore the member.
    if (kind === "video") wanted.videoKeyFrameIntervalDuration = options.keyFrameIntervalMs ?? 2_000;
    this.#recorder = new Recorder(new MediaStream([track]), wanted);
    this.#timesliceMs = options.timesliceMs ?? 2_000;
    this.#now = options.now ?? now;
    this.#onBlob = onBlob;
    this.stopped = new Promise((resolve) => {
      this.#recorder.addEventListener("stop", () => {
        clearInterval(this.#watchdog);
        resolve({ error: this.#error });
      });
    });
    this.#recorder.addEventListener("dataavailable", (event) => this.#take(event.data));
    this.#recorder.addEventListener("error", (event) => (this.#error = event));
  }

  /** What the browser writes; it may differ from what it was asked for. */
  get mimeType() {
    return this.#recorder.mimeType;
  }

  start() {
    // Media time zero is this call, to a few milliseconds; the `start` event is up to 0.2 s late.
    this.#startMs = this.#lastMs = this.#now();
    this.#recorder.start(this.#timesliceMs);
    this.#watchdog = setInterval(() => {
      if (this.#now() - this.#lastMs > SILENT_SLICES * this.#timesliceMs) this.flush();
    }, this.#timesliceMs);
  }

  /** Asks for what was recorded since the last Blob. */
  flush() {
    if (this.#recorder.state === "recording") this.#recorder.requestData();
  }

  stop() {
    if (this.#recorder.state !== "inactive") this.#recorder.stop();
    return this.stopped;
  }

  /** @param {Blob} blob */
  #take(blob) {
    const atMs = this.#now();
    this.#lastMs = atMs;
    if (blob.size === 0) return; // the last one of a run often is
    const mimeType = this.#recorder.mimeType || blob.type;
    this.#onBlob({ seq: this.#seq++, blob, mimeType, startMs: this.#startMs, atMs });
  }
}
