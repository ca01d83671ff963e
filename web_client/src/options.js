/** What a recorder is told, and what it tells. Types alone; nothing of this is run. */

/** @typedef {import("./depot.js").DepotEvents} DepotEvents */
/** @typedef {import("./outbox.js").ChunkRow} ChunkRow */
/** @typedef {import("./outbox.js").Outbox} Outbox */
/** @typedef {import("./protocol.js").CallEvent} CallEvent */
/** @typedef {import("./protocol.js").Source} Source */
/** @typedef {import("./protocol.js").Token} Token */
/** @typedef {import("./recorder.js").RecorderOptions} RecorderOptions */
/**
 * @typedef {object} CallOptions
 * @property {string} [endpoint] origin of the server; by default the page's own
 * @property {string} callId
 * @property {Token} token a function is asked again when the server no longer takes what it gave
 * @property {typeof globalThis.fetch} [fetch]
 * @property {typeof globalThis.WebSocket | null} [WebSocket] null: events come by `fetch` alone
 */
/**
 * @typedef {CallOptions & RecorderOptions & {
 *   follow?: boolean,
 *   recordingId?: string,
 *   participantId?: string,
 *   store?: Outbox | "memory",
 *   consent?: boolean | ((recordingId: string) => boolean | Promise<boolean>),
 *   preset?: import("./quality.js").Preset,
 *   adapt?: boolean,
 *   worker?: boolean,
 *   health?: boolean,
 *   maxParallel?: number,
 *   locks?: LockManager | null,
 * }} CallRecorderOptions
 * `follow`, the default: capture runs whenever the host records. Else it runs from `addTrack` to `end`, in `recordingId`
 * or in the recording that runs now. `participantId`: for whom, where the token is a service's. `consent`: whether this
 * person agrees, or who asks them; without it that is the page's business. `adapt`: fewer bits where the line does not
 * carry them; the default. `worker: false`: all work is done on the page. `health: false`: levels,
 * backlog and frozen pictures are not looked at.
 */
/**
 * @typedef {DepotEvents & {
 *   started: { recordingId: string, startedAt: string | null },
 *   paused: { recordingId: string },
 *   resumed: { recordingId: string },
 *   stopped: { recordingId: string },
 *   drained: { recordingId: string },
 *   declined: { recordingId: string },
 *   chunk: ChunkRow,
 *   segment: { source: Source, seg: number, mimeType: string, reason: string },
 *   quality: { rung: number, videoBitsPerSecond: number },
 *   health: { source: Source, atRisk: boolean } & import("./health.js").Health,
 *   error: { error: unknown, source?: Source },
 *   event: CallEvent,
 *   connection: { online: boolean, error?: unknown },
 * }} CallRecorderEvents
 * `started`, `stopped`: capture has begun, has ended, uploads go on. `paused` by the host, also right behind `started`.
 * `drained`: the server has everything of this recording, or refused it. `declined`: this person does not agree. `chunk`:
 * recorded and kept. `segment`: a recorder was started, and why. `error`: a recorder failed; it goes on by itself where
 * anything can be done. `event`, `connection`: of the call, only with `follow`.
 */

export {};
