"""How soon a film is there after stop, how far live is behind, and what following a call costs while it runs.

Four people for an hour and for five minutes. Nobody waits an hour: the windows of the call's first part were made once,
after a stop, and are lent to it as if its workers had kept up; its last minutes come over HTTP in real time, while
`callreel up` with a worker for each core follows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks import footage, kept
from benchmarks.live import Ending, Seen, follow, windows_there
from benchmarks.measure import machine, median, table, verdict
from tests.kit.build import Upload, build_recording, by_track, declared
from tests.kit.capture import Capture
from tests.kit.replay import Server, new_client
from tests.stack import Stack, running

_MINUTE_MS = 60_000
#: Until everything stands: the servers, and for each minute of a call of 360p its chunks and their scans.
_SET_UP_S, _SET_UP_MINUTE_S = 20, 0.6
#: s, or a share, or MB: must, aim
BOUNDS = {"stop → film, longest call": (10.0, 5.0), "the same, less the shortest": (5.0, 2.0), "memory": (500.0, 300.0)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    minutes: int
    live_minutes: float
    stop_to_film_s: float
    windows: int  #: of the film
    rendered: int  #: of them in this run
    not_made: int  #: that were not there when stop came, of those that were over for 10 s
    behind_s: float  #: the newest live segment's end, behind the clock: median
    most_behind_s: float
    cores: float  #: that workers kept busy in the last minute
    job_mb: float  #: the most that a process of a worker or a job had resident


def measure(minutes: int, live_minutes: float, options: argparse.Namespace) -> Figures:
    before_ms = max(0, minutes * _MINUTE_MS - round(live_minutes * _MINUTE_MS))  #: of the recording: there at the start
    there = kept.made(minutes, options.height) if before_ms else None
    call = footage.call(minutes, height_px=options.height)
    with tempfile.TemporaryDirectory(prefix="callreel-benchmark-", dir=options.folder) as name:
        data = Path(name) / "data"
        data.mkdir()
        begun_s = time.time()
        set_up_s = _SET_UP_S + _SET_UP_MINUTE_S * minutes * (options.height / 360) if before_ms else 0
        from_ms = round((begun_s + set_up_s) * 1000)
        ending = begin(data, call, from_ms - before_ms, from_ms)
        del call  # an hour of 720p takes gigabytes
        lent: set[str] = set()
        if there:
            lent = kept.lend(there, data, ending.recording_id, before_ms - kept.LATELY_MS)
            kept.check(data, ending.recording_id, lent, there, from_ms)
        with running(data, env={"CALLREEL_FSYNC": options.fsync}) as stack:
            late_s = max(0.0, time.time() - from_ms / 1000)
            print(f"{minutes} min: set up in {time.time() - begun_s:.0f} s, {late_s:.0f} s late", flush=True)
            seen, keys = asyncio.run(_follow(stack, ending))
        kept.used(lent, iter(keys))
        rendered = windows_there(data, ending.recording_id) - len(lent)
    return Figures(
        minutes=minutes,
        live_minutes=min(minutes, live_minutes),
        stop_to_film_s=seen.stop_to_film_s,
        windows=len(keys),
        rendered=rendered,
        not_made=seen.not_made,
        behind_s=median(seen.behind_s),
        most_behind_s=max(seen.behind_s),
        cores=seen.cores,
        job_mb=seen.job_mb,
    )


def begin(data: Path, call: Capture, started_ms: int, from_ms: int) -> Ending:
    """A recording that runs, with all of its chunks that came before; and what comes from then on."""
    rest: list[Upload] = []

    def before(uploads: Sequence[Upload]) -> list[Upload]:
        # without the run's other chunks, which are in the storage now
        rest.extend(replace(u, run=replace(u.run, chunks=())) for u in uploads if u.chunk.received_ms >= from_ms)
        return [upload for upload in uploads if upload.chunk.received_ms < from_ms]

    recording_id = build_recording(
        data, call, call_id=kept.CALL, started_ms=started_ms, arrange=before, silent=call.participants, stop=False
    )
    return Ending(
        recording_id=recording_id,
        started_ms=started_ms,
        length_ms=call.length_ms,
        rest=rest,
        completes={
            track_id: (runs[0].participant, {"segments": declared(runs), "reason": "stopped"})
            for track_id, runs in by_track(call).items()
        },
    )


async def _follow(stack: Stack, ending: Ending) -> tuple[Seen, list[str]]:
    """What was seen, and the keys of the film's windows."""
    async with new_client() as client:
        server = Server(stack.url, stack.token, kept.CALL, client)
        seen = await follow(stack, server, ending)
        manifest = await server.json_file(ending.recording_id, "manifest.json")
    return seen, [window["key"] for window in manifest["windows"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, nargs="+", default=[5, 60], help="lengths of the calls (default 5 60)")
    parser.add_argument("--live", type=float, nargs="+", default=[3], help="so many of them in real time (default 3)")
    parser.add_argument("--height", type=int, choices=(360, 720), default=360, help="of the cameras (default 360)")
    parser.add_argument("--keep", action="store_true", help="only render what is kept of these calls, where it is not")
    parser.add_argument("--fsync", choices=("always", "never"), default="always")
    parser.add_argument("--folder", type=Path, help="where it stores (default: the temporary folder)")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    options = parser.parse_args()
    print(f"{machine()}; four people, {options.height}p, load {os.getloadavg()[0]:.1f}", flush=True)
    if options.keep:
        for minutes in options.minutes:
            kept.made(minutes, options.height)
        return
    lives = options.live * len(options.minutes) if len(options.live) == 1 else options.live
    found = []
    for minutes, live_minutes in zip(options.minutes, lives, strict=True):
        found.append(measure(minutes, live_minutes, options))
        print(found[-1], flush=True)
    _report(found)
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in found], indent=1))


def _report(found: list[Figures]) -> None:
    head = (
        "call",
        "live",
        "stop → film",
        "windows",
        "rendered",
        "not made",
        "behind",
        "at most",
        "cores",
        "largest job",
    )
    rows = [
        [
            f"{each.minutes} min",
            f"{each.live_minutes:g} min",
            f"{each.stop_to_film_s:.2f} s",
            str(each.windows),
            str(each.rendered),
            str(each.not_made),
            f"{each.behind_s:.1f} s",
            f"{each.most_behind_s:.1f} s",
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
