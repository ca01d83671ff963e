"""Short calls from their first second to their film: what each preset costs while they run, and real captures."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import footage
from benchmarks.live import followed
from benchmarks.measure import median, table, verdict
from callreel.profiles import PROFILES
from tests.kit.capture import NAMES, Capture, load_named
from tests.kit.replay import Server, new_client, replay
from tests.stack import Stack, running

MUST_S, AIM_S = 8.0, 4.0  #: from stop to the film of a capture
AIM_CORES = 0.7  #: of the default preset
_MINUTES = 2
_QUIET_WITHIN_S = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    name: str
    cores: float  #: that workers kept busy in the last minute
    stepped_down: int  #: windows that were encoded faster than asked for
    not_made: int  #: windows that were not there at the stop, of those that were over for 10 s
    behind_s: float  #: live behind the clock: median
    most_behind_s: float
    stop_to_film_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Replays:
    name: str
    length_s: float
    stop_to_film_s: list[float]


def presets(options: argparse.Namespace) -> list[dict[str, Any]]:
    """What it costs to follow a call of two minutes of four people in 720p, in each preset."""
    found = []
    for name in options.preset or PROFILES:
        with _stack(options) as stack:
            call = footage.call(_MINUTES, height_px=720)
            seen, manifest = asyncio.run(followed(stack, call, {"preset": name}))
        found.append(
            Preset(
                name=name,
                cores=seen.cores,
                stepped_down=len(manifest["steppedDown"]),
                not_made=seen.not_made,
                behind_s=median(seen.behind_s),
                most_behind_s=max(seen.behind_s),
                stop_to_film_s=seen.stop_to_film_s,
            )
        )
        print(found[-1], flush=True)
    head = ("preset", "cores", "stepped down", "not made", "behind", "at most", "stop → film")
    rows = [
        [
            each.name,
            f"{each.cores:.2f}",
            str(each.stepped_down),
            str(each.not_made),
            f"{each.behind_s:.1f} s",
            f"{each.most_behind_s:.1f} s",
            f"{each.stop_to_film_s:.2f} s",
        ]
        for each in found
    ]
    print(table(head, rows))
    return [asdict(each) for each in found]


def captures(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Real captures said again in real time, one after the other: stop → film."""
    with _stack(options) as stack:
        found = [_replayed(stack, load_named(name), options.rounds) for name in NAMES]
    rows = [
        [
            each.name,
            f"{each.length_s:.0f} s",
            f"{median(each.stop_to_film_s):.2f} s",
            f"{max(each.stop_to_film_s):.2f} s",
        ]
        for each in found
    ]
    print(table(("capture", "length", "stop → film", "worst"), rows))
    worst_s = max(max(each.stop_to_film_s) for each in found)
    print(f"the worst of them: {worst_s:.2f} (must be ≤ {MUST_S:g}, aim {AIM_S:g}): {verdict(worst_s, MUST_S, AIM_S)}")
    return [asdict(each) for each in found]


@contextmanager
def _stack(options: argparse.Namespace) -> Iterator[Stack]:
    with tempfile.TemporaryDirectory(prefix="callreel-benchmark-", dir=options.folder) as name:
        data = Path(name) / "data"
        data.mkdir()
        with running(data, env={"CALLREEL_FSYNC": options.fsync}) as stack:
            yield stack


def _replayed(stack: Stack, capture: Capture, rounds: int) -> Replays:
    took_s = [asyncio.run(_once(stack, capture, number)) for number in range(rounds)]
    return Replays(name=capture.name, length_s=capture.length_ms / 1000, stop_to_film_s=took_s)


async def _once(stack: Stack, capture: Capture, number: int) -> float:
    async with new_client() as client:
        server = Server(stack.url, stack.token, f"{capture.name}-{number}", client)
        said = await replay(server, capture)
        state = await server.finished(said.recording_id, 300)
        took_s = time.time() - said.stopped_ms / 1000  # a test's servers share its clock
        if state["status"] != "completed":
            raise RuntimeError(f"no film came of it: {state}")
        # the next call shall have the machine for itself
        for _ in range(_QUIET_WITHIN_S):
            state = await server.send("GET", f"/{said.recording_id}")
            if all(artifact["status"] != "pending" for artifact in state["artifacts"]):
                return took_s
            await asyncio.sleep(1)
        raise RuntimeError(f"previews and tracks are still not there after {_QUIET_WITHIN_S} s: {state}")
