// Callreel from React Native: control, state and events of a call's recordings, and segments of files that a native
// recorder wrote. No file of `callreel` is imported: that library is built on MediaRecorder and IndexedDB, which React
// Native does not have.
//
// What React Native cannot do here: record the tracks of a call by itself (react-native-webrtc has no MediaRecorder), so
// a native module has to write files; stamp a Blob at its delivery, so drift within a file is not corrected; keep what
// is unsent over a crash, unless the files stay on disk until `uploadSegment` has resolved. Keep them.

export interface Options {
  endpoint: string;
  callId: string;
  /** Asked again when the server no longer takes the last one. */
  token: () => Promise<string>;
}

export interface CallEvent {
  id?: string;
  type: string;
  timestamp?: string;
  sequence?: number;
  data: Record<string, unknown> | null;
}

export interface Recording {
  recordingId: string;
  status: "recording" | "paused" | "stopping" | "processing" | "completed" | "failed" | "deleting" | "deleted";
  startedAt: string;
  stoppedAt?: string | null;
}

/** One complete file that a native recorder wrote: MP4 (also with `moov` at its end), M4A, Ogg or WebM. */
export interface FileSegment {
  uri: string;
  mimeType: string;
  /** Counts the files of a track from 0. */
  seg: number;
  /** When its recording began, and when it ended, by `Date.now()`. */
  startMs: number;
  atMs: number;
  sizeBytes: number;
}

export class CallreelRefusal extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly retryable: boolean,
    readonly retryAfterMs: number,
  ) {
    super(message);
  }
}

export class CallreelNative {
  private clock: { offsetMs: number; errMs: number } | null = null;

  constructor(private readonly options: Options) {}

  start(): Promise<Recording> {
    return this.send("POST", "recording/start");
  }

  stop(): Promise<Recording> {
    return this.send("POST", "recording/stop");
  }

  status(recordingId?: string): Promise<Recording> {
    return this.send("GET", recordingId ? `recording/${recordingId}` : "recording");
  }

  /** What must be added to `Date.now()`: the best of some round trips. */
  async measureClock(): Promise<void> {
    for (let i = 0; i < 8; i++) {
      const sentMs = Date.now();
      const answer = await fetch(`${this.options.endpoint}/time`);
      const receivedMs = Date.now();
      const { data } = (await answer.json()) as { data: { serverTimeMs: number } };
      const errMs = Math.ceil((receivedMs - sentMs) / 2);
      if (!this.clock || errMs <= this.clock.errMs) this.clock = { offsetMs: Math.round(data.serverTimeMs - (sentMs + receivedMs) / 2), errMs };
    }
  }

  announce(recordingId: string, trackId: string, source: "camera" | "microphone" | "screen" | "other", kind: "audio" | "video" | "av", label = ""): Promise<unknown> {
    return this.send("PUT", `recording/${recordingId}/tracks/${trackId}`, JSON.stringify({ source, kind, label }));
  }

  /** Resolves when the file is stored for good; until then keep it. Tries without end what may succeed later. */
  async uploadSegment(recordingId: string, trackId: string, file: FileSegment): Promise<void> {
    if (!this.clock) await this.measureClock();
    for (let attempt = 1; ; attempt++) {
      try {
        await this.send("POST", `recording/${recordingId}/tracks/${trackId}/chunks`, this.form(file));
        return;
      } catch (error) {
        if (error instanceof CallreelRefusal && !error.retryable) throw error;
        const afterMs = error instanceof CallreelRefusal ? error.retryAfterMs : 0;
        await new Promise<void>((resolve) => setTimeout(resolve, afterMs + Math.random() * Math.min(30_000, 500 * 2 ** Math.min(attempt, 8))));
      }
    }
  }

  complete(recordingId: string, trackId: string, files: FileSegment[], reason = "stopped"): Promise<unknown> {
    const segments = files.map(({ seg, sizeBytes }) => ({ seg, chunks: 1, bytes: sizeBytes }));
    return this.send("POST", `recording/${recordingId}/tracks/${trackId}/complete`, JSON.stringify({ segments, reason }));
  }

  /** The call's events over a WebSocket, from where it was after each loss. Returns what ends it. */
  events(onEvent: (event: CallEvent) => void): () => void {
    let ended = false;
    let after: string | undefined;
    let failures = 0;
    let socket: WebSocket | null = null;
    const connect = async (): Promise<void> => {
      if (ended) return;
      const token = await this.options.token();
      socket = new WebSocket(`${this.url("events").replace(/^http/, "ws")}`);
      socket.onopen = () => socket?.send(JSON.stringify({ token, ...(after && { after }) }));
      socket.onmessage = ({ data }) => {
        const event = JSON.parse(String(data)) as CallEvent;
        if (event.id) after = event.id;
        failures = 0;
        if (event.type) onEvent(event);
      };
      socket.onclose = () => {
        setTimeout(() => void connect(), Math.random() * Math.min(15_000, 500 * 2 ** failures++));
      };
    };
    void connect();
    return () => {
      ended = true;
      socket?.close();
    };
  }

  private form({ uri, mimeType, seg, startMs, atMs }: FileSegment): FormData {
    const form = new FormData();
    const fields: Record<string, number | undefined> = { seg, seq: 0, startMs, atMs, offsetMs: this.clock?.offsetMs, errMs: this.clock?.errMs };
    for (const [name, value] of Object.entries(fields)) if (value !== undefined) form.append(name, String(value));
    form.append("chunk", { uri, type: mimeType, name: `${seg}.mp4` }); // React Native reads the file itself
    return form;
  }

  private url(rest: string): string {
    return `${this.options.endpoint}/video-calls/${encodeURIComponent(this.options.callId)}/${rest}`;
  }

  private async send<T>(method: string, rest: string, body?: string | FormData): Promise<T> {
    const headers: Record<string, string> = { Authorization: `Bearer ${await this.options.token()}` };
    if (typeof body === "string") headers["Content-Type"] = "application/json";
    const answer = await fetch(this.url(rest), { method, headers, body });
    const told = (await answer.json()) as { success: boolean; data: T; code?: string; detail?: string; retryable?: boolean };
    if (told.success) return told.data;
    const afterMs = Number(answer.headers.get("Retry-After") ?? 0) * 1000;
    throw new CallreelRefusal(told.code ?? `http_${answer.status}`, told.detail ?? "refused", told.retryable ?? answer.status >= 500, afterMs);
  }
}
