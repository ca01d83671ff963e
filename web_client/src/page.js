/** What happens to the page around a recorder. The one rule: everything here is a hint that may come late or never. */

/**
 * @param {{ onHidden: () => void, onLeave: () => void, onReturn: () => void, onOnline: () => void }} hooks
 * `onHidden`: the window may never come back. `onLeave`: it goes now. `onReturn`: it was frozen, or in the back/forward cache
 * @returns {() => void} stops listening
 */
export function watchPage({ onHidden, onLeave, onReturn, onOnline }) {
  const document = globalThis.document;
  /** @type {[EventTarget | undefined, string, (event: any) => void][]} */
  const listeners = [
    [document, "visibilitychange", () => (document.visibilityState === "hidden" ? onHidden() : onOnline())],
    [document, "freeze", onHidden],
    [document, "resume", onReturn],
    [globalThis, "pagehide", onLeave],
    [globalThis, "pageshow", (event) => event.persisted && onReturn()],
    [globalThis, "online", onOnline],
  ];
  for (const [target, name, listener] of listeners) target?.addEventListener?.(name, listener);
  return () => {
    for (const [target, name, listener] of listeners) target?.removeEventListener?.(name, listener);
  };
}

/** Browsers let 64 KiB in all outlive a page. */
const BUDGET_BYTES = 60_000;

/** @typedef {{ row: import("./outbox.js").ChunkRow, blob: Blob }} Unsent */

/** The newest unsent chunks that could still go out while the page goes. */
export class LastWords {
  /** @type {Map<string, Unsent>} */ #unsent = new Map();

  /** @param {Unsent} chunk */
  add(chunk) {
    if (chunk.blob.size > BUDGET_BYTES) return;
    this.#unsent.set(key(chunk.row), chunk);
    let bytes = 0;
    for (const [name, { blob }] of [...this.#unsent].reverse()) {
      bytes += blob.size;
      if (bytes > 2 * BUDGET_BYTES) this.#unsent.delete(name);
    }
  }

  /** @param {{ recordingId: string, trackId: string, seg: number, seq: number }} chunk */
  remove(chunk) {
    this.#unsent.delete(key(chunk));
  }

  /** What fits, sound before pictures, oldest first. */
  choose() {
    const chunks = [...this.#unsent.values()];
    const sound = (/** @type {Unsent} */ chunk) => (chunk.row.mimeType.startsWith("audio") ? 0 : 1);
    chunks.sort((a, b) => sound(a) - sound(b) || a.row.atMs - b.row.atMs);
    let left = BUDGET_BYTES;
    return chunks.filter(({ blob }) => blob.size <= left && (left -= blob.size) >= 0);
  }
}

/** @param {{ recordingId: string, trackId: string, seg: number, seq: number }} chunk */
const key = ({ recordingId, trackId, seg, seq }) => `${recordingId}/${trackId}/${seg}/${seq}`;
