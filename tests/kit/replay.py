"""A capture said again over HTTP, as its clients would say it: host, participants, each on a clock of its own.

The instant at which the host's start is answered becomes the capture's epoch, so that every stamp keeps its place.
Only at `speed=1` is the film the whole call, for stop is the server's instant; faster, chunks come before their time.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from .build import Upload, by_track, declared, plan_uploads
from .capture import Capture

_RETRY_S = 0.2
_RETRIES = 100  #: 20 s: an index that was flushed is made anew in less


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """A recording after its stop, with everything uploaded."""

    recording_id: str
    started_ms: int
    stopped_ms: int


MakeToken = Callable[[str, str, str, str], str]  #: role, call, sub, name → JWT


class Server:
    """What the tests' clients say to a running server."""

    def __init__(self, base_url: str, token: MakeToken, call_id: str, client: httpx.AsyncClient) -> None:
        self._token = token
        self._call_id = call_id
        self._url = f"{base_url.rstrip('/')}/video-calls/{call_id}/recording"
        self._client = client

    async def send(
        self,
        method: str,
        path: str,
        who: str = "host",
        body: Any = None,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """The `data` of the answer; refusals that say so are tried again, others raise."""
        role = "host" if who == "host" else "participant"
        token = self._token(role, self._call_id, who, who.title())
        all_headers = {"Authorization": f"Bearer {token}", **(headers or {})}
        for attempt in range(_RETRIES):
            answer = await self._client.request(
                method, f"{self._url}{path}", json=body, content=content, headers=all_headers
            )
            if answer.is_success:
                data: dict[str, Any] = answer.json()["data"]
                return data
            problem = answer.json()
            if not problem["retryable"] or attempt + 1 == _RETRIES:
                break
            await asyncio.sleep(_RETRY_S)
        raise AssertionError(f"{method} {path} by {who}: {answer.status_code} {answer.text}")

    async def upload(self, recording_id: str, upload: Upload) -> None:
        c = upload.chunk
        digest = base64.b64encode(bytes.fromhex(c.sha256)).decode()
        facts = f"seg={c.seg}, seq={c.seq}, start={c.start_ms}, at={c.at_ms}, offset={c.offset_ms}, err={c.err_ms}"
        headers = {
            "Content-Type": upload.run.mime_type,
            "Content-Digest": f"sha-256=:{digest}:",
            "Chunk": facts,
        }
        path = f"/{recording_id}/tracks/{c.track_id}/chunks"
        await self.send("POST", path, c.participant_id, content=upload.data, headers=headers)

    async def finished(self, recording_id: str, timeout_s: float) -> dict[str, Any]:
        """The recording once it is completed or failed."""
        until = time.monotonic() + timeout_s
        while True:
            state = await self.send("GET", f"/{recording_id}")
            if state["status"] in ("completed", "failed"):
                return state
            if time.monotonic() > until:
                raise AssertionError(f"{recording_id} is still {state['status']} after {timeout_s} s: {state}")
            await asyncio.sleep(0.25)

    async def file(self, recording_id: str, name: str) -> bytes:
        """One of the recording's files, by the host's token."""
        headers = {"Authorization": f"Bearer {self._token('host', self._call_id, 'host', 'Host')}"}
        answer = await self._client.get(f"{self._url}/{recording_id}/files/{name}", headers=headers)
        answer.raise_for_status()
        return answer.content

    async def json_file(self, recording_id: str, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(await self.file(recording_id, name))
        return content


def new_client() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=30, trust_env=False)


async def replay(
    server: Server,
    capture: Capture,
    *,
    speed: float = 1.0,
    options: dict[str, Any] | None = None,
    before_stop: Callable[[], Awaitable[None]] | None = None,
) -> Replayed:
    """Say a capture again, from start to the last track's `complete`."""
    started = await server.send("POST", "/start", body=options)
    recording_id = started["recordingId"]
    started_ms = epoch_ms(started["startedAt"])
    uploads = plan_uploads(capture, started_ms)

    async def until(server_ms: float) -> None:
        # client and server of a test share a machine, and so its clock
        due_ms = started_ms + (server_ms - started_ms) / speed
        await asyncio.sleep(max(0.0, due_ms / 1000 - time.time()))

    async def track(track_id: str) -> None:
        runs = by_track(capture)[track_id]
        run = runs[0]
        await until(run.start_true_ms - capture.true_epoch_ms + started_ms)
        body = {"source": run.source, "kind": run.kind, "label": ""}
        await server.send("PUT", f"/{recording_id}/tracks/{track_id}", run.participant, body=body)
        for upload in (upload for upload in uploads if upload.chunk.track_id == track_id):
            await until(upload.chunk.received_ms)
            await server.upload(recording_id, upload)
        said = {"segments": declared(runs), "reason": "stopped"}
        await server.send("POST", f"/{recording_id}/tracks/{track_id}/complete", run.participant, body=said)

    async def stop() -> int:
        await until(started_ms + capture.length_ms)
        if before_stop is not None:
            await before_stop()
        stopped = await server.send("POST", "/stop")
        return epoch_ms(stopped["stoppedAt"])

    async with asyncio.TaskGroup() as tasks:
        stopping = tasks.create_task(stop())
        for track_id in by_track(capture):
            tasks.create_task(track(track_id))
    return Replayed(recording_id=recording_id, started_ms=started_ms, stopped_ms=stopping.result())


def epoch_ms(instant: str) -> int:
    """RFC 3339 → ms since 1970."""
    return round(datetime.fromisoformat(instant).timestamp() * 1000)
