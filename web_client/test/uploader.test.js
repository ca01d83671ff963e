import assert from "node:assert/strict";
import { test } from "node:test";
import { Outbox } from "../src/outbox.js";
import { CallreelError } from "../src/protocol.js";
import { delayMs, isWorthless } from "../src/lane.js";
import { Uploader } from "../src/uploader.js";

/** @typedef {import("../src/outbox.js").ChunkRow} ChunkRow */

const track = (/** @type {string} */ trackId) => ({
  recordingId: "r",
  trackId,
  endpoint: "",
  callId: "c",
  owner: "me",
  body: { source: /** @type {const} */ ("camera"), kind: /** @type {const} */ ("video") },
  segments: [],
  openedMs: 0,
  facts: [],
});

const chunk = (/** @type {string} */ trackId, /** @type {number} */ seq, atMs = seq) => {
  /** @type {ChunkRow} */
  const row = { recordingId: "r", trackId, seg: 0, seq, sizeBytes: 10, atMs, mimeType: "video/webm", digest: "d", header: `seg=0, seq=${seq}` };
  return row;
};

const temporary = (retryAfterMs = 0) => new CallreelError("unavailable", "later", { status: 503, retryable: true, fromServer: true, retryAfterMs });
const final = (code = "chunk_conflict", status = 409) => new CallreelError(code, "no", { status, fromServer: true });

/** A server, an outbox in memory, and a clock that only moves when somebody waits. */
function world({ maxParallel = 3 } = {}) {
  const log = /** @type {string[]} */ ([]);
  const waits = /** @type {number[]} */ ([]);
  const failures = /** @type {Record<string, Error[]>} */ ({});
  const busy = { now: 0, most: 0, lanes: new Set(), doubled: false };
  let t = 0;
  const say = async (/** @type {string} */ what, /** @type {string} */ trackId, /** @type {any} */ answer) => {
    busy.most = Math.max(busy.most, ++busy.now);
    busy.doubled ||= busy.lanes.has(trackId);
    busy.lanes.add(trackId);
    await new Promise((resolve) => setImmediate(resolve));
    busy.now--;
    busy.lanes.delete(trackId);
    log.push(what);
    const error = failures[what]?.shift();
    if (error) throw error;
    return answer;
  };
  const api = {
    putTrack: (/** @type {string} */ _r, /** @type {string} */ id) => say(`put ${id}`, id, {}),
    postChunk: (/** @type {string} */ _r, /** @type {string} */ id, /** @type {{ header: string }} */ c) => say(`chunk ${id} ${c.header}`, id, { duplicate: false }),
    postFacts: (/** @type {string} */ _r, /** @type {string} */ id, /** @type {any[]} */ facts) => say(`facts ${id} ${facts.map((f) => f.id).join(" ")}`, id, {}),
    completeTrack: (/** @type {string} */ _r, /** @type {string} */ id, /** @type {any} */ body) => say(`complete ${id} ${body.reason}`, id, { missing: [] }),
  };
  const outbox = new Outbox({ indexedDB: null });
  const uploader = new Uploader(api, outbox, {
    maxParallel,
    random: () => 0.5,
    now: () => t,
    setTimeout: (work, ms) => {
      if (ms > 0) waits.push(ms);
      return setImmediate(() => ((t += ms), work()));
    },
    clearTimeout: (timer) => clearImmediate(timer),
  });
  const record = async (/** @type {ChunkRow} */ row) => {
    await outbox.putChunk(row, new ArrayBuffer(10), track(row.trackId));
    return row;
  };
  return { api, outbox, uploader, log, waits, failures, busy, record };
}

