/**
 * A recorder for whoever is in a call. The one rule: nothing is captured before the server said that the recording runs,
 * and capture ends as soon as it says that it stopped, or for as long as it says that it is paused.
 */

import { Api, randomId } from "./protocol.js";
import { Clock } from "./clock.js";
import { Emitter } from "./emitter.js";
import { follow } from "./events.js";
import { Outbox } from "./outbox.js";
import { Take } from "./take.js";
import { Uploader } from "./uploader.js";

/** @typedef {import("./protocol.js").CallEvent} CallEvent */
/** @typedef {import("./protocol.js").Recording} Recording */
/** @typedef {import("./protocol.js").Source} Source */
/** @typedef {import("./protocol.js").Token} Token */
/** @typedef {import("./outbox.js").ChunkRow} ChunkRow */
/** @typedef {import("./outbox.js").TrackRow} TrackRow */
/** @typedef {import("./recorder.js").RecorderOptions} RecorderOptions */
/** @typedef {import("./uploader.js").Progress} Progress */
/** @typedef {import("./uploader.js").Which} Which */
/**
 * @typedef {object} CallOptions
 * @property {string} [endpoint] origin of the server; by default the page's own
 * @property {string} callId
 * @property {Token} token a function is asked again when the server no longer takes what it gave
 * @property {typeof globalThis.fetch} [fetch]
 * @property {typeof globalThis.WebSocket | null} [WebSocket] null: events come by `fetch` alone
 */
/**
 * @typedef {CallOptions & RecorderOptions & {
 *   follow?: boolean,
 *   recordingId?: string,
 *   participantId?: string,
 *   outbox?: Outbox,
 *   maxParallel?: number,
 *   locks?: LockManager | null,
 * }} CallRecorderOptions
 * `follow`: capture runs whenever the host records. Else it runs from `addTrack` to `end`, in `recordingId` or in the
 * recording that runs now. `participantId`: for whom, where the token is a service's.
 */
/**
 * @typedef {object} CallRecorderEvents
 * @property {{ recordingId: string, startedAt: string | null }} started capture has begun
 * @property {{ recordingId: string }} paused nothing is captured until `resumed`; also right behind `started`
 * @property {{ recordingId: string }} resumed
 * @property {{ recordingId: string }} stopped capture has ended; uploads go on
 * @property {{ recordingId: string }} drained the server has everything of this recording, or refused it
 * @property {ChunkRow} chunk recorded and kept
 * @property {Which & { seg: number, seq: number, sizeBytes: number, duplicate: boolean }} acknowledged
 * @property {Which & { error: import("./protocol.js").CallreelError, attempt: number, delayMs: number }} retry
 * @property {Which & { error: import("./protocol.js").CallreelError, seg?: number, seq?: number }} refused
 * @property {Which & { missing: unknown }} completed
 * @property {Progress} progress
 * @property {{ reason: string }} degraded chunks are in memory only
 * @property {{ error: unknown, source?: Source }} error a source could not be recorded, or stopped by itself
 * @property {CallEvent} event of the call, as it came; only with `follow`
 * @property {{ online: boolean, error?: unknown }} connection to the events; only with `follow`
 */
/** @typedef {{ track: MediaStreamTrack, source: Source, label: string, take: Take | null }} Feed */
/** @typedef {{ drained: boolean } & Progress} EndResult */

const RUNNING = ["recording", "paused"];

