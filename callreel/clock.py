"""All arithmetic of time. Integers only; the unit stands in every name.

Three axes: the *client's* clock (ms, any epoch), the *server's* clock (ms since 1970), and *recording time*
(µs since `start`, paused spans cut out). Media time is µs since a segment's `MediaRecorder.start()` call: Chromium's
first timestamps are that instant to within 4 to 25 ms, while its `start` event comes 60 to 180 ms late.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .model import Recording

US_PER_MS = 1000
US_PER_S = 1_000_000


TRUSTED = {
    "probe": "the client's `start`, and its own first probe of the server's clock",
    "neighbour": "its `start`, and a probe that another segment of the same client told",
    "received": "its `start`, and how soon its quickest upload was received",
    "media": "not its `start`: when its media was delivered, or received, less the media itself",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """Where a segment's media zero lies on the server's clock, and how far that may be off."""

    zero_ms: int
    err_ms: int
    trusted: str  #: whose word it is: a key of `TRUSTED`


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """An uninterrupted stretch of recording, on the server's clock and in recording time."""

    from_ms: int
    to_ms: int
    at_us: int  #: recording time of `from_ms`

    @property
    def end_us(self) -> int:
        return self.at_us + (self.to_ms - self.from_ms) * US_PER_MS


def spans(recording: Recording, until_ms: int) -> list[Span]:
    """What of [start, until) belongs to the recording: the stretches between the pauses."""
    found: list[Span] = []
    from_ms, at_us = recording.started_ms, 0
    for paused_ms, resumed_ms in (*recording.pauses, (until_ms, None)):
        to_ms = min(paused_ms, until_ms)
        if to_ms > from_ms:
            found.append(Span(from_ms=from_ms, to_ms=to_ms, at_us=at_us))
            at_us += (to_ms - from_ms) * US_PER_MS
        if resumed_ms is None or resumed_ms >= until_ms:
            break
        from_ms = resumed_ms
    return found


def film_us(at_us: int, started_ms: int, stretches: Sequence[Span]) -> int:
    """Recording time of an instant of the server's clock in µs since start; one in a pause is where it was cut."""
    for span in stretches:
        from_us = (span.from_ms - started_ms) * US_PER_MS
        if at_us < from_us + span.end_us - span.at_us:
            return span.at_us + max(0, at_us - from_us)
    return stretches[-1].end_us if stretches else 0


def instant_ms(at_us: int, stretches: Sequence[Span]) -> int:
    """The server's instant of a moment of recording time; where a pause was cut out, the one behind it."""
    span = next(span for span in reversed(stretches) if span.at_us <= at_us)
    return span.from_ms + (at_us - span.at_us) // US_PER_MS


def pictures(duration_us: int, fps: int) -> int:
    """Whole pictures of a film of this length, rounded to the nearest."""
    return (duration_us * fps + US_PER_S // 2) // US_PER_S


def picture_at(time_us: int, fps: int) -> int:
    """The number of the picture shown nearest to an instant; negative instants have negative numbers."""
    return (time_us * fps + US_PER_S // 2) // US_PER_S


def picture_us(number: int, fps: int) -> int:
    """The instant of a picture, rounded down to µs."""
    return number * US_PER_S // fps


def samples(time_us: int, rate_hz: int) -> int:
    """The nearest sample to an instant."""
    return (time_us * rate_hz + US_PER_S // 2) // US_PER_S


def all_samples(times_us: NDArray[np.int64], rate_hz: int) -> NDArray[np.int64]:
    """The same for many instants at once."""
    return (times_us * rate_hz + US_PER_S // 2) // US_PER_S
