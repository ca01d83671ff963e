/** Camera and microphone: getting them, saying in plain words why not, and showing that the microphone hears. */

/** @typedef {{ title: string, text: string }} Trouble */

/**
 * What can be had of camera and microphone, and what to tell about the rest.
 * @param {{ camera?: string, microphone?: string }} [devices]
 * @returns {Promise<{ stream: MediaStream, trouble: Trouble | null }>}
 */
export async function openMedia({ camera, microphone } = {}) {
  const video = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 }, ...(camera && { deviceId: { exact: camera } }) };
  const audio = {
    echoCancellation: true,
    autoGainControl: true,
    noiseSuppression: true,
    ...(microphone && { deviceId: { exact: microphone } }),
  };
  try {
    return { stream: await navigator.mediaDevices.getUserMedia({ audio, video }), trouble: null };
  } catch (error) {
    for (const some of [{ audio }, { video }]) {
      try {
        // One of the two is missing or held by another program: the other is still worth a call.
        const stream = await navigator.mediaDevices.getUserMedia(some);
        return { stream, trouble: explain(error, "audio" in some ? "camera" : "microphone") };
      } catch {
        // neither; what the first failure said counts
      }
    }
    return { stream: new MediaStream(), trouble: explain(error, "camera and microphone") };
  }
}

/** @param {unknown} error @param {string} what @returns {Trouble} */
function explain(error, what) {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError" || name === "SecurityError") {
    return {
      title: `This page may not use your ${what}`,
      text: "Allow it with the camera symbol beside the address, and in your system's privacy settings; then try again.",
    };
  }
  if (name === "NotFoundError" || name === "OverconstrainedError") {
    return { title: `No ${what} found`, text: "Plug one in or choose another below, then try again. You can also join without." };
  }
  if (name === "NotReadableError" || name === "AbortError") {
    return { title: `Your ${what} is in use`, text: "Another program or window holds it. Close that one, then try again." };
  }
  return { title: `Your ${what} could not be started`, text: error instanceof Error ? error.message : String(error) };
}

/**
 * Calls back with 0 to 1 about ten times a second while the stream has sound.
 * @param {MediaStream} stream
 * @param {(level: number) => void} onLevel
 * @returns {() => void} ends it
 */
export function meter(stream, onLevel) {
  if (!stream.getAudioTracks().length) return () => {};
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  analyser.fftSize = 1024;
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    let sum = 0;
    for (const sample of samples) sum += sample * sample;
    const decibels = 10 * Math.log10(sum / samples.length + 1e-10);
    onLevel(Math.min(1, Math.max(0, (decibels + 60) / 45))); // -60 dBFS is a quiet room, -15 a loud voice
  }, 100);
  return () => {
    clearInterval(timer);
    void context.close();
  };
}
