"""What a finished film shows, held against what the call was.

The truth: at each whole second of the true clock every participant's picture flashes white and every microphone
beeps for 100 ms in the participant's own tone. What is asked of a film: who is seen and heard in which second, and
how far flashes and beeps are from the truth, beyond what the capture itself is off (its floor).
"""

from __future__ import annotations

import io
import statistics
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

import av

from . import ears, eyes
from .capture import Capture, Run

_BEAT_REACH_MS = 200  #: a flash or beep further from its second is another thing; twice the worst single one captured
_EDGE_MS = 200  #: seconds closer than this to a join or leave are not asked for: media begins up to 86 ms after start()
_BEEP_MS = 100
OPENING_MS = 200
_SEEN_SHARE = 0.9  #: of the pictures of a second; a recorder under load holds a picture back for 86 ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """One participant in one film."""

    participant: str
    seen: tuple[int, int]  #: seconds in which the participant was found in the picture, of those there to be found
    heard: tuple[int, int]
    seen_absent: list[int]  #: film seconds of pictures that should not be
    heard_absent: list[int]
    flash_ms: float  #: median distance of the flashes from the truth, late is positive
    beep_ms: float
    flash_added_ms: float  #: the same beyond the capture's floor: the composition's own error
    beep_added_ms: float
    av_ms: float  #: beeps after flashes, median of the differences

    def __str__(self) -> str:
        return (
            f"{self.participant:>8}: seen {self.seen[0]}/{self.seen[1]} heard {self.heard[0]}/{self.heard[1]}"
            f" wrongly seen {self.seen_absent} wrongly heard {self.heard_absent}"
            f" flash {self.flash_ms:+.1f} (added {self.flash_added_ms:+.1f})"
            f" beep {self.beep_ms:+.1f} (added {self.beep_added_ms:+.1f}) A/V {self.av_ms:+.1f} ms"
        )


def examine(film: Path, capture: Capture, *, clocks: bool = False) -> tuple[dict[str, Findings], eyes.View]:
    """Look at and listen to a film whose time zero is the capture's."""
    names = capture.participants
    view = eyes.watch(film, {name: capture.rgb_of(name) for name in names}, clocks=clocks)
    first_ms, samples = ears.decode_placed(film)
    found = {}
    for name in names:
        beeps = [at + first_ms for at in ears.onsets_ms(samples, capture.tone_of(name))]
        found[name] = _findings(capture, name, view, view.flashes_ms(name), beeps)
    return found, view


