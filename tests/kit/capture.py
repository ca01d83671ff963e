"""A call as its browsers recorded it: every recorder run with its chunks, its clock and the truth about it.

Real captures (`tests/data`) and generated calls have this one form, so whatever replays one replays both.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callreel.model import Kind, Source

CAPTURES = Path(os.environ.get("CALLREEL_CAPTURES") or Path(__file__).resolve().parents[1] / "data")
NAMES = ("duo-split", "trio-rejoin")


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedChunk:
    seq: int
    delivered_client_ms: float
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a MediaRecorder."""

    participant: str
    track: str  #: name of the track among those of its participant
    seg: int
    has_audio: bool
    has_video: bool
    mime_type: str
    rgb: tuple[int, int, int] | None  #: dark colour of the pictures
    tone_hz: int | None  #: of the beeps
    clock_skew_ms: float  #: how far this participant's clock is ahead of the true one
    start_client_ms: float  #: instant of the start() call
    stop_client_ms: float
    chunks: tuple[CapturedChunk, ...]
    drawn_ms: tuple[int, ...] = ()  #: what the clock drawn into each picture says, where there is one

    @property
    def track_id(self) -> str:
        """Track ids are unique in a recording, names of tracks are not."""
        return f"{self.participant}-{self.track}"

    @property
    def kind(self) -> Kind:
        return "av" if self.has_audio and self.has_video else "audio" if self.has_audio else "video"

    @property
    def source(self) -> Source:
        return "microphone" if self.kind == "audio" else "camera"

    @property
    def start_true_ms(self) -> float:
        return self.start_client_ms - self.clock_skew_ms

    @property
    def stop_true_ms(self) -> float:
        return self.stop_client_ms - self.clock_skew_ms

    @property
    def data(self) -> bytes:
        """The whole container file."""
        return b"".join(chunk.data for chunk in self.chunks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    name: str
    true_epoch_ms: int  #: the host pressed start; flashes and beeps are at the whole seconds of this clock
    length_ms: int  #: from start to stop
    runs: tuple[Run, ...]
    floor_ms: dict[str, dict[str, float]]  #: participant → flash, beep: what the capture itself is off

    @property
    def participants(self) -> list[str]:
        return list(dict.fromkeys(run.participant for run in self.runs))

    def runs_of(self, participant: str) -> list[Run]:
        return [run for run in self.runs if run.participant == participant]

    def rgb_of(self, participant: str) -> tuple[int, int, int]:
        return next(run.rgb for run in self.runs_of(participant) if run.rgb)

    def tone_of(self, participant: str) -> int:
        return next(run.tone_hz for run in self.runs_of(participant) if run.tone_hz)

    @property
    def beats_ms(self) -> list[int]:
        """The whole seconds of the true clock, ms from the start."""
        return list(range(-self.true_epoch_ms % 1000, self.length_ms, 1000))

    def presence(self, participant: str, *, sound: bool) -> list[tuple[float, float]]:
        """Spans in which the participant was seen (or heard), ms from the start."""
        return [
            (run.start_true_ms - self.true_epoch_ms, run.stop_true_ms - self.true_epoch_ms)
            for run in self.runs_of(participant)
            if (run.has_audio if sound else run.has_video)
        ]


def load_capture(folder: Path) -> Capture:
    """A capture from its `session.json` and `floor.json`."""
    session = json.loads((folder / "session.json").read_text())
    runs = tuple(_run(folder, item) for item in session["segments"])
    return Capture(
        name=folder.name,
        true_epoch_ms=session["true_epoch_ms"],
        length_ms=max(round(item["planned_stop_s"] * 1000) for item in session["segments"]),
        runs=runs,
        floor_ms=json.loads((folder / "floor.json").read_text()),
    )


def load_named(name: str) -> Capture:
    return load_capture(CAPTURES / name)


def _run(folder: Path, item: dict[str, Any]) -> Run:
    return Run(
        participant=item["participant"],
        track=item["track"],
        seg=item["segment"],
        has_audio=item["has_audio"],
        has_video=item["has_video"],
        mime_type=item["mime_type"],
        rgb=_rgb(item["color"]),
        tone_hz=item["tone_hz"],
        clock_skew_ms=item["clock_skew_ms"],
        start_client_ms=item["start_called_client_ms"],
        stop_client_ms=item["stop_called_client_ms"],
        chunks=tuple(
            CapturedChunk(
                seq=chunk["seq"],
                delivered_client_ms=chunk["delivered_client_ms"],
                data=(folder / chunk["file"]).read_bytes(),
            )
            for chunk in item["chunks"]
        ),
    )


def _rgb(color: str | None) -> tuple[int, int, int] | None:
    """'#600' → (102, 0, 0)."""
    if color is None:
        return None
    red, green, blue = (int(digit * 2, 16) for digit in color.removeprefix("#"))
    return red, green, blue
