/**
 * A recorder for whoever is in a call. The one rule: nothing is captured before the server said that the recording runs,
 * and capture ends as soon as it says that it stopped, or for as long as it says that it is paused.
 */

import { Api, CallreelError, randomId } from "./protocol.js";
import { Clock, now } from "./clock.js";
import { DEPOT_EVENTS } from "./depot.js";
import { Emitter } from "./emitter.js";
import { follow } from "./events.js";
import { Feed } from "./feed.js";
import { HealthMonitor } from "./health.js";
import { LastWords, watchPage } from "./page.js";
import { PRESETS, RUNGS, look, newLadder } from "./quality.js";
import { openDepot } from "./remote.js";
import { Recovery } from "./recovery.js";
import { Take } from "./take.js";

/** @typedef {import("./protocol.js").CallEvent} CallEvent */
/** @typedef {import("./protocol.js").Recording} Recording */
/** @typedef {import("./protocol.js").Source} Source */
/** @typedef {import("./outbox.js").TrackRow} TrackRow */
/** @typedef {import("./take.js").Home} Home */
/** @typedef {import("./uploader.js").Progress} Progress */
/** @typedef {import("./options.js").CallOptions} CallOptions */
/** @typedef {import("./options.js").CallRecorderOptions} CallRecorderOptions */
/** @typedef {import("./options.js").CallRecorderEvents} CallRecorderEvents */
/** @typedef {{ drained: boolean } & Progress} EndResult */

const RUNNING = ["recording", "paused"];
/** Chromium's own choice for a camera, of which the rungs are fractions where nothing was asked for. */
const USUAL_BITS = 2_500_000;
/** What other windows of this browser left when they died is looked for now and then. */
const SWEEP_MS = 60_000;
const LOOK_MS = 5_000;
const LISTEN_MS = 250;
const HEALTH_MS = 10_000;
/** Five minutes of one person. */
const LITTLE_ROOM_BYTES = 100 * 1024 * 1024;

/** @extends {Emitter<CallRecorderEvents>} */
export class CallRecorder extends Emitter {
  #options;
  #api;
  #clock;
  #depot;
  #recovery;
  #lastWords = new LastWords();
  #health = new HealthMonitor();
  #onDisk = true;
  #ladder = newLadder();
  /** @type {Progress} */ #progress = { pendingChunks: 0, pendingBytes: 0, pendingMs: 0, sentChunks: 0, sentBytes: 0 };
  /** @type {Set<Feed>} */ #feeds = new Set();
  /** @type {Set<Promise<unknown>>} */ #finishing = new Set();
  #following = new AbortController();
  /** @type {string | null} */ #recordingId = null;
  #paused = false;
  /** What this person said, by recording. @type {Map<string, Promise<boolean>>} */ #consents = new Map();
  /** @type {(() => void)[]} */ #undo = [];
  /** Whose tracks these are. */
  #owner = "";
  /** @type {Promise<void>} */ #identified;

