import assert from "node:assert/strict";
import { test } from "node:test";
import { watchPage } from "../src/page.js";

test("a window that is hidden, frozen, left, shown or online again is told once each, until nobody listens", (t) => {
  const document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  const window = new EventTarget();
  const before = ["document", "addEventListener", "removeEventListener"].map((name) => /** @type {const} */ ([name, Object.getOwnPropertyDescriptor(globalThis, name)]));
  const fake = { document, addEventListener: window.addEventListener.bind(window), removeEventListener: window.removeEventListener.bind(window) };
  for (const [name, value] of Object.entries(fake)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  t.after(() => {
    for (const [name, was] of before) {
      if (was) Object.defineProperty(globalThis, name, was);
      else delete (/** @type {any} */ (globalThis)[name]);
    }
  });

  /** @type {string[]} */ const told = [];
  const tell = (/** @type {string} */ what) => () => void told.push(what);
  const stop = watchPage({ onHidden: tell("hidden"), onLeave: tell("leave"), onReturn: tell("return"), onOnline: tell("online") });
  const happens = (/** @type {EventTarget} */ where, /** @type {string} */ type, more = {}) => {
    told.length = 0;
    where.dispatchEvent(Object.assign(new Event(type), more));
    return told.join();
  };
  document.visibilityState = "hidden";
  assert.equal(happens(document, "visibilitychange"), "hidden");
  assert.equal(happens(document, "freeze"), "hidden");
  assert.equal(happens(document, "resume"), "return");
  document.visibilityState = "visible";
  assert.equal(happens(document, "visibilitychange"), "online");
  assert.equal(happens(window, "pagehide"), "leave");
  assert.equal(happens(window, "pageshow", { persisted: false }), "", "a page that was loaded comes from nowhere");
  assert.equal(happens(window, "pageshow", { persisted: true }), "return");
  assert.equal(happens(window, "online"), "online");
  stop();
  document.visibilityState = "hidden";
  assert.equal(happens(document, "visibilitychange"), "");
  assert.equal(happens(window, "pagehide"), "");
});
