import assert from "node:assert/strict";
import { test } from "node:test";
import { Clock, choose, sample } from "../src/clock.js";

test("a probe believes that the server read its clock in the middle, half a round trip off at most", () => {
  assert.deepEqual(sample(1000, 5020, 1040), { offsetMs: 4000, errMs: 20, takenMs: 1040 });
});

test("the probe with the shortest round trip is believed", () => {
  const samples = [sample(0, 1500, 100), sample(100, 1111, 120), sample(200, 1290, 300)];
  assert.equal(choose(samples, 300).best?.offsetMs, samples[1]?.offsetMs);
});

test("an old good probe gives way to a newer one that is nearly as good", () => {
  const old = sample(0, 1005, 10); // 5 ms, but 60 s old: 6 ms of possible drift on top
  const young = sample(59_990, 60_998, 60_006);
  assert.equal(choose([old, young], 60_006).best, young);
});

test("after a jump the probes from before it are dropped", () => {
  const before = [sample(0, 1001, 2), sample(10, 1011, 12)];
  const after = sample(10_000, 16_010, 10_020);
  assert.deepEqual(choose([...before, after], 10_020).kept, [after]);
});

test("a burst against a server whose clock is an hour ahead finds the hour", async () => {
  let t = 1_000_000;
  const delays = [30, 8, 200, 12, 40];
  const api = {
    async time(/** @type {() => number} */ now) {
      const delay = delays.shift() ?? 10;
      t += delay / 2;
      const serverTimeMs = t + 3_600_000;
      t += delay / 2;
      return { serverTimeMs, receivedMs: now() };
    },
  };
  const clock = new Clock(api, () => t);
  assert.equal(clock.belief, null);
  assert.deepEqual(await clock.probe(), { offsetMs: 3_600_000, errMs: 4 });
  assert.equal(clock.serverNow(), t + 3_600_000);
});

test("without a server there is no belief, and no failure", async () => {
  const clock = new Clock({ time: () => Promise.reject(new Error("offline")) });
  assert.equal(await clock.probe(), null);
});

test("a clock that stood still while the machine slept is noticed; a hand at the wall clock is not a jump", async () => {
  let [monoMs, wallMs, serverMs] = [0, 0, 1_000];
  const pass = (/** @type {number} */ ms) => ((monoMs += ms), (wallMs += ms), (serverMs += ms));
  const api = {
    time: async () => {
      pass(5);
      const serverTimeMs = serverMs;
      pass(5);
      return { serverTimeMs, receivedMs: monoMs };
    },
  };
  const clock = new Clock(api, () => monoMs, () => wallMs);
  /** @type {number[]} */ const jumps = [];
  clock.on("jump", ({ byMs }) => jumps.push(byMs));
  clock.start();
  await until(() => clock.belief);
  assert.equal(clock.belief?.offsetMs, 1_000);

  wallMs += 3_600_000; // somebody set the time
  pass(1_000);
  clock.tick();
  await settle();
  assert.deepEqual(jumps, []);

  wallMs += 60_000; // a minute of sleep, in which the monotonic clock stood still
  serverMs += 60_000;
  pass(1_000);
  clock.tick();
  await until(() => jumps.length);
  assert.deepEqual(jumps, [60_000]);
  assert.equal(clock.belief?.offsetMs, 61_000);
  clock.stop();
});

const settle = () => new Promise((resolve) => setTimeout(resolve, 20));
const until = async (/** @type {() => unknown} */ condition) => {
  for (let i = 0; i < 500 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 2));
  assert.ok(condition(), String(condition));
};
