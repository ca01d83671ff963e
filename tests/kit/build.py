"""Captures put on disk as recordings, without a server: what ingest would have stored, at exactly known instants.

The client's believed offset has the error a real clock probe has, drawn from a seed, so that a recording built twice
with the same arguments is the same to the last byte.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from callreel import keys
from callreel.control import Control
from callreel.journal import Fact
from callreel.model import Chunk, Recording
from callreel.storage import Storage
from callreel.storage.local import LocalStorage

from .capture import Capture, Run, load_capture

STARTED_MS = 1_700_000_000_000  #: any instant of the past will do, a constant one makes runs comparable

Place = tuple[str, str, int, int]  #: participant, name of the track, seg, seq


class NoObserver:
    """For recordings that no index needs to know of."""

    def noted(self, recording: Recording, fact: Fact | None) -> None:
        return


@dataclass
class ManualClock:
    """A clock that stands still until somebody turns it."""

    at_ms: int

    def __call__(self) -> int:
        return self.at_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """One chunk on its way, in the server's time."""

    run: Run
    chunk: Chunk
    data: bytes

    @property
    def place(self) -> Place:
        return self.run.participant, self.run.track, self.run.seg, self.chunk.seq


def plan_uploads(capture: Capture, started_ms: int, *, seed: int = 0, latency_ms: int = 25) -> list[Upload]:
    """Every chunk of a capture as its client would send it, had the host pressed start at `started_ms`.

    Each participant stays on a clock of its own: `start` and `at` are on that, `offset` leads to the server's but for
    an error of at most 2 ms, which is what probes over a good line give (`err`, half the round trip, is 3 to 9 ms).
    """
    dice = random.Random(seed)
    shift_ms = started_ms - capture.true_epoch_ms
    found: list[Upload] = []
    for participant in capture.participants:
        error_ms = dice.uniform(-2, 2)
        for run in capture.runs_of(participant):
            for piece in run.chunks:
                at_ms = piece.delivered_client_ms + shift_ms
                facts = Chunk(
                    participant_id=participant,
                    track_id=run.track_id,
                    seg=run.seg,
                    seq=piece.seq,
                    received_ms=round(at_ms - run.clock_skew_ms) + latency_ms,
                    start_ms=round(run.start_client_ms + shift_ms),
                    at_ms=round(at_ms),
                    offset_ms=round(error_ms - run.clock_skew_ms),
                    err_ms=dice.randint(3, 9),
                    sha256=hashlib.sha256(piece.data).hexdigest(),
                    size_bytes=len(piece.data),
                )
                found.append(Upload(run=run, chunk=facts, data=piece.data))
    return sorted(found, key=lambda upload: (upload.chunk.received_ms, upload.place))


def put_upload(storage: Storage, recording_id: str, upload: Upload) -> None:
    """Store a chunk as ingest stores it. Doing it twice changes nothing."""
    c = upload.chunk
    place = (recording_id, c.participant_id, c.track_id, c.seg)
    body = json.dumps({"mimeType": upload.run.mime_type}, sort_keys=True).encode()
    storage.put_if_absent(keys.segment_facts(*place), body)
    if c.seq == 0:
        storage.put_if_absent(keys.segment_head(*place), upload.data)
    storage.put_if_absent(keys.chunk(recording_id, c), upload.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a recording is built when not simply as captured."""

    call_id: str = "call"
    started_ms: int = STARTED_MS
    seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)  #: body of start
    arrange: Callable[[Sequence[Upload]], Sequence[Upload]] = tuple  #: order, repetitions, other `received_ms`
    lose: Collection[Place] = ()  #: chunks that never arrive
    silent: Collection[str] = ()  #: participants whose client never says `complete`
    pauses: Sequence[tuple[int, int]] = ()  #: [from, to) in ms from the start
    layouts: Sequence[tuple[int, object]] = ()  #: (ms from the start, what the host changes the layout to)
    stop: bool = True


def build_recording(root: Path | Storage, capture: Capture | Path, recipe: Recipe | None = None, **how: Any) -> str:
    """Build a recording below `root`; keyword arguments are the fields of `Recipe`. Returns its id."""
    recipe = recipe or Recipe(**how)
    storage = LocalStorage(root, fsync=False) if isinstance(root, Path) else root
    if isinstance(capture, Path):
        capture = load_capture(capture)
    clock = ManualClock(recipe.started_ms)
    control = Control(storage, NoObserver(), clock)
    recording_id = control.start(recipe.call_id, "host", recipe.options).recording_id
    shift_ms = recipe.started_ms - capture.true_epoch_ms

    def announce(run: Run) -> None:
        name = run.participant.title()
        control.put_track(recording_id, run.track_id, run.participant, name, run.source, run.kind, label="")

    steps: list[tuple[int, Callable[[], object]]] = [
        (round(run.start_true_ms + shift_ms), partial(announce, run)) for run in capture.runs
    ]
    for from_ms, to_ms in recipe.pauses:
        steps.append((recipe.started_ms + from_ms, partial(control.pause, recipe.call_id)))
        steps.append((recipe.started_ms + to_ms, partial(control.resume, recipe.call_id)))
    for at_ms, layout in recipe.layouts:
        steps.append((recipe.started_ms + at_ms, partial(control.change_layout, recipe.call_id, layout)))
    for at_ms, step in sorted(steps, key=lambda step: step[0]):
        clock.at_ms = max(clock.at_ms, at_ms)
        step()

    uploads = [u for u in plan_uploads(capture, recipe.started_ms, seed=recipe.seed) if u.place not in recipe.lose]
    for upload in recipe.arrange(uploads):
        put_upload(storage, recording_id, upload)

    if recipe.stop:
        clock.at_ms = recipe.started_ms + capture.length_ms
        control.stop(recipe.call_id)
    clock.at_ms = max(clock.at_ms, recipe.started_ms + capture.length_ms) + 300  # the last Blobs come after stop()
    for track_id, runs in by_track(capture).items():
        if runs[0].participant not in recipe.silent:
            control.complete_track(recording_id, track_id, declared(runs), "stopped")
    return recording_id


def by_track(capture: Capture) -> dict[str, list[Run]]:
    found: dict[str, list[Run]] = {}
    for run in capture.runs:
        found.setdefault(run.track_id, []).append(run)
    return found


def declared(runs: list[Run]) -> list[dict[str, int]]:
    """What a client says it sent, in the words of `complete`."""
    return [{"seg": run.seg, "chunks": len(run.chunks), "bytes": len(run.data)} for run in runs]


def add(root: Path, recording_id: str, who: str, blobs: list[bytes], mime_type: str = "video/webm") -> None:
    """One more participant who uploads these bytes from the start on, and never says `complete`."""
    storage = LocalStorage(root, fsync=False)
    control = Control(storage, NoObserver(), ManualClock(STARTED_MS + 50))
    control.put_track(recording_id, f"{who}-camera", who, who, "camera", "av", "")
    for seq, data in enumerate(blobs):
        chunk = Chunk(
            participant_id=who,
            track_id=f"{who}-camera",
            seg=0,
            seq=seq,
            received_ms=STARTED_MS + 2000 * (seq + 1),
            start_ms=STARTED_MS,
            at_ms=STARTED_MS + 2000 * (seq + 1),
            offset_ms=0,
            err_ms=3,
            sha256=hashlib.sha256(data).hexdigest(),
            size_bytes=len(data),
        )
        storage.put_if_absent(keys.chunk(recording_id, chunk), data)
        if seq == 0:
            storage.put_if_absent(keys.segment_head(recording_id, who, f"{who}-camera", 0), data)
