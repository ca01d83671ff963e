"""Figures of a container: what a call on a bad line loses, and what is off in what is left of it.

One function for tests and benchmarks. A film is held against the truth drawn into every picture and hummed in every
sound; the manifest's gaps say where nothing is asked for, and are held against what is seen and heard at their borders.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from . import ears, eyes
from .build import build_recording
from .call_generator import Person, generate_call
from .capture import Capture, Run
from .detect import by_beat, run_beeps_ms
from .faults import Faults, draw
from .forms import Recorder
from .kept import least_kept
from .line import Made, make_film

FPS = 30
_STEP_MS = 1000 / FPS
#: Pictures are small, for it is time that is looked at.
_OUTPUTS = [{"name": "film", "container": "mp4", "width": 320, "height": 180}]
_EDGE_MS = 150  #: nothing is asked for so near to joining and leaving

Span = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one container, ms."""

    recorder: str
    seed: int
    gaps: int
    unread: int  #: pictures whose clock could not be read
    picture_ms: float  #: p95 of how wrong the picture shown is, outside of the named gaps …
    picture_worst_ms: float
    sound_ms: float  #: worst of how far beeps are from where the recorder has them, outside of the named gaps
    picture_border_ms: float  #: worst distance of a gap's border from where pictures end and come back
    sound_border_ms: float
    kept: float  #: least share of the received media that is in the film, whatever single chunk is lost (`kept`)

    def __str__(self) -> str:
        return (
            f"{self.recorder} seed {self.seed}: {self.gaps} gaps, picture p95 {self.picture_ms:.1f} worst"
            f" {self.picture_worst_ms:.1f}, sound {self.sound_ms:.1f}, borders: picture {self.picture_border_ms:.1f}"
            f" sound {self.sound_border_ms:.1f} ms, kept {self.kept:.2%}"
        )


def figures(
    folder: Path,
    redis_url: str,
    recorder: Recorder,
    *,
    seed: int = 1,
    count: int = 1,
    length_ms: int = 20_000,
    timeslice_ms: int = 500,
    faults: Faults | None = None,
) -> Figures:
    """Build, render and look at a call of so many people with this recorder; `folder` is left full of it."""

    def change(person: Person) -> Person:
        return replace(
            person,
            recorder=recorder,
            size=(160, 90),
            fps=FPS,
            spans_ms=((0, length_ms + 50),),
            timeslice_ms=timeslice_ms,
            hum=True,
        )

    capture = generate_call(seed, count=count, length_ms=length_ms, change=change)
    fate = draw(seed, capture, faults or Faults())
    recording_id = build_recording(
        folder, capture, lose=fate.lost, arrange=fate.arrange, seed=seed, options={"outputs": _OUTPUTS}
    )
    return measure(make_film(folder, redis_url, recording_id), capture, recorder.name, seed)


def measure(made: Made, capture: Capture, name: str, seed: int, *, still: bool = True) -> Figures:
    """Look at and listen to a film; `still`: its tiles stay as they are."""
    view = eyes.watch(made.film, {who: capture.rgb_of(who) for who in capture.participants}, clocks=True, still=still)
    first_ms, samples = ears.decode_placed(made.film)
    pictures: list[float] = []
    sounds: list[float] = []
    borders: dict[str, list[float]] = {"pictures": [], "sound": []}
    for who in capture.participants:
        spans = gaps_of(made.manifest, capture, who)
        pictures += _pictures_off(view, capture, who, spans["pictures"])
        sounds += _beeps_off(capture, who, first_ms, samples, spans["sound"])
        borders["pictures"] += _picture_borders(view, capture, who, spans["pictures"])
        level = ears.envelope(samples, capture.tone_of(who))
        borders["sound"] += _sound_borders(level, first_ms, spans["sound"])
    off = np.abs([at for at in pictures if at == at])
    return Figures(
        recorder=name,
        seed=seed,
        gaps=len(made.manifest["gaps"]),
        unread=len(pictures) - len(off),
        picture_ms=float(np.percentile(off, 95)),
        picture_worst_ms=float(off.max()),
        sound_ms=max(map(abs, sounds)),
        picture_border_ms=max(map(abs, borders["pictures"]), default=0.0),
        sound_border_ms=max(map(abs, borders["sound"]), default=0.0),
        kept=min(least_kept(run) for run in capture.runs),
    )


