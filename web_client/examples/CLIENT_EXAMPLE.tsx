// A React application that records its own tracks. Run with any bundler; the tests bundle it with esbuild and run it.

import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { type Recording, createControl } from "callreel";
import { useCallRecorder } from "callreel/react";

interface Props {
  endpoint: string;
  callId: string;
  name: string;
  /** Asked again whenever the server no longer takes the last one. */
  getToken: () => Promise<string>;
}

/** The camera and the microphone, as the call itself uses them. */
function useStream(): { stream: MediaStream | null; trouble: string } {
  const [stream, setStream] = useState<MediaStream | null>(null);
  const [trouble, setTrouble] = useState("");
  useEffect(() => {
    let got: MediaStream | null = null;
    let gone = false;
    navigator.mediaDevices
      .getUserMedia({ audio: true, video: { width: 640, height: 360 } })
      .then((answer) => {
        got = answer;
        if (gone) answer.getTracks().forEach((track) => track.stop());
        else setStream(answer);
      })
      .catch((error: Error) => setTrouble(error.message));
    return () => {
      gone = true;
      got?.getTracks().forEach((track) => track.stop());
    };
  }, []);
  return { stream, trouble };
}

export function Call({ endpoint, callId, name, getToken }: Props) {
  const { stream, trouble } = useStream();
  const [film, setFilm] = useState<string | null>(null);
  const [control] = useState(() => createControl({ endpoint, callId, token: getToken }));
  const { recorder, status, progress, degraded, error } = useCallRecorder({ endpoint, callId, token: getToken }, [
    { track: stream?.getAudioTracks()[0], source: "microphone", label: name },
    { track: stream?.getVideoTracks()[0], source: "camera", label: name },
  ]);

  useEffect(
    () =>
      recorder?.on("event", ({ type, data }) => {
        if (type !== "recordingcompleted") return;
        const url = (data as Recording).artifacts?.find((artifact) => artifact.name === "composition.mp4")?.url;
        if (url) setFilm(control.resolve(url));
      }),
    [recorder, control],
  );

  return (
    <main>
      <h1>{callId}</h1>
      <p id="status">{status}</p>
      <p id="pending">{progress.pendingChunks} pieces to send</p>
      {degraded && <p>Nothing is kept on disk: please leave this window open until all is sent.</p>}
      {trouble && <p role="alert">{trouble}</p>}
      {error instanceof Error && <p role="alert">{error.message}</p>}
      <button id="toggle" onClick={() => void (status === "idle" ? control.start() : control.stop())}>
        {status === "idle" ? "Start recording" : "Stop recording"}
      </button>
      {film && <video id="film" src={film} controls muted />}
    </main>
  );
}

const given = new URLSearchParams(location.hash.slice(1));
const token = given.get("token") ?? "";
createRoot(document.body.appendChild(document.createElement("div"))).render(
  <Call endpoint={given.get("endpoint") ?? location.origin} callId={given.get("call") ?? ""} name="Ada" getToken={async () => token} />,
);
