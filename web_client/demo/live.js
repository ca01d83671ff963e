/** The film so far, to be watched while it is recorded: where the browser plays HLS by itself, and once there is enough. */

/** @typedef {import("/client/protocol.js").Recording} Recording */

const PLAYLIST = "hls/index.m3u8";
const LOOK_EVERY_MS = 4_000;
/** A player begins no nearer to the end of what is live (RFC 8216, 6.3.3). */
const SEGMENTS = 3;

/** Its address; null where there is too little of it, or it is not for this window. @param {Recording | null} recording @param {(url: string) => string} resolve */
async function playable(recording, resolve) {
  const found = recording?.artifacts?.find(({ name, url }) => name === PLAYLIST && url);
  if (!found?.url) return null;
  const url = resolve(found.url);
  const text = await (await fetch(url)).text();
  return text.split("#EXTINF").length > SEGMENTS ? url : null;
}

/** The button that offers it. */
export class Live {
  #button;
  #ask;
  /** @type {ReturnType<typeof setInterval> | undefined} */ #timer;
  #runs = false;

  /** @param {HTMLButtonElement} button @param {import("/client/control.js").CallControl} control @param {(url: string) => void} onWatch */
  constructor(button, control, onWatch) {
    this.#button = button;
    this.#ask = async () => {
      const url = await playable(await control.status(), (each) => control.resolve(each));
      if (!url || !this.#runs) return;
      clearInterval(this.#timer);
      button.onclick = () => onWatch(url);
      button.hidden = false;
    };
  }

  /** @param {boolean} runs whether a recording does */
  set(runs) {
    if (runs === this.#runs) return;
    this.#runs = runs;
    this.#button.hidden = true;
    clearInterval(this.#timer);
    if (!runs || !document.createElement("video").canPlayType("application/vnd.apple.mpegurl")) return;
    this.#timer = setInterval(() => void this.#ask().catch(() => {}), LOOK_EVERY_MS); // what is wrong is shown elsewhere
  }
}
