"""The end of a call over HTTP in real time, its stop, the wait for its film; and what workers cost meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from benchmarks.calls import CALL, Ending, Says, start
from callreel import keys
from tests.kit.capture import Capture
from tests.kit.replay import Server, new_client
from tests.stack import Stack, descendants

WATCHED_S = 64  #: before the end: whole windows, for they come in bursts
_LOOK_S = 2.0
_OVER_MS = 10_000
_FILM_WITHIN_S = 900


class Processes(Protocol):
    """What is asked of a `Stack`."""

    data: Path

    def started(self) -> dict[int, str]: ...


@dataclass(slots=True, kw_only=True)
class Seen:
    """What was seen until the film was there."""

    stop_to_film_s: float = 0.0
    made: set[str] = field(default_factory=set)  #: keys of the windows that were there when stop came
    in_film: dict[str, int] = field(default_factory=dict)  #: key of each window of the film → where it ends, ms
    behind_s: list[float] = field(default_factory=list)  #: the newest live segment's end, behind the clock
    busy: list[tuple[float, float]] = field(default_factory=list)  #: (instant, processor time of the workers), s
    job_mb: float = 0.0  #: the most that a process of a worker or its jobs had resident

    @property
    def not_made(self) -> int:
        """Windows of the film that were not there when stop came, of those that were over for 10 s."""
        until_ms = max(self.in_film.values()) - _OVER_MS
        return sum(1 for key, to_ms in self.in_film.items() if to_ms <= until_ms and key not in self.made)

    @property
    def cores(self) -> float:
        """That workers with all their children kept busy."""
        (from_s, cpu_from_s), *_, (to_s, cpu_to_s) = self.busy
        return (cpu_to_s - cpu_from_s) / (to_s - from_s)


async def follow(stack: Processes, server: Says, call: Ending) -> Seen:
    """Say the rest, stop, wait for the film. Whatever fails on the way, the looking too, fails all of it."""
    seen = Seen()
    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(_look(stack, server, call, seen))
        for track_id in call.completes:
            tasks.create_task(_feed(server, call, track_id))
        await until(call.end_ms)
        seen.made = windows_there(stack.data, call.recording_id)
        await server.send("POST", "/stop")
        stopped_s = time.monotonic()
        state = await server.finished(call.recording_id, _FILM_WITHIN_S)
        # who asks each quarter of a second has heard of it so much later, at most
        seen.stop_to_film_s = time.monotonic() - stopped_s
        looking.cancel()
    if state["status"] != "completed":
        raise RuntimeError(f"no film came of it: {state}")
    return seen


async def followed(
    stack: Stack, call: Ending | Capture, options: Mapping[str, Any] | None = None
) -> tuple[Seen, dict[str, Any]]:
    """What was seen of the rest of a call, or of all of one that starts now; and the manifest."""
    async with new_client() as client:
        server = Server(stack.url, stack.token, CALL, client)
        ending = call if isinstance(call, Ending) else await start(server, call, options)
        seen = await follow(stack, server, ending)
        manifest = await server.json_file(ending.recording_id, "manifest.json")
        seen.in_film = {window["key"]: window["toMs"] for window in manifest["windows"]}
        return seen, manifest


async def until(at_ms: float) -> None:
    await asyncio.sleep(max(0.0, at_ms / 1000 - time.time()))


def windows_there(data: Path, recording_id: str) -> set[str]:
    """Keys of the windows that are rendered."""
    return {path.stem for path in (data / keys.windows_prefix(recording_id)).glob("*.mp4")}


async def _feed(server: Says, call: Ending, track_id: str) -> None:
    for upload in call.rest:
        if upload.chunk.track_id == track_id:
            await until(upload.chunk.received_ms)
            await server.upload(call.recording_id, upload)
    who, said = call.completes[track_id]
    await until(call.end_ms)
    await server.send("POST", f"/{call.recording_id}/tracks/{track_id}/complete", who, body=said)


async def _look(stack: Processes, server: Says, call: Ending, seen: Seen) -> None:
    while True:
        seen.job_mb = max(seen.job_mb, _largest_mb(stack))
        if call.end_ms - WATCHED_S * 1000 <= time.time() * 1000 < call.end_ms:
            playlist = await server.file(call.recording_id, "hls/index.m3u8")
            seen.behind_s.append(time.time() - live_until_s(playlist.decode()))
            seen.busy.append((time.monotonic(), sum(map(_cpu_s, _below_workers(stack)))))
        await asyncio.sleep(_LOOK_S)


def live_until_s(playlist: str) -> float:
    """The wall clock at the end of a playlist's last segment (RFC 8216, 4.3.2.6), s since 1970."""
    dated = re.search(r"#EXT-X-PROGRAM-DATE-TIME:(\S+)", playlist)
    if not dated:
        raise ValueError(f"a playlist without a date: {playlist[:500]!r}")
    lengths = [float(length) for length in re.findall(r"#EXTINF:([0-9.]+)", playlist)]
    return datetime.fromisoformat(dated[1]).timestamp() + sum(lengths)


def _below_workers(stack: Processes) -> list[int]:
    """The workers, their jobs, and the encoders of those."""
    workers = [pid for pid, line in stack.started().items() if "workers.settings.Worker" in line]
    return [pid for worker in workers for pid in descendants(worker)]


def _cpu_s(pid: int) -> float:
    """Of a process and all its children that have ended."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _largest_mb(stack: Processes) -> float:
    """The most that one of them has had resident so far."""
    found = 0.0
    for pid in _below_workers(stack):
        with contextlib.suppress(OSError):
            if most := re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()):
                found = max(found, int(most[1]) / 1000)
    return found
