import assert from "node:assert/strict";
import { test } from "node:test";
import { RemoteDepot } from "../src/remote.js";

/** A worker that answers while it is told to. */
class FakeWorker {
  /** @type {FakeWorker[]} */ static all = [];
  /** @type {((event: { data: any }) => void) | undefined} */ onmessage;
  hangs = false;
  ended = false;
  /** @type {any[]} */ got = [];
  constructor() {
    FakeWorker.all.push(this);
  }
  postMessage(/** @type {any} */ message) {
    this.got.push(message);
    if (this.hangs) return;
    if ("ping" in message) this.say({ pong: true });
    else if ("method" in message) this.say({ id: message.id, result: message.method });
  }
  say(/** @type {any} */ data) {
    this.onmessage?.({ data });
  }
  terminate() {
    this.ended = true;
  }
}

/** What would be on this page. */
const onPage = () => {
  /** @type {string[]} */ const asked = [];
  const answer = (/** @type {string} */ method) => async () => (asked.push(method), `${method} here`);
  const depot = { on: () => {}, restore: answer("restore"), open: answer("open"), keep: answer("keep"), close: answer("close"), nudge: answer("nudge") };
  return { depot: /** @type {any} */ (depot), asked };
};

const ROW = /** @type {any} */ ({ recordingId: "r", trackId: "t" });
const soon = async () => {
  for (let i = 0; i < 10; i++) await Promise.resolve();
};

/** A depot in a worker that has just said that it is ready; time stands still. @param {import("node:test").TestContext} t */
const ready = (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  FakeWorker.all.length = 0;
  Object.assign(globalThis, { Worker: FakeWorker });
  t.after(() => void delete (/** @type {any} */ (globalThis).Worker));
  const { depot, asked } = onPage();
  const remote = new RemoteDepot(/** @type {any} */ ({ endpoint: "http://localhost", callId: "c" }), { token: "t", memory: true }, () => depot);
  const [worker] = FakeWorker.all;
  assert.ok(worker);
  worker.say({ ready: true });
  return { worker, asked, remote };
};

test("a worker that falls silent is given up, and what it was asked is done on the page", async (t) => {
  const { worker, asked, remote } = ready(t);
  await remote.open(ROW);

  for (let minute = 0; minute < 10; minute++) {
    for (let i = 0; i < 12; i++) t.mock.timers.tick(5_000);
    await soon();
  }
  assert.equal(worker.ended, false, "one that has nothing to do is not silent");
  assert.ok(worker.got.some((message) => "ping" in message));

  worker.hangs = true;
  const kept = /** @type {any} */ (remote).keep("a chunk");
  t.mock.timers.tick(5_000);
  t.mock.timers.tick(5_000);
  await soon();
  assert.equal(worker.ended, false, "a machine may be busy for some seconds");
  worker.hangs = false;
  t.mock.timers.tick(5_000);
  worker.hangs = true;
  for (let i = 0; i < 6; i++) t.mock.timers.tick(5_000);
  assert.equal(worker.ended, true);
  assert.equal(await kept, "keep here");
  assert.deepEqual(asked, ["restore", "keep"]);
  assert.equal(await remote.nudge(), "nudge here");
  await remote.close();
  assert.equal(asked.at(-1), "close");
});

test("a worker that falls silent while it is closed holds nobody up", async (t) => {
  const { worker, asked, remote } = ready(t);
  worker.hangs = true;
  const closed = remote.close();
  for (let i = 0; i < 6; i++) t.mock.timers.tick(5_000);
  await closed;
  assert.deepEqual(asked, ["close"]);
});
