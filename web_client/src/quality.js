/** How many bits are worth recording. The one rule: less before the backlog grows without end, more only when it has long been gone. */

/** @typedef {"low" | "standard" | "high"} Preset */
/** @typedef {{ rung: number, growing: number, calmMs: number, lastMs: number, lastPendingMs: number }} Ladder */

/** @type {Record<Preset, { video: number, audio: number }>} bits per second */
export const PRESETS = {
  low: { video: 600_000, audio: 32_000 },
  standard: { video: 1_800_000, audio: 64_000 },
  high: { video: 4_000_000, audio: 128_000 },
};

/** What is left of the wanted bit rate on each rung. */
export const RUNGS = [1, 0.6, 0.35, 0.2];
/** The oldest unsent chunk is so old, and older at each of some looks: the line does not carry it. */
const BEHIND_MS = 15_000;
const LOOKS = 3;
const LOOK_MS = 5_000;
const CALM_MS = 6_000;
const CALM_FOR_MS = 90_000;

/** @returns {Ladder} */
export const newLadder = () => ({ rung: 0, growing: 0, calmMs: 0, lastMs: -Infinity, lastPendingMs: 0 });

/**
 * One look at the backlog.
 * @param {Ladder} ladder @param {number} nowMs @param {number} pendingMs age of the oldest chunk that is not sent
 * @returns {Ladder}
 */
export function look(ladder, nowMs, pendingMs) {
  if (nowMs - ladder.lastMs < LOOK_MS) return ladder;
  const passedMs = Number.isFinite(ladder.lastMs) ? nowMs - ladder.lastMs : 0;
  const growing = pendingMs > BEHIND_MS && pendingMs > ladder.lastPendingMs ? ladder.growing + 1 : 0;
  const calmMs = pendingMs < CALM_MS ? ladder.calmMs + passedMs : 0;
  const next = { rung: ladder.rung, growing, calmMs, lastMs: nowMs, lastPendingMs: pendingMs };
  if (growing >= LOOKS && ladder.rung < RUNGS.length - 1) return { ...next, rung: ladder.rung + 1, growing: 0 };
  if (calmMs >= CALM_FOR_MS && ladder.rung > 0) return { ...next, rung: ladder.rung - 1, calmMs: 0 };
  return next;
}
