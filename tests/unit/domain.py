"""What tests of the domain share: a clock that is told the time, and an observer that remembers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from callreel.control import Control
from callreel.journal import Fact
from callreel.model import Chunk, Recording
from callreel.storage import Storage
from callreel.storage.local import LocalStorage

START_MS = 1_732_259_000_000


@dataclass
class Clock:
    """Time passes only where a test says so."""

    ms: int = START_MS

    def __call__(self) -> int:
        return self.ms


@dataclass
class Remembering:
    told: list[tuple[str, int, str]] = field(default_factory=list)
    again: list[tuple[str, int]] = field(default_factory=list)  #: told without a new fact

    def noted(self, recording: Recording, fact: Fact | None) -> None:
        if fact is not None:
            self.told.append((recording.recording_id, fact.sequence, fact.type))
        else:
            self.again.append((recording.recording_id, recording.sequence))


@dataclass
class World:
    storage: Storage
    clock: Clock = field(default_factory=Clock)
    observer: Remembering = field(default_factory=Remembering)

    @property
    def control(self) -> Control:
        return Control(self.storage, self.observer, self.clock)


def world_at(folder: Path) -> World:
    return World(LocalStorage(folder, fsync=False))


def started(**more: Any) -> Fact:
    data = {
        "callId": "call",
        "startedBy": "host",
        "layout": "grid",
        "preset": "720p",
        "outputs": [],
        "maxDurationS": None,
        "metadata": {},
        **more,
    }
    return Fact(sequence=1, type="started", at_ms=START_MS, data=data)


def facts_of(*drafts: tuple[str, dict[str, Any]]) -> list[Fact]:
    """A journal: started, then one fact a second."""
    rest = [
        Fact(sequence=n, type=type_, at_ms=START_MS + 1000 * (n - 1), data=data)
        for n, (type_, data) in enumerate(drafts, 2)
    ]
    return [started(), *rest]


def track_added(participant_id: str, track_id: str, kind: str = "video") -> tuple[str, dict[str, Any]]:
    return "track_added", {
        "trackId": track_id,
        "participantId": participant_id,
        "name": participant_id.title(),
        "source": "camera",
        "kind": kind,
        "label": "",
    }


def track_completed(track_id: str, *chunks: int) -> tuple[str, dict[str, Any]]:
    segments = [{"seg": seg, "chunks": count, "bytes": 1} for seg, count in enumerate(chunks)]
    return "track_completed", {"trackId": track_id, "segments": segments, "reason": "stopped"}


STOPPED: tuple[str, dict[str, Any]] = ("stopped", {"reason": "host"})
DRAINED: tuple[str, dict[str, Any]] = ("drained", {})


def artifact(name: str, status: str = "ready", sha256: str = "aa") -> dict[str, Any]:
    return {
        "name": name,
        "kind": "composition",
        "status": status,
        "mime_type": "video/mp4",
        "size_bytes": 10,
        "duration_ms": 1000,
        "sha256": sha256,
        "error": "",
    }


def completed(*artifacts: dict[str, Any], type_: str = "completed", build: str = "b1") -> tuple[str, dict[str, Any]]:
    return type_, {"complete": True, "gaps": [], "build": build, "artifacts": list(artifacts)}


def chunk(seq: int, *, seg: int = 0, track_id: str = "cam", participant_id: str = "ada", **more: Any) -> Chunk:
    values: dict[str, Any] = {
        "participant_id": participant_id,
        "track_id": track_id,
        "seg": seg,
        "seq": seq,
        "received_ms": START_MS + 1000 * seq,
        "start_ms": START_MS,
        "at_ms": START_MS + 1000 * (seq + 1),
        "offset_ms": -37,
        "err_ms": 9,
        "sha256": f"{seg:032x}{seq:032x}",
        "size_bytes": 100 + seq,
        **more,
    }
    return Chunk(**values)
