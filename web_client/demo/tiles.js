/** The pictures of a call, as large as the room allows. */

import { icon, make, setIcon, size } from "./dom.js";

/** @typedef {{ pendingChunks: number, pendingBytes: number, recording: boolean, error?: string }} UploadState */

const GAP_PX = 12;
const ASPECT = 16 / 9;
/** One chunk of each track is always on its way; that is no backlog. */
const USUAL_CHUNKS = 3;

export class Tile {
  #video = make("video", { autoplay: true, playsInline: true });
  #name = make("span");
  #muted = icon("mic-off");
  #initial = make("span");
  #connecting = make("div", { className: "connecting", textContent: "Connecting…" });
  #upload = make("div", { className: "tag upload", hidden: true }, icon("safe"), make("span", { className: "num" }));
  element;

  /** @param {{ id: string, name: string, mine: boolean }} about */
  constructor({ id, name, mine }) {
    this.#muted.classList.add("muted");
    this.#muted.toggleAttribute("hidden", true);
    const foot = make("div", { className: "tile-foot" }, make("div", { className: "tag" }, this.#muted, this.#name), this.#upload);
    const avatar = make("div", { className: "avatar" }, this.#initial);
    this.element = make("article", { className: mine ? "tile mine" : "tile" }, this.#video, avatar, this.#connecting, foot);
    this.element.dataset.participant = id;
    this.#video.muted = mine;
    this.mine = mine;
    this.setName(name);
  }

  /** @param {string} name */
  setName(name) {
    this.#name.textContent = this.mine ? `${name} (you)` : name;
    this.#initial.textContent = [...name.trim()][0]?.toUpperCase() ?? "?";
    this.element.setAttribute("aria-label", name);
  }

  /** @param {MediaStream} stream */
  setStream(stream) {
    this.#connecting.hidden = true;
    if (this.#video.srcObject !== stream) this.#video.srcObject = stream;
    void this.#video.play().catch(() => {}); // plays as soon as somebody touches the page
  }

  /** @param {{ mic: boolean, cam: boolean }} on */
  setMedia({ mic, cam }) {
    this.#muted.toggleAttribute("hidden", mic);
    this.element.classList.toggle("dark", !cam);
  }

  /** @param {UploadState} state */
  setUpload({ pendingChunks, pendingBytes, recording, error }) {
    this.element.classList.toggle("recording", recording);
    this.#upload.hidden = !recording && pendingChunks === 0 && !error;
    const behind = pendingChunks > USUAL_CHUNKS || (!recording && pendingChunks > 0);
    this.#upload.classList.toggle("behind", behind || !!error);
    this.#upload.classList.toggle("safe", !behind && !error);
    setIcon(this.#upload, error ? "alert" : behind ? "up" : "safe");
    const text = error ?? (behind ? `${size(pendingBytes)} to send` : "Saved");
    if (this.#upload.lastElementChild) this.#upload.lastElementChild.textContent = text;
    this.#upload.title = error ?? (behind ? "Recorded here and safe; still being sent" : "Everything recorded so far is on the server");
  }
}

/** @param {HTMLElement} grid */
export function keepTiled(grid) {
  const arrange = () => {
    const count = grid.childElementCount;
    const { clientWidth: width, clientHeight: height } = grid;
    if (!count || !width || !height) return;
    let best = 0;
    for (let columns = 1; columns <= count; columns++) {
      const rows = Math.ceil(count / columns);
      const w = (width - GAP_PX * (columns - 1)) / columns;
      const h = (height - GAP_PX * (rows - 1)) / rows;
      best = Math.max(best, Math.min(w, h * ASPECT));
    }
    grid.style.setProperty("--tile-w", `${Math.floor(best)}px`);
    grid.style.setProperty("--tile-h", `${Math.floor(best / ASPECT)}px`);
  };
  new ResizeObserver(arrange).observe(grid);
  new MutationObserver(arrange).observe(grid, { childList: true });
}
