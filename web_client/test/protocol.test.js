import assert from "node:assert/strict";
import { explain } from "../src/explain.js";
import { test } from "node:test";
import { createControl } from "../src/control.js";
import { Api, CallreelError, chunkHeader, contentDigest, retryAfterMs } from "../src/protocol.js";

/** @typedef {{ url: string, init: RequestInit, headers: Record<string, string> }} Sent */

/**
 * A fetch that answers from a list and remembers what it was asked.
 * @param {(Response | Error)[]} answers
 */
function fakeFetch(answers) {
  /** @type {Sent[]} */
  const sent = [];
  /** @type {typeof globalThis.fetch} */
  const fetch = async (url, init = {}) => {
    sent.push({ url: String(url), init, headers: /** @type {Record<string, string>} */ (init.headers) });
    const answer = answers.shift();
    if (!answer) throw new Error("nobody expected this request");
    if (answer instanceof Error) throw answer;
    return answer;
  };
  return { fetch, sent };
}

const ok = (/** @type {unknown} */ data, status = 200) => Response.json({ success: true, data }, { status });
const problem = (/** @type {number} */ status, /** @type {object} */ body, headers = {}) =>
  Response.json({ success: false, ...body }, { status, headers });

test("the chunk header is a dictionary of integers in the contract's order", () => {
  const fields = { seq: 17, seg: 0, at: 1732259036150.4, start: 1732259000123, err: 9, offset: -37012.2 };
  assert.equal(chunkHeader(fields), "seg=0, seq=17, start=1732259000123, at=1732259036150, offset=-37012, err=9");
});

test("the chunk header leaves out what is not known and writes no negative zero", () => {
  assert.equal(chunkHeader({ seg: 0, seq: 0, start: 1, at: 2 }), "seg=0, seq=0, start=1, at=2");
  assert.equal(chunkHeader({ seg: 0, seq: 0, start: 1, at: 2, offset: -0.2, err: 0 }), "seg=0, seq=0, start=1, at=2, offset=0, err=0");
});

test("what is no structured integer is refused before it is sent", () => {
  assert.throws(() => chunkHeader({ seg: 0, seq: 0, start: NaN, at: 2 }), RangeError);
  assert.throws(() => chunkHeader({ seg: 0, seq: 0, start: 1e15, at: 2 }), RangeError);
});

test("the digest is RFC 9530's", async () => {
  const sha = await crypto.subtle.digest("SHA-256", new TextEncoder().encode('{"hello": "world"}'));
  assert.equal(contentDigest(sha), "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:"); // the RFC's own example
});

test("Retry-After is read as seconds and as a date", () => {
  assert.equal(retryAfterMs("7"), 7000);
  assert.equal(retryAfterMs(new Date(5000).toUTCString(), 2000), 3000);
  assert.equal(retryAfterMs(new Date(5000).toUTCString(), 9000), 0);
  assert.equal(retryAfterMs("soon"), 0);
  assert.equal(retryAfterMs(null), 0);
});

test("a chunk goes to the track's one address with its headers", async () => {
  const { fetch, sent } = fakeFetch([ok({ seg: 0, seq: 3, duplicate: false }, 201)]);
  const api = new Api({ endpoint: "https://rec.example/", callId: "a_b", token: "t", fetch });
  const chunk = { bytes: new ArrayBuffer(4), mimeType: 'video/webm;codecs="vp9"', digest: "sha-256=:x:", header: "seg=0, seq=3" };
  await api.postChunk("rec_1", "cam", chunk);
  assert.equal(sent[0]?.url, "https://rec.example/video-calls/a_b/recording/rec_1/tracks/cam/chunks");
  assert.deepEqual(sent[0]?.headers, {
    "Content-Type": 'video/webm;codecs="vp9"',
    "Content-Digest": "sha-256=:x:",
    Chunk: "seg=0, seq=3",
    Authorization: "Bearer t",
  });
});

