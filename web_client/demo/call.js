/** One call as this window sees it: people, controls, recording, film. */

import { CallreelError, createControl, createRecorder } from "/client/callreel.js";
import { byId, clockText, setIcon, toast } from "./dom.js";
import { FilmPanel } from "./film.js";
import { writeLink } from "./link.js";
import { Live } from "./live.js";
import { Mesh } from "./mesh.js";
import { invite, takeSeat } from "./seat.js";
import { Tile, keepTiled } from "./tiles.js";

/** @typedef {import("./link.js").Link} Link */
/** @typedef {import("./tiles.js").UploadState} UploadState */
/** @typedef {import("/client/protocol.js").Recording} Recording */
/** @typedef {{ tile: Tile, name: string, upload: UploadState }} Person */

const TELL_EVERY_MS = 500;
const LOOK_EVERY_MS = 1_000;
/** Single tracks are made after the film; then it is worth asking a little longer. */
const LOOK_AFTER_MS = 60_000;

export class Call {
  #link;
  #signal;
  #mesh;
  #recorder;
  #control;
  #stream;
  #me;
  #host;
  #film;
  #live;
  /** @type {Map<string, Person>} */ #people = new Map();
  #media;
  /** @type {Recording | null} the last one that was heard of */ #recording = null;
  #startedMs = 0;
  /** When the pause began, 0 where none lasts; and how long the ones before it lasted, as far as this window knows. */
  #pausedAtMs = 0;
  #pausedMs = 0;
  #lookUntilMs = 0;
  #timers = /** @type {ReturnType<typeof setInterval>[]} */ ([]);
  /** @type {WakeLockSentinel | null} */ #awake = null;
  #trouble = "";
  #leave = (/** @type {{ drained: Promise<boolean> }} */ _end) => {};
  /** @type {Promise<{ drained: Promise<boolean> }>} */
  over = new Promise((resolve) => (this.#leave = resolve));

  /** Takes a seat and enters. @param {Link} link @param {string} name @param {MediaStream} stream */
  static async join(link, name, stream) {
    const { signal, welcomed, token } = await takeSeat(link, name);
    return new Call(link, name, stream, signal, welcomed, token);
  }

  /** @param {Link} link @param {string} name @param {MediaStream} stream @param {import("./signal.js").Signal} signal @param {import("./signal.js").Who} me @param {string} token */
  constructor(link, name, stream, signal, me, token) {
    this.#link = link;
    this.#stream = stream;
    this.#signal = signal;
    this.#me = me.id;
    this.#host = me.role === "host" || me.role === "service";
    const kinds = (/** @type {string} */ kind) => stream.getTracks().some((t) => t.kind === kind && t.enabled);
    this.#media = { mic: kinds("audio"), cam: kinds("video") };
    const call = { endpoint: link.endpoint, callId: link.call, token };
    this.#control = createControl(call);
    this.#recorder = createRecorder({ ...call, follow: true });
    this.#film = new FilmPanel(byId("panel-body", HTMLElement), (url) => this.#control.resolve(url));
    this.#live = new Live(byId("watch-live", HTMLButtonElement), this.#control, (url) => {
      this.#film.live(url);
      this.#openPanel(true);
    });
    this.#mesh = new Mesh({ signal, stream, ice: link.ice, about: () => ({ name, ...this.#media, upload: this.#upload() }) });
    keepTiled(byId("grid", HTMLElement));
    const mine = this.#person(this.#me, name, true);
    mine.tile.setStream(stream);
    mine.tile.setMedia(this.#media);
    this.#wirePeople();
    this.#wireRecorder();
    this.#wireControls();
    for (const track of stream.getTracks()) void this.#recorder.addTrack(track, { label: name });
    void this.#recorder.recoverPending().then(({ chunks }) => chunks && toast(`${chunks} ${chunks === 1 ? "piece from your last visit was" : "pieces from your last visit were"} sent.`));
    // The welcome that brought us here came before anybody listened: say hello now.
    signal.emit("welcome", me);
    this.#timers.push(setInterval(() => this.#tick(), 250), setInterval(() => this.#tell(), TELL_EVERY_MS), setInterval(() => void this.#look(), LOOK_EVERY_MS));
    this.#count();
  }

  /** @returns {UploadState} */
  #upload() {
    const { pendingBytes, pendingChunks } = this.#recorder.progress;
    return { pendingBytes, pendingChunks, recording: this.#recorder.recordingId !== null && !this.#recorder.paused, ...(this.#trouble && { error: this.#trouble }) };
  }

  // ── people ───────────────────────────────────────────────────────────────────────────────────────────────────────
  /** @param {string} id @param {string} name @param {boolean} [mine] */
  #person(id, name, mine = false) {
    let person = this.#people.get(id);
    if (!person) {
      const tile = new Tile({ id, name, mine });
      person = { tile, name, upload: { pendingBytes: 0, pendingChunks: 0, recording: false } };
      this.#people.set(id, person);
      byId("grid", HTMLElement).append(tile.element);
    }
    return person;
  }

