/**
 * Chunks that were recorded and not yet acknowledged, kept where a crash does not reach them. The one rule: a chunk
 * leaves only when the server said that it is stored, or that nobody will ever take it. Where the browser stores
 * nothing they are kept in memory, up to a bound.
 */

import { Emitter } from "./emitter.js";

/** @typedef {import("./protocol.js").TrackBody} TrackBody */
/** @typedef {import("./protocol.js").SegmentSum} SegmentSum */
/** @typedef {import("./protocol.js").Fact} Fact */
/**
 * @typedef {object} ChunkRow a chunk without its bytes
 * @property {string} recordingId
 * @property {string} trackId
 * @property {number} seg
 * @property {number} seq
 * @property {number} sizeBytes
 * @property {number} atMs
 * @property {string} mimeType
 * @property {string} digest Content-Digest
 * @property {string} header Chunk; a retry repeats what was first sent, so it is kept as written
 */
/**
 * @typedef {object} TrackRow what is needed to finish a track, or to go on with it, after its page is gone
 * @property {string} recordingId
 * @property {string} trackId
 * @property {string} endpoint
 * @property {string} callId
 * @property {string} owner participant on whose behalf it was recorded: nobody else may finish it
 * @property {TrackBody} body
 * @property {SegmentSum[]} segments
 * @property {number} openedMs
 * @property {Fact[]} facts not yet told
 */
/** @typedef {Pick<ChunkRow, "recordingId" | "trackId" | "seg" | "seq">} ChunkKey */
/**
 * @typedef {object} OutboxEvents
 * @property {{ reason: string }} degraded from now on chunks are in memory, where a crash reaches them
 * @property {{ heldBytes: number }} restored the disk takes them again
 * @property {ChunkRow & { reason: string }} lost there was no room left, not even in memory: a gap
 */

const STORES = ["tracks", "chunks", "bytes"];
/** Four minutes of one camera and one microphone. */
const MEMORY_BYTES = 96 * 1024 * 1024;
/** Safari's open may never answer, and a disk may hang: recording does not wait for it. */
const PATIENCE_MS = 10_000;
const AGAIN_MS = 30_000;

/** @param {ChunkKey} chunk */
const keyOf = (chunk) => [chunk.recordingId, chunk.trackId, chunk.seg, chunk.seq];

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** @template T @param {Promise<T>} work @param {string} what @returns {Promise<T>} */
function inTime(work, what) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */ let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`${what} did not answer`)), PATIENCE_MS)));
  return Promise.race([work, /** @type {Promise<never>} */ (late)]).finally(() => clearTimeout(timer));
}

/** @extends {Emitter<OutboxEvents>} */
export class Outbox extends Emitter {
  #factory;
  #name;
  #memoryBytes;
  /** @type {Promise<IDBDatabase> | null} */ #database = null;
  #failedMs = -Infinity;
  /** @type {Map<string, { row: ChunkRow, bytes: ArrayBuffer }>} */ #memory = new Map();
  /** @type {Map<string, TrackRow>} */ #tracks = new Map();
  #heldBytes = 0;
  #degraded = false;

  /** @param {{ indexedDB?: IDBFactory | null, name?: string, memoryBytes?: number }} [options] `indexedDB: null` keeps everything in memory */
  constructor({ indexedDB = reachable(), name = "callreel", memoryBytes = MEMORY_BYTES } = {}) {
    super();
    this.#factory = indexedDB;
    this.#name = name;
    this.#memoryBytes = memoryBytes;
    this.#degraded = !indexedDB;
  }

  /** New chunks live in memory only: a reload loses them. */
  get degraded() {
    return this.#degraded;
  }

  /** Bytes in memory that the disk did not take. */
  get heldBytes() {
    return this.#heldBytes;
  }

  /** @param {TrackRow} row */
  async putTrack(row) {
    if (!(await this.#written((store) => store("tracks").put(row)))) this.#tracks.set(`${row.recordingId}/${row.trackId}`, row);
  }

  /**
   * Durable when it resolves, or in memory and `degraded` was told. Never fails.
   * @param {ChunkRow} row @param {ArrayBuffer} bytes @param {TrackRow} track
   * @returns {Promise<boolean>} false: there was no room at all, it is `lost`
   */
  async putChunk(row, bytes, track) {
    const stored = await this.#written((store) => {
      store("chunks").put(row);
      store("bytes").put(bytes, keyOf(row));
      store("tracks").put(track);
    });
    if (stored) return true;
    if (this.#heldBytes + bytes.byteLength > this.#memoryBytes) {
      this.emit("lost", { ...row, reason: `There is no room on disk, and ${this.#heldBytes} bytes wait in memory.` });
      return false;
    }
    this.#memory.set(String(keyOf(row)), { row, bytes });
    this.#heldBytes += bytes.byteLength;
    return true;
  }

