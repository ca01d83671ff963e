/** The public names, served at `/client/callreel.js`. */

export { CallRecorder, createRecorder } from "./session.js";
export { CallControl, createControl } from "./control.js";
export { CallreelError } from "./protocol.js";
export { explain } from "./explain.js";
export { Clock, now } from "./clock.js";
export { Outbox } from "./outbox.js";
export { MIME_TYPES } from "./recorder.js";
export { PRESETS } from "./quality.js";

/** @typedef {import("./options.js").CallRecorderOptions} CallRecorderOptions */
/** @typedef {import("./options.js").CallRecorderEvents} CallRecorderEvents */
/** @typedef {import("./options.js").CallOptions} CallOptions */
/** @typedef {import("./protocol.js").Recording} Recording */
/** @typedef {import("./protocol.js").Artifact} Artifact */
/** @typedef {import("./protocol.js").Layout} Layout */
/** @typedef {import("./protocol.js").Composition} Composition */
/** @typedef {import("./protocol.js").CompositionBody} CompositionBody */
/** @typedef {import("./protocol.js").CallEvent} CallEvent */
/** @typedef {import("./protocol.js").Source} Source */
/** @typedef {import("./uploader.js").Progress} Progress */
/** @typedef {import("./feed.js").Feed} Feed */
