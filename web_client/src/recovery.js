/**
 * What earlier visits left behind, and who of the open windows cares for it. The one rule: a track is in the hands of
 * one window, that which holds its lock; and what nobody records any more, of one recording, in those of one for all.
 */

import { nameOf } from "./depot.js";

/** @typedef {import("./depot.js").DepotLike} DepotLike */
/** @typedef {import("./depot.js").Leftover} Leftover */
/** @typedef {import("./outbox.js").TrackRow} TrackRow */
/** @typedef {import("./take.js").Home} Home */
/** @typedef {import("./uploader.js").Which} Which */
/** @typedef {Pick<TrackRow, "endpoint" | "callId" | "owner">} Whose */
/** @typedef {{ row: Leftover, sent: Promise<void>, goesOn: boolean, told: boolean, finished?: Promise<void> }} Claim `sent`: what was left of it is stored, or refused */

export class Recovery {
  #depot;
  #locks;
  /** @type {Map<string, Claim>} */ #claims = new Map();
  /** @type {Map<string, () => void>} */ #held = new Map();
  /** @type {Promise<unknown>} */ #claiming = Promise.resolve();

  /** @param {DepotLike} depot @param {LockManager | null | undefined} locks without them every window thinks that it is the only one */
  constructor(depot, locks) {
    this.#depot = depot;
    this.#locks = locks;
  }

  /** Tells other windows, before the outbox shows it to them, that this track is in good hands. @param {Which} which @returns {Promise<boolean>} false: it is in others' */
  hold(which) {
    return this.#lock(nameOf(which));
  }

  /** @param {string} name @returns {Promise<boolean>} */
  #lock(name) {
    if (this.#held.has(name)) return Promise.resolve(true);
    const locks = this.#locks;
    if (!locks) return Promise.resolve(true);
    return new Promise((resolve) => {
      const work = (/** @type {Lock | null} */ lock) => {
        resolve(lock !== null);
        if (lock) return new Promise((/** @type {(value?: unknown) => void} */ release) => this.#held.set(name, () => release()));
      };
      locks.request(`callreel:${name}`, { ifAvailable: true }, work).catch(() => resolve(true)); // not here: a window of its own
    });
  }

  /** @param {Which} which */
  release(which) {
    this.#held.get(nameOf(which))?.();
    this.#held.delete(nameOf(which));
  }

  /** What was claimed, by whomever, and not asked for here before. */
  news() {
    const found = [...this.#claims.values()].filter((claim) => !claim.told);
    for (const claim of found) claim.told = true;
    return found;
  }

  /** Takes what nobody cares for. @param {Whose} whose @param {TrackRow} [wanted] what goes on here is taken whoever cares for the rest */
  claim(whose, wanted) {
    const claiming = this.#claiming.then(async () => {
      for (const row of await this.#depot.leftovers(whose)) {
        if (this.#claims.has(nameOf(row))) continue;
        if (!(await this.#lock(`${row.recordingId} ${row.owner}`)) && !(wanted && goesOnAs(row, wanted))) continue;
        if (!(await this.hold(row))) continue;
        this.#claims.set(nameOf(row), { row, sent: this.#sent(row), goesOn: false, told: false });
      }
    });
    this.#claiming = claiming.catch(() => {});
    return claiming;
  }

  /** Sends what is left of a track, and that it is complete. @param {Claim} claim */
  finish(claim) {
    return claim.goesOn ? claim.sent : (claim.finished ??= this.#finish(claim));
  }

  /** @param {Claim} claim */
  async #finish(claim) {
    if (claim.goesOn) return claim.sent;
    await this.#depot.adopt(claim.row, false);
    if (claim.goesOn) return claim.sent;
    await this.#depot.complete(claim.row, "recovered");
    if (!claim.goesOn) this.release(claim.row);
  }

  /** A track of the same source in the same recording, left by this person's page before it was loaded again. @param {TrackRow} wanted @returns {Promise<Home | null>} */
  async goOn(wanted) {
    const { recordingId } = wanted;
    for (const claim of this.#claims.values()) {
      const { row } = claim;
      if (claim.goesOn || !goesOnAs(row, wanted)) continue;
      claim.goesOn = true;
      const nextSeg = (await this.hold(row)) ? await this.#depot.adopt(row, true) : -1;
      if (nextSeg >= 0) return { which: { recordingId, trackId: row.trackId }, nextSeg };
      claim.goesOn = false; // another track then, and this one is finished
      claim.finished = undefined;
      void this.finish(claim);
    }
    return null;
  }

  close() {
    for (const release of this.#held.values()) release();
    this.#held.clear();
  }

  /** @param {Leftover} row @returns {Promise<void>} */
  #sent(row) {
    let left = row.chunks;
    if (left === 0) return Promise.resolve();
    const segs = new Set(row.segments.map(({ seg }) => seg));
    return new Promise((resolve) => {
      const undo = /** @type {const} */ (["acknowledged", "refused"]).map((name) =>
        this.#depot.on(name, (detail) => {
          if (nameOf(detail) !== nameOf(row)) return;
          if (detail.seg !== undefined && (!segs.has(detail.seg) || --left > 0)) return;
          for (const each of undo) each();
          resolve();
        }),
      );
    });
  }
}

/** The same source in the same recording. @param {TrackRow} row @param {TrackRow} wanted */
const goesOnAs = ({ recordingId, body: a }, { recordingId: wanted, body: b }) =>
  recordingId === wanted && a.source === b.source && a.kind === b.kind && (a.label ?? "") === (b.label ?? "") && a.participantId === b.participantId;
