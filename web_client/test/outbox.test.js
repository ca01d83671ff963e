import assert from "node:assert/strict";
import { test } from "node:test";
import { Depot } from "../src/depot.js";
import { Outbox } from "../src/outbox.js";

/** @param {number} seq @param {number} size */
const row = (seq, size, trackId = "cam") => ({ recordingId: "r", trackId, seg: 0, seq, sizeBytes: size, atMs: seq, mimeType: "video/webm", digest: "d", header: "h" });
const track = (trackId = "cam", openedMs = Date.now()) => ({
  recordingId: "r", trackId, endpoint: "", callId: "c", owner: "me", openedMs, facts: [], segments: [],
  body: { source: /** @type {const} */ ("camera"), kind: /** @type {const} */ ("video") },
});

/** A disk that refuses: what a browser does in a private window, or when it is full. */
const refusing = /** @type {any} */ ({
  open() {
    const request = { error: new DOMException("full", "QuotaExceededError"), onerror: () => {} };
    queueMicrotask(() => request.onerror());
    return request;
  },
});

test("a disk that refuses is told once; memory takes over up to its bound, and what is beyond is told too", async () => {
  const outbox = new Outbox({ indexedDB: refusing, memoryBytes: 25 });
  /** @type {string[]} */ const said = [];
  outbox.on("degraded", ({ reason }) => said.push(`degraded ${reason}`));
  outbox.on("lost", ({ seq }) => said.push(`lost ${seq}`));
  for (let seq = 0; seq < 3; seq++) await outbox.putChunk(row(seq, 10), new ArrayBuffer(10), track());
  assert.deepEqual(said, ["degraded full", "lost 2"]);
  assert.deepEqual([outbox.degraded, outbox.heldBytes], [true, 20]);
  await outbox.deleteChunk(row(0, 10));
  assert.equal(await outbox.putChunk(row(3, 10), new ArrayBuffer(10), track()), true, "there is room again");
  assert.deepEqual((await outbox.chunks("r", "cam")).map(({ seq }) => seq), [1, 3]);
});

test("a stored chunk is never taken for gone while the disk does not answer", async () => {
  const outbox = new Outbox({ indexedDB: refusing });
  await assert.rejects(() => outbox.bytes(row(0, 1)));
  assert.equal(await new Outbox({ indexedDB: null }).bytes(row(0, 1)), undefined);
});

test("what is older than a week is let go; what is younger, or in work, is not", async () => {
  const outbox = new Outbox({ indexedDB: null });
  const silent = /** @type {any} */ ({ putTrack: () => new Promise(() => {}) });
  const depot = new Depot(silent, outbox);
  const weekAgo = Date.now() - 8 * 24 * 3_600_000;
  for (const each of [track("old", weekAgo), track("young")]) await outbox.putTrack(each);
  await outbox.putChunk(row(0, 1, "old"), new ArrayBuffer(1), track("old", weekAgo));
  await depot.open(track("in-work", weekAgo));
  assert.deepEqual(await depot.purge(), [{ recordingId: "r", trackId: "old" }]);
  assert.deepEqual((await outbox.tracks()).map(({ trackId }) => trackId).sort(), ["in-work", "young"]);
  assert.equal(outbox.heldBytes, 0);
  await depot.close();
});

test("a night without network leaves one health fact a track, with what waits now", async () => {
  const outbox = new Outbox({ indexedDB: null });
  const depot = new Depot(/** @type {any} */ ({ putTrack: () => new Promise(() => {}) }), outbox);
  await depot.open(track());
  await depot.keep(track(), { seg: 0, seq: 0, start: 0, at: 1_000 }, "video/webm", new Blob(["12345"]));
  for (const atMs of [2_000, 3_000]) await depot.tell(track(), { id: `h${atMs}`, type: "health", atMs, data: { onDisk: true } });
  const [stored] = await outbox.tracks();
  assert.deepEqual(stored?.facts, [{ id: "h3000", type: "health", atMs: 3_000, data: { onDisk: true, pendingBytes: 5, pendingMs: 2_000 } }]);
  await depot.close();
});
