"""How soon a film is there after stop, how far live is behind, and what following a call costs while it runs.

Four people of 360p, for an hour and for five minutes. Nobody waits an hour: the call's first part is put into the
storage as if it had come before, with the instants it would have had; its last minutes come over HTTP in real time,
while `callreel up` with a worker for each core catches up and then keeps up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks import footage
from benchmarks.measure import machine, table, verdict
from tests.kit.build import Upload, build_recording, by_track, declared, plan_uploads
from tests.kit.capture import Capture
from tests.kit.replay import Server, new_client
from tests.stack import Stack, descendants, running

CALL = "ready"
WINDOW_S = 8
_MINUTE_MS = 60_000
_STEP_MS = _MINUTE_MS + 100  #: recorders stop 60 ms after their minute; one that starts before would be heard twice
_LOOK_S = 2.0
#: s, or a share, or MB: must, aim
BOUNDS = {"stop → film, longest call": (10.0, 5.0), "the same, less the shortest": (5.0, 2.0), "memory": (500.0, 300.0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    minutes: int
    stop_to_film_s: float
    windows: int
    waited: int  #: windows that were not made when stop came, of those that were over for 10 s
    behind_s: float  #: the newest live segment's end, behind the clock; the most in the last minute
    cores: float  #: that workers kept busy in the last minute
    job_mb: float  #: the most that a worker's job had resident


def call_of(minutes: int, height_px: int) -> Capture:
    """A minute again and again; each time every recorder starts anew, so each is a segment of its own."""
    minute = footage.capture(_MINUTE_MS, height_px=height_px)

    def later(n: int) -> Iterator[Any]:
        for run in minute.runs:
            shift = n * _STEP_MS
            chunks = tuple(replace(c, delivered_client_ms=c.delivered_client_ms + shift) for c in run.chunks)
            start_ms, stop_ms = run.start_client_ms + shift, run.stop_client_ms + shift
            yield replace(run, seg=n, start_client_ms=start_ms, stop_client_ms=stop_ms, chunks=chunks)

    runs = tuple(run for n in range(minutes) for run in later(n))
    return replace(minute, length_ms=minutes * _STEP_MS, runs=runs)


def measure(minutes: int, live_minutes: float, options: argparse.Namespace) -> Figures:
    call = call_of(minutes, options.height)
    with tempfile.TemporaryDirectory(prefix="callreel-benchmark-", dir=options.folder) as name:
        data = Path(name) / "data"
        data.mkdir()
        now_ms = round(time.time() * 1000)
        started_ms = now_ms - round(call.length_ms - live_minutes * _MINUTE_MS)

        def before(uploads: Any) -> list[Upload]:
            return [upload for upload in uploads if upload.chunk.received_ms < now_ms]

        recording_id = build_recording(
            data, call, call_id=CALL, started_ms=started_ms, arrange=before, silent=call.participants, stop=False
        )
        rest = [u for u in plan_uploads(call, started_ms) if u.chunk.received_ms >= now_ms]
        with running(data, env={"CALLREEL_FSYNC": options.fsync}) as stack:
            return asyncio.run(_follow(stack, call, recording_id, started_ms, rest, minutes))


async def _follow(
    stack: Stack, call: Capture, recording_id: str, started_ms: int, rest: list[Upload], minutes: int
) -> Figures:
    """The last minutes, the stop, and the wait for the film."""
    end_ms = started_ms + call.length_ms
    behind: list[float] = []
    most_mb = [0.0]
    busy: list[tuple[float, float]] = []  #: (instant, processor time of the workers)
    async with new_client() as client:
        server = Server(stack.url, stack.token, CALL, client)

        async def until(at_ms: float) -> None:
            await asyncio.sleep(max(0.0, at_ms / 1000 - time.time()))

        async def feed(track_id: str) -> None:
            for upload in rest:
                if upload.chunk.track_id == track_id:
                    await until(upload.chunk.received_ms)
                    await server.upload(recording_id, upload)
            said = {"segments": declared(by_track(call)[track_id]), "reason": "stopped"}
            who = by_track(call)[track_id][0].participant
            await server.send("POST", f"/{recording_id}/tracks/{track_id}/complete", who, body=said)

        async def look() -> None:
            while True:
                most_mb[0] = max(most_mb[0], _largest_job_mb(stack))
                if end_ms - _MINUTE_MS <= time.time() * 1000 < end_ms:
                    playlist = await server.file(recording_id, "hls/index.m3u8")
                    behind.append(time.time() - _live_until_s(playlist.decode()))
                    busy.append((time.monotonic(), _workers_cpu_s(stack)))
                await asyncio.sleep(_LOOK_S)

        looking = asyncio.create_task(look())
        feeding = [asyncio.create_task(feed(track_id)) for track_id in by_track(call)]
        await until(end_ms)
        made = len(list((stack.data / "recordings" / recording_id / "derived" / "windows").glob("*.mp4")))
        await server.send("POST", "/stop")
        stopped_s = time.monotonic()
        state = await server.finished(recording_id, 900)
        took_s = time.monotonic() - stopped_s  # who asks has heard a quarter of a second later, at most
        await asyncio.gather(*feeding)
        looking.cancel()
        assert state["status"] == "completed", state
        manifest = await server.json_file(recording_id, "manifest.json")
    (from_s, cpu_from_s), *_, (to_s, cpu_to_s) = busy
    return Figures(
        minutes=minutes,
        stop_to_film_s=took_s,
        windows=len(manifest["windows"]),
        waited=max(0, int((call.length_ms / 1000 - 10) // WINDOW_S) - made),
        behind_s=max(behind),
        cores=(cpu_to_s - cpu_from_s) / (to_s - from_s),
        job_mb=most_mb[0],
    )


def _live_until_s(playlist: str) -> float:
    """The wall clock at the end of a playlist's last segment (RFC 8216, 4.3.2.6), s since 1970."""
    dated = re.search(r"#EXT-X-PROGRAM-DATE-TIME:(\S+)", playlist)
    assert dated, playlist
    lengths = [float(length) for length in re.findall(r"#EXTINF:([0-9.]+)", playlist)]
    return datetime.fromisoformat(dated[1]).timestamp() + sum(lengths)


