import assert from "node:assert/strict";
import { test } from "node:test";
import { createControl, createRecorder } from "../src/callreel.js";
import { Outbox } from "../src/outbox.js";
import { MIME_TYPES, usableTypes } from "../src/recorder.js";

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
  fail() {
    this.dispatchEvent(new Event("error"));
    this.stop();
  }
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
    const data = path.endsWith("/chunks") && init.method === "GET" ? { segments: [] } : {};
    return Response.json({ success: true, data });
  };
  const tell = (/** @type {object} */ event) => stream.enqueue(new TextEncoder().encode(`data: ${JSON.stringify(event)}\n\n`));
  return { fetch, got, tell };
}

const until = async (/** @type {() => unknown} */ condition) => {
  for (let i = 0; i < 500 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 2));
  assert.ok(condition(), String(condition));
};

/** A track that does what the test says. */
class FakeTrack extends EventTarget {
  readyState = "live";
  muted = false;
  size = { width: 640, height: 360 };
  constructor(/** @type {string} */ kind) {
    super();
    this.kind = kind;
  }
  getSettings() {
    return this.size;
  }
  end() {
    this.readyState = "ended";
    this.dispatchEvent(new Event("ended"));
    for (const recorder of FakeRecorder.all) if (recorder.state === "recording") recorder.stop();
  }
}
const fakeTrack = (kind = "audio") => /** @type {any} */ (new FakeTrack(kind));
const microphone = fakeTrack();
const options = { endpoint: "https://rec.example", callId: "c", token: "t", MediaRecorder: /** @type {any} */ (FakeRecorder) };

test("with follow, capture runs exactly while the host records", async (t) => {
  FakeRecorder.all = [];
  const { fetch, got, tell } = server();
  const recorder = createRecorder({ ...options, fetch, follow: true, store: "memory", locks: null });
  t.after(() => recorder.close());
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
  assert.deepEqual(got.map((g) => `${g.method} ${g.path}`), [`PUT ${base}`, `POST ${base}/facts`, `POST ${base}/chunks`, `POST ${base}/chunks`, `POST ${base}/complete`]);
  assert.deepEqual(got[0]?.body, { source: "microphone", kind: "audio", label: "Ada" });
  assert.match(got[3]?.chunk ?? "", /^seg=0, seq=1, start=\d+, at=\d+, offset=-\d+, err=\d+$/);
  assert.deepEqual(got[4]?.body, { segments: [{ seg: 0, chunks: 2, bytes: 8 }], reason: "stopped" });
});

test("a camera that its page switches off and on again is told, for no event of the browser's does", async (t) => {
  FakeRecorder.all = [];
  const { fetch, got, tell } = server();
  const recorder = createRecorder({ ...options, fetch, follow: true, store: "memory", locks: null });
  t.after(() => recorder.close());
  const camera = Object.assign(fakeTrack("video"), { enabled: true });
  await recorder.addTrack(camera, { source: "camera" });
  tell({ type: "recordingstarted", data: { recordingId: "rec_c_1" } });
  const told = () => got.filter((g) => g.path.endsWith("/facts")).flatMap((g) => g.body.facts).map((fact) => fact.type).filter((type) => type.endsWith("muted"));
  await until(() => FakeRecorder.all.length === 1);
  camera.enabled = false;
  await until(() => told().includes("muted"));
  camera.enabled = true;
  await until(() => told().includes("unmuted"));
  assert.deepEqual(told(), ["muted", "unmuted"]);
});

test("nothing is captured while the recording is paused, and a new segment of the same track begins behind it", async (t) => {
  FakeRecorder.all = [];
  const { fetch, got, tell } = server();
  const recorder = createRecorder({ ...options, fetch, follow: true, store: "memory", locks: null });
  t.after(() => recorder.close());
  /** @type {string[]} */ const said = [];
  for (const name of /** @type {const} */ (["started", "paused", "resumed", "stopped"])) recorder.on(name, () => void said.push(name));
  const handle = await recorder.addTrack(microphone, { source: "microphone" });
  tell({ type: "recordingstarted", data: { recordingId: "rec_c_1" } });
  await until(() => FakeRecorder.all.length === 1);
  FakeRecorder.all[0]?.deliver("head");
  tell({ type: "recordingpaused", data: { recordingId: "rec_c_1" } });
  await until(() => FakeRecorder.all[0]?.state === "inactive");
  await handle.replace(microphone); // another device is no reason to record
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
});

