import assert from "node:assert/strict";
import { test } from "node:test";
import { LastWords } from "../src/page.js";
import { look, newLadder } from "../src/quality.js";

/** Looks every 5 s at a backlog that a function of the second and of the rung tells. @param {number} seconds @param {(s: number) => number} pendingS */
function watch(seconds, pendingS) {
  let ladder = newLadder();
  const rungs = [];
  for (let s = 0; s <= seconds; s += 5) {
    ladder = look(ladder, s * 1000, pendingS(s) * 1000);
    rungs.push(ladder.rung);
  }
  return rungs;
}

test("a line that carries the recording is left alone, also over a short hole", () => {
  assert.ok(watch(600, () => 3).every((rung) => rung === 0));
  assert.ok(watch(600, (s) => (s > 60 && s < 75 ? s - 60 : 2)).every((rung) => rung === 0));
});

test("a backlog that grows steps down, rung by rung, and a long calm steps up again", () => {
  const rungs = watch(600, (s) => (s < 120 ? s : 2));
  assert.equal(Math.max(...rungs.slice(0, 25)), 3);
  assert.equal(rungs.at(-1), 0);
  for (let i = 1; i < rungs.length; i++) assert.ok(Math.abs((rungs[i] ?? 0) - (rungs[i - 1] ?? 0)) <= 1);
});

test("a backlog that is large and shrinks is no reason for less", () => {
  assert.ok(watch(300, (s) => 200 - s / 2).every((rung) => rung === 0));
});

test("what goes out with the page fits the browser's budget: sound first, oldest first, newest kept", () => {
  const words = new LastWords();
  const add = (/** @type {string} */ mimeType, /** @type {number} */ seq, /** @type {number} */ size) => {
    const row = { recordingId: "r", trackId: mimeType, seg: 0, seq, sizeBytes: size, atMs: seq, mimeType, digest: "", header: "" };
    words.add({ row, blob: new Blob([new Uint8Array(size)]) });
    return row;
  };
  add("video/webm", 1, 90_000); // never fits
  const sent = add("audio/webm", 2, 20_000);
  add("video/webm", 3, 30_000);
  add("audio/webm", 4, 25_000);
  add("video/webm", 5, 10_000);
  words.remove(sent);
  assert.deepEqual(words.choose().map(({ row }) => row.seq), [4, 3]);
  for (let seq = 10; seq < 60; seq++) add("audio/webm", seq, 10_000);
  assert.ok(words.choose().every(({ row }) => row.seq >= 48), "an hour without network does not pile up here");
});
