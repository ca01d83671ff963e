/**
 * The wire contract, as the browser speaks it: addresses, headers, JSON shapes. Twin of `docs/protocol.md`.
 * The one rule: nothing else in this library calls `fetch`, or opens a WebSocket.
 */

import { Credentials } from "./credentials.js";
import { CallreelError } from "./errors.js";
import { frames } from "./socket.js";

export { CallreelError };

/** @typedef {"camera" | "microphone" | "screen" | "other"} Source */
/** @typedef {"audio" | "video" | "av"} Kind */
/** @typedef {{ source: Source, kind: Kind, label?: string, participantId?: string }} TrackBody */
/** @typedef {{ seg: number, chunks: number, bytes: number }} SegmentSum */
/** @typedef {"muted" | "unmuted" | "paused" | "resumed" | "ended" | "settings" | "consent" | "health"} FactType */
/** @typedef {{ id: string, type: FactType, atMs: number, data?: Record<string, unknown> }} Fact what happened to a track, on the client's clock */
/** @typedef {{ seg: number, have: [number, number][], next: number, bytes: number }} HaveSegment */
/** @typedef {{ segments: SegmentSum[], reason: string }} Completion */
/** @typedef {{ trackId: string, limits: Record<string, number>, serverTimeMs: number }} TrackAnswer */
/** @typedef {{ seg: number, seq: number, duplicate: boolean, next: number, missing: [number, number][], serverTimeMs: number }} ChunkAnswer */
/** @typedef {{ recordingId: string, roomId: string, startedAt: string, status: string, stoppedAt?: string }} ControlAnswer */
/**
 * @typedef {object} Artifact
 * @property {string} name
 * @property {string} kind
 * @property {"pending" | "processing" | "ready" | "failed"} status
 * @property {string} mimeType
 * @property {number} bytes
 * @property {number} durationMs
 * @property {string} sha256
 * @property {string} [url]
 */
/** @typedef {{ trackId: string, source: Source, kind: Kind, mimeType: string, segments: number, bytes: number, missing: number }} TrackState */
/** @typedef {{ participantId: string, name: string, tracks: TrackState[] }} ParticipantState */
/**
 * @typedef {object} Recording
 * @property {string} recordingId
 * @property {string} roomId
 * @property {"recording" | "paused" | "stopping" | "processing" | "completed" | "failed" | "deleting" | "deleted"} status
 * @property {string} startedAt
 * @property {string | null} [stoppedAt]
 * @property {number} [durationMs]
 * @property {number} [progress]
 * @property {boolean} [complete]
 * @property {unknown[]} [gaps]
 * @property {ParticipantState[]} [participants]
 * @property {Artifact[]} [artifacts]
 * @property {{ code: string, message: string } | null} [error]
 */
/** @typedef {{ background?: string, logo?: { image: string, corner?: string, width?: number } }} Dress `background`: a colour, or as an image a `data:` address of a PNG */
/** @typedef {string | ({ name: string } & Dress) | ({ regions: object[] } & Dress)} Layout */
/** @typedef {{ fromMs?: number, toMs?: number, layout: Layout }} Slice */
/**
 * What of a recording another film shows, and how; what is left out is as it was.
 * @typedef {{ name: string, layout?: Layout | null, preset?: string, output?: object, fromMs?: number, toMs?: number, participants?: string[] | null, tracks?: string[] | null, slices?: Slice[] }} CompositionBody
 */
/** @typedef {Required<CompositionBody> & { recordingId: string, requestedAt: string, leftOut: object[], artifact: Artifact }} Composition */
/** @typedef {{ id?: string, type: string, timestamp?: string, sequence?: number, data: any }} CallEvent */
/** @typedef {{ seg: number, seq: number, start: number, at: number, offset?: number, err?: number }} ChunkFields */
/** @typedef {import("./credentials.js").Token} Token */
/** @typedef {import("./credentials.js").TokenSource} TokenSource */
/** @typedef {{ timeoutMs?: number, signal?: AbortSignal, keepalive?: boolean }} CallOptions `keepalive`: it may outlive the page */

/** Small JSON answers come in milliseconds; a request that is silent this long is lost. */
const CONTROL_TIMEOUT_MS = 15_000;
/** The server sends a heartbeat every 15 s; two missed ones mean that the connection is dead. */
export const SILENT_MS = 35_000;
/** The first frame of an event socket comes at once. Without it, what lies between does not know WebSockets. */
const FIRST_FRAME_MS = 8_000;

/**
 * A dictionary of integers as RFC 9651 writes it: `seg=0, seq=17, start=1732259000123`.
 * @param {ChunkFields} fields
 */
