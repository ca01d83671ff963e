"""How a segment's media runs against the server's clock: from what its chunks say of their delivery. Pure and causal.

Two clocks run beside the server's: the client's, whose offset is probed every some seconds, and the one that paces the
media, a sound card's for example. Of the first every chunk tells what is believed (`offset` ± `err`); of the second it
tells when its media was delivered (`at`). A delivery is only ever late, so the truth is the lower edge of all delays:
were they exponential, the likeliest line would be that edge of their lower convex hull which lies over their mean.

The placement is corrected at knots every 8 s of media time, from what was delivered before that knot alone. So a
window's place never moves when more comes. It follows in steps of 1 ms, and only what is off by 2 ms: without drift it
stands still, and a chunk that is lost or late moves nothing but itself.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from .clock import US_PER_MS
from .estimates import ClockLine, Floats, Slope
from .model import Segment
from .placement import Line, bent
from .scans import RunScan, media_ends
from .straight import Pause

KNOT_US = 8_000_000
#: What is off by less stands; far below the 20 ms at which two voices of one mouth come apart.
_STILL_US = 2_000
#: Corrections are made in these steps, so that estimates that differ by a hair give the same placement.
_GRID_US = 1_000
#: At most so much from knot to knot: 0.2 % of pitch, a thirtieth of a semitone; ears need twice that.
_MOST_US = 16_000
#: What is believed of media's rate stands until the likeliest is so many σ away, so that a chunk less moves nothing.
_MOVED = 0.25
#: Media that stands still while the clock runs: a paused recorder, or a machine that slept. Less of it slews away.
#: Browsers under load deliver up to a second late; what is taken for a step must be more than that.
_STEP_US = 1_000_000
_AROUND = 5  #: deliveries on each side that must agree on it
#: Backwards only stamps that are wrong lead: media cannot be delivered before it was recorded.
_BACK_US = 10_000_000
#: Beliefs of a client that differ by more than their errors and this: its clock was set.
_SET_US = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliveries:
    """When the media of a segment's chunks was handed over, in µs since `start`; arrays of one length."""

    media_us: Floats  #: media time at the chunk's end
    at_us: Floats  #: on the client's clock
    received_us: Floats  #: on the server's, from any zero
    offset_us: Floats  #: what the client believed, less the first belief; nan where it told none
    err_us: Floats

    def __len__(self) -> int:
        return len(self.media_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """From this media time on, this line leads to µs since media zero on the server's clock."""

    from_us: int
    line: Line


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A segment's placement against its anchor; `sync` tells how good it is."""

    pieces: tuple[Piece, ...]
    rate_ppm: int = 0  #: how much more slowly its media runs than the server's clock

    def placed_us(self, media_us: int) -> int:
        """µs since media zero on the server's clock."""
        number = bisect_right([piece.from_us for piece in self.pieces], media_us) - 1
        return self.pieces[max(number, 0)].line.placed_us(media_us)

    def pieces_of(self, from_us: int, to_us: int) -> list[tuple[int, int, Line]]:
        """The pieces that a stretch of media time lies on: (from, to, line)."""
        ends = [piece.from_us for piece in self.pieces[1:]]
        borders = zip([from_us, *ends], [*ends, to_us], self.pieces, strict=True)
        return [
            (max(a, from_us), min(b, to_us), piece.line) for a, b, piece in borders if max(a, from_us) < min(b, to_us)
        ]


def measure(segment: Segment, runs: Sequence[RunScan], pauses: Sequence[Pause] = ()) -> Drift:
    """The placement of a segment's media, from media zero on; its pauses are in none of its chunks' instants."""
    told, delay_us, jumps = observed(segment, runs, pauses)
    corrections = _corrections(told, delay_us, _reach_us(segment, runs))
    line = bent([(number * KNOT_US, number * KNOT_US + by_us) for number, by_us in enumerate(corrections)])
    pieces, by_us = [], 0
    for from_us, jump_us in ((0, 0), *jumps):
        by_us += jump_us
        pieces.append(Piece(from_us=from_us, line=line.moved(by_us)))
    span_us = (len(corrections) - 1) * KNOT_US
    rate_ppm = round(corrections[-1] / span_us * 1e6) if span_us else 0
    return Drift(pieces=tuple(pieces), rate_ppm=rate_ppm)


def observed(
    segment: Segment, runs: Sequence[RunScan], pauses: Sequence[Pause] = ()
) -> tuple[Deliveries, Floats, list[tuple[int, int]]]:
    """What the chunks tell on one clock, by how much later than media time each was delivered, and where media stood
    (media time in µs, by how many µs), of which the delays are freed."""
    told = _without_set_clocks(deliveries(segment, runs))
    stood = _steps(told)
    delay_us = told.at_us - told.media_us
    for media_us, jump_us in stood:
        delay_us = np.where(told.media_us > media_us, delay_us - jump_us, delay_us)
    return told, delay_us, sorted([*stood, *_told_jumps(told, delay_us, pauses)])


def deliveries(segment: Segment, runs: Sequence[RunScan]) -> Deliveries:
    """What the chunks tell; without the last one of the segment, whose delivery differs (it comes with the stop)."""
    told = media_ends(runs) | dict(segment.dropped_ends)
    rows, first = [], None
    for chunk in segment.came[:-1]:
        if chunk.at_ms is None or chunk.seq not in told:
            continue
        first = chunk.offset_ms if first is None else first
        offset_us = np.nan if chunk.offset_ms is None or first is None else (chunk.offset_ms - first) * US_PER_MS
        at_us = (chunk.at_ms - chunk.start_ms) * US_PER_MS
        received_us = (chunk.received_ms - segment.came[0].received_ms) * US_PER_MS
        rows.append((told[chunk.seq], at_us, received_us, offset_us, (chunk.err_ms or 0) * US_PER_MS))
    media, at, received, offset, err = np.array(rows, np.float64).reshape(-1, 5).T
    if len(rows) and np.isnan(offset).all():  # nobody knows how its clock runs: what it says of time is ours
        at = received + at[0] - received[0]
    return Deliveries(media_us=media, at_us=at, received_us=received, offset_us=offset, err_us=err)


def _without_set_clocks(told: Deliveries) -> Deliveries:
    """The same on one clock: where a belief jumps, `at` jumped by as much the other way."""
    at, offset, err = told.at_us.copy(), told.offset_us.copy(), told.err_us
    known = np.flatnonzero(~np.isnan(offset))
    for before, here in pairwise(known.tolist()):
        jump_us = offset[here] - offset[before]
        if abs(jump_us) > 3 * (err[here] + err[before]) + _SET_US:
            offset[here:] -= jump_us
            at[here:] += jump_us
    return replace(told, at_us=at, offset_us=offset)


def _steps(told: Deliveries) -> list[tuple[int, int]]:
    """(media time, µs) from which on media is that much later, or earlier, for good.

    The server's clock must have seen the same: a client's clock that was set moves `at` alone.
    """
    found: list[tuple[int, int]] = []
    if len(told) < 2 * _AROUND:
        return found
    probed = not np.isnan(told.offset_us).all()
    by_client = _jumps(told.at_us - told.media_us, probed)
    by_server = _jumps(told.received_us - told.media_us, probed)
    agree = np.abs(by_client - by_server) < np.maximum(_STEP_US, np.abs(by_client) / 2)
    last = 0
    for i in (np.flatnonzero((by_client != 0) & (by_server != 0) & agree) + _AROUND).tolist():
        if i - last >= _AROUND:
            found.append((round(told.media_us[i - 1]), round(by_client[i - _AROUND])))
            last = i
    return found


def _told_jumps(told: Deliveries, delay_us: Floats, pauses: Sequence[Pause]) -> list[tuple[int, int]]:
    """Pauses as steps: media time may run slower or faster than the clock on which they are told."""
    slope, found = Slope(told.media_us, delay_us), []
    for pause in pauses:
        rate, _ = slope.at(int(np.searchsorted(told.media_us, pause.at_us, "right")))
        found.append((round(pause.at_us / (1 + rate)), pause.length_us))
    return found


def _jumps(delay: Floats, probed: bool) -> Floats:
    """By how much the lower edge of delays moved, if they moved for good, else 0; of each place that has `_AROUND`
    deliveries on both sides, from the first such place on."""
    around = np.lib.stride_tricks.sliding_window_view(delay, _AROUND)
    least, most = around.min(axis=1), around.max(axis=1)
    before_least, before_most = least[:-_AROUND], most[:-_AROUND]
    if probed:
        after_least, after_most = least[_AROUND:], most[_AROUND:]
    else:  # where there is but one clock, what comes late after an outage must not look like it
        back = delay[::-1]
        count = len(before_least)
        after_least = np.minimum.accumulate(back)[::-1][_AROUND : _AROUND + count]
        after_most = np.maximum.accumulate(back)[::-1][_AROUND : _AROUND + count]
    way = after_least - before_least
    later = way > np.maximum(_STEP_US, 3 * (before_most - before_least))
    found: Floats = np.where(later | (after_most < before_least - _BACK_US), way, 0.0)
    return found


def _reach_us(segment: Segment, runs: Sequence[RunScan]) -> int:
    """Media time up to which the segment is here: with the last chunk, of which the delivery is left out."""
    ends = media_ends(runs) | dict(segment.dropped_ends)
    return max((ends[chunk.seq] for chunk in segment.came if chunk.seq in ends), default=0)


def _corrections(told: Deliveries, delay_us: Floats, reach_us: int) -> list[int]:
    """What is added to media time at every knot, up to the one behind all media that is here.

    As far as that, and not only as far as deliveries are told: or a window that ends at a knot would hear its last
    100 ms elsewhere as soon as the next chunk comes.
    """
    count = -(-reach_us // KNOT_US) if len(told) else 0
    clock, slope = ClockLine(told.at_us, told.offset_us, told.err_us), Slope(told.media_us, delay_us)
    found, believed = [0], 0.0
    for number in range(count):
        known = int(np.searchsorted(told.media_us, number * KNOT_US, "right"))
        here_us, next_us = found[-1], (number + 1) * KNOT_US
        likely, sigma = slope.at(known)
        if abs(likely - believed) > _MOVED * sigma:
            believed = likely
        away_us = clock.at(next_us, known) + believed * next_us - here_us
        if abs(away_us) >= _STILL_US:
            step_us = round(away_us / _GRID_US) * _GRID_US
            here_us += max(-_MOST_US, min(_MOST_US, step_us))
        found.append(here_us)
    return found