test("who joins during a pause records nothing before it is over", async (t) => {
  FakeRecorder.all = [];
  const { fetch, got, tell } = server();
  const recorder = createRecorder({ ...options, fetch, follow: true, store: "memory", locks: null });
  t.after(() => recorder.close());
  await recorder.addTrack(microphone);
  const recording = { recordingId: "rec_c_1", startedAt: null };
  tell({ type: "snapshot", data: { ...recording, status: "paused" } });
  await until(() => got.some((g) => g.method === "PUT"));
  assert.deepEqual([recorder.paused, FakeRecorder.all.length], [true, 0]);
  tell({ type: "snapshot", data: { ...recording, status: "recording" } }); // the connection was lost meanwhile
  await until(() => FakeRecorder.all.length === 1);
  assert.equal(recorder.paused, false);
});

test("without follow, a track is recorded from addTrack to end, in two segments where the device changed", async (t) => {
  FakeRecorder.all = [];
  const { fetch, got } = server();
  const recorder = createRecorder({ ...options, fetch, follow: false, recordingId: "rec_c_2", store: "memory", locks: null });
  t.after(() => recorder.close());
  const handle = await recorder.addTrack(microphone);
  await until(() => FakeRecorder.all.length === 1);
  await handle.replace(microphone);
  const result = await recorder.end({ drainTimeoutMs: 2000 });
  assert.deepEqual([result.drained, result.pendingChunks, result.sentChunks], [true, 0, 2]);
  assert.deepEqual(got.at(-1)?.body.segments, [{ seg: 0, chunks: 1, bytes: 4 }, { seg: 1, chunks: 1, bytes: 4 }]);
});

test("end gives up waiting at its deadline and says what is left; recording was never touched by it", async (t) => {
  FakeRecorder.all = [];
  /** @type {typeof fetch} */
  const offline = () => Promise.reject(new TypeError("offline"));
  const recorder = createRecorder({ ...options, fetch: offline, follow: false, recordingId: "rec_c_3", store: "memory", locks: null });
  t.after(() => recorder.close());
  await recorder.addTrack(microphone);
  await until(() => FakeRecorder.all.length === 1);
  FakeRecorder.all[0]?.deliver("one");
  assert.equal(FakeRecorder.all[0]?.state, "recording");
  const result = await recorder.end({ drainTimeoutMs: 50 });
  assert.deepEqual([result.drained, result.pendingChunks, result.pendingBytes], [false, 2, 7]);
});

test("the first container that the browser can write is taken, or its own choice", () => {
  const only = (/** @type {string} */ prefix) => ({ isTypeSupported: (/** @type {string} */ type) => type.startsWith(prefix) });
  assert.equal(usableTypes(MIME_TYPES.video, only("video/webm"))[0], "video/webm;codecs=vp9");
  assert.equal(usableTypes(MIME_TYPES.video, only("video/mp4"))[0], "video/mp4;codecs=avc3.42E01F");
  assert.equal(usableTypes(MIME_TYPES.audio, only("none"))[0], "");
});

/** The segments that the server was told of at the end. @param {ReturnType<typeof server>["got"]} got */
const told = (got) => got.find((g) => g.path.endsWith("/complete"))?.body.segments.map((/** @type {any} */ s) => [s.seg, s.chunks]);
/** Facts in their order. @param {ReturnType<typeof server>["got"]} got */
const facts = (got) => got.filter((g) => g.path.endsWith("/facts")).flatMap((g) => g.body.facts);
const latest = () => /** @type {FakeRecorder} */ (FakeRecorder.all.at(-1));