def gaps_of(manifest: dict[str, Any], capture: Capture, who: str) -> dict[str, list[Span]]:
    """The gaps that the manifest names, of what they silence and of what they hide."""
    found: dict[str, list[Span]] = {"pictures": [], "sound": []}
    for gap in manifest["gaps"]:
        if gap["participantId"] != who:
            continue
        run = next(run for run in capture.runs_of(who) if run.track_id == gap["trackId"])
        for kind, has in (("pictures", run.has_video), ("sound", run.has_audio)):
            if has:
                found[kind].append(tuple(gap.get(f"{kind}Ms", (gap["fromMs"], gap["toMs"]))))
    return found


def _there(capture: Capture, who: str, *, sound: bool) -> Span:
    ((begin, end),) = capture.presence(who, sound=sound)
    return begin + _EDGE_MS, min(end, capture.length_ms) - _EDGE_MS


def _pictures_off(view: eyes.View, capture: Capture, who: str, spans: list[Span]) -> list[float]:
    """How wrong each picture was: 0 where it is the one that was before the camera; of a card, how far it is from the
    gap that it could belong to; NaN where its clock cannot be read."""
    begin, end = _there(capture, who, sound=False)
    drawn = np.array(sorted(ms for run in capture.runs_of(who) for ms in run.drawn_ms))
    found, sight = [], view.sights[who]
    for time_ms, state, shown_ms in zip(view.times_ms, sight.state, sight.clock_ms, strict=True):
        if not begin <= time_ms <= end or any(a < time_ms + _STEP_MS and time_ms < b for a, b in spans):
            continue
        if state == eyes.ABSENT:
            edges = [edge for span in spans for edge in span]
            found.append(min((abs(edge - time_ms) for edge in edges), default=float("inf")))
            continue
        if shown_ms is None:
            found.append(float("nan"))
            continue
        middle_ms = time_ms + _STEP_MS / 2
        after = int(np.searchsorted(drawn, shown_ms, "right"))
        until_ms = drawn[after] if after < len(drawn) else np.inf
        found.append(max(0.0, shown_ms - middle_ms) + min(0.0, float(until_ms) - middle_ms))
    return found


def _picture_borders(view: eyes.View, capture: Capture, who: str, spans: list[Span]) -> list[float]:
    """How far a gap's ends are from the last picture before it, shown for its time, and from the first one behind."""
    drawn = sorted(ms for run in capture.runs_of(who) for ms in run.drawn_ms)
    follower = dict(pairwise(drawn))
    clocks = view.sights[who].clock_ms
    found = []
    for a, b in spans:
        before = [ms for at, ms in zip(view.times_ms, clocks, strict=True) if at < a and ms is not None]
        after = [(at, ms) for at, ms in zip(view.times_ms, clocks, strict=True) if at >= a and ms is not None]
        if before:
            held = before[-1]
            found.append(a - follower.get(held, held + _STEP_MS))
        back = next((at for at, ms in after if before and ms > before[-1] + 2 * _STEP_MS), None)
        if back is not None:
            found.append(b - back)
    return found


def _beeps_off(capture: Capture, who: str, first_ms: float, samples: ears.Samples, spans: list[Span]) -> list[float]:
    heard = by_beat(capture, [at + first_ms for at in ears.onsets_ms(samples, capture.tone_of(who))])
    raw: dict[int, float] = {}
    for run in [run for run in capture.runs_of(who) if run.has_audio]:
        raw |= by_beat(capture, [_begin_ms(capture, run) + at for at in run_beeps_ms(run)])
    begin, end = _there(capture, who, sound=True)
    # a beep that a gap cuts begins elsewhere
    asked = [beat for beat in raw if begin <= beat <= end and all(beat + 150 < a or b + 50 < beat for a, b in spans)]
    return [heard.get(beat, float("inf")) - raw[beat] for beat in asked]


def _sound_borders(level: np.ndarray[Any, Any], first_ms: float, spans: list[Span]) -> list[float]:
    found = []
    usual = statistics.median(level[level > level.max() / 100])
    # a beep of somebody else is heard at its ends in all tones, for less than 30 ms
    quiet = np.convolve(level < usual / 2, np.ones(61), mode="same") > 30
    for a, b in spans:
        x, y = round(a - first_ms), round(b - first_ms)
        middle = (x + y) // 2
        if not 50 < x < y < len(level) - 50:
            continue
        if not quiet[middle]:
            found.append(float("inf"))
            continue
        silent = np.flatnonzero(~quiet)
        found.append(x - (silent[silent < middle][-1] + 1))
        found.append(y - silent[silent > middle][0])
    return [float(off) for off in found]


def _begin_ms(capture: Capture, run: Run) -> float:
    return run.start_true_ms - capture.true_epoch_ms