test("a track is announced, sent in order and declared complete", async () => {
  const { uploader, outbox, log, record } = world();
  const lane = uploader.open(track("cam"));
  uploader.add(lane, await record(chunk("cam", 0)), await record(chunk("cam", 1)));
  assert.equal(uploader.progress.pendingBytes, 20);
  await uploader.complete(lane, { segments: [], reason: "stopped" });
  assert.deepEqual(log, ["put cam", "chunk cam seg=0, seq=0", "chunk cam seg=0, seq=1", "complete cam stopped"]);
  assert.equal(await outbox.bytes(chunk("cam", 0)), undefined);
  assert.deepEqual(uploader.progress, { pendingChunks: 0, pendingBytes: 0, pendingMs: 0, sentChunks: 2, sentBytes: 20 });
});

test("at most one request a track and three in all, oldest first", async () => {
  const { uploader, log, busy, record } = world();
  const lanes = ["a", "b", "c", "d", "e"].map((id) => uploader.open(track(id)));
  for (const [i, lane] of lanes.entries()) {
    for (let seq = 0; seq < 4; seq++) uploader.add(lane, await record(chunk(lane.track.trackId, seq, 100 * seq - i)));
  }
  await Promise.all(lanes.map((lane) => uploader.complete(lane, { segments: [], reason: "stopped" })));
  assert.equal(busy.most, 3);
  assert.equal(busy.doubled, false);
  assert.equal(log.filter((line) => line.startsWith("chunk")).length, 20);
});

test("what may succeed later is tried again without end, the same header each time", async () => {
  const { uploader, log, failures, waits, record } = world();
  failures["chunk cam seg=0, seq=0"] = Array.from({ length: 12 }, () => temporary());
  const lane = uploader.open(track("cam"));
  uploader.add(lane, await record(chunk("cam", 0)));
  await uploader.complete(lane, { segments: [], reason: "stopped" });
  assert.equal(log.filter((line) => line === "chunk cam seg=0, seq=0").length, 13);
  assert.deepEqual(waits.slice(0, 8), [250, 500, 1000, 2000, 4000, 8000, 15000, 15000]); // half of the ceiling, by `random`
});

test("Retry-After is waited for", async () => {
  assert.equal(delayMs(1, temporary(7000), () => 0), 7000);
  assert.ok(delayMs(40, temporary(), () => 1) <= 30_000);
});

test("a chunk refused for good is told and skipped, later ones go on", async () => {
  const { uploader, outbox, log, failures, record } = world();
  failures["chunk cam seg=0, seq=0"] = [final()];
  /** @type {any[]} */ const refused = [];
  uploader.on("refused", (detail) => refused.push([detail.error.code, detail.seq]));
  const lane = uploader.open(track("cam"));
  uploader.add(lane, await record(chunk("cam", 0)), await record(chunk("cam", 1)));
  await uploader.complete(lane, { segments: [], reason: "stopped" });
  assert.deepEqual(refused, [["chunk_conflict", 0]]);
  assert.deepEqual(log, ["put cam", "chunk cam seg=0, seq=0", "chunk cam seg=0, seq=1", "complete cam stopped"]);
  assert.equal(await outbox.bytes(chunk("cam", 0)), undefined);
});

test("a refused track stops its own lane only, and keeps its chunks where another token may help", async () => {
  const { uploader, outbox, log, failures, record } = world();
  failures["put cam"] = [final("not_your_track", 403)];
  const [cam, mic] = [uploader.open(track("cam")), uploader.open(track("mic"))];
  uploader.add(cam, await record(chunk("cam", 0)));
  uploader.add(mic, await record(chunk("mic", 0)));
  await Promise.all([cam, mic].map((lane) => uploader.complete(lane, { segments: [], reason: "stopped" })));
  assert.equal(cam.refused?.code, "not_your_track");
  assert.ok(await outbox.bytes(chunk("cam", 0)));
  assert.ok(log.includes("complete mic stopped"));
  assert.ok(!log.some((line) => line.startsWith("chunk cam")));
});