test("a track that ends is no lost track: another device goes on as a new segment", async (t) => {
  FakeRecorder.all = [];
  const { fetch, got } = server();
  const recorder = createRecorder({ ...options, fetch, follow: false, recordingId: "r", store: "memory", locks: null });
  t.after(() => recorder.close());
  /** @type {any[]} */ const errors = [];
  recorder.on("error", ({ error }) => errors.push(/** @type {any} */ (error).code));
  const [first, second] = [fakeTrack(), fakeTrack()];
  const feed = await recorder.addTrack(first);
  first.end();
  await until(() => errors.length);
  assert.deepEqual(errors, ["track_ended"]);
  assert.ok(!got.some((g) => g.path.endsWith("/complete")));
  feed.replace(second);
  await until(() => FakeRecorder.all.length === 2);
  await recorder.end({ drainTimeoutMs: 2000 });
  assert.deepEqual(told(got), [[0, 1], [1, 1]]);
  assert.deepEqual(facts(got).map((f) => f.type), ["settings", "ended", "settings"]);
});

test("a recorder that fails, or is silent, or cannot write the new size is started again", async (t) => {
  FakeRecorder.all = [];
  let nowMs = 1_000_000;
  const { fetch, got } = server();
  const recorder = createRecorder({
    ...options, fetch, follow: false, recordingId: "r", store: "memory", locks: null, adapt: false,
    now: () => nowMs, timesliceMs: 20, mimeTypes: ["video/mp4;codecs=avc1.42E01F"],
  });
  t.after(() => recorder.close());
  /** @type {string[]} */ const reasons = [];
  recorder.on("segment", ({ reason }) => reasons.push(reason));
  const camera = fakeTrack("video");
  await recorder.addTrack(camera);
  latest().fail();
  await until(() => reasons.length === 2);
  camera.size = { width: 360, height: 640 };
  await until(() => reasons.length === 3);
  const asked = latest();
  let questions = 0;
  asked.requestData = () => void questions++;
  const silence = setInterval(() => (nowMs += 500), 5);
  await until(() => reasons.length === 4);
  clearInterval(silence);
  assert.equal(questions, 1, "it is asked before it is given up");
  assert.deepEqual(reasons, ["begun", "recovered", "resized", "stalled"]);
  await recorder.end({ drainTimeoutMs: 2000 });
  assert.deepEqual(told(got), [[0, 1], [1, 1], [2, 1], [3, 1]]);
});

test("a muted microphone and a still screen owe nothing", async (t) => {
  FakeRecorder.all = [];
  let nowMs = 1_000_000;
  const { fetch } = server();
  const recorder = createRecorder({ ...options, fetch, follow: false, recordingId: "r", store: "memory", locks: null, now: () => nowMs, timesliceMs: 20 });
  t.after(() => recorder.close());
  const [muted, screen] = [fakeTrack(), fakeTrack("video")];
  muted.muted = true;
  await recorder.addTrack(muted);
  await recorder.addTrack(screen, { source: "screen" });
  const still = latest();
  still.requestData = () => still.deliver("");
  const silence = setInterval(() => (nowMs += 500), 2);
  await new Promise((resolve) => setTimeout(resolve, 300));
  clearInterval(silence);
  assert.equal(FakeRecorder.all.length, 2);
});

test("who pauses is recorded in another segment behind it, whoever else pauses meanwhile", async (t) => {
  FakeRecorder.all = [];
  const { fetch, got, tell } = server();
  const recorder = createRecorder({ ...options, fetch, store: "memory", locks: null });
  t.after(() => recorder.close());
  await recorder.addTrack(fakeTrack());
  await until(() => tell);
  tell({ type: "snapshot", data: { recordingId: "r", status: "recording", startedAt: "" } });
  await until(() => FakeRecorder.all.length === 1);
  recorder.pause();
  assert.equal(latest().state, "inactive");
  tell({ type: "recordingpaused", data: { recordingId: "r" } });
  await until(() => recorder.paused);
  recorder.resume();
  assert.equal(FakeRecorder.all.length, 1, "the host still pauses");
  tell({ type: "recordingresumed", data: { recordingId: "r" } });
  await until(() => FakeRecorder.all.length === 2);
  tell({ type: "recordingstopped", data: { recordingId: "r" } });
  await until(() => told(got));
  assert.deepEqual(told(got), [[0, 1], [1, 1]]);
  assert.deepEqual(facts(got).map((f) => f.type), ["settings", "paused", "resumed", "settings"]);
});

