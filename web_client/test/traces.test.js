import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mock, test } from "node:test";
import { MIME_TYPES, SegmentRecorder, usableTypes } from "../src/recorder.js";

/** What the recorders of browsers did that the other tests are not run in, done again. Each file says where it is from. */
Object.assign(globalThis, { MediaStream: class {} });

/** @param {string} browser */
const load = (browser) => JSON.parse(readFileSync(new URL(`./traces/${browser}.json`, import.meta.url), "utf8"));

/**
 * One run: what the library made of it.
 * @param {{ mimeType: string, events: [string, number, number?][] }} trace @param {{ enabled?: boolean, mayBeStill?: boolean }} [about]
 * @param {() => void} [onSettled] called where the run was over before its last Blob came
 */
async function replay(trace, { enabled = true, mayBeStill = false } = {}, onSettled = () => {}) {
  mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  let ms = 0;
  const asked = /** @type {number[]} */ ([]);
  class Recorder extends EventTarget {
    static isTypeSupported = (/** @type {string} */ type) => type === trace.mimeType;
    state = "inactive";
    mimeType = trace.mimeType;
    start() {
      this.state = "recording";
      recorder = this;
    }
    requestData() {
      asked.push(ms);
    }
    stop() {}
  }
  /** @type {Recorder | undefined} */ let recorder;
  const blobs = /** @type {any[]} */ ([]);
  const troubles = /** @type {string[]} */ ([]);
  const track = /** @type {any} */ ({ kind: trace.mimeType.startsWith("audio") ? "audio" : "video", readyState: "live", muted: false, enabled });
  const options = { timesliceMs: 1_000, MediaRecorder: /** @type {any} */ (Recorder), now: () => ms };
  const run = { mayBeStill, onBlob: (/** @type {any} */ blob) => blobs.push(blob), onTrouble: (/** @type {any} */ error) => troubles.push(error.code) };
  const segment = SegmentRecorder.begin(track, options, run);
  let over = false;
  void segment.stopped.then(() => (over = true));
  for (const [name, atMs, size] of trace.events) {
    for (; ms < atMs; ms++) mock.timers.tick(1);
    await null;
    if (over) onSettled();
    if (name === "stop" && recorder) recorder.state = "inactive";
    recorder?.dispatchEvent(Object.assign(new Event(name), size === undefined ? {} : { data: { size, type: trace.mimeType } }));
  }
  mock.timers.tick(1);
  const { error } = await segment.stopped;
  mock.timers.reset();
  return { blobs, troubles, asked, error };
}

test("Firefox records in what it can, every Blob with something in it once, in order", async () => {
  const { types, runs } = load("firefox");
  const Firefox = { isTypeSupported: (/** @type {string} */ type) => types.includes(type) };
  assert.equal(usableTypes(MIME_TYPES.video, Firefox)[0], "video/webm;codecs=vp8");
  assert.equal(usableTypes(MIME_TYPES.audio, Firefox)[0], "audio/webm;codecs=opus");
  for (const name of ["video", "audio", "ended", "flushed"]) {
    const { blobs, troubles, error } = await replay(runs[name]);
    const full = runs[name].events.filter((/** @type {any[]} */ [type, , size]) => type === "dataavailable" && size > 0);
    assert.deepEqual(blobs.map(({ seq, atMs, startMs }) => [seq, atMs, startMs]), full.map((/** @type {any[]} */ [, atMs], /** @type {number} */ seq) => [seq, atMs, 0]), name);
    assert.deepEqual(troubles, [], name);
    assert.equal(error, null);
    assert.ok(blobs.every(({ mimeType }) => mimeType === runs[name].mimeType));
  }
});

test("Firefox may deliver the last Blob behind `stop`, and that counts", async () => {
  const { late } = load("firefox").runs;
  assert.deepEqual(late.events.at(-1).slice(0, 1), ["dataavailable"]);
  let settled = 0;
  const { blobs } = await replay(late, {}, () => settled++);
  assert.equal(blobs.length, 3);
  assert.equal(settled, 0, "who waits for the end has all of it then");
});

test("a track that its page switched off gives nothing in Firefox, and nobody takes its recorder for dead", async () => {
  const { disabled } = load("firefox").runs;
  const longer = { ...disabled, events: disabled.events.map((/** @type {any[]} */ [name, atMs, ...size]) => [name, name === "start" ? atMs : atMs + 60_000, ...size]) };
  assert.deepEqual((await replay(longer, { enabled: false })).troubles, []);
  assert.ok((await replay(longer)).troubles.length > 0, "one that is on and as silent is dead");
});

test("a still picture is delivered by Firefox as by Chromium", async () => {
  const { blobs, troubles } = await replay(load("firefox").runs.still, { mayBeStill: true });
  assert.deepEqual(troubles, []);
  assert.equal(blobs.length, 5);
});

test("what is told of Safari: empty and huge Blobs, and recorders that are silent until they are stopped", async () => {
  const { types, runs } = load("safari");
  const Safari = { isTypeSupported: (/** @type {string} */ type) => types.includes(type) };
  assert.equal(usableTypes(MIME_TYPES.audio, Safari)[0], "audio/mp4");
  assert.equal(usableTypes(MIME_TYPES.video, Safari)[0], "video/mp4;codecs=avc1.42E01F");
  const empty = await replay(runs.empty);
  assert.deepEqual([empty.blobs.map(({ seq, blob }) => [seq, blob.size]), empty.troubles], [[[0, 90_000], [1, 88_000], [2, 20_000]], []]);
  const unsliced = await replay(runs.unsliced);
  assert.equal(unsliced.asked.length, 1, "it is asked for what it has");
  assert.ok(unsliced.troubles.includes("stalled"), "and then another one begins, so that a crash costs seconds");
  assert.equal(unsliced.blobs.length, 1, "what it had is not lost by that");
  const huge = await replay(runs.huge);
  assert.deepEqual(huge.blobs.map(({ blob }) => blob.size), [90_000, 50_000_000, 90_000]);
  const one = await replay(runs.oneFrame, { mayBeStill: true });
  assert.equal(one.blobs.length, 1);
});
