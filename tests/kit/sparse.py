"""Long calls of many people that take no room: of their chunks nothing is there but the size, and what workers would
have found in them lies beside, as scans and levels. So all of it can be planned, and nothing rendered.

Run as a program it does one of the jobs of a finished call, up to its manifest, and tells the most memory it ever had.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from callreel import keys, levels, scans
from callreel.control import Control
from callreel.levels import FINE, PIECE_STEPS, Levels
from callreel.manifest import Build, Film
from callreel.model import Artifact, Chunk
from callreel.scans import Packets, RunScan
from callreel.storage.local import LocalStorage
from workers import advance as advancing
from workers import join as joining
from workers import levels as measuring
from workers.bench import Bench
from workers.jobs import bench as make_bench

from .build import STARTED_MS, ManualClock, NoObserver
from .line import settings_for

CHUNK_MS = 2000
_SOUND_US, _PICTURE_US = 60_000, 1_000_000  #: Chromium's packets of Opus; a camera that is asked for little
_CLUSTER_US = 10_000_000
_SPEAKS = 0.12  #: of the time


def build_sparse(root: Path, people: int, length_ms: int, layout: str = "grid") -> str:
    """A stopped recording in which everybody is there from the first moment to the last; returns its id."""
    storage, clock = LocalStorage(root, fsync=False), ManualClock(STARTED_MS)
    control = Control(storage, NoObserver(), clock)
    recording_id = control.start("call", "host", {"layout": layout}).recording_id
    dice, tracks = np.random.default_rng(1), list[tuple[str, list[Chunk]]]()
    for number in range(people):
        who = f"p{number}"
        for kind, source in (("audio", "microphone"), ("video", "camera")):
            track_id = f"{who}-{source}"
            control.put_track(recording_id, track_id, who, who, source, kind, label="")
            run = _run(kind, track_id, length_ms, dice)
            chunks = _chunks(who, track_id, run, dice)
            storage.put_if_absent(keys.segment_facts(recording_id, who, track_id, 0), b'{"mimeType": "video/webm"}')
            for chunk in chunks:
                _put_hollow(storage, keys.chunk(recording_id, chunk), chunk.size_bytes)
            storage.put_if_absent(keys.scan(recording_id, scans.run_digest("", chunks)), scans.encode(run))
            with mock.patch.object(measuring, "_measure_apart", partial(_levels, dice)):
                measuring.run_levels(storage, recording_id, chunks, run)
            tracks.append((track_id, chunks))
    clock.at_ms = STARTED_MS + length_ms
    control.stop("call")
    for track_id, chunks in tracks:
        declared = {"seg": 0, "chunks": len(chunks), "bytes": sum(chunk.size_bytes for chunk in chunks)}
        control.complete_track(recording_id, track_id, [declared], "stopped")
    return recording_id


def _run(kind: str, track_id: str, length_ms: int, dice: np.random.Generator) -> RunScan:
    """Its packets come evenly, are stamped in whole ms, and are all of another size."""
    step_us, size = (_SOUND_US, 480) if kind == "audio" else (_PICTURE_US, 9000)
    count = length_ms * 1000 // step_us
    nominal_us = np.arange(count, dtype=np.int64) * step_us
    end = np.cumsum(dice.integers(size // 2, size * 3 // 2, count))
    sound = kind == "audio"
    packets = Packets(
        pts_us=nominal_us + dice.integers(0, 5, count) * 1000,
        duration_us=np.full(count, step_us, np.int64),
        from_byte=np.concatenate(([0], end[:-1])) + 6,
        to_byte=end,
        key=((nominal_us % _CLUSTER_US < step_us) | sound).astype(np.int64),
    )
    borders = end[np.arange(CHUNK_MS * 1000, length_ms * 1000 + 1, CHUNK_MS * 1000) // step_us - 1]
    return RunScan(
        first_seq=0,
        chunk_sha256=tuple(hashlib.sha256(f"{track_id}{seq}".encode()).hexdigest() for seq in range(len(borders))),
        chunk_bytes=tuple(np.diff(borders, prepend=0).tolist()),
        head=f"head of {track_id}".encode(),
        starts=packets.from_byte[:: _CLUSTER_US // step_us] - 6,
        audio=packets if sound else Packets(),
        video=Packets() if sound else packets,
        width_px=0 if sound else 640,
        height_px=0 if sound else 360,
        video_codec="" if sound else "vp8",
        audio_codec="opus" if sound else "",
    )


def _chunks(who: str, track_id: str, run: RunScan, dice: np.random.Generator) -> list[Chunk]:
    late_ms = dice.integers(40, 300, len(run.chunk_sha256)).tolist()
    return [
        Chunk(
            participant_id=who,
            track_id=track_id,
            seg=0,
            seq=seq,
            received_ms=STARTED_MS + (seq + 1) * CHUNK_MS + late_ms[seq] + 30,
            start_ms=STARTED_MS,
            at_ms=STARTED_MS + (seq + 1) * CHUNK_MS + late_ms[seq],
            offset_ms=0,
            err_ms=5,
            sha256=digest,
            size_bytes=run.chunk_bytes[seq],
        )
        for seq, digest in enumerate(run.chunk_sha256)
    ]


def _put_hollow(storage: LocalStorage, key: str, size_bytes: int) -> None:
    path = storage.path(key)
    if not path.parent.is_dir():
        path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(size_bytes)


def _levels(dice: np.random.Generator, _run: RunScan, _data: bytes, _warm_us: int, piece: int) -> bytes:
    """Somebody who speaks now and then, for two seconds."""
    speaks = np.repeat(dice.random(PIECE_STEPS // 20) < _SPEAKS, 20)
    heard = np.where(speaks, dice.integers(-2600, -1400, PIECE_STEPS), dice.integers(-7200, -6800, PIECE_STEPS))
    found = heard.astype(np.int16)
    return levels.encode(
        Levels(first=piece * PIECE_STEPS, loudness=found, peak=found + 600, fine=np.repeat(found, FINE))
    )


def peak_mb() -> int:
    """The most memory this process ever had; `getrusage` tells of the process that it was forked from as well."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024