  /** @param {CallRecorderOptions} options */
  constructor(options) {
    super();
    this.#options = options;
    this.#api = new Api(options);
    this.#clock = new Clock(this.#api, options.now);
    this.#depot = openDepot(this.#api, options);
    this.#recovery = new Recovery(this.#depot, options.locks === undefined ? globalThis.navigator?.locks : options.locks);
    for (const name of DEPOT_EVENTS) this.#undo.push(this.#depot.on(name, (detail) => this.emit(name, /** @type {any} */ (detail))));
    this.#undo.push(
      this.#depot.on("progress", (progress) => (this.#progress = progress)),
      this.#depot.on("degraded", () => (this.#onDisk = false)),
      this.#depot.on("restored", () => (this.#onDisk = true)),
      this.#depot.on("acknowledged", (chunk) => this.#lastWords.remove(chunk)),
      this.#clock.on("jump", () => this.#restart("clock")),
      watchPage({
        onHidden: () => this.flush(),
        onLeave: () => this.#leave(),
        onReturn: () => {
          this.#clock.doubt();
          void this.#depot.nudge();
        },
        onOnline: () => void this.#depot.nudge(),
      }),
    );
    this.#every(LOOK_MS, () => this.#adapt());
    if (options.health !== false) {
      this.#every(LISTEN_MS, () => this.#recordingId && this.#health.listen(this.#feeds));
      this.#every(HEALTH_MS, () => void this.#tellHealth());
    }
    if (globalThis.navigator?.locks) this.#every(SWEEP_MS, () => void this.recoverPending().catch(() => {}));
    this.#identified = this.#api.identity().then(
      (id) => void (this.#owner = options.participantId ?? id),
      () => {}, // no token now; requests say so themselves
    );
    this.#clock.start();
    if (options.follow !== false) void this.#identified.then(() => this.#follow());
  }

  get clock() {
    return this.#clock;
  }

  /** The recording that is being captured, or null. */
  get recordingId() {
    return this.#recordingId;
  }

  /** Whether the recording that is being captured is paused. */
  get paused() {
    return this.#paused;
  }

  get progress() {
    return this.#progress;
  }

  /**
   * Records this track: at once, or with `follow` whenever the host records. One recorder a track.
   * @param {MediaStreamTrack} track
   * @param {{ source?: Source, label?: string }} [about] `label` is shown where the token names nobody
   */
  async addTrack(track, { source = track.kind === "audio" ? "microphone" : "camera", label = "" } = {}) {
    if (!globalThis.crypto?.subtle) {
      throw new CallreelError("insecure_origin", "This page was not loaded over https (or from localhost): browsers neither record nor encrypt there.");
    }
    const feed = new Feed(track, source, label, async (stopped) => {
      this.#feeds.delete(stopped);
      await stopped.take?.finish("removed");
    });
    await this.#identified;
    this.#feeds.add(feed);
    if (this.#options.follow === false && !this.#recordingId) {
      const known = this.#options.recordingId;
      const { recordingId, startedAt } = known ? { recordingId: known, startedAt: null } : await this.#api.recording();
      if (!this.#recordingId) this.#begin(recordingId, startedAt, false);
      else if (!feed.take) this.#capture(feed, this.#recordingId);
    } else if (this.#recordingId) this.#capture(feed, this.#recordingId);
    return feed;
  }

  /** Another device for the same source: a new segment of the same track. @param {MediaStreamTrack} old @param {MediaStreamTrack} other */
  replace(old, other) {
    for (const feed of this.#feeds) if (feed.track === old) feed.replace(other);
  }

  /** Nothing is captured here until `resume`; the others, and the recording, go on. */
  pause() {
    for (const feed of this.#feeds) feed.pause();
  }

  resume() {
    for (const feed of this.#feeds) feed.resume();
  }

  /** This person does not agree any more: nothing more is captured of them in this recording, and the server is told. */
  withdraw() {
    const recordingId = this.#recordingId;
    if (!recordingId) return;
    this.#consents.set(recordingId, Promise.resolve(false));
    for (const { take } of this.#feeds) take?.tell("consent", { agreed: false });
    this.#halt("withdrawn");
    this.emit("declined", { recordingId });
  }

  /** Asks the recorders for what they have. For a page that is about to be hidden. */
  flush() {
    for (const feed of this.#feeds) feed.take?.flush();
  }

  /**
   * Ends capture for good and waits until the server has everything, at most so long; uploading goes on after that.
   * @param {{ drainTimeoutMs?: number, reason?: string }} [options]
   * @returns {Promise<EndResult>}
   */
  async end({ drainTimeoutMs = 30_000, reason = "ended" } = {}) {
    this.#following.abort();
    this.#halt(reason);
    this.#feeds.clear();
    /** @type {ReturnType<typeof setTimeout> | undefined} */ let timer;
    const timeout = new Promise((resolve) => (timer = setTimeout(() => resolve(false), drainTimeoutMs)));
    const drained = await Promise.race([Promise.all(this.#finishing).then(() => true), timeout]);
    clearTimeout(timer);
    return { drained: drained === true, ...this.progress };
  }

  /** Ends everything now, uploads too. What was not acknowledged stays in the outbox for the next visit. */
  close() {
    this.#following.abort();
    this.#halt("closed");
    this.#feeds.clear();
    void this.#depot.close();
    this.#recovery.close();
    this.#clock.stop();
    this.#health.close();
    for (const undo of this.#undo) undo();
  }

  /**
   * Sends what an earlier visit left behind: a crash, a reload, a lost network. Resolves when all of it is stored or
   * refused. Tracks of other people, and those that another window cares for, are left alone.
   * @returns {Promise<{ tracks: number, chunks: number, bytes: number }>}
   */
  async recoverPending() {
    await this.#identified;
    await this.#depot.purge();
    await this.#recovery.claim(this.#whose);
    const claims = this.#recovery.news();
    await Promise.all(claims.map((claim) => this.#recovery.finish(claim)));
    const sum = (/** @type {(row: import("./depot.js").Leftover) => number} */ of) => claims.reduce((total, { row }) => total + of(row), 0);
    return { tracks: claims.length, chunks: sum((row) => row.chunks), bytes: sum((row) => row.bytes) };
  }

  get #whose() {
    return { endpoint: this.#api.endpoint, callId: this.#api.callId, owner: this.#owner };
  }

  /** @param {number} ms @param {() => void} work */
  #every(ms, work) {
    const timer = setInterval(work, ms);
    this.#undo.push(() => clearInterval(timer));
  }

  async #follow() {
    await follow(this.#api, {
      signal: this.#following.signal,
      onEvent: (event) => {
        this.#react(event);
        this.emit("event", event);
      },
      onConnection: (state) => this.emit("connection", state),
    });
  }

  /** @param {CallEvent} event */
  #react({ type, data, timestamp }) {
    if (type === "snapshot") {
      const recording = /** @type {Recording | null} */ (data);
      if (recording && RUNNING.includes(recording.status)) {
        this.#begin(recording.recordingId, recording.startedAt, recording.status === "paused");
      } else this.#halt("stopped");
    } else if (type === "recordingstarted") {
      this.#begin(data.recordingId, data.startedAt ?? timestamp ?? null, false);
    } else if (type === "recordingpaused" || type === "recordingresumed") {
      if (data.recordingId === this.#recordingId) this.#hold(type === "recordingpaused");
    } else if (["recordingstopped", "recordingcompleted", "recordingfailed", "recordingdeleted"].includes(type)) {
      if (data.recordingId === this.#recordingId) this.#halt("stopped");
    }
  }

  /** @param {string} recordingId @param {string | null} startedAt @param {boolean} paused */
  #begin(recordingId, startedAt, paused) {
    if (this.#recordingId === recordingId) return this.#hold(paused);
    this.#halt("superseded");
    this.#recordingId = recordingId;
    this.#paused = paused;
    for (const feed of this.#feeds) this.#capture(feed, recordingId);
    this.emit("started", { recordingId, startedAt });
    if (paused) this.emit("paused", { recordingId });
  }

  /** A segment ends with a pause, and the next one of the same track begins behind it. @param {boolean} paused */
  #hold(paused) {
    const recordingId = this.#recordingId;
    if (!recordingId || this.#paused === paused) return;
    this.#paused = paused;
    for (const { take } of this.#feeds) {
      if (paused) take?.hold("host");
      else take?.release("host");
    }
    this.emit(paused ? "paused" : "resumed", { recordingId });
  }

  /** @param {string} reason */
  #halt(reason) {
    const recordingId = this.#recordingId;
    if (!recordingId) return;
    this.#recordingId = null;
    this.#paused = false;
    const finishing = [];
    for (const feed of this.#feeds) {
      if (feed.take) finishing.push(feed.take.finish(reason));
      feed.take = null;
    }
    const all = Promise.allSettled(finishing).then(() => {
      this.#finishing.delete(all);
      this.emit("drained", { recordingId });
    });
    this.#finishing.add(all);
    this.emit("stopped", { recordingId });
  }

  /** Whether this person agrees to this recording; asked once. @param {string} recordingId */
  #consent(recordingId) {
    const { consent = true } = this.#options;
    let said = this.#consents.get(recordingId);
    if (!said) {
      said = Promise.resolve(typeof consent === "function" ? consent(recordingId) : consent).catch(() => false);
      this.#consents.set(recordingId, said);
      void said.then((agreed) => agreed || this.emit("declined", { recordingId }));
    }
    return said;
  }

  /** @param {Feed} feed @param {string} recordingId */
  async #capture(feed, recordingId) {
    const asked = this.#options.consent !== undefined;
    if (asked) {
      if (!(await this.#consent(recordingId))) return;
      if (this.#recordingId !== recordingId || !this.#feeds.has(feed) || feed.take) return;
    }
    const report = (/** @type {unknown} */ error) => this.emit("error", { error, source: feed.source });
    const take = new Take(this.#home(feed, recordingId), {
      depot: this.#depot,
      clock: this.#clock,
      now: this.#options.now ?? now,
      recorder: () => ({ ...this.#options, ...this.#bits() }),
      mayBeStill: feed.source === "screen" || feed.source === "other",
      onError: report,
      onChunk: (row, blob) => {
        this.#lastWords.add({ row, blob });
        this.emit("chunk", row);
      },
      onSegment: (segment) => this.emit("segment", { source: feed.source, ...segment }),
    });
    feed.begin(take, this.#paused);
    if (asked) take.tell("consent", { agreed: true });
  }

  /** The track that a source is recorded as: that of before the reload, if there is one. @param {Feed} feed @param {string} recordingId @returns {Promise<Home>} */
  async #home({ source, track, label }, recordingId) {
    const { participantId } = this.#options;
    const kind = /** @type {"audio" | "video"} */ (track.kind);
    /** @type {TrackRow} */
    const row = {
      ...this.#whose,
      recordingId,
      trackId: `${source}-${randomId()}`,
      body: { source, kind, label, ...(participantId && { participantId }) },
      segments: [],
      openedMs: Date.now(),
      facts: [],
    };
    await this.#recovery.claim(this.#whose, row).catch(() => {});
    const before = await this.#recovery.goOn(row).catch(() => null);
    if (before) return before;
    void this.#recovery.hold(row);
    await this.#depot.open(row);
    return { which: { recordingId, trackId: row.trackId }, nextSeg: 0 };
  }

  async #tellHealth() {
    if (!this.#recordingId) return;
    const freeBytes = await this.#health.measureDisk();
    for (const feed of this.#feeds) {
      if (!feed.take) continue;
      const health = this.#health.look(feed, this.#onDisk);
      const atRisk = !health.onDisk || health.frozen || health.clipping || (freeBytes ?? Infinity) < LITTLE_ROOM_BYTES;
      feed.take.tell("health", { ...health });
      this.emit("health", { source: feed.source, atRisk: atRisk === true, ...health });
    }
  }

  #bits() {
    const { preset, videoBitsPerSecond = preset && PRESETS[preset].video, audioBitsPerSecond = preset && PRESETS[preset].audio } = this.#options;
    const share = RUNGS[this.#ladder.rung] ?? 1;
    return { audioBitsPerSecond, videoBitsPerSecond: share < 1 ? Math.round((videoBitsPerSecond ?? USUAL_BITS) * share) : videoBitsPerSecond };
  }

  /** Fewer bits, from the next segment on, before the backlog grows without end. */
  #adapt() {
    if (this.#options.adapt === false || !this.#recordingId) return;
    const { rung } = this.#ladder;
    this.#ladder = look(this.#ladder, now(), this.#progress.pendingChunks ? this.#progress.pendingMs : 0);
    if (this.#ladder.rung === rung) return;
    this.emit("quality", { rung: this.#ladder.rung, videoBitsPerSecond: this.#bits().videoBitsPerSecond ?? USUAL_BITS });
    this.#restart("quality", "video");
  }

  /** @param {string} reason @param {string} [kind] */
  #restart(reason, kind) {
    for (const { take, track } of this.#feeds) if (!kind || track.kind === kind) take?.restart(reason);
  }

  /** What fits into the browser's budget still goes out; the next visit sends the rest. */
  #leave() {
    for (const { row, blob } of this.#lastWords.choose()) {
      const { recordingId, trackId, mimeType, digest, header } = row;
      this.#api.postChunk(recordingId, trackId, { bytes: blob, mimeType, digest, header }, { keepalive: true }).catch(() => {});
    }
  }
}

/** @param {CallRecorderOptions} options */
export function createRecorder(options) {
  return new CallRecorder(options);
}