test("only what Callreel itself refuses for ever is thrown away", () => {
  assert.equal(isWorthless(final()), true);
  assert.equal(isWorthless(final("recording_deleted", 410)), true);
  assert.equal(isWorthless(final("unauthorized", 401)), false);
  assert.equal(isWorthless(new CallreelError("http_404", "a proxy's page", { status: 404 })), false);
  assert.equal(isWorthless(temporary()), false);
});

test("an upload that cannot be started at all is retried too", async () => {
  const { uploader, api, log, record } = world();
  const post = api.postChunk;
  let broken = 2;
  api.postChunk = (...args) => (broken-- > 0 ? Promise.reject(new Error("out of memory")) : post(...args));
  const lane = uploader.open(track("cam"));
  uploader.add(lane, await record(chunk("cam", 0)));
  await uploader.complete(lane, { segments: [], reason: "stopped" });
  assert.ok(log.includes("chunk cam seg=0, seq=0"));
});

test("facts are told once, before complete; those that the server cannot take hold no chunk up", async () => {
  const { uploader, log, failures, record } = world();
  failures["facts cam f1 f2"] = [temporary(), temporary()];
  const facts = ["f1", "f2"].map((id) => ({ id, type: /** @type {const} */ ("muted"), atMs: 1 }));
  const lane = uploader.open({ ...track("cam"), facts });
  uploader.add(lane, await record(chunk("cam", 0)));
  await uploader.complete(lane, { segments: [], reason: "stopped" });
  assert.deepEqual(log, ["put cam", "facts cam f1 f2", "chunk cam seg=0, seq=0", "facts cam f1 f2", "facts cam f1 f2", "complete cam stopped"]);
});

test("a server that has forgotten a track is told again; one that knows no facts is not bothered", async () => {
  const { uploader, log, failures, record } = world();
  failures["chunk cam seg=0, seq=0"] = [new CallreelError("unknown_track", "no", { status: 404, fromServer: true })];
  failures["facts cam f1"] = [final("not_found", 404)];
  /** @type {any[]} */ const refused = [];
  uploader.on("refused", (detail) => refused.push(detail));
  const lane = uploader.open({ ...track("cam"), facts: [{ id: "f1", type: "ended", atMs: 1 }] });
  uploader.add(lane, await record(chunk("cam", 0)));
  await uploader.complete(lane, { segments: [], reason: "stopped" });
  assert.deepEqual(log, ["put cam", "facts cam f1", "chunk cam seg=0, seq=0", "put cam", "chunk cam seg=0, seq=0", "complete cam stopped"]);
  assert.deepEqual(refused, []);
});

test("a chunk that breaks the server lets the others pass", async () => {
  const { uploader, log, failures, record } = world();
  failures["chunk cam seg=0, seq=0"] = Array.from({ length: 5 }, () => new CallreelError("internal_error", "bug", { status: 500, retryable: true, fromServer: true }));
  const lane = uploader.open(track("cam"));
  uploader.add(lane, await record(chunk("cam", 0)), await record(chunk("cam", 1)));
  await uploader.complete(lane, { segments: [], reason: "stopped" });
  assert.ok(log.indexOf("chunk cam seg=0, seq=1") < log.lastIndexOf("chunk cam seg=0, seq=0"), log.join());
  assert.equal(log.at(-1), "complete cam stopped");
});

test("a recording that is over ends its lanes at once; one that the server does not know is kept for later", async () => {
  for (const [code, status, kept] of /** @type {const} */ ([["recording_deleted", 410, false], ["unknown_recording", 404, true]])) {
    const { uploader, outbox, log, failures, record } = world();
    failures["chunk cam seg=0, seq=0"] = [final(code, status)];
    const lane = uploader.open(track("cam"));
    uploader.add(lane, await record(chunk("cam", 0)), await record(chunk("cam", 1)));
    await lane.settled;
    assert.deepEqual(log, ["put cam", "chunk cam seg=0, seq=0"]);
    assert.equal((await outbox.bytes(chunk("cam", 1))) !== undefined, kept, code);
  }
});
