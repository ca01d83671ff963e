/**
 * Chunks that were recorded and not yet acknowledged, kept where a crash does not reach them. The one rule: a chunk
 * leaves only when the server said that it is stored, or that nobody will ever take it.
 */

import { Emitter } from "./emitter.js";

/** @typedef {import("./protocol.js").TrackBody} TrackBody */
/** @typedef {import("./protocol.js").SegmentSum} SegmentSum */
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
 * @typedef {object} TrackRow what is needed to finish a track after its page is gone
 * @property {string} recordingId
 * @property {string} trackId
 * @property {string} endpoint
 * @property {string} callId
 * @property {string} owner participant on whose behalf it was recorded: nobody else may finish it
 * @property {TrackBody} body
 * @property {SegmentSum[]} segments
 */
/** @typedef {Pick<ChunkRow, "recordingId" | "trackId" | "seg" | "seq">} ChunkKey */

const STORES = ["tracks", "chunks", "bytes"];

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

/** @extends {Emitter<{ degraded: { reason: string } }>} */
export class Outbox extends Emitter {
  /** @type {Promise<IDBDatabase | null>} */ #database;
  /** @type {Map<string, { row: ChunkRow, bytes: ArrayBuffer }>} */ #memory = new Map();
  #degraded = false;

  /** @param {{ indexedDB?: IDBFactory | null, name?: string }} [options] `indexedDB: null` keeps everything in memory */
  constructor({ indexedDB = globalThis.indexedDB, name = "callreel" } = {}) {
    super();
    this.#database = indexedDB ? this.#open(indexedDB, name) : Promise.resolve(null);
    if (!indexedDB) this.#degraded = true;
  }

  /** Chunks live in memory only: a reload loses them. */
  get degraded() {
    return this.#degraded;
  }

  /** @param {TrackRow} row */
  async putTrack(row) {
    try {
      await this.#write((store) => store("tracks").put(row));
    } catch (cause) {
      this.#degrade(cause);
    }
  }

  /** Durable when it resolves, or in memory and `degraded` was told. Never fails. @param {ChunkRow} row @param {ArrayBuffer} bytes @param {TrackRow} track */
  async putChunk(row, bytes, track) {
    try {
      const stored = await this.#write((store) => {
        store("chunks").put(row);
        store("bytes").put(bytes, keyOf(row));
        store("tracks").put(track);
      });
      if (stored) return;
    } catch (cause) {
      this.#degrade(cause); // no room, or the browser took the database away: go on, and say so
    }
    this.#memory.set(String(keyOf(row)), { row, bytes });
  }

  /** @param {ChunkKey} key @returns {Promise<ArrayBuffer | undefined>} */
  async bytes(key) {
    const kept = this.#memory.get(String(keyOf(key)));
    if (kept) return kept.bytes;
    const database = await this.#database;
    return database ? result(database.transaction("bytes").objectStore("bytes").get(keyOf(key))) : undefined;
  }

  /** @param {ChunkKey} key */
  async deleteChunk(key) {
    if (this.#memory.delete(String(keyOf(key)))) return;
    try {
      await this.#write((store) => {
        store("chunks").delete(keyOf(key));
        store("bytes").delete(keyOf(key));
      });
    } catch (cause) {
      this.#degrade(cause); // it will be sent once more on the next visit, and be recognised
    }
  }

  /** @param {string} recordingId @param {string} trackId */
  async deleteTrack(recordingId, trackId) {
    try {
      await this.#write((store) => store("tracks").delete([recordingId, trackId]));
    } catch (cause) {
      this.#degrade(cause);
    }
  }

  /** Tracks that were never finished. @returns {Promise<TrackRow[]>} */
  async tracks() {
    const database = await this.#database;
    return database ? result(database.transaction("tracks").objectStore("tracks").getAll()) : [];
  }

  /** Chunks of a track, in order. @param {string} recordingId @param {string} trackId @returns {Promise<ChunkRow[]>} */
  async chunks(recordingId, trackId) {
    const database = await this.#database;
    if (!database) return [];
    const all = IDBKeyRange.bound([recordingId, trackId], [recordingId, trackId, []]); // arrays sort after numbers
    return result(database.transaction("chunks").objectStore("chunks").getAll(all));
  }

  async close() {
    (await this.#database)?.close();
  }

  /** @param {IDBFactory} indexedDB @param {string} name @returns {Promise<IDBDatabase | null>} */
  async #open(indexedDB, name) {
    try {
      const opening = indexedDB.open(name, 1);
      opening.onupgradeneeded = () => {
        const database = opening.result;
        database.createObjectStore("tracks", { keyPath: ["recordingId", "trackId"] });
        database.createObjectStore("chunks", { keyPath: ["recordingId", "trackId", "seg", "seq"] });
        database.createObjectStore("bytes");
      };
      const database = await result(opening);
      database.onversionchange = () => database.close();
      database.onclose = () => this.#degrade(new Error("The browser closed the database."));
      return database;
    } catch (cause) {
      this.#degrade(cause);
      return null;
    }
  }

  /**
   * One transaction over everything. ArrayBuffers, not Blobs, and strict: on disk, not in a cache, when it resolves.
   * @param {(store: (name: string) => IDBObjectStore) => void} work
   * @returns {Promise<boolean>} whether there is a database at all
   */
  async #write(work) {
    const database = await this.#database;
    if (!database) return false;
    const transaction = database.transaction(STORES, "readwrite", { durability: "strict" });
    const done = new Promise((resolve, reject) => {
      transaction.oncomplete = () => resolve(true);
      transaction.onabort = () => reject(transaction.error ?? new Error("aborted"));
    });
    work((name) => transaction.objectStore(name));
    await done;
    return true;
  }

  /** @param {unknown} cause */
  #degrade(cause) {
    if (this.#degraded) return;
    this.#degraded = true;
    this.emit("degraded", { reason: cause instanceof Error ? cause.message : String(cause) });
  }
}
