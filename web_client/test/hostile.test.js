import assert from "node:assert/strict";
import { test } from "node:test";
import { Depot } from "../src/depot.js";
import { Outbox } from "../src/outbox.js";
import { CallreelError } from "../src/protocol.js";

/** A thousand calls to a server that does what servers and networks do. Every one can be played again by its number. */
const RUNS = 1_000;
const TRACKS = ["cam", "mic", "screen"];

/** Mulberry32: small, and the same everywhere. @param {number} seed */
function dice(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const network = () => new CallreelError("network", "gone", { retryable: true });
/** @param {string} code @param {number} status @param {boolean} retryable */
const says = (code, status, retryable, retryAfterMs = 0) => new CallreelError(code, code, { status, retryable, retryAfterMs, fromServer: true });

/** @param {number} seed */
function world(seed) {
  const roll = dice(seed);
  const trouble = roll() * 0.8; // some servers are nearly always there, some hardly ever
  /** @type {Map<string, string>} */ const stored = new Map();
  /** @type {Map<string, any>} */ const complete = new Map();
  /** @type {Set<string>} */ const announced = new Set();
  /** @type {Map<string, Set<string>>} */ const facts = new Map();
  let requests = 0;
  let t = 0;
  /**
   * The request may be lost, be delivered and its answer lost, be late, be refused for now, or be delivered twice.
   * @template T @param {() => T} deliver @returns {Promise<T>}
   */
  const way = async (deliver) => {
    requests++;
    for (let late = Math.floor(roll() * 4); late > 0; late--) await null; // answers come in any order
    if (roll() >= trouble) return deliver();
    switch (Math.floor(roll() * 8)) {
      case 0:
        deliver(); // stored, and nobody is told
        throw network();
      case 1:
        deliver();
        return deliver();
      case 2:
        throw says("unavailable", 503, true, roll() * 10_000);
      case 3:
        throw new CallreelError("http_502", "a proxy's page", { status: 502, retryable: true });
      case 4:
        throw says("digest_mismatch", 400, true); // garbled on the way
      case 5:
        throw new CallreelError("timeout", "too late", { retryable: true });
      case 6:
        announced.clear(); // it came back without its memory
        throw says("internal_error", 500, true);
      default:
        throw network();
    }
  };
  const known = (/** @type {string} */ id) => {
    if (!announced.has(id)) throw says("unknown_track", 404, false);
  };
  const api = /** @type {any} */ ({
    putTrack: (/** @type {string} */ _r, /** @type {string} */ id) => way(() => void announced.add(id)),
    postChunk: (/** @type {string} */ _r, /** @type {string} */ id, /** @type {any} */ { bytes, digest, header }) => {
      const sent = Buffer.from(bytes).toString("base64");
      return way(() => {
        known(id);
        const slot = `${id} ${header.match(/seg=\d+, seq=\d+/)?.[0]}`;
        const before = stored.get(slot);
        if (before !== undefined && before !== digest + sent) throw says("chunk_conflict", 409, false);
        stored.set(slot, digest + sent);
        return { duplicate: before !== undefined };
      });
    },
    postFacts: (/** @type {string} */ _r, /** @type {string} */ id, /** @type {any[]} */ told) =>
      way(() => {
        known(id);
        const heard = facts.get(id) ?? new Set();
        for (const fact of told) heard.add(fact.id);
        facts.set(id, heard);
      }),
    completeTrack: (/** @type {string} */ _r, /** @type {string} */ id, /** @type {any} */ body) =>
      way(() => {
        known(id);
        complete.set(id, structuredClone(body));
        return { missing: [] };
      }),
  });
  const outbox = new Outbox({ indexedDB: null });
  const depot = new Depot(api, outbox, {
    random: roll,
    now: () => t,
    setTimeout: (work, ms) => setImmediate(() => ((t += ms), work())),
    clearTimeout: (timer) => clearImmediate(timer),
  });
  return { roll, depot, outbox, stored, complete, facts, requests: () => requests };
}

test(`${RUNS} hostile servers: everything arrives, unchanged, and it ends`, async () => {
  for (let seed = 0; seed < RUNS; seed++) {
    const { roll, depot, outbox, stored, complete, facts, requests } = world(seed);
    /** @type {string[]} */ const lost = [];
    depot.on("refused", ({ error, trackId }) => lost.push(`${trackId} ${error.code}`));
    depot.on("lost", ({ reason }) => lost.push(reason));
    /** @type {Map<string, string>} */ const recorded = new Map();
    /** @type {Map<string, any[]>} */ const sums = new Map();
    const all = TRACKS.slice(0, 1 + Math.floor(roll() * TRACKS.length)).map(async (trackId) => {
      const which = { recordingId: "r", trackId };
      const body = { source: /** @type {const} */ ("camera"), kind: /** @type {const} */ ("video") };
      await depot.open({ ...which, endpoint: "", callId: "c", owner: "me", body, segments: [], openedMs: 0, facts: [] });
      const segments = [];
      for (let seg = 0; seg <= Math.floor(roll() * 2); seg++) {
        const sum = { seg, chunks: 0, bytes: 0 };
        for (let seq = 0; seq < 1 + Math.floor(roll() * 6); seq++) {
          const text = `${seed} ${trackId} ${seg} ${seq} ${roll()}`;
          await depot.keep(which, { seg, seq, start: 0, at: seq }, "video/webm", new Blob([text]));
          recorded.set(`${trackId} seg=${seg}, seq=${seq}`, Buffer.from(text).toString("base64"));
          sum.chunks++;
          sum.bytes += text.length;
          if (roll() < 0.2) await depot.tell(which, { id: `${seg}-${seq}`, type: "muted", atMs: 0 });
        }
        segments.push(sum);
      }
      sums.set(trackId, segments);
      await depot.complete(which, "stopped");
    });
    await Promise.all(all);
    assert.deepEqual(lost, [], `seed ${seed}`);
    assert.deepEqual([...stored.keys()].sort(), [...recorded.keys()].sort(), `seed ${seed}`);
    for (const [slot, bytes] of recorded) assert.ok(stored.get(slot)?.endsWith(bytes), `seed ${seed}: ${slot}`);
    for (const [trackId, segments] of sums) assert.deepEqual(complete.get(trackId), { segments, reason: "stopped" }, `seed ${seed}`);
    assert.equal(outbox.heldBytes, 0, `seed ${seed}`);
    assert.ok(requests() < 4_000, `seed ${seed}: ${requests()} requests`);
    assert.ok([...facts.values()].every((heard) => heard.size > 0));
    await depot.close();
  }
});
