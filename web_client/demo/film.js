/** What becomes of a recording once it was stopped: collected, made, watched. */

import { clockText, icon, make, size } from "./dom.js";

/** @typedef {import("/client/protocol.js").Recording} Recording */
/** @typedef {import("/client/protocol.js").Artifact} Artifact */
/** @typedef {{ id: string, name: string, pendingBytes: number, pendingChunks: number }} Sender */

const SOURCES = { camera: "Camera", microphone: "Microphone", screen: "Screen", other: "Track" };

export class FilmPanel {
  #body;
  #resolve;
  #collect = step("Collecting what everybody recorded");
  #make = step("Making the film");
  #ready = step("Ready to watch");
  #wait;
  #steps = make("ol", { className: "steps" }, this.#collect.element, this.#make.element, this.#ready.element);
  #senders = make("div", { className: "list", hidden: true });
  #result = make("div", { hidden: true, className: "list" });
  #tracks = make("div", { className: "list", hidden: true });
  #earlier = make("div", { className: "list", hidden: true });
  /** @type {string} */ #shown = "";
  /** How much was to be sent at most, so that a bar can tell how much of it was. */
  #mostBytes = 0;

  /** @param {HTMLElement} body @param {(url: string) => string} resolve makes a file's address absolute */
  constructor(body, resolve) {
    this.#body = body;
    this.#resolve = resolve;
    this.#wait = make("div", { className: "film-wait" });
    body.append(this.#wait, this.#result, this.#steps, this.#senders, this.#tracks, this.#earlier);
    this.#say("film", "Nothing recorded yet", "The film appears here, some seconds after the recording is stopped.", false);
    this.#steps.hidden = true;
  }

  /** A recording began or stopped anew: forget the film before. */
  reset() {
    this.#shown = "";
    this.#mostBytes = 0;
    this.#result.hidden = this.#tracks.hidden = true;
    this.#result.replaceChildren();
    this.#wait.hidden = false;
  }

  /** It runs. */
  recording() {
    this.reset();
    this.#steps.hidden = true;
    this.#say("film", "Recording", "Everybody is recorded in their own browser. The film appears here once it is stopped.", false);
  }

  /** What there is of it so far. Without sound at first: who plays it aloud is recorded with it. @param {string} url */
  live(url) {
    const player = make("video", { className: "film-player", controls: true, playsInline: true, autoplay: true, muted: true, src: url });
    player.setAttribute("aria-label", "The film so far");
    player.onerror = () => this.recording();
    this.#wait.hidden = true;
    this.#result.replaceChildren(player, make("p", { className: "dim", textContent: "About half a minute behind. It is muted, or your microphone would record it again." }));
    this.#result.className = "panel-result";
    this.#result.hidden = false;
  }

  /** @param {Recording} recording @param {Sender[]} senders */
  update(recording, senders) {
    const { status } = recording;
    if (status === "recording" || status === "paused") return;
    if (status === "completed") return this.#completed(recording);
    if (status === "failed") return this.#failed(recording);
    if (status === "deleting" || status === "deleted") {
      this.#steps.hidden = true;
      return this.#say("film", "Deleted", "This recording was deleted.", false);
    }
    const collecting = status === "stopping";
    this.#steps.hidden = false;
    this.#say("reel", collecting ? "Collecting…" : "Making the film…", "You can go on talking; it appears here.", true);
    const pending = senders.reduce((sum, who) => sum + who.pendingBytes, 0);
    this.#mostBytes = Math.max(this.#mostBytes, pending);
    this.#collect.set(collecting ? "now" : "done", collecting && this.#mostBytes ? 1 - pending / this.#mostBytes : null, collecting && pending ? size(pending) : "");
    const progress = collecting ? 0 : (recording.progress ?? 0);
    this.#make.set(collecting ? "" : "now", progress ? progress : null, progress ? `${Math.round(progress * 100)} %` : "");
    this.#ready.set("", null, "");
    const late = senders.filter((who) => who.pendingChunks > 0);
    this.#senders.hidden = !late.length;
    this.#senders.replaceChildren(...late.map((who) => make("div", { className: "row" }, icon("up"), make("span", { className: "grow", textContent: who.name }), make("span", { className: "dim num", textContent: `${size(who.pendingBytes)} to send` }))));
  }

  /** @param {Recording[]} recordings @param {(recording: Recording) => void} onChoose */
  showEarlier(recordings, onChoose) {
    this.#earlier.hidden = recordings.length < 2;
    const rows = recordings.map((recording) => {
      const at = new Date(recording.startedAt).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
      const row = make("button", { className: "row", type: "button" }, icon("film"), make("span", { className: "grow", textContent: at }));
      row.append(make("span", { className: "dim num", textContent: recording.status === "completed" ? clockText(recording.durationMs ?? 0) : recording.status }));
      row.addEventListener("click", () => onChoose(recording));
      return row;
    });
    this.#earlier.replaceChildren(make("h3", { textContent: "Recordings of this call" }), ...rows);
  }

  /** @param {Recording} recording */
  #completed(recording) {
    const artifacts = recording.artifacts ?? [];
    const film = artifacts.find((a) => a.kind === "composition" && a.status === "ready" && a.url);
    this.#senders.hidden = this.#steps.hidden = true;
    if (film?.url && this.#shown !== film.sha256) {
      this.#shown = film.sha256; // its address is signed anew each time; the player must not start over for that
      this.#wait.hidden = true;
      const url = this.#resolve(film.url);
      const player = make("video", { className: "film-player", controls: true, playsInline: true, preload: "auto", src: url });
      player.setAttribute("aria-label", "The film");
      const facts = make("span", { className: "dim num", textContent: `${clockText(film.durationMs)} · ${size(film.bytes)}` });
      const download = make("a", { className: "primary", href: `${url}${url.includes("?") ? "&" : "?"}download=1`, download: "" }, icon("down"), "Download the film");
      this.#result.replaceChildren(player, make("div", { className: "film-foot" }, facts, download));
      this.#result.hidden = false;
      this.#result.className = "panel-result";
    } else if (!film) {
      this.#say("check", "The film is ready", "The host can watch it.", false);
    }
    const poster = artifacts.find((a) => a.name === "thumbnails/poster.jpg" && a.url); // made behind the film
    const player = this.#result.querySelector("video");
    if (poster?.url && player && !player.poster) player.poster = this.#resolve(poster.url);
    if (recording.complete === false) this.#result.append(...(this.#result.querySelector(".warn") ? [] : [missing(recording)]));
    this.#tracks.hidden = false;
    this.#tracks.replaceChildren(make("h3", { textContent: "Single tracks" }), ...trackRows(recording, artifacts, this.#resolve));
    this.#tracks.hidden = this.#tracks.childElementCount < 2;
  }

