"""The cadence score of a recording, as LiveKit's egress computes it of its own test recordings: 0 to 100.

After `test/cadence/stats.go` and `observation.go` of github.com/livekit/egress (Apache-2.0), reimplemented from what
they compute: from one flash and one beep a second, per participant, of the finished film. Events are put into seconds
around the median of their fractions; the film is stable from the first of three seconds in a row in which every event
is within 50 ms of its stream's own median; what counts is everything from there on.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from . import ears, eyes
from .capture import Capture

Events = Mapping[str, Sequence[float]]  #: participant → instants, ms

_SECOND_MS = 1000.0
_STABLE_MS = 50.0
_IN_A_ROW = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """What the score is made of, ms; `score` is 0 where nothing is stable."""

    score: float
    stable_after_ms: float
    beep_jitter_ms: float
    flash_jitter_ms: float
    av_ms: float  #: median flash less median beep
    av_deviation_ms: float
    av_worst_ms: float


def of_film(capture: Capture, view: eyes.View, first_ms: float, samples: ears.Samples) -> Cadence:
    """Of a film that was looked at and listened to."""
    return cadence(
        {name: [at + first_ms for at in ears.onsets_ms(samples, capture.tone_of(name))] for name in view.sights},
        {name: view.flashes_ms(name) for name in view.sights},
    )


def cadence(beeps: Events, flashes: Events) -> Cadence:
    """The score of these events."""
    everything = sorted(at % _SECOND_MS for events in (*beeps.values(), *flashes.values()) for at in events)
    nothing = Cadence(
        score=0, stable_after_ms=0, beep_jitter_ms=0, flash_jitter_ms=0, av_ms=0, av_deviation_ms=0, av_worst_ms=0
    )
    if not any(beeps.values()) or not any(flashes.values()):
        return nothing
    middle_ms = everything[len(everything) // 2]
    seconds: dict[int, tuple[list[float], list[float]]] = {}
    steady: dict[int, bool] = {}
    first: dict[int, float] = {}
    for kind, streams in enumerate((beeps, flashes)):
        for events in streams.values():
            own_ms = statistics.median([at % _SECOND_MS for at in events] or [0.0])
            for at in events:
                second = int((at - middle_ms + _SECOND_MS / 2) // _SECOND_MS)
                seconds.setdefault(second, ([], []))[kind].append(at - second * _SECOND_MS - middle_ms)
                steady[second] = steady.get(second, True) and abs(_around(at - own_ms)) <= _STABLE_MS
                first[second] = min(first.get(second, at), at)
    begin = _stable(steady)
    if begin is None:
        return nothing
    kept = [seconds[second] for second in sorted(seconds) if second >= begin]
    heard = [off for of_second, _ in kept for off in of_second]
    seen = [off for _, of_second in kept for off in of_second]
    apart = [statistics.median(b) - statistics.median(a) for a, b in kept if a and b]
    found = Cadence(
        score=0,
        stable_after_ms=first[begin],
        beep_jitter_ms=_deviation(heard),
        flash_jitter_ms=_deviation(seen),
        av_ms=statistics.median(seen) - statistics.median(heard) if seen and heard else 0.0,
        av_deviation_ms=_deviation(apart),
        av_worst_ms=max(map(abs, apart), default=0.0),
    )
    lost = (
        20 * _share(found.av_deviation_ms, 10, 50)
        + 20 * _share(abs(found.av_ms), 50, 300)
        + 20 * _share(found.beep_jitter_ms, 5, 50)
        + 20 * _share(found.flash_jitter_ms, 5, 50)
        + 10 * _share(found.av_worst_ms, 100, 500)
        + 10 * _share(found.stable_after_ms / 1000, 1, 10)
    )
    return Cadence(**{name: getattr(found, name) for name in Cadence.__slots__} | {"score": round(100 - lost, 1)})


def _stable(steady: Mapping[int, bool]) -> int | None:
    """The first of so many steady seconds in a row, of those in which anything was."""
    row: list[int] = []
    for second in sorted(steady):
        row = [*row, second] if steady[second] else []
        if len(row) == _IN_A_ROW:
            return row[0]
    return None


def _around(way_ms: float) -> float:
    """A distance on a circle of a second."""
    return (way_ms + _SECOND_MS / 2) % _SECOND_MS - _SECOND_MS / 2


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _share(value: float, good: float, bad: float) -> float:
    return min(1.0, max(0.0, (value - good) / (bad - good)))