def _workers(stack: Stack) -> list[int]:
    return [pid for pid, line in stack.started().items() if "workers.settings.Worker" in line]


def _workers_cpu_s(stack: Stack) -> float:
    """Of the workers and all their jobs that have ended."""
    total = 0
    for pid in _workers(stack):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += sum(int(field) for field in fields[11:15])
    return total / os.sysconf("SC_CLK_TCK")


def _largest_job_mb(stack: Stack) -> float:
    """Resident now, in Python; the encoder beside it is a process of its own."""
    found = 0.0
    for worker in _workers(stack):
        for pid in descendants(worker):
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            if resident := re.search(r"VmRSS:\s+(\d+)", status):
                found = max(found, int(resident[1]) / 1000)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, nargs="+", default=[5, 60], help="lengths of the calls (default 5 60)")
    parser.add_argument("--live", type=float, nargs="+", default=[3, 28], help="of which so many are live, each")
    parser.add_argument("--height", type=int, choices=(360, 720), default=360, help="of the cameras (default 360)")
    parser.add_argument("--fsync", choices=("always", "never"), default="always")
    parser.add_argument("--folder", type=Path, help="where it stores (default: the temporary folder)")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    options = parser.parse_args()
    print(f"{machine()}; four people, {options.height}p, load {os.getloadavg()[0]:.1f}", flush=True)
    found = []
    for minutes, live_minutes in zip(options.minutes, options.live, strict=True):
        found.append(measure(minutes, live_minutes, options))
        print(found[-1], flush=True)
    _report(found)
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in found], indent=1))


def _report(found: list[Figures]) -> None:
    head = ("call", "stop → film", "windows", "not made at stop", "live behind", "cores busy", "largest job")
    rows = [
        [
            f"{each.minutes} min",
            f"{each.stop_to_film_s:.2f} s",
            str(each.windows),
            str(each.waited),
            f"{each.behind_s:.1f} s",
            f"{each.cores:.2f}",
            f"{each.job_mb:.0f} MB",
        ]
        for each in found
    ]
    print(table(head, rows))
    longest_s = found[-1].stop_to_film_s
    figures = [longest_s, longest_s - found[0].stop_to_film_s, max(each.job_mb for each in found)]
    for (what, (must, aim)), figure in zip(BOUNDS.items(), figures, strict=True):
        if len(found) > 1 or "less" not in what:
            print(f"{what}: {figure:.2f} (must be ≤ {must:g}, aim {aim:g}): {verdict(figure, must, aim)}")


if __name__ == "__main__":
    main()
