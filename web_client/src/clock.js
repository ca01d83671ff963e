/**
 * What must be added to this browser's clock to get the server's. The one rule: the clock here is monotonic
 * (`performance.timeOrigin + performance.now()`), so that a person who sets the time does not move a recording.
 */

import { Emitter } from "./emitter.js";

/** @typedef {import("./protocol.js").Api} Api */
/** @typedef {{ offsetMs: number, errMs: number }} Belief */
/** @typedef {Belief & { takenMs: number }} Sample */

/** Half a round trip is the error of one probe; the best of a burst is nearly always free of queueing. */
const BURST = 8;
const EVERY_MS = 10_000;
const PROBE_TIMEOUT_MS = 5_000;
/** Quartz clocks differ by up to about 100 ppm: an older probe is worth less by that much. */
const DRIFT = 100e-6;
const KEEP_MS = 120_000;
/** Wall clock against monotonic clock, looked at every second: what moves them apart by so much at once is sleep, or a hand. */
const TICK_MS = 1_000;
const STEP_MS = 50;
/** Timers that were held back this long: the machine slept, or the window did. */
const ASLEEP_MS = 5_000;

/** Milliseconds since 1970 on this browser's monotonic clock. */
export function now() {
  return performance.timeOrigin + performance.now();
}

/**
 * One probe: the server read its clock somewhere between our two instants.
 * @param {number} sentMs @param {number} serverTimeMs @param {number} receivedMs
 * @returns {Sample}
 */
export function sample(sentMs, serverTimeMs, receivedMs) {
  return { offsetMs: serverTimeMs - (sentMs + receivedMs) / 2, errMs: (receivedMs - sentMs) / 2, takenMs: receivedMs };
}

/**
 * The sample with the least error, age counted in. Samples that a newer one contradicts are from before a jump
 * (sleep, a suspended tab) and are dropped.
 * @param {Sample[]} samples oldest first
 * @param {number} nowMs
 * @returns {{ kept: Sample[], best: Sample | null }}
 */
export function choose(samples, nowMs) {
  const aged = (/** @type {Sample} */ s) => s.errMs + (nowMs - s.takenMs) * DRIFT;
  let kept = samples.filter((s) => nowMs - s.takenMs <= KEEP_MS);
  const newest = kept.at(-1);
  if (newest) {
    kept = kept.filter((s) => Math.abs(s.offsetMs - newest.offsetMs) <= aged(s) + aged(newest) + 1);
  }
  let best = null;
  for (const s of kept) if (!best || aged(s) <= aged(best)) best = s;
  return { kept, best };
}

/**
 * Whether the monotonic clock itself has moved against the server's: some stand still while the machine sleeps.
 * @param {Belief} before @param {Belief} after
 */
export function hasJumped(before, after) {
  return Math.abs(after.offsetMs - before.offsetMs) > Math.max(30, 3 * (before.errMs + after.errMs));
}

/**
 * @typedef {object} ClockEvents
 * @property {Belief} belief
 * @property {{ byMs: number }} jump what was stamped before and what is stamped now are not on one clock
 */

/** @extends {Emitter<ClockEvents>} */
export class Clock extends Emitter {
  #api;
  #now;
  #wall;
  /** @type {Sample[]} */ #samples = [];
  /** @type {Sample | null} */ #best = null;
  /** @type {Sample | null} believed before something happened to the clocks */ #doubted = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  /** @type {ReturnType<typeof setInterval> | undefined} */ #ticker;
  #running = false;
  #seen = { wallMs: 0, monoMs: 0 };

  /** @param {Pick<Api, "time">} api @param {() => number} [clock] @param {() => number} [wall] */
  constructor(api, clock = now, wall = Date.now) {
    super();
    this.#api = api;
    this.#now = clock;
    this.#wall = wall;
  }

  /** @returns {Belief | null} null until the first probe came back */
  get belief() {
    return this.#best && { offsetMs: this.#best.offsetMs, errMs: this.#best.errMs };
  }

  /** The server's time now, as far as we know. */
  serverNow() {
    return this.#now() + (this.#best?.offsetMs ?? 0);
  }

  start() {
    if (this.#running) return;
    this.#running = true;
    this.#seen = { wallMs: this.#wall(), monoMs: this.#now() };
    this.#ticker = setInterval(() => this.tick(), TICK_MS);
    void this.#loop();
  }

  stop() {
    this.#running = false;
    clearTimeout(this.#timer);
    clearInterval(this.#ticker);
  }

  /** Looks whether something has happened to the clocks. */
  tick() {
    const [wallMs, monoMs] = [this.#wall(), this.#now()];
    const [wallWent, monoWent] = [wallMs - this.#seen.wallMs, monoMs - this.#seen.monoMs];
    this.#seen = { wallMs, monoMs };
    if (Math.abs(wallWent - monoWent) > STEP_MS || monoWent > ASLEEP_MS) this.doubt();
  }

  /** The clocks may have moved: asks the server anew, and tells of a jump if there was one. */
  doubt() {
    this.#doubted ??= this.#best;
    this.#samples = [];
    if (!this.#running) return;
    clearTimeout(this.#timer);
    void this.#loop();
  }

  /** A burst of probes, one after the other. What fails is left out. */
  async probe(count = BURST) {
    for (let i = 0; i < count; i++) {
      const sentMs = this.#now();
      try {
        const { serverTimeMs, receivedMs } = await this.#api.time(this.#now, { timeoutMs: PROBE_TIMEOUT_MS });
        if (Number.isFinite(serverTimeMs)) this.#samples.push(sample(sentMs, serverTimeMs, receivedMs));
      } catch {
        break; // no server now; the next burst comes by itself
      }
    }
    const { kept, best } = choose(this.#samples, this.#now());
    this.#samples = kept;
    if (best) {
      const before = this.#doubted;
      this.#doubted = null;
      this.#best = best;
      this.emit("belief", { offsetMs: best.offsetMs, errMs: best.errMs });
      if (before && hasJumped(before, best)) this.emit("jump", { byMs: Math.round(best.offsetMs - before.offsetMs) });
    }
    return this.belief;
  }

  #turn = 0;
  async #loop() {
    const turn = ++this.#turn;
    await this.probe();
    if (!this.#running || turn !== this.#turn) return;
    // Until there is an answer every chunk goes out without an offset, or with a doubtful one: ask sooner.
    this.#timer = setTimeout(() => void this.#loop(), this.#best && !this.#doubted ? EVERY_MS : 1_000);
  }
}