def do(job: str, root: Path, redis_url: str, recording_id: str) -> dict[str, Any]:
    """One of the jobs of a finished call, its film left out: memory before it, and the most there was."""
    begun_mb, begun_s = peak_mb(), time.process_time()
    bench = make_bench(settings_for(root, redis_url))
    with mock.patch.object(joining, "write_artifact", _no_film):
        came_of_it = JOBS[job](bench, recording_id)
    spent_s = round(time.process_time() - begun_s, 1)
    return {"begin_mb": begun_mb, "mb": peak_mb(), "s": spent_s, "done": bool(came_of_it)}


def _pretend_rendered(storage: LocalStorage, recording_id: str) -> None:
    for plan in storage.path(f"recordings/{recording_id}/derived/plans").iterdir():
        storage.put_if_absent(keys.window(recording_id, plan.stem), b"")


def _no_film(_bench: Any, build: Build, film: Film) -> Artifact:
    return Artifact(name=film.name, kind="composition", status="ready", duration_ms=film.duration_us // 1000)


#: In their order: what plans and asks for windows, and what joins those, is told by its manifest.
JOBS: dict[str, Callable[[Bench, str], object]] = {"advance": advancing.advance, "join": joining.join}


def measure(root: Path, redis_url: str, recording_id: str) -> dict[str, dict[str, Any]]:
    """What each of `JOBS` takes, in a process of its own as workers have it."""
    found = {}
    for job in JOBS:
        command = [sys.executable, "-m", "tests.kit.sparse", job, str(root), redis_url, recording_id]
        top = Path(__file__).parents[2]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=1200, cwd=top)
        found[job] = json.loads(done.stdout.splitlines()[-1])
        _pretend_rendered(LocalStorage(root, fsync=False), recording_id)
    return found


if __name__ == "__main__":
    print(json.dumps(do(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])))