/** @extends {Emitter<CallRecorderEvents>} */
export class CallRecorder extends Emitter {
  #options;
  #api;
  #clock;
  #outbox;
  #uploader;
  #locks;
  /** @type {Set<Feed>} */ #feeds = new Set();
  /** @type {Set<Promise<void>>} */ #finishing = new Set();
  #following = new AbortController();
  /** @type {string | null} */ #recordingId = null;
  #paused = false;
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
    this.#outbox = options.outbox ?? new Outbox();
    this.#uploader = new Uploader(this.#api, this.#outbox, { maxParallel: options.maxParallel });
    this.#locks = options.locks === undefined ? globalThis.navigator?.locks : options.locks;
    for (const name of /** @type {const} */ (["acknowledged", "retry", "refused", "completed", "progress"])) {
      this.#undo.push(this.#uploader.on(name, (detail) => this.emit(name, /** @type {any} */ (detail))));
    }
    this.#undo.push(this.#outbox.on("degraded", (detail) => this.emit("degraded", detail)));
    const online = () => this.#uploader.nudge();
    globalThis.addEventListener?.("online", online);
    this.#undo.push(() => globalThis.removeEventListener?.("online", online));
    this.#identified = this.#api.identity().then(
      (id) => void (this.#owner = options.participantId ?? id),
      () => {}, // no token now; requests say so themselves
    );
    this.#clock.start();
    if (options.follow) void this.#identified.then(() => this.#follow());
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
    return this.#uploader.progress;
  }

  /**
   * Records this track: at once, or with `follow` whenever the host records. One recorder a track.
   * @param {MediaStreamTrack} track
   * @param {{ source?: Source, label?: string }} [about] `label` is shown where the token names nobody
   */
  async addTrack(track, { source = track.kind === "audio" ? "microphone" : "camera", label = "" } = {}) {
    /** @type {Feed} */
    const feed = { track, source, label, take: null };
    await this.#identified;
    this.#feeds.add(feed);
    if (!this.#options.follow && !this.#recordingId) {
      const known = this.#options.recordingId;
      const { recordingId, startedAt } = known ? { recordingId: known, startedAt: null } : await this.#api.recording();
      if (!this.#recordingId) this.#begin(recordingId, startedAt, false);
    } else if (this.#recordingId) this.#capture(feed, this.#recordingId);
    return {
      /** Another device for the same source: a new segment of the same track. @param {MediaStreamTrack} other */
      replaceTrack: async (other) => {
        feed.track = other;
        if (!this.#paused) await feed.take?.record(other);
      },
      /** This source is gone; what was recorded of it is still uploaded. */
      stop: async () => {
        this.#feeds.delete(feed);
        await feed.take?.finish("removed");
      },
    };
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
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const timeout = new Promise((resolve) => (timer = setTimeout(() => resolve(false), drainTimeoutMs)));
    const drained = await Promise.race([Promise.all(this.#finishing).then(() => true), timeout]);
    clearTimeout(timer);
    this.#feeds.clear();
    return { drained: drained === true, ...this.progress };
  }

  /** Ends everything now, uploads too. What was not acknowledged stays in the outbox for `recoverPending`. */
  close() {
    this.#following.abort();
    this.#halt("closed");
    this.#uploader.close();
    this.#clock.stop();
    for (const undo of this.#undo) undo();
  }

  /**
   * Sends what an earlier visit left behind: a crash, a reload, a lost network. Resolves when all of it is stored or
   * refused. Tracks of other people, and those that another window still records, are left alone.
   * @returns {Promise<{ tracks: number, chunks: number, bytes: number }>}
   */
  async recoverPending() {
    const found = { tracks: 0, chunks: 0, bytes: 0 };
    await this.#identified;
    const here = { endpoint: this.#api.endpoint, callId: this.#api.callId, owner: this.#owner };
    const mine = (/** @type {TrackRow} */ t) => t.endpoint === here.endpoint && t.callId === here.callId && t.owner === here.owner;
    const rows = (await this.#outbox.tracks()).filter(mine);
    await Promise.all(
      rows.map((row) =>
        this.#claim(row, async () => {
          const chunks = await this.#outbox.chunks(row.recordingId, row.trackId);
          found.tracks++;
          found.chunks += chunks.length;
          for (const chunk of chunks) found.bytes += chunk.sizeBytes;
          const lane = this.#uploader.open(row);
          this.#uploader.add(lane, ...chunks);
          await this.#uploader.complete(lane, { segments: row.segments, reason: "recovered" });
        }),
      ),
    );
    return found;
  }

  /** Runs `work` as the only window that cares for this track; does not run it where another window does. @param {TrackRow} row @param {() => Promise<void>} work */
  async #claim(row, work) {
    const name = `callreel:${row.recordingId}/${row.trackId}`;
    if (!this.#locks) return work();
    await this.#locks.request(name, { ifAvailable: true }, (lock) => (lock ? work() : undefined));
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
      /** @type {Recording | null} */
      const recording = data;
      if (recording && RUNNING.includes(recording.status)) {
        this.#begin(recording.recordingId, recording.startedAt, recording.status === "paused");
      } else this.#halt("stopped");
    } else if (type === "recordingstarted") {
      this.#begin(data.recordingId, data.startedAt ?? timestamp ?? null, false);
    } else if (type === "recordingpaused" || type === "recordingresumed") {
      if (data.recordingId === this.#recordingId) this.#pause(type === "recordingpaused");
    } else if (["recordingstopped", "recordingcompleted", "recordingfailed", "recordingdeleted"].includes(type)) {
      if (data.recordingId === this.#recordingId) this.#halt("stopped");
    }
  }

  /** @param {string} recordingId @param {string | null} startedAt @param {boolean} paused */
  #begin(recordingId, startedAt, paused) {
    if (this.#recordingId === recordingId) return this.#pause(paused);
    this.#halt("superseded");
    this.#recordingId = recordingId;
    this.#paused = paused;
    for (const feed of this.#feeds) this.#capture(feed, recordingId);
    this.emit("started", { recordingId, startedAt });
    if (paused) this.emit("paused", { recordingId });
  }

  /** A segment ends with a pause, and the next one of the same track begins behind it. @param {boolean} paused */
  #pause(paused) {
    const recordingId = this.#recordingId;
    if (!recordingId || this.#paused === paused) return;
    this.#paused = paused;
    for (const { take, track } of this.#feeds) void (paused ? take?.pause() : take?.record(track));
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

  /** @param {Feed} feed @param {string} recordingId */
  #capture(feed, recordingId) {
    const kind = /** @type {"audio" | "video"} */ (feed.track.kind);
    const { participantId } = this.#options;
    /** @type {TrackRow} */
    const row = {
      recordingId,
      // Random: after a reload the same source is another track, for nobody knows what the last run had numbered.
      trackId: `${feed.source}-${randomId()}`,
      endpoint: this.#api.endpoint,
      callId: this.#api.callId,
      owner: this.#owner,
      body: { source: feed.source, kind, label: feed.label, ...(participantId && { participantId }) },
      segments: [],
    };
    let release = () => {};
    // Tells other windows, before the outbox shows it to them, that this track is in good hands.
    void this.#claim(row, () => new Promise((resolve) => (release = resolve)));
    const take = new Take(row, {
      outbox: this.#outbox,
      uploader: this.#uploader,
      clock: this.#clock,
      recorder: this.#options,
      onError: (error) => this.emit("error", { error, source: feed.source }),
      onChunk: (chunk) => this.emit("chunk", chunk),
      onEnded: () => void take.finish("ended"),
    });
    feed.take = take;
    if (!this.#paused) void take.record(feed.track);
    void take.done.then(release);
  }
}

/** @param {CallRecorderOptions} options */
export function createRecorder(options) {
  return new CallRecorder(options);
}