test("nothing is captured of who was not asked, or does not agree; who agreed is told", async (t) => {
  for (const agrees of [false, true]) {
    FakeRecorder.all = [];
    const { fetch, got, tell } = server();
    /** @type {(agrees: boolean) => void} */ let answer = () => {};
    const recorder = createRecorder({ ...options, fetch, store: "memory", locks: null, consent: () => new Promise((resolve) => (answer = resolve)) });
    t.after(() => recorder.close());
    let declined = false;
    recorder.on("declined", () => (declined = true));
    await recorder.addTrack(fakeTrack());
    await recorder.addTrack(fakeTrack("video"));
    tell({ type: "recordingstarted", data: { recordingId: "r" } });
    await until(() => recorder.recordingId);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(FakeRecorder.all.length, 0);
    answer(agrees);
    await until(() => (agrees ? FakeRecorder.all.length === 2 : declined));
    if (agrees) await until(() => facts(got).filter((f) => f.type === "consent" && f.data.agreed === true).length === 2);
    else assert.equal(FakeRecorder.all.length, 0);
  }
});

test("after a reload the same source is the same track, its segments numbered on", async (t) => {
  FakeRecorder.all = [];
  const store = new Outbox({ indexedDB: null });
  const { fetch, got } = server();
  /** @type {typeof fetch} */
  const unlucky = (url, init) => (String(url).endsWith("/chunks") && init?.method === "POST" ? Promise.reject(new TypeError("offline")) : fetch(url, init));
  const base = { ...options, follow: false, recordingId: "r", store, locks: null };
  const before = createRecorder({ ...base, fetch: unlucky });
  await before.addTrack(fakeTrack(), { label: "Ada" });
  const kept = new Promise((resolve) => before.on("chunk", resolve));
  latest().deliver("one");
  await kept;
  before.close();

  const after = createRecorder({ ...base, fetch });
  t.after(() => after.close());
  const [found] = await Promise.all([after.recoverPending(), after.addTrack(fakeTrack(), { label: "Ada" })]);
  assert.equal(found.tracks, 1);
  assert.ok(found.chunks >= 1);
  await after.end({ drainTimeoutMs: 2000 });
  const tracks = new Set(got.map((g) => g.path.split("/")[3]));
  assert.equal(tracks.size, 1, [...tracks].join());
  const chunks = got.filter((g) => g.chunk).map((g) => g.chunk?.match(/seg=\d+, seq=\d+/)?.[0]);
  assert.equal(chunks[0], "seg=0, seq=0");
  assert.equal(chunks.at(-1), "seg=1, seq=0");
  assert.deepEqual(got.at(-1)?.body.segments.map((/** @type {any} */ s) => s.seg), [0, 1]);
});

test("after a reload without the server the same source is another track: a number must never be given twice", async (t) => {
  FakeRecorder.all = [];
  const store = new Outbox({ indexedDB: null });
  const { fetch, got } = server();
  const base = { ...options, follow: false, recordingId: "r", store, locks: null };
  const before = createRecorder({ ...base, fetch: () => Promise.reject(new TypeError("offline")) });
  await before.addTrack(fakeTrack());
  const kept = new Promise((resolve) => before.on("chunk", resolve));
  latest().deliver("one");
  await kept;
  before.close();
  /** @type {typeof fetch} */
  const blind = (url, init) => (String(url).endsWith("/chunks") && init?.method === "GET" ? Promise.reject(new TypeError("offline")) : fetch(url, init));
  const after = createRecorder({ ...base, fetch: blind });
  t.after(() => after.close());
  await after.addTrack(fakeTrack());
  await until(() => FakeRecorder.all.length === 2);
  await after.end({ drainTimeoutMs: 2000 });
  await until(() => got.filter((g) => g.path.endsWith("/complete")).length === 2);
  assert.equal(new Set(got.map((g) => g.path.split("/")[3])).size, 2);
});

test("a control asks for what a host may do", async () => {
  const { fetch, got } = server();
  const control = createControl({ ...options, fetch });
  await control.pause();
  await control.resume();
  await control.delete("rec_c_1");
  assert.deepEqual(got.map((g) => `${g.method} ${g.path}`), ["POST recording/pause", "POST recording/resume", "DELETE recording/rec_c_1"]);
});
