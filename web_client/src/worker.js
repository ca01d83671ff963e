/** The depot in a worker of its own, so that hashing, storing and sending cost the page nothing. Spoken to by `remote.js`. */

import { Api, CallreelError } from "./protocol.js";
import { Depot, DEPOT_EVENTS } from "./depot.js";
import { Outbox } from "./outbox.js";

/** @typedef {{ endpoint: string, callId: string, token: string | null, memory: boolean, maxParallel?: number }} Setup `token` is null where the page has to be asked */
/** @typedef {{ code: string, message: string } & Record<string, unknown>} WireError */
/** @typedef {{ setup: Setup } | { ping: true } | { id: number, method: string, args: unknown[] } | { ask: number, token?: string, error?: WireError }} ToWorker */
/** @typedef {{ ready: true } | { pong: true } | { id: number, result?: unknown, error?: WireError } | { event: string, detail: any } | { ask: number, refused?: string }} FromWorker */

/** A message carries no error class. @param {unknown} error @returns {WireError} */
export function toWire(error) {
  if (!(error instanceof CallreelError)) return { code: "client", message: String(error), retryable: true };
  const { code, message, status, retryable, retryAfterMs, fromServer, problem } = error;
  return { code, message, status, retryable, retryAfterMs, fromServer, problem };
}

/** @param {WireError} wire */
export function fromWire({ code, message, ...about }) {
  return new CallreelError(code, message, about);
}

/** @param {{ postMessage: (message: FromWorker) => void, addEventListener: (type: "message", listener: (event: MessageEvent<ToWorker>) => void) => void }} page */
function serve(page) {
  /** @type {Depot | undefined} */ let depot;
  /** @type {Map<number, { resolve: (token: string) => void, reject: (error: unknown) => void }>} */ const asked = new Map();
  let questions = 0;

  /** @type {import("./protocol.js").TokenSource} */
  const askForToken = (refused) =>
    new Promise((resolve, reject) => {
      asked.set(++questions, { resolve, reject });
      page.postMessage({ ask: questions, refused });
    });

  /** @param {Setup} setup */
  const begin = ({ endpoint, callId, token, memory, maxParallel }) => {
    const api = new Api({ endpoint, callId, token: token ?? askForToken });
    depot = new Depot(api, new Outbox(memory ? { indexedDB: null } : {}), { maxParallel });
    for (const event of DEPOT_EVENTS) {
      depot.on(event, (/** @type {any} */ detail) => page.postMessage({ event, detail: detail.error ? { ...detail, error: toWire(detail.error) } : detail }));
    }
  };

  page.addEventListener("message", async ({ data }) => {
    if ("setup" in data) return begin(data.setup);
    if ("ping" in data) return page.postMessage({ pong: true });
    if ("ask" in data) {
      const waiting = asked.get(data.ask);
      asked.delete(data.ask);
      if (data.error) waiting?.reject(fromWire(data.error));
      else waiting?.resolve(data.token ?? "");
      return;
    }
    const { id, method, args } = data;
    try {
      page.postMessage({ id, result: await /** @type {any} */ (depot)[method](...args) });
    } catch (error) {
      page.postMessage({ id, error: toWire(error) });
    }
  });
  page.postMessage({ ready: true });
}

if (typeof globalThis.document === "undefined" && /** @type {{ name?: string }} */ (globalThis).name === "callreel") serve(/** @type {any} */ (globalThis));