export function chunkHeader(fields) {
  /** @type {(keyof ChunkFields)[]} */
  const order = ["seg", "seq", "start", "at", "offset", "err"];
  const members = [];
  for (const key of order) {
    const value = fields[key];
    if (value === undefined) continue;
    // Structured integers have at most 15 digits; anything else is a bug here and must not reach the server.
    if (!Number.isFinite(value) || Math.abs(value) >= 1e15) throw new RangeError(`Chunk: ${key}=${value} is no integer`);
    members.push(`${key}=${Math.round(value) + 0}`);
  }
  return members.join(", ");
}

/**
 * RFC 9530.
 * @param {ArrayBuffer} sha256
 */
export function contentDigest(sha256) {
  let binary = "";
  for (const byte of new Uint8Array(sha256)) binary += String.fromCharCode(byte);
  return `sha-256=:${btoa(binary)}:`;
}

/**
 * Seconds or an HTTP date, as milliseconds from now. 0 where there is none.
 * @param {string | null} value
 * @param {number} [nowMs]
 */
export function retryAfterMs(value, nowMs = Date.now()) {
  if (!value) return 0;
  const ms = /^\s*\d+(\.\d+)?\s*$/.test(value) ? Number(value) * 1000 : Date.parse(value) - nowMs;
  return Number.isFinite(ms) ? Math.max(0, ms) : 0;
}

/** Random and valid as an id of the contract. */
export function randomId(bytes = 6) {
  return Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (b) => b.toString(16).padStart(2, "0")).join("");
}

/** One call on one server. */
export class Api {
  #base;
  #callId;
  #credentials;
  #fetch;
  #WebSocket;

  /**
   * Who brings a `fetch` of its own, for it goes another way, has to bring a `WebSocket` that goes it too, or has none.
   * @param {{ endpoint?: string, callId: string, token: Token, fetch?: typeof globalThis.fetch, WebSocket?: typeof globalThis.WebSocket | null }} options
   */
  constructor({ endpoint = "", callId, token, fetch = globalThis.fetch, WebSocket = fetch === globalThis.fetch ? globalThis.WebSocket : null }) {
    this.#base = (endpoint || globalThis.location?.origin || "").replace(/\/+$/, "");
    this.#callId = callId;
    this.#credentials = new Credentials(token);
    this.#fetch = fetch;
    this.#WebSocket = WebSocket;
  }

  get endpoint() {
    return this.#base;
  }

  get callId() {
    return this.#callId;
  }

