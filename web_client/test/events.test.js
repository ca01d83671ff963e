import assert from "node:assert/strict";
import { test } from "node:test";
import { EventStreamDecoder, follow } from "../src/events.js";

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
