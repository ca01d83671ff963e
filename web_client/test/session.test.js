import assert from "node:assert/strict";
import { test } from "node:test";
import { createControl, createRecorder } from "../src/callreel.js";
import { Outbox } from "../src/outbox.js";
import { MIME_TYPES, pickMimeType } from "../src/recorder.js";

/** A MediaRecorder that delivers when it is told to. */
class FakeRecorder extends EventTarget {
  static isTypeSupported = () => true;
  /** @type {FakeRecorder[]} */ static all = [];
  state = "inactive";
  constructor(/** @type {any} */ _stream, /** @type {any} */ options) {
    super();
    this.mimeType = options.mimeType;
    FakeRecorder.all.push(this);
  }
  start() {
    this.state = "recording";
  }
  requestData() {}
  deliver(/** @type {string} */ text) {
    this.dispatchEvent(Object.assign(new Event("dataavailable"), { data: new Blob([text]) }));
  }
  stop() {
    this.state = "inactive";
    queueMicrotask(() => {
      this.deliver("tail");
      this.deliver(""); // Chromium often ends with an empty Blob
      this.dispatchEvent(new Event("stop"));
    });
  }
}
Object.assign(globalThis, { MediaStream: class {} });

/** A server that keeps what it is sent, and an event stream that the test writes into. */
function server() {
  /** @type {ReadableStreamDefaultController<Uint8Array>} */ let stream;
  /** @type {{ method: string, path: string, chunk: string | null, body: any }[]} */ const got = [];
  /** @type {typeof globalThis.fetch} */
  const fetch = async (url, init = {}) => {
    const path = new URL(String(url)).pathname.replace("/video-calls/c/", "");
    if (path === "/time") return Response.json({ success: true, data: { serverTimeMs: 5 } });
    if (path === "events") return new Response(new ReadableStream({ start: (controller) => void (stream = controller) }));
    const body = typeof init.body === "string" ? JSON.parse(init.body) : init.body;
    got.push({ method: init.method ?? "GET", path, chunk: new Headers(init.headers).get("Chunk"), body });
    return Response.json({ success: true, data: {} });
  };
  const tell = (/** @type {object} */ event) => stream.enqueue(new TextEncoder().encode(`data: ${JSON.stringify(event)}\n\n`));
  return { fetch, got, tell };
}

const until = async (/** @type {() => unknown} */ condition) => {
  for (let i = 0; i < 500 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 2));
  assert.ok(condition(), String(condition));
};

const microphone = /** @type {MediaStreamTrack} */ (/** @type {unknown} */ ({ kind: "audio" }));
const options = { endpoint: "https://rec.example", callId: "c", token: "t", MediaRecorder: /** @type {any} */ (FakeRecorder) };

test("with follow, capture runs exactly while the host records", async () => {
  FakeRecorder.all = [];
  const { fetch, got, tell } = server();
  const recorder = createRecorder({ ...options, fetch, follow: true, outbox: new Outbox({ indexedDB: null }), locks: null });
  await recorder.addTrack(microphone, { source: "microphone", label: "Ada" });
  tell({ type: "snapshot", data: null });
  assert.equal(FakeRecorder.all.length, 0);
  tell({ type: "recordingstarted", data: { recordingId: "rec_c_1" } });
  await until(() => FakeRecorder.all.length === 1);
  FakeRecorder.all[0]?.deliver("head");
  tell({ type: "recordingstopped", data: { recordingId: "rec_c_1" } });
  await until(() => got.some((g) => g.path.endsWith("/complete")));
  const id = got[0]?.path.split("/").at(-1) ?? "";
  assert.match(id, /^microphone-[0-9a-f]{12}$/);
  const base = `recording/rec_c_1/tracks/${id}`;
  assert.deepEqual(got.map((g) => `${g.method} ${g.path}`), [`PUT ${base}`, `POST ${base}/chunks`, `POST ${base}/chunks`, `POST ${base}/complete`]);
  assert.deepEqual(got[0]?.body, { source: "microphone", kind: "audio", label: "Ada" });
  assert.match(got[2]?.chunk ?? "", /^seg=0, seq=1, start=\d+, at=\d+, offset=-\d+, err=\d+$/);
  assert.deepEqual(got[3]?.body, { segments: [{ seg: 0, chunks: 2, bytes: 8 }], reason: "stopped" });
  recorder.close();
});