  #wirePeople() {
    this.#mesh.on("joined", ({ id, name }) => {
      this.#person(id, name);
      this.#count();
    });
    this.#mesh.on("left", ({ id }) => {
      this.#people.get(id)?.tile.element.remove();
      this.#people.delete(id);
      this.#count();
    });
    this.#mesh.on("stream", ({ id, stream }) => this.#people.get(id)?.tile.setStream(stream));
    this.#mesh.on("said", ({ id, data }) => {
      const person = this.#people.get(id);
      if (!person) return;
      if (data.name && data.name !== person.name) person.tile.setName((person.name = data.name));
      person.tile.setMedia({ mic: data.mic === true, cam: data.cam === true });
      if (data.upload) person.tile.setUpload((person.upload = data.upload));
    });
    this.#signal.on("connection", ({ online }) => this.#network("signal", online));
    this.#signal.on("refused", ({ reason }) => {
      toast(reason === "seat-taken" ? "This call was opened in another window." : "The server has ended the connection.");
    });
  }

  #count() {
    const people = this.#people.size;
    byId("room", HTMLElement).hidden = false;
    byId("room-name", HTMLElement).textContent = this.#link.call;
    byId("room-count", HTMLElement).textContent = people === 1 ? "" : `· ${people} people`;
    byId("alone", HTMLElement).hidden = people > 1;
    byId("alone-text", HTMLElement).textContent = this.#host ? "Send an invite link, or open this page's link in a second window." : "The others will appear here.";
  }

  #offline = new Set();
  /** @param {string} what @param {boolean} online */
  #network(what, online) {
    if (online) this.#offline.delete(what);
    else this.#offline.add(what);
    const recording = this.#recorder.recordingId !== null;
    byId("net-text", HTMLElement).textContent = recording ? "No connection: still recording" : "Connecting again…";
    byId("net", HTMLElement).hidden = this.#offline.size === 0;
  }

  // ── recording ────────────────────────────────────────────────────────────────────────────────────────────────────
  #wireRecorder() {
    const recorder = this.#recorder;
    recorder.on("started", ({ recordingId, startedAt }) => {
      this.#startedMs = startedAt ? Date.parse(startedAt) : recorder.clock.serverNow();
      this.#recording = { recordingId, roomId: this.#link.call, status: "recording", startedAt: startedAt ?? "" };
      this.#pausedAtMs = this.#pausedMs = 0;
      this.#trouble = "";
      this.#film.recording();
      void navigator.wakeLock?.request("screen").then((lock) => (this.#awake = lock), () => {});
      this.#show();
    });
    recorder.on("paused", () => {
      this.#pausedAtMs = recorder.clock.serverNow();
      this.#show();
    });
    recorder.on("resumed", () => {
      this.#pausedMs += recorder.clock.serverNow() - this.#pausedAtMs;
      this.#show();
    });
    recorder.on("stopped", () => {
      void this.#awake?.release();
      if (this.#recording) this.#recording = { ...this.#recording, status: "stopping" };
      this.#film.reset();
      this.#watch();
      this.#openPanel(true);
      this.#show();
      void this.#look();
    });
    recorder.on("event", ({ type, data }) => {
      if (type === "snapshot" && data && !["recording", "paused"].includes(data.status)) this.#recording ??= data;
      if (["recordingcompleted", "recordingfailed", "recordingupdated", "recordingdeleted"].includes(type)) {
        this.#watch();
        void this.#look();
      }
    });
    recorder.on("progress", () => this.#show());
    recorder.on("connection", ({ online }) => this.#network("events", online));
    recorder.on("degraded", () => toast("This browser keeps nothing on disk: please leave this window open until all is sent."));
    recorder.on("error", ({ source }) => this.#fail(`${source ?? "Recorder"} failed`));
    recorder.on("refused", ({ error }) => this.#fail(`Refused: ${error.code}`));
  }

  /** @param {string} text */
  #fail(text) {
    this.#trouble = text;
    this.#show();
  }

  /** What this window knows of its own recording, on its tile and in the bar. */
  #show() {
    const active = this.#recorder.recordingId !== null;
    this.#live.set(active);
    this.#people.get(this.#me)?.tile.setUpload(this.#upload());
    const { paused } = this.#recorder;
    byId("rec", HTMLElement).hidden = !active;
    byId("rec", HTMLElement).classList.toggle("paused", paused);
    byId("rec-text", HTMLElement).textContent = paused ? "Paused" : "Recording";
    const pause = byId("pause", HTMLButtonElement);
    pause.hidden = !active || !this.#host;
    pause.textContent = paused ? "Resume" : "Pause";
    const record = byId("record", HTMLButtonElement);
    record.classList.toggle("on", active);
    byId("record-text", HTMLElement).textContent = active ? "Stop recording" : "Start recording";
    byId("show-films", HTMLButtonElement).hidden = active || !this.#recording || !byId("panel", HTMLElement).hidden;
    this.#tick();
  }

  #tick() {
    if (this.#recorder.recordingId === null) return;
    const nowMs = this.#recorder.paused ? this.#pausedAtMs : this.#recorder.clock.serverNow();
    byId("rec-time", HTMLElement).textContent = clockText(nowMs - this.#startedMs - this.#pausedMs);
  }

  #told = "";
  #tell() {
    const now = JSON.stringify([this.#upload(), this.#media]);
    if (now !== this.#told) this.#mesh.tell("state", {});
    this.#told = now;
  }

  // ── the film ─────────────────────────────────────────────────────────────────────────────────────────────────────
  /** From now on it is worth asking how far the film is. */
  #watch() {
    this.#lookUntilMs = performance.now() + LOOK_AFTER_MS;
  }

  #looking = false;
  async #look() {
    const recording = this.#recording;
    if (!recording || this.#looking || this.#recorder.recordingId !== null) return;
    const settled = ["completed", "failed", "deleted"].includes(recording.status);
    if (settled && performance.now() > this.#lookUntilMs) return;
    this.#looking = true;
    try {
      const now = await this.#control.status(recording.recordingId);
      if (!now || this.#recorder.recordingId !== null || this.#recording?.recordingId !== now.recordingId) return;
      this.#recording = now;
      const senders = [...this.#people].map(([id, { name, upload }]) => ({ id, name, ...(id === this.#me ? this.#upload() : upload) }));
      this.#film.update(now, senders);
      if (now.status === "completed" && recording.status !== "completed") void this.#listEarlier();
    } catch {
      // asked again in a second; what is wrong with the connection is shown elsewhere
    } finally {
      this.#looking = false;
    }
  }

  async #listEarlier() {
    const { items } = await this.#control.list({ limit: 20 }).catch(() => ({ items: [] }));
    this.#film.showEarlier(items, (chosen) => {
      if (this.#recorder.recordingId !== null) return toast("Stop the recording first.");
      this.#recording = chosen;
      this.#film.reset();
      this.#watch();
      void this.#look();
    });
    return items;
  }

  /** @param {boolean} open */
  #openPanel(open) {
    byId("panel", HTMLElement).hidden = !open;
    this.#show();
  }

  // ── controls ─────────────────────────────────────────────────────────────────────────────────────────────────────
  #wireControls() {
    const record = byId("record", HTMLButtonElement);
    record.hidden = !this.#host;
    record.onclick = () => void this.#ask(record, () => (this.#recorder.recordingId === null ? this.#control.start() : this.#control.stop()));
    const pause = byId("pause", HTMLButtonElement);
    pause.onclick = () => void this.#ask(pause, () => (this.#recorder.paused ? this.#control.resume() : this.#control.pause()));
    byId("mic", HTMLButtonElement).onclick = () => this.#toggle("mic");
    byId("cam", HTMLButtonElement).onclick = () => this.#toggle("cam");
    byId("leave", HTMLButtonElement).onclick = () => void this.#goodbye();
    byId("panel-close", HTMLButtonElement).onclick = () => {
      if (this.#recorder.recordingId !== null) this.#film.recording(); // what is live plays no longer
      this.#openPanel(false);
    };
    byId("show-films", HTMLButtonElement).onclick = () => {
      this.#openPanel(true);
      this.#watch();
      void this.#look();
    };
    const copy = byId("invite", HTMLButtonElement);
    copy.hidden = !this.#host;
    copy.onclick = () => void this.#copyInvite();
    this.#applyMedia();
    document.addEventListener("keydown", this.#key);
    addEventListener("beforeunload", this.#mayClose);
    document.addEventListener("visibilitychange", this.#hidden);
    void this.#listEarlier().then((items) => {
      const last = items[0];
      if (last && !this.#recording) this.#recording = last;
      this.#show();
    });
  }

  #key = (/** @type {KeyboardEvent} */ event) => {
    const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "m") this.#toggle("mic");
    if (event.key === "v") this.#toggle("cam");
  };

  #mayClose = (/** @type {BeforeUnloadEvent} */ event) => {
    if (this.#recorder.progress.pendingChunks > 0 || this.#recorder.recordingId !== null) event.preventDefault();
  };

  #hidden = () => {
    if (document.visibilityState === "hidden") this.#recorder.flush(); // the window may never come back
  };

  /** @param {"mic" | "cam"} which */
  #toggle(which) {
    const tracks = this.#stream.getTracks().filter((t) => t.kind === (which === "mic" ? "audio" : "video"));
    if (!tracks.length) return;
    this.#media[which] = !this.#media[which];
    for (const track of tracks) track.enabled = this.#media[which];
    this.#applyMedia();
    this.#tell();
  }

  #applyMedia() {
    for (const which of /** @type {const} */ (["mic", "cam"])) {
      const button = byId(which, HTMLButtonElement);
      const on = this.#media[which];
      button.setAttribute("aria-pressed", String(on));
      button.disabled = !this.#stream.getTracks().some((t) => t.kind === (which === "mic" ? "audio" : "video"));
      setIcon(button, on ? which : `${which}-off`);
    }
    this.#people.get(this.#me)?.tile.setMedia(this.#media);
  }

  /** Capture follows the server's event, here as in every other window. @param {HTMLButtonElement} button @param {() => Promise<unknown>} what */
  async #ask(button, what) {
    button.disabled = true;
    try {
      await what();
    } catch (error) {
      toast(error instanceof CallreelError ? error.message : String(error));
    } finally {
      button.disabled = false;
    }
  }

  async #copyInvite() {
    try {
      const url = writeLink(this.#link, await invite(this.#link, ""));
      await navigator.clipboard.writeText(url).then(
        () => toast("Invite link copied. It is for one person."),
        () => window.prompt("Send this link to one person:", url),
      );
    } catch (error) {
      toast(error instanceof Error ? error.message : String(error));
    }
  }

  async #goodbye() {
    const ended = this.#recorder.end({ drainTimeoutMs: 120_000, reason: "left" });
    for (const timer of this.#timers) clearInterval(timer);
    document.removeEventListener("keydown", this.#key);
    document.removeEventListener("visibilitychange", this.#hidden);
    this.#mesh.close();
    this.#signal.close();
    this.#live.set(false);
    for (const id of ["rec", "pause", "invite", "show-films", "room", "net"]) byId(id, HTMLElement).hidden = true;
    const drained = ended.then(({ drained: all, pendingChunks }) => {
      removeEventListener("beforeunload", this.#mayClose);
      for (const track of this.#stream.getTracks()) track.stop();
      this.#recorder.close();
      return all && pendingChunks === 0;
    });
    this.#leave({ drained });
  }
}