test("a host changes the layout, and asks for other films", async () => {
  const film = { name: "short", artifact: { status: "pending" } };
  const { fetch, sent } = fakeFetch([ok({ layout: "pip" }), ok(film, 202), ok({ items: [film], nextCursor: null }), ok({ name: "short" })]);
  const control = createControl({ endpoint: "https://rec.example", callId: "c", token: "t", fetch });
  assert.equal((await control.layout("pip")).layout, "pip");
  assert.equal((await control.compose("rec_c_1", { name: "short", toMs: 5000 })).artifact.status, "pending");
  assert.equal((await control.compositions("rec_c_1")).items.length, 1);
  await control.discard("rec_c_1", "short");
  assert.deepEqual(
    sent.map(({ url, init }) => [init.method, url.replace("https://rec.example/video-calls/c/recording", ""), init.body]),
    [
      ["POST", "/layout", '{"layout":"pip"}'],
      ["POST", "/rec_c_1/compositions", '{"name":"short","toMs":5000}'],
      ["GET", "/rec_c_1/compositions", undefined],
      ["DELETE", "/rec_c_1/compositions/short", undefined],
    ],
  );
});

test("the clock probe carries no token, so that no preflight lengthens it", async () => {
  const { fetch, sent } = fakeFetch([ok({ serverTimeMs: "1732259000123.25" })]);
  const api = new Api({ endpoint: "https://rec.example", callId: "c", token: "t", fetch });
  assert.deepEqual(await api.time(() => 42), { serverTimeMs: 1732259000123.25, receivedMs: 42 });
  assert.deepEqual(sent[0]?.headers, {});
});

test("on 401 the token is asked for again, once", async () => {
  const tokens = ["old", "new"];
  const { fetch, sent } = fakeFetch([problem(401, { code: "unauthorized", retryable: false }), ok({ recordingId: "r" })]);
  const api = new Api({ endpoint: "https://rec.example", callId: "c", token: () => tokens.shift() ?? "none", fetch });
  await api.recording();
  assert.deepEqual(sent.map((s) => s.headers.Authorization), ["Bearer old", "Bearer new"]);
});

test("401 is final for a fixed token, and not for one that can be renewed", async () => {
  const answers = () => [1, 2].map(() => problem(401, { code: "unauthorized", retryable: false }));
  const fixed = new Api({ endpoint: "https://r.example", callId: "c", token: "t", fetch: fakeFetch(answers()).fetch });
  const renewable = new Api({ endpoint: "https://r.example", callId: "c", token: () => "t", fetch: fakeFetch(answers()).fetch });
  await assert.rejects(fixed.recording(), { code: "unauthorized", retryable: false });
  await assert.rejects(renewable.recording(), { code: "unauthorized", retryable: true });
});

test("a refusal carries code, retryable and Retry-After", async () => {
  const { fetch } = fakeFetch([problem(503, { code: "unavailable", retryable: true, detail: "later" }, { "Retry-After": "2" })]);
  const api = new Api({ endpoint: "https://rec.example", callId: "c", token: "t", fetch });
  const error = await api.start().catch((/** @type {CallreelError} */ e) => e);
  assert.ok(error instanceof CallreelError);
  assert.deepEqual([error.code, error.status, error.retryable, error.retryAfterMs, error.message], ["unavailable", 503, true, 2000, "later"]);
});

test("an answer that is not Callreel's own does not count as stored", async () => {
  const { fetch } = fakeFetch([new Response("<html>sign in to the hotel", { status: 200 }), new Response("gone", { status: 404 }), new TypeError("offline")]);
  const api = new Api({ endpoint: "https://rec.example", callId: "c", token: "t", fetch });
  await assert.rejects(api.recording(), { code: "network", retryable: true });
  await assert.rejects(api.recording(), { code: "http_404", retryable: false, fromServer: false });
  await assert.rejects(api.recording(), { code: "network", retryable: true });
});

test("a request that hangs ends as a timeout that may be retried", async () => {
  /** @type {typeof fetch} */
  const hanging = (_, init) => new Promise((_resolve, reject) => init?.signal?.addEventListener("abort", () => reject(new Error("aborted"))));
  const api = new Api({ endpoint: "https://rec.example", callId: "c", token: "t", fetch: hanging });
  await assert.rejects(api.putTrack("r", "t", { source: "camera", kind: "video" }, { timeoutMs: 5 }), { code: "timeout", retryable: true });
});

test("what a browser refuses is a sentence and a code", () => {
  const codes = ["NotAllowedError", "NotFoundError", "NotReadableError", "OverconstrainedError", "QuotaExceededError", "Whatever"].map((name) => {
    const told = explain(new DOMException("browser's words", name));
    assert.ok(told instanceof CallreelError && told.message.length > 10);
    return told.code;
  });
  assert.deepEqual(codes, ["permission_denied", "no_device", "device_busy", "impossible_constraints", "storage_full", "client"]);
  assert.equal(explain("text").message, "text");
});
