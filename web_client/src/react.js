/**
 * The recorder for React, `callreel/react`. The one rule: the recorder outlives renderings; it is made when the call is
 * entered and ended when it is left.
 */

import { useEffect, useRef, useState } from "react";
import { createRecorder } from "./session.js";

/** @typedef {import("./session.js").CallRecorder} CallRecorder */
/** @typedef {import("./options.js").CallRecorderOptions} CallRecorderOptions */
/** @typedef {import("./uploader.js").Progress} Progress */
/** @typedef {{ track: MediaStreamTrack | null | undefined, source?: import("./protocol.js").Source, label?: string }} SourceTrack */
/**
 * @typedef {object} CallRecorderState
 * @property {CallRecorder | null} recorder null before the first effect ran, and where no call is named
 * @property {"idle" | "recording" | "paused"} status
 * @property {string | null} recordingId
 * @property {Progress} progress
 * @property {boolean} degraded chunks are in memory only: the window has to stay open
 * @property {unknown} error the last one
 */

/** @type {Progress} */
const NOTHING = { pendingChunks: 0, pendingBytes: 0, pendingMs: 0, sentChunks: 0, sentBytes: 0 };
const IDLE = { status: /** @type {"idle" | "recording" | "paused"} */ ("idle"), recordingId: /** @type {string | null} */ (null), progress: NOTHING, degraded: false, error: /** @type {unknown} */ (null) };

/**
 * Records these tracks whenever the host records. Tracks may come, change and go; each entry of the list is one source.
 * @param {CallRecorderOptions | null} options null: in no call. Read when `endpoint` or `callId` change; `token` may be a new function each time
 * @param {(SourceTrack | MediaStreamTrack | null | undefined)[]} [tracks]
 * @returns {CallRecorderState}
 */
export function useCallRecorder(options, tracks = []) {
  const [recorder, setRecorder] = useState(/** @type {CallRecorder | null} */ (null));
  const [state, setState] = useState(IDLE);
  const latest = useRef(options);
  latest.current = options;

  useEffect(() => {
    const now = latest.current;
    if (!now) return;
    const token = typeof now.token === "string" ? now.token : () => /** @type {any} */ (latest.current ?? now).token();
    const made = createRecorder({ ...now, token });
    const patch = (/** @type {Partial<typeof IDLE>} */ change) => setState((before) => ({ ...before, ...change }));
    const undo = [
      made.on("started", ({ recordingId }) => patch({ status: "recording", recordingId, error: null })),
      made.on("paused", () => patch({ status: "paused" })),
      made.on("resumed", () => patch({ status: "recording" })),
      made.on("stopped", () => patch({ status: "idle", recordingId: null })),
      made.on("progress", (progress) => patch({ progress })),
      made.on("degraded", () => patch({ degraded: true })),
      made.on("restored", () => patch({ degraded: false })),
      made.on("error", ({ error }) => patch({ error })),
      made.on("refused", ({ error }) => patch({ error })),
    ];
    setRecorder(made);
    void made.recoverPending().catch((error) => patch({ error }));
    return () => {
      for (const each of undo) each();
      setRecorder(null);
      setState(IDLE);
      // Uploads go on behind the page that left the call; what does not arrive is sent on the next visit.
      void made.end({ reason: "left" }).finally(() => made.close());
    };
  }, [options?.endpoint, options?.callId]);

  useSources(recorder, tracks);
  return { recorder, ...state };
}

/** @param {CallRecorder | null} recorder @param {(SourceTrack | MediaStreamTrack | null | undefined)[]} tracks */
function useSources(recorder, tracks) {
  const feeds = useRef(/** @type {{ track: MediaStreamTrack, feed: ReturnType<CallRecorder["addTrack"]> }[]} */ ([]));
  const wanted = tracks.map((entry) => (entry && "track" in entry ? entry : { track: entry }));
  useEffect(() => {
    feeds.current = [];
  }, [recorder]);
  useEffect(() => {
    if (!recorder) return;
    wanted.forEach(({ track, ...about }, i) => {
      const known = feeds.current[i];
      if (known?.track === track) return;
      if (known && track && known.track.kind === track.kind) {
        known.track = track;
        void known.feed.then((feed) => feed.replace(track));
        return;
      }
      if (known) void known.feed.then((feed) => feed.stop());
      delete feeds.current[i];
      if (!track) return;
      const feed = recorder.addTrack(track, about);
      feed.catch((error) => recorder.emit("error", { error }));
      feeds.current[i] = { track, feed };
    });
  }, [recorder, ...wanted.map(({ track }) => track)]);
}
