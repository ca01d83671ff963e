/**
 * The depot where it costs the page least: in a worker, or on the page where there can be none (strict pages, old
 * browsers), or no longer. The one rule: nobody who calls it notices which.
 */

import { Depot, DEPOT_EVENTS, nameOf } from "./depot.js";
import { Emitter } from "./emitter.js";
import { Outbox } from "./outbox.js";
import { fromWire, toWire } from "./worker.js";

/** @typedef {import("./depot.js").DepotEvents} DepotEvents */
/** @typedef {import("./depot.js").DepotLike} DepotLike */
/** @typedef {import("./outbox.js").TrackRow} TrackRow */
/** @typedef {import("./protocol.js").Api} Api */
/** @typedef {import("./uploader.js").Which} Which */
/** @typedef {import("./worker.js").FromWorker} FromWorker */
/** @typedef {{ method: string, args: any[], resolve: (result: any) => void, reject: (error: unknown) => void }} Call */

/** A worker's few modules come from where this one came from. */
const START_MS = 5_000;
/** One that runs answers at once; on a machine that is busy it may miss some beats. */
const BEAT_MS = 5_000;
const MISSED = 3;

/** @extends {Emitter<DepotEvents>} @implements {DepotLike} */
export class RemoteDepot extends Emitter {
  #api;
  #local;
  /** @type {Worker | null} */ #worker = null;
  /** @type {Depot | null} */ #depot = null;
  /** @type {Map<number, Call>} */ #pending = new Map();
  /** Tracks that are being recorded or sent. @type {Map<string, TrackRow>} */ #rows = new Map();
  #calls = 0;
  #missed = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;

  /** @param {Api} api @param {{ token: string | null, memory: boolean, maxParallel?: number }} setup @param {() => Depot} local one on this page */
  constructor(api, setup, local) {
    super();
    this.#api = api;
    this.#local = local;
    try {
      const worker = spawn();
      this.#worker = worker;
      worker.onmessage = ({ data }) => this.#hear(data);
      worker.onerror = (event) => {
        event.preventDefault();
        void this.#fallBack();
      };
      this.#timer = setTimeout(() => void this.#fallBack(), START_MS);
      worker.postMessage({ setup: { ...setup, endpoint: api.endpoint, callId: api.callId } });
    } catch {
      void this.#fallBack(); // a policy forbids it
    }
  }

  /** @param {TrackRow} row @returns {Promise<void>} */
  open(row) {
    this.#rows.set(nameOf(row), row);
    return this.#call("open", row);
  }

  /** @param {TrackRow} row @param {boolean} goOn @returns {Promise<number>} */
  adopt(row, goOn) {
    this.#rows.set(nameOf(row), row);
    return this.#call("adopt", row, goOn);
  }

  /** @param {Parameters<Depot["keep"]>} args @returns {ReturnType<Depot["keep"]>} */
  keep(...args) {
    return this.#call("keep", ...args);
  }

  /** @param {Parameters<Depot["tell"]>} args @returns {Promise<void>} */
  tell(...args) {
    return this.#call("tell", ...args);
  }

  /** @param {Which} which @param {string} reason @returns {Promise<void>} */
  async complete({ recordingId, trackId }, reason) {
    await this.#call("complete", { recordingId, trackId }, reason);
    this.#rows.delete(nameOf({ recordingId, trackId }));
  }

  /** @param {Parameters<Depot["leftovers"]>} args @returns {ReturnType<Depot["leftovers"]>} */
  leftovers(...args) {
    return this.#call("leftovers", ...args);
  }

  /** @param {number} [nowMs] @returns {Promise<Which[]>} */
  purge(nowMs) {
    return this.#call("purge", nowMs);
  }

  /** @returns {Promise<void>} */
  nudge() {
    return this.#call("nudge");
  }

  async close() {
    await this.#call("close");
    clearTimeout(this.#timer);
    this.#worker?.terminate();
  }

  /** @param {string} method @param {unknown[]} args @returns {Promise<any>} */
  #call(method, ...args) {
    return new Promise((resolve, reject) => {
      const id = ++this.#calls;
      const call = { method, args, resolve, reject };
      this.#pending.set(id, call);
      if (this.#worker) this.#worker.postMessage({ id, method, args });
      else if (this.#depot) this.#perform(id, call);
    });
  }

  /** @param {number} id @param {Call} call */
  #perform(id, { method, args, resolve, reject }) {
    this.#pending.delete(id);
    /** @type {any} */ (this.#depot)[method](...args).then(resolve, reject);
  }

  /** @param {FromWorker} message */
  #hear(message) {
    this.#missed = 0;
    if ("ready" in message) this.#beat();
    else if ("event" in message) {
      const { event, detail } = message;
      this.emit(/** @type {any} */ (event), detail?.error ? { ...detail, error: fromWire(detail.error) } : detail);
    } else if ("ask" in message) {
      this.#api.token(message.refused).then(
        (token) => this.#worker?.postMessage({ ask: message.ask, token }),
        (error) => this.#worker?.postMessage({ ask: message.ask, error: toWire(error) }),
      );
    } else if ("id" in message) {
      const call = this.#pending.get(message.id);
      this.#pending.delete(message.id);
      if (message.error) call?.reject(fromWire(message.error));
      else call?.resolve(message.result);
    }
  }

  #beat() {
    clearTimeout(this.#timer);
    if (this.#missed++ > MISSED) return void this.#fallBack();
    this.#timer = setTimeout(() => this.#beat(), BEAT_MS);
    this.#worker?.postMessage({ ping: true });
  }

  /** There is no worker, or it died or hangs: what it had stored is still there, what it was asked is asked here again. */
  async #fallBack() {
    clearTimeout(this.#timer);
    this.#worker?.terminate();
    this.#worker = null;
    const depot = this.#local();
    for (const name of DEPOT_EVENTS) depot.on(name, (detail) => this.emit(name, /** @type {any} */ (detail)));
    const opened = [...this.#pending.values()].filter(({ method }) => method === "open" || method === "adopt").map(({ args }) => nameOf(args[0]));
    for (const row of this.#rows.values()) if (!opened.includes(nameOf(row))) await depot.restore(row);
    this.#depot = depot;
    for (const [id, call] of this.#pending) this.#perform(id, call);
  }
}

/** In a worker, where nothing was given that a worker could not have. @param {Api} api @param {import("./options.js").CallRecorderOptions} options @returns {DepotLike} */
export function openDepot(api, { store, worker = true, fetch, token, maxParallel }) {
  const memory = store === "memory";
  const local = () => new Depot(api, store instanceof Outbox ? store : new Outbox(memory ? { indexedDB: null } : {}), { maxParallel });
  if (!worker || fetch || store instanceof Outbox || !globalThis.Worker) return local();
  return new RemoteDepot(api, { token: typeof token === "string" ? token : null, memory, maxParallel }, local);
}

/** Bundlers look for exactly this line; a page of another origin needs the detour. */
function spawn() {
  try {
    return new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "callreel" });
  } catch {
    const source = `import ${JSON.stringify(new URL("./worker.js", import.meta.url).href)};`;
    return new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })), { type: "module", name: "callreel" });
  }
}
