import assert from "node:assert/strict";
import { test } from "node:test";
import { EventStreamDecoder, follow } from "../src/events.js";
import { Api } from "../src/protocol.js";

const STREAM = 'retry: 1000\n\n: heartbeat\n\nid: e1\nevent: recordingstarted\ndata: {"type":"recordingstarted",\ndata: "data":{}}\n\r\nid: e2\r\ndata:x\r\n\r\n';

test("the stream is decoded the same however it is cut", () => {
  const whole = new EventStreamDecoder().feed(STREAM);
  assert.deepEqual(whole, [
    { type: "recordingstarted", data: '{"type":"recordingstarted",\n"data":{}}', id: "e1" },
    { type: "message", data: "x", id: "e2" },
  ]);
  for (const size of [1, 2, 3, 7]) {
    const decoder = new EventStreamDecoder();
    const got = [];
    for (let i = 0; i < STREAM.length; i += size) got.push(...decoder.feed(STREAM.slice(i, i + size)));
    assert.deepEqual(got, whole);
  }
});

test("a broken stream is taken up again after the last event that came", async () => {
  const bodies = ['id: e1\ndata: {"type":"a","data":1}\n\n', 'id: e2\ndata: {"type":"b","data":2}\n\ndata: no json\n\n'];
  /** @type {string[]} */ const asked = [];
  /** @type {string[]} */ const got = [];
  const stop = new AbortController();
  const api = {
    hasSockets: false,
    eventFrames: () => assert.fail("there are no WebSockets here"),
    async events(/** @type {string} */ lastEventId) {
      asked.push(lastEventId);
      const body = bodies.shift();
      if (body === undefined) {
        stop.abort();
        throw new Error("offline");
      }
      return /** @type {ReadableStream<Uint8Array>} */ (new Response(body).body);
    },
  };
  await follow(api, { signal: stop.signal, onEvent: (event) => got.push(event.type) });
  assert.deepEqual(asked, ["", "e1", "e2"]);
  assert.deepEqual(got, ["a", "b"]);
});

/** What a page sees of a WebSocket, spoken to by a test. */
class Wire {
  /** @type {Wire[]} */ static all = [];
  /** @type {string[]} */ sent = [];
  /** @type {() => void} */ onopen = () => {};
  /** @type {(message: { data: string }) => void} */ onmessage = () => {};
  /** @type {() => void} */ onclose = () => {};
  closed = false;
  /** @param {string} url */
  constructor(url) {
    this.url = url;
    Wire.all.push(this);
  }
  /** @param {string} text */
  send(text) {
    this.sent.push(text);
  }
  close() {
    this.closed = true;
  }
  /** @param {object} frame */
  say(frame) {
    this.onmessage({ data: JSON.stringify(frame) });
  }
}

/** Until the library has made its `count`th WebSocket. @param {number} count @returns {Promise<Wire>} */
async function wire(count) {
  while (Wire.all.length < count) await new Promise((resolve) => setTimeout(resolve, 5));
  return Wire.all[count - 1];
}

test("a WebSocket is followed first, and taken up again after the last event that came", async () => {
  Wire.all = [];
  /** @type {any[]} */ const got = [];
  /** @type {boolean[]} */ const online = [];
  const stop = new AbortController();
  const fetches = /** @type {string[]} */ ([]);
  let tokens = 0;
  const api = new Api({
    endpoint: "https://callreel.example",
    callId: "c1",
    token: () => `token ${++tokens}`,
    fetch: async (url) => {
      fetches.push(String(url));
      throw new TypeError("offline");
    },
    WebSocket: /** @type {any} */ (Wire),
  });
  const done = follow(api, { signal: stop.signal, onEvent: (event) => got.push(event.type), onConnection: (state) => online.push(state.online) });

  const first = await wire(1);
  assert.equal(first.url, "wss://callreel.example/video-calls/c1/events");
  first.onopen();
  assert.deepEqual(first.sent.map((text) => JSON.parse(text)), [{ token: "token 1" }]);
  first.say({ id: "e1", type: "snapshot", data: null });
  first.say({ type: "heartbeat" });
  first.say({ id: "e2", type: "a", data: {} });
  first.onclose();

  const second = await wire(2);
  second.onopen();
  assert.deepEqual(second.sent.map((text) => JSON.parse(text)), [{ token: "token 1", after: "e2" }]);
  second.say({ success: false, status: 401, code: "unauthorized", detail: "expired", retryable: false });
  second.onclose();

  const third = await wire(3);
  third.onopen();
  assert.deepEqual(third.sent.map((text) => JSON.parse(text)), [{ token: "token 2", after: "e2" }]);
  third.say({ type: "heartbeat" });
  third.say({ id: "e3", type: "b", data: {} });
  while (got.length < 3) await new Promise((resolve) => setTimeout(resolve, 5));
  stop.abort();
  await done;
  assert.deepEqual(got, ["snapshot", "a", "b"]);
  assert.deepEqual(online, [true, false, false, true]);
  assert.deepEqual(fetches, [], "a socket that was heard, or refused, is no reason for a stream");
  assert.ok(Wire.all.every((each) => each.closed));
});

test("where no WebSocket gets through the stream is read, from where the socket was", async () => {
  Wire.all = [];
  /** @type {string[]} */ const asked = [];
  /** @type {string[]} */ const got = [];
  const stop = new AbortController();
  const api = new Api({
    endpoint: "http://127.0.0.1:3000",
    callId: "c1",
    token: "t",
    fetch: async (_url, options) => {
      asked.push(new Headers(options?.headers).get("Last-Event-ID") ?? "");
      return new Response('id: e2\ndata: {"id":"e2","type":"b","data":2}\n\n');
    },
    WebSocket: /** @type {any} */ (Wire),
  });
  const done = follow(api, { signal: stop.signal, onEvent: (event) => got.push(event.type) });
  const first = await wire(1);
  first.onopen();
  first.say({ id: "e1", type: "a", data: {} });
  first.onclose();
  (await wire(2)).onclose();
  const third = await wire(3);
  third.onopen();
  assert.deepEqual(JSON.parse(third.sent[0]), { token: "t", after: "e2" }, "every new connection tries the socket first");
  stop.abort();
  await done;
  assert.deepEqual(asked, ["e1"]);
  assert.deepEqual(got, ["a", "b"]);
});

test("without WebSockets there is the stream", async () => {
  const stop = new AbortController();
  /** @type {string[]} */ const got = [];
  const api = new Api({
    endpoint: "http://127.0.0.1:3000",
    callId: "c1",
    token: "t",
    fetch: async () => new Response('id: e1\ndata: {"type":"a","data":1}\n\n'),
    WebSocket: null,
  });
  await follow(api, {
    signal: stop.signal,
    onEvent: (event) => {
      got.push(`${event.id} ${event.type}`);
      stop.abort();
    },
  });
  assert.deepEqual(got, ["e1 a"]);
});
