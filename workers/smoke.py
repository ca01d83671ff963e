"""`callreel smoke`: a call of two people who never were, against any deployment, as its clients would hold it.

Start, four recorders uploading in real time, stop, `complete`, the film, and a look into it. Nothing of the deployment
is touched but its HTTP interface.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import av
import jwt

from callreel.errors import NoFilm

from . import dummies
from .client import Json, Server
from .dummies import PEOPLE, Blob

_LOOK_S = 0.5
_OFF_MS = 150  #: a film and the time from start to stop: whole pictures, whole frames of sound
_EDGE_S = 2  #: of seconds at both ends that may lack a beep


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    url: str
    token: str
    call: str  #: '' takes the token's, or a new one
    seconds: int
    timeout_s: int
    keep: bool = False  #: leave the recording where it is


@dataclass(frozen=True, slots=True, kw_only=True)
class _Track:
    participant_id: str
    track_id: str
    name: str
    kind: str
    mime_type: str
    blobs: list[Blob]


@dataclass(slots=True)
class Smoke:
    choices: Choices
    _role: str = ""
    _path: str = ""  #: of the recording, once there is one
    _offset_ms: int = 0
    _err_ms: int = 0

    def run(self) -> str:
        """The whole of it; a sentence about the film. Raises `NoFilm`."""
        claims = _claims(self.choices.token)
        self._role = claims.get("role", "")
        if self._role not in ("service", "host"):
            raise NoFilm(f"--token has the role '{self._role}'; it takes a service's or a host's")
        call = self.choices.call or claims.get("call", "")
        call = f"smoke-{time.time_ns() // 1_000_000}" if call == "*" else call
        with contextlib.closing(self._server()) as server:
            return self._hold(server, call, str(claims.get("participant") or claims.get("sub")))

    def _hold(self, server: Server, call: str, own_id: str) -> str:
        server.ready()
        self._probe(server)
        tracks = self._tracks(own_id)
        base = f"/video-calls/{call}/recording"
        begun = server.data("POST", f"{base}/start", {"metadata": {"smoke": True}})
        self._path = f"{base}/{begun['recordingId']}"
        for track in tracks:  # before anybody begins: a slow server shall not cost them a part of the call
            self._announce(server, track)
        with ThreadPoolExecutor(len(tracks)) as pool:
            talking = [pool.submit(self._talk, track) for track in tracks]
            _sleep_until(time.monotonic() + self.choices.seconds)
            stopped = server.data("POST", f"{base}/stop")
            for each in talking:
                each.result()
        wanted_ms = (_instant(stopped["stoppedAt"]) - _instant(begun["startedAt"])) * 1000
        took_s = self._wait(server)
        film = server.ask("GET", f"{self._path}/files/composition.mp4")
        judged = _judged(film, wanted_ms, self.choices.seconds)
        if not self.choices.keep:  # one that fails stays, to be looked at
            server.data("DELETE", self._path)
        return f"{judged}, {took_s:.1f} s after stop" + (f" ({self._path})" if self.choices.keep else "")

    def _server(self) -> Server:
        return Server(self.choices.url.rstrip("/"), self.choices.token)

    def _tracks(self, own_id: str) -> list[_Track]:
        """Everybody's camera and microphone. A host may upload as itself alone, so both are the host's then."""
        length_ms = self.choices.seconds * 1000
        return [
            _Track(
                participant_id=dummy.name.lower() if self._role == "service" else own_id,
                track_id=f"{dummy.name.lower()}-{source}",
                name=source,
                kind=kind,
                mime_type=mime_type,
                blobs=make(dummy, length_ms),
            )
            for dummy in PEOPLE
            for source, kind, mime_type, make in (
                ("camera", "video", "video/webm;codecs=vp8", dummies.camera),
                ("microphone", "audio", "audio/webm;codecs=opus", dummies.microphone),
            )
        ]

    def _probe(self, server: Server) -> None:
        """The server's clock against ours: the quickest of five answers counts."""
        probes = []
        for _ in range(5):
            before_ms = time.time() * 1000
            server_ms = float(server.data("GET", "/time")["serverTimeMs"])
            after_ms = time.time() * 1000
            probes.append((after_ms - before_ms, server_ms - (before_ms + after_ms) / 2))
        round_trip_ms, offset_ms = min(probes)
        self._offset_ms, self._err_ms = round(offset_ms), round(round_trip_ms / 2)

    def _announce(self, server: Server, track: _Track) -> None:
        about = {"source": track.name, "kind": track.kind, "label": track.track_id.split("-")[0].title()}
        if self._role == "service":
            about["participantId"] = track.participant_id
        server.data("PUT", f"{self._path}/tracks/{track.track_id}", about)

    def _talk(self, track: _Track) -> None:
        """One recorder: its Blobs uploaded as they come, then `complete`."""
        with contextlib.closing(self._server()) as server:
            self._upload(server, f"{self._path}/tracks/{track.track_id}", track)

    def _upload(self, server: Server, path: str, track: _Track) -> None:
        started_ms, started_s = round(time.time() * 1000), time.monotonic()
        for seq, blob in enumerate(track.blobs):
            _sleep_until(started_s + blob.at_ms / 1000)
            facts = {"seg": 0, "seq": seq, "start": started_ms, "at": started_ms + blob.at_ms}
            facts |= {"offset": self._offset_ms, "err": self._err_ms}
            server.ask(
                "POST",
                f"{path}/chunks",
                blob.data,
                Content_Type=track.mime_type,
                Content_Digest=f"sha-256=:{base64.b64encode(hashlib.sha256(blob.data).digest()).decode()}:",
                Chunk=", ".join(f"{key}={value}" for key, value in facts.items()),
            )
        said = {"seg": 0, "chunks": len(track.blobs), "bytes": sum(len(blob.data) for blob in track.blobs)}
        server.data("POST", f"{path}/complete", {"segments": [said], "reason": "smoke"})

    def _wait(self, server: Server) -> float:
        """Seconds until the recording is completed. Raises `NoFilm`."""
        begun_s = time.monotonic()
        while True:
            state = server.data("GET", self._path)
            waited_s = time.monotonic() - begun_s
            if state["status"] == "completed":
                return waited_s
            if state["status"] == "failed":
                raise NoFilm(f"the recording failed: {state['error']['code']}, {state['error']['message']}")
            if waited_s > self.choices.timeout_s:
                raise NoFilm(
                    f"after {self.choices.timeout_s} s there is no film, the recording is {state['status']}; does a "
                    "worker run, and reach the same index and storage?"
                )
            time.sleep(_LOOK_S)


