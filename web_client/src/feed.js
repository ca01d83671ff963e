/** A source that the page gave, recorded or not. The one rule: the page keeps its handle over recordings, pauses and devices. */

/** @typedef {import("./protocol.js").Source} Source */
/** @typedef {import("./take.js").Take} Take */

export class Feed {
  /** @type {Take | null} what is recorded of it now */ take = null;
  /** @type {MediaStreamTrack} */ track;
  #paused = false;
  #onStop;

  /** @param {MediaStreamTrack} track @param {Source} source @param {string} label @param {(feed: Feed) => Promise<void>} onStop */
  constructor(track, source, label, onStop) {
    this.track = track;
    this.source = source;
    this.label = label;
    this.#onStop = onStop;
  }

  /** @param {Take} take @param {boolean} held nothing is recorded of it yet */
  begin(take, held) {
    this.take = take;
    if (held) take.hold("host");
    if (this.#paused) take.hold("me");
    take.record(this.track, "begun");
  }

  /** Another device for the same source: a new segment of the same track. @param {MediaStreamTrack} other */
  replace(other) {
    this.track = other;
    this.take?.record(other);
  }

  /** Nothing is captured of it until `resume`. */
  pause() {
    this.#paused = true;
    this.take?.hold("me");
  }

  resume() {
    this.#paused = false;
    this.take?.release("me");
  }

  /** This source is gone; what was recorded of it is still uploaded. */
  stop() {
    return this.#onStop(this);
  }
}