  /** @param {ChunkKey} key @returns {Promise<ArrayBuffer | undefined>} undefined: it is in no store; throws where the disk does not answer now */
  async bytes(key) {
    const kept = this.#memory.get(String(keyOf(key)));
    if (kept || !this.#factory) return kept?.bytes;
    const database = await this.#open();
    if (!database) throw new Error("The browser's database does not open.");
    return inTime(result(database.transaction("bytes").objectStore("bytes").get(keyOf(key))), "The disk");
  }

  /** @param {ChunkKey} key */
  async deleteChunk(key) {
    const kept = this.#memory.get(String(keyOf(key)));
    if (kept) {
      this.#memory.delete(String(keyOf(key)));
      this.#heldBytes -= kept.bytes.byteLength;
    }
    // A chunk that stays because of this is sent once more on the next visit, and recognised.
    await this.#written((store) => {
      store("chunks").delete(keyOf(key));
      store("bytes").delete(keyOf(key));
    });
  }

  /** With whatever is left of it. @param {string} recordingId @param {string} trackId */
  async deleteTrack(recordingId, trackId) {
    this.#tracks.delete(`${recordingId}/${trackId}`);
    for (const { row } of [...this.#memory.values()]) {
      if (row.recordingId === recordingId && row.trackId === trackId) await this.deleteChunk(row);
    }
    await this.#written((store) => {
      store("tracks").delete([recordingId, trackId]);
      for (const name of ["chunks", "bytes"]) store(name).delete(within(recordingId, trackId));
    });
  }

  /** Tracks that were never finished. @returns {Promise<TrackRow[]>} */
  async tracks() {
    const database = await this.#open();
    const kept = database ? await result(database.transaction("tracks").objectStore("tracks").getAll()) : [];
    return [...kept, ...this.#tracks.values()];
  }

  /** Chunks of a track, in order. @param {string} recordingId @param {string} trackId @returns {Promise<ChunkRow[]>} */
  async chunks(recordingId, trackId) {
    const database = await this.#open();
    const stored = database ? await result(database.transaction("chunks").objectStore("chunks").getAll(within(recordingId, trackId))) : [];
    const held = [...this.#memory.values()].map(({ row }) => row).filter((row) => row.recordingId === recordingId && row.trackId === trackId);
    return [...stored, ...held].sort((a, b) => a.seg - b.seg || a.seq - b.seq);
  }

  async close() {
    (await this.#database?.catch(() => null))?.close();
    this.#database = null;
  }

  /** Opened when needed, and again when the browser took it away. @returns {Promise<IDBDatabase | null>} null: not now */
  async #open() {
    if (!this.#factory || performance.now() - this.#failedMs < AGAIN_MS) return null;
    try {
      return await (this.#database ??= this.#opened(this.#factory));
    } catch (cause) {
      this.#database = null;
      this.#failedMs = performance.now();
      this.#degrade(cause);
      return null;
    }
  }

  /** @param {IDBFactory} factory @returns {Promise<IDBDatabase>} */
  async #opened(factory) {
    const opening = factory.open(this.#name, 1);
    opening.onupgradeneeded = () => {
      const database = opening.result;
      database.createObjectStore("tracks", { keyPath: ["recordingId", "trackId"] });
      database.createObjectStore("chunks", { keyPath: ["recordingId", "trackId", "seg", "seq"] });
      database.createObjectStore("bytes");
    };
    const database = await inTime(result(opening), "The browser's database");
    database.onversionchange = () => database.close();
    database.onclose = () => (this.#database = null);
    return database;
  }

  /**
   * One transaction over everything. ArrayBuffers, not Blobs (Safari loses those), and strict: on disk, not in a
   * cache, when it resolves.
   * @param {(store: (name: string) => IDBObjectStore) => void} work
   * @returns {Promise<boolean>} whether it is on disk
   */
  async #written(work) {
    const database = await this.#open();
    if (!database) return false;
    try {
      const transaction = database.transaction(STORES, "readwrite", { durability: "strict" });
      const done = new Promise((resolve, reject) => {
        transaction.oncomplete = resolve;
        transaction.onabort = () => reject(transaction.error ?? new Error("aborted"));
      });
      work((name) => transaction.objectStore(name));
      await inTime(done, "The disk");
    } catch (cause) {
      // A closed database is opened again the next time; a full one may have room again.
      if (!(cause instanceof DOMException) || cause.name === "InvalidStateError") this.#database = null;
      this.#degrade(cause);
      return false;
    }
    if (this.#degraded) {
      this.#degraded = false;
      this.emit("restored", { heldBytes: this.#heldBytes });
    }
    return true;
  }

  /** @param {unknown} cause */
  #degrade(cause) {
    if (this.#degraded) return;
    this.#degraded = true;
    this.emit("degraded", { reason: cause instanceof Error ? cause.message || cause.name : String(cause) });
  }
}

/** Every chunk of a track: arrays sort after numbers. @param {string} recordingId @param {string} trackId */
function within(recordingId, trackId) {
  return IDBKeyRange.bound([recordingId, trackId], [recordingId, trackId, []]);
}

/** Naming it is refused already where a page is in a sandbox. */
function reachable() {
  try {
    return globalThis.indexedDB ?? null;
  } catch {
    return null;
  }
}
