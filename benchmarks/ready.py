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
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks import footage, kept, short
from benchmarks.calls import Ending, begun
from benchmarks.live import followed, windows_there
from benchmarks.measure import machine, median, table, verdict
from callreel.profiles import PROFILES
from tests.stack import running

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
    rendered: int  #: in this run
    in_vain: int  #: of those, that are not in the film: made too early
    stepped_down: int  #: that were encoded faster than asked for, for workers had fallen behind
    not_made: int  #: that were not there when stop came, of those that were over for 10 s
    behind_s: float  #: the newest live segment's end, behind the clock: median
    most_behind_s: float
    cores: float  #: that workers kept busy in the last minute
    job_mb: float  #: the most that a process of a worker or a job had resident


def measure(minutes: int, live_minutes: float, options: argparse.Namespace) -> Figures:
    before_ms = max(0, minutes * _MINUTE_MS - round(live_minutes * _MINUTE_MS))  #: of the recording: there at the start
    with tempfile.TemporaryDirectory(prefix="callreel-benchmark-", dir=options.folder) as name:
        data = Path(name) / "data"
        data.mkdir()
        what, lent, from_s = _lent_to(data, minutes, before_ms, options.height) if before_ms else (None, set(), 0.0)
        call = what or footage.call(minutes, height_px=options.height)
        with running(data, env={"CALLREEL_FSYNC": options.fsync}) as stack:
            if from_s:
                print(f"{minutes} min: the workers are there {from_s - time.time():.0f} s before they must", flush=True)
            seen, manifest = asyncio.run(followed(stack, call))
        rendered = windows_there(data, manifest["recordingId"]) - lent
    kept.used(lent, set(seen.in_film))
    return Figures(
        minutes=minutes,
        live_minutes=min(minutes, live_minutes),
        stop_to_film_s=seen.stop_to_film_s,
        windows=len(seen.in_film),
        rendered=len(rendered),
        in_vain=len(rendered - set(seen.in_film)),
        stepped_down=len(manifest["steppedDown"]),
        not_made=seen.not_made,
        behind_s=median(seen.behind_s),
        most_behind_s=max(seen.behind_s),
        cores=seen.cores,
        job_mb=seen.job_mb,
    )


def _lent_to(data: Path, minutes: int, before_ms: int, height_px: int) -> tuple[Ending, set[str], float]:
    """`_borrowed`, in a process of its own: with it the gigabytes of the whole call are gone."""
    kept.made(minutes, height_px)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_borrowed, data, minutes, before_ms, height_px).result()


def _borrowed(data: Path, minutes: int, before_ms: int, height_px: int) -> tuple[Ending, set[str], float]:
    """A recording that runs, as workers that kept up would have left it; which windows were lent to it; and the
    instant from which on it must be followed, s since 1970."""
    there = kept.made(minutes, height_px)
    set_up_s = _SET_UP_S + _SET_UP_MINUTE_S * minutes * (height_px / 360)
    from_ms = round((time.time() + set_up_s) * 1000)
    ending = begun(data, footage.call(minutes, height_px=height_px), from_ms - before_ms, from_ms)
    lent = kept.lend(there, data, ending.recording_id, before_ms - kept.LATELY_MS)
    kept.check(data, ending.recording_id, lent, there, from_ms)
    return ending, lent, from_ms / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, nargs="+", default=[5, 60], help="lengths of the calls (default 5 60)")
    parser.add_argument("--live", type=float, nargs="+", default=[3], help="so many of them in real time (default 3)")
    parser.add_argument("--height", type=int, choices=(360, 720), default=360, help="of the cameras (default 360)")
    parser.add_argument("--keep", action="store_true", help="only render what is kept of these calls, where it is not")
    parser.add_argument("--presets", action="store_true", help="instead: what each preset costs while a call runs")
    parser.add_argument("--preset", nargs="+", choices=tuple(PROFILES), help="these ones alone")
    parser.add_argument("--captures", action="store_true", help="instead: the tests' captures in real time")
    parser.add_argument("--rounds", type=int, default=3, help="of each capture (default 3)")
    parser.add_argument("--fsync", choices=("always", "never"), default="always")
    parser.add_argument("--folder", type=Path, help="where it stores (default: the temporary folder)")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    options = parser.parse_args()
    print(f"{machine()}; load {os.getloadavg()[0]:.1f}", flush=True)
    if options.keep:
        for minutes in options.minutes:
            kept.made(minutes, options.height)
        return
    measured = short.presets if options.presets else short.captures if options.captures else _long
    found = measured(options)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


def _long(options: argparse.Namespace) -> list[dict[str, Any]]:
    lives = options.live * len(options.minutes) if len(options.live) == 1 else options.live
    found = []
    for minutes, live_minutes in zip(options.minutes, lives, strict=True):
        found.append(measure(minutes, live_minutes, options))
        print(found[-1], flush=True)
    _report(found)
    return [asdict(figures) for figures in found]


def _report(found: list[Figures]) -> None:
    head = (
        "call",
        "live",
        "stop → film",
        "windows",
        "rendered",
        "in vain",
        "stepped down",
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
            str(each.in_vain),
            str(each.stepped_down),
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