  /** @param {Recording} recording */
  #failed(recording) {
    this.#steps.hidden = this.#senders.hidden = true;
    const nothing = recording.error?.code === "no_media";
    const text = nothing ? "No camera and no microphone was recorded, so there is no film." : (recording.error?.message ?? "");
    this.#say("alert", nothing ? "Nothing was recorded" : "The film could not be made", text, false);
  }

  /** @param {string} symbol @param {string} title @param {string} text @param {boolean} working */
  #say(symbol, title, text, working) {
    this.#wait.hidden = false;
    if (this.#wait.dataset.title === title) return;
    this.#wait.dataset.title = title;
    this.#wait.classList.toggle("working", working);
    this.#wait.replaceChildren(icon(symbol), make("b", { textContent: title }), make("span", { textContent: text }));
    this.#body.scrollTop = 0;
  }
}

/** @param {string} text */
function step(text) {
  const bar = make("progress", { max: 1, hidden: true, ariaLabel: text });
  const fact = make("span", { className: "num" });
  const element = make("li", { className: "step" }, make("span", { className: "mark" }, icon("check")), make("b", { textContent: text }), fact, bar);
  return {
    element,
    /** @param {"" | "now" | "done"} state @param {number | null} part @param {string} told */
    set(state, part, told) {
      element.className = `step ${state}`;
      bar.hidden = part === null;
      if (part !== null) bar.value = part;
      fact.textContent = told;
    },
  };
}

/** @param {Recording} recording */
function missing(recording) {
  const count = recording.gaps?.length ?? 0;
  const text = count ? `Of ${count} ${count === 1 ? "stretch" : "stretches"} nothing has come yet. If it still does, the film is made anew.` : "Not everything has come yet. If it still does, the film is made anew.";
  return make("div", { className: "warn" }, icon("alert"), make("span", { textContent: text }));
}

/** @param {Recording} recording @param {Artifact[]} artifacts @param {(url: string) => string} resolve */
function trackRows(recording, artifacts, resolve) {
  const rows = [];
  for (const participant of recording.participants ?? []) {
    for (const track of participant.tracks) {
      const file = artifacts.find((a) => a.name.startsWith(`tracks/${participant.participantId}/${track.trackId}.`));
      if (!file) continue;
      const label = make("span", { className: "grow", textContent: `${participant.name} · ${SOURCES[track.source]}` });
      if (file.status === "ready" && file.url) {
        const url = resolve(file.url);
        const fact = make("span", { className: "dim num", textContent: size(file.bytes) });
        rows.push(make("a", { className: "row", href: `${url}${url.includes("?") ? "&" : "?"}download=1`, download: "" }, icon("down"), label, fact));
      } else {
        const fact = make("span", { className: "dim", textContent: file.status === "failed" ? "not available" : "coming…" });
        rows.push(make("div", { className: "row" }, icon("film"), label, fact));
      }
    }
  }
  return rows;
}
