/** The public names, served at `/client/callreel.js`. */

export { CallRecorder, createRecorder } from "./session.js";
export { CallControl, createControl } from "./control.js";
export { CallreelError } from "./protocol.js";
export { Clock, now } from "./clock.js";
export { Outbox } from "./outbox.js";
export { MIME_TYPES } from "./recorder.js";
export { PRESETS } from "./quality.js";