  /** Whether there is a WebSocket to try. */
  get hasSockets() {
    return Boolean(this.#WebSocket);
  }

  /** The token; another one than `refused`, if there is any. @type {TokenSource} */
  token(refused) {
    return this.#credentials.get(refused);
  }

  /** A new token can be had. */
  get renewable() {
    return this.#credentials.renewable;
  }

  /** The participant that the token speaks for; "" where it does not tell (only the server checks it). */
  async identity() {
    const payload = (await this.#credentials.get()).split(".")[1] ?? "";
    try {
      const claims = JSON.parse(atob(payload.replace(/-/g, "+").replace(/_/g, "/")));
      return String(claims.participant ?? claims.sub ?? "");
    } catch {
      return "";
    }
  }

  /** An address as the server wrote it, perhaps relative, made absolute. @param {string} url */
  resolve(url) {
    return new URL(url, this.#base + "/").href;
  }

  /** Server time, and the instant at which the answer's head was here. @param {() => number} now @param {CallOptions} [options] */
  async time(now, options) {
    let receivedMs = 0;
    const data = await this.#json("GET", `${this.#base}/time`, {
      ...options,
      anonymous: true, // no Authorization: no preflight, so one round trip is one round trip
      onHead: () => (receivedMs = now()),
    });
    return { serverTimeMs: Number(data.serverTimeMs), receivedMs };
  }

  /** @param {Record<string, unknown>} [body] @returns {Promise<ControlAnswer>} */
  start(body) {
    return this.#json("POST", this.#url("recording/start"), { json: body });
  }

  /** @returns {Promise<ControlAnswer>} */
  stop() {
    return this.#json("POST", this.#url("recording/stop"));
  }

  /** @returns {Promise<ControlAnswer>} */
  pause() {
    return this.#json("POST", this.#url("recording/pause"));
  }

  /** @returns {Promise<ControlAnswer>} */
  resume() {
    return this.#json("POST", this.#url("recording/resume"));
  }

  /** @param {Layout} layout @returns {Promise<ControlAnswer & { layout: Layout }>} */
  layout(layout) {
    return this.#json("POST", this.#url("recording/layout"), { json: { layout } });
  }

  /** @param {string} recordingId @returns {Promise<ControlAnswer>} */
  deleteRecording(recordingId) {
    return this.#json("DELETE", this.#url(`recording/${encodeURIComponent(recordingId)}`));
  }

  /**
   * More films of a recording: the list, one that is asked for, one that is taken back.
   * @param {"GET" | "POST" | "DELETE"} method @param {string} recordingId @param {{ json?: CompositionBody }} [options] @param {string} [name]
   * @returns {Promise<any>}
   */
  compositions(method, recordingId, options, name = "") {
    return this.#json(method, this.#url(`recording/${encodeURIComponent(recordingId)}/compositions${name}`), options);
  }

  /** The running recording, or one by its id. @param {string} [recordingId] @returns {Promise<Recording>} */
  recording(recordingId) {
    return this.#json("GET", this.#url(recordingId ? `recording/${encodeURIComponent(recordingId)}` : "recording"));
  }

  /** @param {{ cursor?: string, limit?: number }} [page] @returns {Promise<{ items: Recording[], nextCursor: string | null }>} */
  recordings({ cursor, limit } = {}) {
    const query = new URLSearchParams();
    if (cursor) query.set("cursor", cursor);
    if (limit) query.set("limit", String(limit));
    return this.#json("GET", this.#url("recordings") + (query.size ? `?${query}` : ""));
  }

  /** @param {string} recordingId @param {string} trackId @param {TrackBody} body @param {CallOptions} [options] @returns {Promise<TrackAnswer>} */
  putTrack(recordingId, trackId, body, options) {
    return this.#json("PUT", this.#trackUrl(recordingId, trackId), { ...options, json: body });
  }

  /**
   * The address is the same for all chunks of a track, so that a browser asks for leave (preflight) once.
   * @param {string} recordingId @param {string} trackId
   * @param {{ bytes: ArrayBuffer | Blob, mimeType: string, digest: string, header: string }} chunk
   * @param {CallOptions} [options]
   * @returns {Promise<ChunkAnswer>}
   */
  postChunk(recordingId, trackId, chunk, options) {
    return this.#json("POST", `${this.#trackUrl(recordingId, trackId)}/chunks`, {
      ...options,
      body: chunk.bytes,
      headers: { "Content-Type": chunk.mimeType, "Content-Digest": chunk.digest, Chunk: chunk.header },
    });
  }

  /** What the server has of a track. @param {string} recordingId @param {string} trackId @param {CallOptions} [options] @returns {Promise<{ segments: HaveSegment[] }>} */
  haveChunks(recordingId, trackId, options) {
    return this.#json("GET", `${this.#trackUrl(recordingId, trackId)}/chunks`, options);
  }

  /** @param {string} recordingId @param {string} trackId @param {Fact[]} facts @param {CallOptions} [options] */
  postFacts(recordingId, trackId, facts, options) {
    return this.#json("POST", `${this.#trackUrl(recordingId, trackId)}/facts`, { ...options, json: { facts } });
  }

  /** @param {string} recordingId @param {string} trackId @param {Completion} body @param {CallOptions} [options] */
  completeTrack(recordingId, trackId, body, options) {
    return this.#json("POST", `${this.#trackUrl(recordingId, trackId)}/complete`, { ...options, json: body });
  }

  /**
   * The open event stream. Read with `fetch`, because EventSource re-sends an expired token for ever.
   * @param {string} lastEventId
   * @param {AbortSignal} signal
   * @returns {Promise<ReadableStream<Uint8Array>>}
   */
  async events(lastEventId, signal) {
    /** @type {Record<string, string>} */
    const headers = { Accept: "text/event-stream" };
    if (lastEventId) headers["Last-Event-ID"] = lastEventId;
    const response = await this.#send("GET", this.#url("events"), { headers, signal });
    if (!response.body) throw new CallreelError("network", "The event stream has no body.", { retryable: true });
    return response.body;
  }

  /**
   * The same events over a WebSocket, heartbeats among them. A browser holds six HTTP/1.1 connections to a server for all
   * its windows; this takes none of them from the uploads. Ends only by `signal`; else throws.
   * @param {string} lastEventId
   * @param {AbortSignal} signal
   * @returns {AsyncGenerator<CallEvent>}
   */
  async *eventFrames(lastEventId, signal) {
    const lost = (/** @type {unknown} */ cause) => new CallreelError("network", "The event socket was lost.", { retryable: true, cause });
    const hello = JSON.stringify({ token: await this.#credentials.get(), ...(lastEventId && { after: lastEventId }) });
    let socket;
    try {
      if (!this.#WebSocket) throw new TypeError("there are no WebSockets here");
      socket = new this.#WebSocket(this.#url("events").replace(/^http/, "ws"));
    } catch (cause) {
      throw lost(cause);
    }
    for await (const text of frames(socket, hello, { signal, firstMs: FIRST_FRAME_MS, silentMs: SILENT_MS })) {
      const frame = JSON.parse(text);
      if (frame.success === false) {
        if (frame.status === 401) this.#credentials.forget();
        throw refused(frame, frame.status, this.#credentials.renewable);
      }
      yield frame;
    }
    if (!signal.aborted) throw lost("it was closed, or silent");
  }

  /** @param {string} rest */
  #url(rest) {
    return `${this.#base}/video-calls/${encodeURIComponent(this.#callId)}/${rest}`;
  }

  /** @param {string} recordingId @param {string} trackId */
  #trackUrl(recordingId, trackId) {
    return this.#url(`recording/${encodeURIComponent(recordingId)}/tracks/${encodeURIComponent(trackId)}`);
  }

  /**
   * @typedef {CallOptions & { json?: unknown, body?: BodyInit, headers?: Record<string, string>, anonymous?: boolean, onHead?: () => void }} SendOptions
   * @param {string} method @param {string} url @param {SendOptions} [options]
   * @returns {Promise<any>} the answer's `data`
   */
  async #json(method, url, options = {}) {
    const timer = new AbortController();
    const timeout = setTimeout(() => timer.abort("timeout"), options.timeoutMs ?? CONTROL_TIMEOUT_MS);
    const abort = () => timer.abort("aborted");
    options.signal?.addEventListener("abort", abort, { once: true });
    if (options.signal?.aborted) abort();
    try {
      const response = await this.#send(method, url, { ...options, signal: timer.signal });
      const answer = await response.json();
      if (answer?.success !== true) throw new SyntaxError("not an answer of Callreel");
      return answer.data;
    } catch (cause) {
      if (timer.signal.aborted) {
        const code = String(timer.signal.reason);
        throw new CallreelError(code, `${method} ${url}: ${code}`, { retryable: code === "timeout", cause });
      }
      if (cause instanceof CallreelError) throw cause;
      // A portal or proxy that answers 200 with a page of its own must not count as stored.
      throw new CallreelError("network", `${method} ${url}: no usable answer`, { retryable: true, cause });
    } finally {
      clearTimeout(timeout);
      options.signal?.removeEventListener("abort", abort);
    }
  }

  /** @param {string} method @param {string} url @param {SendOptions} options @param {string} [refused] a token that was not taken @returns {Promise<Response>} */
  async #send(method, url, options, refused) {
    const headers = { ...options.headers };
    if (options.json !== undefined) headers["Content-Type"] = "application/json";
    const token = options.anonymous ? "" : await this.#credentials.get(refused);
    if (token) headers.Authorization = `Bearer ${token}`;
    let response;
    try {
      response = await this.#fetch.call(globalThis, url, {
        method,
        headers,
        body: options.json === undefined ? options.body : JSON.stringify(options.json),
        signal: options.signal,
        keepalive: options.keepalive ?? false,
        cache: "no-store",
        credentials: "omit",
      });
    } catch (cause) {
      if (options.signal?.aborted) throw cause;
      throw new CallreelError("network", `${method} ${url}: the server was not reached`, { retryable: true, cause });
    }
    options.onHead?.();
    if (response.ok) return response;
    if (response.status === 401 && this.#credentials.renewable && token && refused === undefined) {
      void response.body?.cancel().catch(() => {});
      return this.#send(method, url, options, token);
    }
    throw await refusal(response, this.#credentials.renewable);
  }
}

/** @param {Response} response @param {boolean} renewable */
async function refusal(response, renewable) {
  /** @type {Record<string, any>} */
  let problem = {};
  try {
    problem = (await response.json()) ?? {};
  } catch {
    // not JSON: somebody between the server and us has answered
  }
  return refused(problem, response.status, renewable, retryAfterMs(response.headers.get("Retry-After")));
}

/** @param {Record<string, any>} problem @param {number} status @param {boolean} renewable @param {number} [afterMs] */
function refused(problem, status, renewable, afterMs = 0) {
  const fromServer = typeof problem.code === "string";
  let retryable = status === 408 || status === 425 || status === 429 || status >= 500;
  if (fromServer && typeof problem.retryable === "boolean") retryable = problem.retryable;
  if (status === 401 && renewable) retryable = true;
  return new CallreelError(fromServer ? problem.code : `http_${status}`, problem.detail ?? problem.title ?? `HTTP ${status}`, {
    status,
    retryable,
    retryAfterMs: afterMs,
    fromServer,
    problem,
  });
}