def _claims(token: str) -> Json:
    try:
        claims: Json = jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError as error:
        raise NoFilm(f"--token is no token ({error}); `callreel token` makes one") from error
    return claims


def _judged(film: bytes, wanted_ms: float, seconds: int) -> str:
    """What is in the film. Raises `NoFilm` where it is not what it should be."""
    try:
        found = dummies.look(film)
    except (av.FFmpegError, IndexError) as error:
        raise NoFilm(f"the film cannot be played: {error}") from error
    if abs(found.length_ms - wanted_ms) > _OFF_MS:
        raise NoFilm(f"the film is {found.length_ms:.0f} ms long, from start to stop it was {wanted_ms:.0f}")
    for name in found.seen:
        if found.seen[name] < found.pictures / 2:
            raise NoFilm(f"{name} is in {found.seen[name]} of {found.pictures} pictures of the film only")
        if found.heard[name] < seconds - _EDGE_S:
            raise NoFilm(f"{name} is heard in {found.heard[name]} of {seconds} seconds of the film only")
    return f"a film of {found.length_ms / 1000:.1f} s with both people in picture and sound"


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _sleep_until(instant_s: float) -> None:
    time.sleep(max(0.0, instant_s - time.monotonic()))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m workers.smoke", description=__doc__)
    for name in ("url", "token", "call"):
        parser.add_argument(f"--{name}", required=name != "call", default="")
    parser.add_argument("--keep", action="store_true")
    for name in ("seconds", "timeout-s"):
        parser.add_argument(f"--{name}", type=int, required=True)
    try:
        print(f"callreel: {Smoke(Choices(**vars(parser.parse_args()))).run()}")
    except NoFilm as error:
        sys.exit(f"callreel: {error.detail}")


if __name__ == "__main__":
    main()
