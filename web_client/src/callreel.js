/** The public names, served at `/client/callreel.js`. */

export { CallControl, createControl } from "./control.js";
export { CallRecorder, createRecorder } from "./session.js";
export { CallreelError } from "./protocol.js";
export { Clock, now } from "./clock.js";
export { Outbox } from "./outbox.js";
export { MIME_TYPES } from "./recorder.js";
