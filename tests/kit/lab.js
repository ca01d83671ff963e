// What the browser tests work with: the library, and sources that are made here: a colour that moves, a tone that beeps.
import * as callreel from "/client/callreel.js";

const context = new AudioContext();

/** A small picture of one colour with a thing that moves in it. Drawn by a timer: hidden pages draw too. */
function camera(rgb = [96, 0, 0], width = 320, height = 180, fps = 15) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const pen = canvas.getContext("2d");
  let n = 0;
  const draw = () => {
    pen.fillStyle = `rgb(${rgb.join()})`;
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.fillStyle = "#ccc";
    pen.fillRect((n++ * 4) % canvas.width, canvas.height - 12, 6, 6);
  };
  draw();
  const timer = setInterval(draw, 1000 / fps);
  const [track] = canvas.captureStream(fps).getVideoTracks();
  return { track, canvas, still: () => clearInterval(timer) };
}

/** A beep of 0.3 s at every second. */
function microphone(hz = 523) {
  const out = context.createMediaStreamDestination();
  const tone = new OscillatorNode(context, { frequency: hz });
  const gain = new GainNode(context, { gain: 0 });
  tone.connect(gain).connect(out);
  for (let s = 0; s < 300; s++) {
    gain.gain.setValueAtTime(0.5, context.currentTime + s);
    gain.gain.setValueAtTime(0, context.currentTime + s + 0.3);
  }
  tone.start();
  /** From now on always, and so loud. */
  const loud = (value) => gain.gain.cancelScheduledValues(0).setValueAtTime(value, context.currentTime);
  return { track: out.stream.getAudioTracks()[0], gain, loud: (value) => void loud(value) };
}

/** The machine's clock, whatever a test made of the page's. */
const trueNow = window.trueNow ?? (() => performance.timeOrigin + performance.now());
/** Calls back at every whole second of the true clock, a little ahead: `atMs` is that second. */
function beats(call, aheadMs) {
  const next = () => {
    const atMs = Math.floor((trueNow() + aheadMs) / 1000 + 1) * 1000;
    setTimeout(() => (call(atMs), next()), atMs - aheadMs - trueNow());
  };
  next();
}

/** A camera that is white for 100 ms from every whole second on. */
function flashing(rgb, width = 160, height = 90, fps = 30) {
  const source = camera(rgb, width, height, fps);
  const pen = source.canvas.getContext("2d");
  source.still();
  let n = 0;
  const draw = () => {
    const white = trueNow() % 1000 < 100;
    pen.fillStyle = white ? "#fff" : `rgb(${rgb.join()})`;
    pen.fillRect(0, 0, width, height);
    pen.fillStyle = "#888";
    pen.fillRect((n++ * 4) % width, height - 6, 3, 3);
  };
  setInterval(draw, 1000 / fps);
  beats(draw, 0);
  return source;
}

/** A beep of 100 ms at every whole second. */
function beeping(hz) {
  const source = microphone(hz);
  source.loud(0);
  beats((atMs) => {
    const at = context.currentTime + (atMs - trueNow()) / 1000;
    source.gain.gain.setValueAtTime(0.5, at).setValueAtTime(0, at + 0.1);
  }, 300);
  return source;
}

const log = [];
const watch = (recorder) => {
  const names = ["started", "stopped", "chunk", "acknowledged", "retry", "refused", "completed", "segment", "error", "degraded", "restored", "lost", "quality", "declined", "health"];
  for (const name of names) {
    recorder.on(name, (detail) => {
      const error = detail.error && { code: detail.error.code, message: detail.error.message };
      log.push({ name, ...structuredClone({ ...detail, error: null }), ...(error && { error }) });
    });
  }
  return recorder;
};

Object.assign(window, { lab: { ...callreel, camera, microphone, flashing, beeping, watch, log, named: (name) => log.filter((entry) => entry.name === name) } });
document.title = "ready";
if (location.hash.startsWith("#http")) await import(location.hash.slice(1)); // who cannot be driven drives itself