test("nothing is captured while the recording is paused, and a new segment of the same track begins behind it", async () => {
  FakeRecorder.all = [];
  const { fetch, got, tell } = server();
  const recorder = createRecorder({ ...options, fetch, follow: true, outbox: new Outbox({ indexedDB: null }), locks: null });
  /** @type {string[]} */ const said = [];
  for (const name of /** @type {const} */ (["started", "paused", "resumed", "stopped"])) recorder.on(name, () => void said.push(name));
  const handle = await recorder.addTrack(microphone, { source: "microphone" });
  tell({ type: "recordingstarted", data: { recordingId: "rec_c_1" } });
  await until(() => FakeRecorder.all.length === 1);
  FakeRecorder.all[0]?.deliver("head");
  tell({ type: "recordingpaused", data: { recordingId: "rec_c_1" } });
  await until(() => FakeRecorder.all[0]?.state === "inactive");
  await handle.replaceTrack(microphone); // another device is no reason to record
  await recorder.addTrack(microphone, { source: "other" }); // nor is another source, which is announced all the same
  await until(() => got.filter((g) => g.method === "PUT").length === 2);
  assert.equal(FakeRecorder.all.length, 1);
  tell({ type: "recordingresumed", data: { recordingId: "rec_c_1" } });
  await until(() => FakeRecorder.all.length === 3);
  tell({ type: "recordingstopped", data: { recordingId: "rec_c_1" } });
  await until(() => got.filter((g) => g.path.endsWith("/complete")).length === 2);
  const sums = got.filter((g) => g.path.endsWith("/complete")).map((g) => g.body.segments.map((/** @type {any} */ s) => [s.seg, s.chunks]));
  assert.deepEqual(sums.sort((a, b) => b.length - a.length), [[[0, 2], [1, 1]], [[0, 1]]]);
  assert.deepEqual(said, ["started", "paused", "resumed", "stopped"]);
  recorder.close();
});

test("who joins during a pause records nothing before it is over", async () => {
  FakeRecorder.all = [];
  const { fetch, got, tell } = server();
  const recorder = createRecorder({ ...options, fetch, follow: true, outbox: new Outbox({ indexedDB: null }), locks: null });
  await recorder.addTrack(microphone);
  const recording = { recordingId: "rec_c_1", startedAt: null };
  tell({ type: "snapshot", data: { ...recording, status: "paused" } });
  await until(() => got.some((g) => g.method === "PUT"));
  assert.deepEqual([recorder.paused, FakeRecorder.all.length], [true, 0]);
  tell({ type: "snapshot", data: { ...recording, status: "recording" } }); // the connection was lost meanwhile
  await until(() => FakeRecorder.all.length === 1);
  assert.equal(recorder.paused, false);
  recorder.close();
});

test("without follow, a track is recorded from addTrack to end, in two segments where the device changed", async () => {
  FakeRecorder.all = [];
  const { fetch, got } = server();
  const recorder = createRecorder({ ...options, fetch, recordingId: "rec_c_2", outbox: new Outbox({ indexedDB: null }), locks: null });
  const handle = await recorder.addTrack(microphone);
  await until(() => FakeRecorder.all.length === 1);
  await handle.replaceTrack(microphone);
  const result = await recorder.end({ drainTimeoutMs: 2000 });
  assert.deepEqual([result.drained, result.pendingChunks, result.sentChunks], [true, 0, 2]);
  assert.deepEqual(got.at(-1)?.body.segments, [{ seg: 0, chunks: 1, bytes: 4 }, { seg: 1, chunks: 1, bytes: 4 }]);
  recorder.close();
});

test("end gives up waiting at its deadline and says what is left; recording was never touched by it", async () => {
  FakeRecorder.all = [];
  /** @type {typeof fetch} */
  const offline = () => Promise.reject(new TypeError("offline"));
  const recorder = createRecorder({ ...options, fetch: offline, recordingId: "rec_c_3", outbox: new Outbox({ indexedDB: null }), locks: null });
  await recorder.addTrack(microphone);
  await until(() => FakeRecorder.all.length === 1);
  FakeRecorder.all[0]?.deliver("one");
  assert.equal(FakeRecorder.all[0]?.state, "recording");
  const result = await recorder.end({ drainTimeoutMs: 50 });
  assert.deepEqual([result.drained, result.pendingChunks, result.pendingBytes], [false, 2, 7]);
  recorder.close();
});

test("the first container that the browser can write is taken, or its own choice", () => {
  const only = (/** @type {string} */ prefix) => ({ isTypeSupported: (/** @type {string} */ type) => type.startsWith(prefix) });
  assert.equal(pickMimeType(MIME_TYPES.video, only("video/webm")), "video/webm;codecs=vp9");
  assert.equal(pickMimeType(MIME_TYPES.video, only("video/mp4")), "video/mp4;codecs=avc3.42E01F");
  assert.equal(pickMimeType(MIME_TYPES.audio, only("none")), "");
});

test("a control asks for what a host may do", async () => {
  const { fetch, got } = server();
  const control = createControl({ ...options, fetch });
  await control.pause();
  await control.resume();
  await control.delete("rec_c_1");
  assert.deepEqual(got.map((g) => `${g.method} ${g.path}`), ["POST recording/pause", "POST recording/resume", "DELETE recording/rec_c_1"]);
});
