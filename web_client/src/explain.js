/** What a browser refused, said so that a person understands it and a program can act on it. */

import { CallreelError } from "./protocol.js";

/** Names of https://w3c.github.io/mediacapture-main/#dom-mediadevices-getusermedia and of storage. @type {Record<string, [code: string, message: string]>} */
const MEANINGS = {
  NotAllowedError: ["permission_denied", "The browser was not allowed to use camera, microphone or screen. It can be allowed in the address bar."],
  SecurityError: ["permission_denied", "This page is not allowed to use camera or microphone."],
  NotFoundError: ["no_device", "There is no camera or no microphone here."],
  NotReadableError: ["device_busy", "Camera or microphone cannot be opened: another program may be using it."],
  AbortError: ["device_busy", "Camera or microphone could not be started."],
  OverconstrainedError: ["impossible_constraints", "No camera or microphone here can do what was asked for."],
  QuotaExceededError: ["storage_full", "The browser has no room left to keep the recording until it is sent."],
};

/**
 * An error of `getUserMedia`, `getDisplayMedia` or of anything here, as one of ours.
 * @param {unknown} cause
 * @returns {CallreelError}
 */
export function explain(cause) {
  if (cause instanceof CallreelError) return cause;
  const name = cause instanceof Error ? cause.name : "";
  const [code, message] = MEANINGS[name] ?? ["client", cause instanceof Error ? cause.message : String(cause)];
  return new CallreelError(code, message, { cause });
}
