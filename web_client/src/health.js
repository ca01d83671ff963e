/** How a source is, so that the host sees who is at risk before it is too late. The one rule: looking costs next to nothing. */

/** @typedef {import("./feed.js").Feed} Feed */
/**
 * @typedef {object} Health
 * @property {boolean} onDisk false: a crash would lose it
 * @property {number} [freeBytes] what the browser still gives this page
 * @property {number} [levelDb] loudest moment since the last look, dB of full scale; about −100 where nothing is heard
 * @property {boolean} [clipping] it was too loud
 * @property {boolean} [frozen] a camera that delivers no picture any more
 */

const CLIPPED = 0.99;
const SILENCE_DB = -100;

export class HealthMonitor {
  /** @type {AudioContext | null} */ #context = null;
  /** @type {Map<Feed, { track: MediaStreamTrack, node: AudioNode, analyser: AnalyserNode, peak: number }>} */ #meters = new Map();
  /** @type {WeakMap<Feed, { track: MediaStreamTrack, frames: number }>} */ #pictures = new WeakMap();
  /** @type {Float32Array<ArrayBuffer>} */ #samples = new Float32Array(2048);
  /** @type {number | undefined} */ #freeBytes;

  /** A glance at the microphones: often, for a peak lasts some milliseconds. @param {Iterable<Feed>} feeds */
  listen(feeds) {
    for (const feed of feeds) {
      const meter = feed.track.kind === "audio" ? this.#meter(feed) : undefined;
      if (!meter) continue;
      meter.analyser.getFloatTimeDomainData(this.#samples);
      for (const sample of this.#samples) if (Math.abs(sample) > meter.peak) meter.peak = Math.abs(sample);
    }
  }

  /** @param {Feed} feed @param {boolean} onDisk @returns {Health} */
  look(feed, onDisk) {
    /** @type {Health} */
    const health = { onDisk };
    if (this.#freeBytes !== undefined) health.freeBytes = this.#freeBytes;
    const meter = this.#meters.get(feed);
    if (meter && this.#context?.state === "running") {
      health.levelDb = meter.peak > 1e-5 ? Math.round(20 * Math.log10(meter.peak)) : SILENCE_DB;
      health.clipping = meter.peak >= CLIPPED;
      meter.peak = 0;
    }
    if (feed.source === "camera" && feed.track.kind === "video") {
      const frozen = this.#isFrozen(feed);
      if (frozen !== undefined) health.frozen = frozen;
    }
    return health;
  }

  /** What room is left. Asked now and then, for browsers take their time. */
  async measureDisk() {
    try {
      const { quota, usage } = (await globalThis.navigator?.storage?.estimate?.()) ?? {};
      if (quota !== undefined && usage !== undefined) this.#freeBytes = quota - usage;
    } catch {
      // not here; whether chunks are kept is told anyway
    }
    return this.#freeBytes;
  }

  close() {
    for (const { node } of this.#meters.values()) node.disconnect();
    this.#meters.clear();
    void this.#context?.close().catch(() => {});
    this.#context = null;
  }

  /** @param {Feed} feed */
  #meter(feed) {
    const known = this.#meters.get(feed);
    if (known?.track === feed.track) return known;
    known?.node.disconnect();
    this.#meters.delete(feed);
    try {
      if (!globalThis.AudioContext || feed.track.readyState === "ended") return undefined;
      this.#context ??= new AudioContext();
      const node = this.#context.createMediaStreamSource(new MediaStream([feed.track]));
      const analyser = this.#context.createAnalyser();
      node.connect(analyser);
      const meter = { track: feed.track, node, analyser, peak: 0 };
      this.#meters.set(feed, meter);
      return meter;
    } catch {
      return undefined; // a level is no reason to disturb anybody
    }
  }

  /** By https://w3c.github.io/mediacapture-extensions/#the-mediastreamtrackvideostats-interface, where there is one. @param {Feed} feed */
  #isFrozen(feed) {
    const { track } = feed;
    const frames = /** @type {{ stats?: { totalFrames?: number } }} */ (track).stats?.totalFrames;
    if (frames === undefined) return undefined;
    const before = this.#pictures.get(feed);
    this.#pictures.set(feed, { track, frames });
    return before?.track === track && before.frames === frames && !track.muted && track.enabled;
  }
}