def _findings(capture: Capture, name: str, view: eyes.View, flashes: list[float], beeps: list[float]) -> Findings:
    seen, seen_absent = _seen(capture, name, view)
    heard, heard_absent = _heard(capture, name, beeps)
    floor = capture.floor_ms[name]
    flash_by, beep_by = by_beat(capture, flashes), by_beat(capture, beeps)
    both = [beep_by[beat] - flash_by[beat] for beat in flash_by if beat in beep_by]
    flash_ms, beep_ms = median(list(flash_by.values())), median(list(beep_by.values()))
    return Findings(
        participant=name,
        seen=seen,
        heard=heard,
        seen_absent=seen_absent,
        heard_absent=heard_absent,
        flash_ms=flash_ms,
        beep_ms=beep_ms,
        flash_added_ms=flash_ms - floor["flash"],
        beep_added_ms=beep_ms - floor["beep"],
        av_ms=median(both),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """What a film adds to its raw material, beat by beat: medians of late minus late of the same beat."""

    flash_ms: float
    beep_ms: float


def added_by_beat(capture: Capture, name: str, view: eyes.View, film: Path) -> Added:
    """The composition's own error of one participant, free of which beats happened to be there.

    A floor is a median over all beats; of somebody who was there for four it may be 15 ms from each of them.
    """
    first_ms, samples = ears.decode_placed(film)
    beeps = [at + first_ms for at in ears.onsets_ms(samples, capture.tone_of(name))]
    shown = {"flash": by_beat(capture, view.flashes_ms(name)), "beep": by_beat(capture, beeps)}
    raw: dict[str, dict[int, float]] = {"flash": {}, "beep": {}}
    for run in capture.runs_of(name):
        begin_ms = run.start_true_ms - capture.true_epoch_ms
        if run.has_video:
            raw["flash"] |= by_beat(capture, [begin_ms + at for at in run_flashes_ms(run)])
        if run.has_audio:
            raw["beep"] |= by_beat(capture, [begin_ms + at for at in run_beeps_ms(run)])
    added = {
        what: median([late - raw[what][beat] for beat, late in shown[what].items() if beat in raw[what]])
        for what in shown
    }
    return Added(flash_ms=added["flash"], beep_ms=added["beep"])


def by_beat(capture: Capture, onsets: list[float]) -> dict[int, float]:
    """Beat → how late its onset is; onsets that belong to no beat are left out."""
    found: dict[int, float] = {}
    for onset in onsets:
        beat = min(capture.beats_ms, key=lambda at: abs(onset - at))
        if abs(onset - beat) <= _BEAT_REACH_MS and abs(onset - beat) < abs(found.get(beat, _BEAT_REACH_MS + 1)):
            found[beat] = onset - beat
    return found


def median(values: list[float]) -> float:
    """`nan` of nothing: it fails every comparison."""
    return statistics.median(values) if values else float("nan")


def _seen(capture: Capture, name: str, view: eyes.View) -> tuple[tuple[int, int], list[int]]:
    spans = capture.presence(name, sound=False)
    visible = view.sights[name].visible()
    there = good = 0
    wrong = []
    for second in range(capture.length_ms // 1000):
        a, b = second * 1000, second * 1000 + 1000
        of_second = [v for v, t in zip(visible, view.times_ms, strict=True) if a <= t < b]
        if any(begin <= a and b <= end for begin, end in spans):
            there += 1
            good += bool(of_second) and sum(of_second) >= _SEEN_SHARE * len(of_second)
        elif all(b + _EDGE_MS < begin or end + _EDGE_MS < a for begin, end in spans) and any(of_second):
            wrong.append(second)
    return (good, there), wrong


def _heard(capture: Capture, name: str, beeps: list[float]) -> tuple[tuple[int, int], list[int]]:
    spans = capture.presence(name, sound=True)
    on_beat = by_beat(capture, beeps)
    there = good = 0
    for beat in capture.beats_ms:
        if any(begin + _EDGE_MS / 2 <= beat and beat + _BEEP_MS + _EDGE_MS / 2 <= end for begin, end in spans):
            there += 1
            good += beat in on_beat
    wrong = [int(t // 1000) for t in beeps if all(t + _BEEP_MS < a or b + _EDGE_MS < t for a, b in spans)]
    return (good, there), wrong


def clock_errors_ms(view: eyes.View, capture: Capture, name: str, fps: int) -> tuple[list[float], int]:
    """How wrong the picture shown at each instant was, and in how many the drawn clock could not be read.

    0 where the picture shown is the one that was before the camera in the middle of its display; else the distance
    to when it was: positive for a picture of the future, negative for one that is out of date.
    """
    drawn = sorted(ms for run in capture.runs_of(name) for ms in run.drawn_ms)
    ends = [run.drawn_ms[-1] for run in capture.runs_of(name) if run.drawn_ms]
    errors, unread = [], 0
    sight = view.sights[name]
    for time_ms, state, shown_ms in zip(view.times_ms, sight.state, sight.clock_ms, strict=True):
        if state == eyes.ABSENT:
            continue
        if time_ms < OPENING_MS and shown_ms == drawn[0]:
            continue  # a film opens with the first picture of everybody who comes within its first moments
        if shown_ms is None:
            unread += 1
            continue
        middle_ms = time_ms + 500 / fps
        after = bisect_right(drawn, shown_ms)
        until = float("inf") if shown_ms in ends or after == len(drawn) else drawn[after]
        errors.append(max(0.0, shown_ms - middle_ms) + min(0.0, until - middle_ms))
    return errors, unread


# ── the captures' own errors ─────────────────────────────────────────────────────────────────────────────────────────
def measure_floor(capture: Capture) -> dict[str, dict[str, float]]:
    """Flash and beep of the raw segments against the truth: per segment the lower median, of several their mean."""
    found: dict[str, dict[str, float]] = {}
    for name in capture.participants:
        runs = capture.runs_of(name)
        flash = [_off(capture, run, run_flashes_ms(run)) for run in runs if run.has_video]
        beep = [_off(capture, run, run_beeps_ms(run)) for run in runs if run.has_audio]
        found[name] = {"flash": statistics.fmean(flash), "beep": statistics.fmean(beep)}
    return found


def _off(capture: Capture, run: Run, onsets: list[float]) -> float:
    begin_ms = run.start_true_ms - capture.true_epoch_ms
    off = by_beat(capture, [begin_ms + onset for onset in onsets])
    return statistics.median_low(off.values()) if off else float("nan")


def run_flashes_ms(run: Run) -> list[float]:
    """When a segment's pictures turn white, media time."""
    found: list[float] = []
    before: bool | None = None
    with av.open(io.BytesIO(run.data), "r") as file:
        for frame in file.decode(video=0):
            if frame.pts is None or frame.time_base is None:
                continue
            white = float(frame.reformat(width=32, height=32, format="gray").to_ndarray().mean()) > 128
            if white and before is False:
                found.append(float(frame.pts * frame.time_base * 1000))
            before = white
    return found


def run_beeps_ms(run: Run) -> list[float]:
    """When a segment's beeps begin, media time."""
    first_ms, samples = ears.decode_placed(run.data)
    assert run.tone_hz is not None
    return [first_ms + at for at in ears.onsets_ms(samples, run.tone_hz)]
