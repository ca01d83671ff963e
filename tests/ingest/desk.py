"""What the tests of the web shell share: an application over a real index and a folder, and callers of every role."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from callreel.control import Control
from callreel.index import Index, connect
from callreel.journal import Draft
from callreel.model import Recording
from callreel.settings import Settings, load_settings
from callreel.storage import Storage, open_storage
from callreel.tokens import make_token
from ingest.app import build_app
from ingest.uncopied import Uncopied

SECRET = "a secret for tests, longer than thirty-two"
CALL = "c1"
EBML = b"\x1a\x45\xdf\xa3"


class Asked:
    """Jobs that were asked for."""

    def __init__(self) -> None:
        self.advanced: list[str] = []
        self.deleted: list[str] = []
        self.exported: list[tuple[str, str, str]] = []
        self.delivered: list[tuple[str, str]] = []

    def advance(self, recording_id: str) -> bool:
        self.advanced.append(recording_id)
        return True

    def delete(self, recording_id: str) -> bool:
        self.deleted.append(recording_id)
        return True

    def export(self, recording_id: str, participant_id: str, track_id: str) -> bool:
        self.exported.append((recording_id, participant_id, track_id))
        return True

    def deliver(self, recording_id: str, endpoint_id: str) -> bool:
        self.delivered.append((recording_id, endpoint_id))
        return True


def token(role: str = "host", sub: str = "alice", call: str = CALL, **more: Any) -> str:
    return make_token(SECRET, call=call, role=role, sub=sub, **more)


def bearer(role: str = "host", sub: str = "alice", call: str = CALL, **more: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(role, sub, call, **more)}"}


def digest(content: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


def chunk_headers(seg: int, seq: int, content: bytes) -> dict[str, str]:
    return {
        "Content-Type": 'video/webm;codecs="vp9,opus"',
        "Content-Digest": digest(content),
        "Chunk": f"seg={seg}, seq={seq}, start=1732259000123, at=1732259036150, offset=-37012, err=9",
    }


def media(seg: int, seq: int, size_bytes: int = 100) -> bytes:
    """Bytes that differ from chunk to chunk and pass for the beginning of a WebM."""
    unique = hashlib.sha256(f"{seg}/{seq}".encode()).digest()
    return ((EBML + unique) * (size_bytes // 36 + 1))[:size_bytes]


@dataclass
class Desk:
    """One application and who talks to it."""

    client: httpx.Client
    settings: Settings
    storage: Storage
    index: Index
    sockets: Callable[[], int]  #: how many WebSockets the server holds
    jobs: Asked = field(default_factory=Asked)
    as_who: dict[str, str] = field(default_factory=bearer)

    def start(self, call: str = CALL, **options: Any) -> str:
        answer = self.client.post(f"/video-calls/{call}/recording/start", json=options, headers=self.as_who)
        return str(said(answer, 201)["recordingId"])

    def stop(self, call: str = CALL) -> Any:
        return said(self.client.post(f"/video-calls/{call}/recording/stop", headers=self.as_who), 202)

    def url(self, recording_id: str, rest: str = "", call: str = CALL) -> str:
        return f"/video-calls/{call}/recording/{recording_id}{rest}"

    def get(self, url: str, **headers: str) -> httpx.Response:
        return self.client.get(url, headers={**self.as_who, **headers})

    def track(self, recording_id: str, track_id: str = "cam", **body: Any) -> httpx.Response:
        what = {"source": "camera", "kind": "av", **body}
        return self.client.put(self.url(recording_id, f"/tracks/{track_id}"), json=what, headers=self.as_who)

    def chunk(
        self,
        recording_id: str,
        seq: int = 0,
        content: bytes | None = None,
        *,
        seg: int = 0,
        track_id: str = "cam",
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        content = media(seg, seq) if content is None else content
        sent = {**self.as_who, **chunk_headers(seg, seq, content), **(headers or {})}
        sent = {name: value for name, value in sent.items() if value}
        return self.client.post(self.url(recording_id, f"/tracks/{track_id}/chunks"), content=content, headers=sent)

    def complete(self, recording_id: str, segments: list[Any], track_id: str = "cam") -> httpx.Response:
        url = self.url(recording_id, f"/tracks/{track_id}/complete")
        return self.client.post(url, json={"segments": segments, "reason": "stop"}, headers=self.as_who)

    def begun(self) -> str:
        """A recording with one track."""
        recording_id = self.start()
        said(self.track(recording_id), 201)
        return recording_id

    def write(self, recording_id: str, *drafts: Draft) -> Recording:
        """Facts as workers write them."""
        control = Control(self.storage, self.index)
        for draft in drafts:
            state = control.append(recording_id, lambda _, draft=draft: draft)  # type: ignore[misc]  # mypy cannot type a lambda with a default
        return state


@contextlib.contextmanager
def application(redis_url: str, folder: Path, **settings: Any) -> Iterator[Desk]:
    """An application, served by a thread of this process."""
    values = {
        "jwt_secret": SECRET,
        "redis_url": redis_url,
        "storage": f"file://{folder}",
        "fsync": "never",
        "min_free_bytes": 0,
        **settings,
    }
    chosen = load_settings(**values)
    storage = open_storage(chosen.storage, fsync=chosen.fsync == "always")
    index = Index(connect(redis_url))
    jobs = Asked()
    config = uvicorn.Config(
        build_app(chosen, storage, index, jobs),
        port=0,
        log_level="critical",
        access_log=False,
        loop="uvloop",
        http=Uncopied,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            connections = server.server_state.connections
            yield Desk(
                client=client,
                settings=chosen,
                storage=storage,
                index=index,
                jobs=jobs,
                sockets=lambda: sum("WebSocket" in type(each).__name__ for each in set(connections)),
            )
    finally:
        server.should_exit = True
        thread.join()
        index.redis.close()


def said(answer: httpx.Response, status: int) -> Any:
    """The data of a success."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body.pop("success") is True
    return body["data"]


def refused(answer: httpx.Response, status: int, code: str) -> Any:
    """The problem document of a refusal, checked for everything the contract says of it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = json.loads(answer.text)
    assert (problem["success"], problem["code"], problem["status"]) == (False, code, status)
    assert all(isinstance(problem[name], str) and problem[name] for name in ("type", "title", "detail"))
    assert isinstance(problem["retryable"], bool)
    if status in (429, 503, 507):
        assert int(answer.headers["retry-after"]) >= 0
        assert problem["retryable"]
    return problem


def stored(desk: Desk, recording_id: str) -> dict[tuple[int, int], bytes]:
    """(seg, seq) → bytes, of everything that is stored."""
    root = Path(desk.settings.storage.removeprefix("file://")) / f"recordings/{recording_id}/chunks"
    found = {}
    for path in root.rglob("*.*"):
        place = (int(path.parent.name), int(path.name.split(".")[0]))
        assert place not in found, "two objects in one slot"
        found[place] = path.read_bytes()
    return found


def litter(folder: Path) -> list[Path]:
    """What lies in the data folder and is no object."""
    return list((folder / "tmp").iterdir())
