"""Where sound belongs: packets of a window placed without a seam, their stamps freed of jitter. Pure.

Browsers stamp sound with jitter (± 5 ms in Chromium's WebM, 9 ms in its MP4) while its samples are continuous, so
placing each packet by its own stamp would tear them apart. Instead a *level* (stamp minus what was played before) is
estimated from the stamps of the half second before each border of a window; within the window it goes from one to
the other slowly, and jumps only where stamps jump for good, because the browser lost samples there.

A window depends on nothing but packets of its own reach. So a chunk lost elsewhere moves nothing, and two windows
agree about their common border, for both make it of the same packets.
"""

from __future__ import annotations

import numpy as np

from .scans import Ints, Packets

#: The stamps of so much time make a level: 8 packets of 60 ms, 25 of 20 ms; their mean is good to about 1 ms.
REACH_US = 500_000
#: A step of the stamps is a hole when three packets in a row agree on it. Above Chromium's jitter of 9 ms, and small
#: against 20 ms, where two microphones begin to be heard apart.
_STEP_US = 12_000
_AGREE = 3
_BEFORE = 8  #: they are held against the mean of so many before them
#: A level moves by at most 1 ms in a second, if that is enough: a change of pitch of 0.1 %, below what can be heard.
_SLEW_PPM = 1_000


def place_packets(packets: Packets, first: int, end: int, from_us: int, to_us: int) -> Ints:
    """Media time in µs at which each of the packets [first, end) begins, for a window of media time [from, to).

    The packets are those from half a second before the window to a little behind it, as far as there are any.
    """
    pts = packets.pts_us[first:end]
    lengths: Ints = packets.duration_us[first:end].astype(np.int64)
    # AAC's 1024 samples are no whole number of µs; what stamps say of their length to the µs sums up without an error
    steps = np.diff(pts)
    lengths[:-1] = np.where(np.abs(steps - lengths[:-1]) <= 1, steps, lengths[:-1])
    played = np.concatenate(([0], np.cumsum(lengths)[:-1])) if len(pts) else lengths
    leads = pts - played
    pieces = _pieces(leads)
    if len(pieces) == 1:
        start, target = _border(pts, leads, 0, len(pts), from_us), _border(pts, leads, 0, len(pts), to_us)
        begin = start if start is not None else _first(pts, leads)
        way = 0 if target is None else abs(target - begin)
        a, b = np.searchsorted(pts, (from_us, to_us), "left")
        if way <= int(lengths[a:b].sum()) * _SLEW_PPM // 1_000_000:
            return played + _slew(pts, lengths, begin, begin if target is None else target, from_us, to_us)
        # no step that could be told from jitter, and yet the borders are further apart than may be slewed
        pieces = _split(leads)
    levels = np.zeros(len(pts), np.int64)
    for number, (a, b) in enumerate(pieces):
        start = _border(pts, leads, a, b, from_us) if number == 0 else None
        target = _border(pts, leads, a, b, to_us) if number == len(pieces) - 1 else None
        begin = start if start is not None else _first(pts[a:b], leads[a:b])
        levels[a:b] = _slew(pts[a:b], lengths[a:b], begin, begin if target is None else target, from_us, to_us)
    return played + levels


def _first(pts: Ints, leads: Ints) -> int:
    """The level at which a piece begins that nothing comes before: of its own first half second."""
    return _mean(leads[pts <= pts[0] + REACH_US])


def _split(leads: Ints) -> list[tuple[int, int]]:
    """The two pieces that two levels fit best (least squares)."""
    if len(leads) < 2 * _AGREE:
        return [(0, len(leads))]
    # for two means the squares left over are least where n₁·m₁² + n₂·m₂² is largest
    sums = np.cumsum(leads - leads[0]).astype(np.float64)
    left = np.arange(_AGREE, len(leads) - _AGREE + 1)
    gains = sums[left - 1] ** 2 / left + (sums[-1] - sums[left - 1]) ** 2 / (len(leads) - left)
    best = int(left[int(gains.argmax())])
    return [(0, best), (best, len(leads))]


def _pieces(leads: Ints) -> list[tuple[int, int]]:
    """Packets [a, b) between steps of the stamps that stay."""
    found, a = list[tuple[int, int]](), 0
    # what is nowhere a step apart has none; as a rule that is so
    if len(leads) > _AGREE and int(leads.max()) - int(leads.min()) > _STEP_US:
        # all packets at once, for of an hour there are some hundred thousand
        sums = np.concatenate(([0], np.cumsum(leads)))
        ahead = np.lib.stride_tricks.sliding_window_view(leads, _AGREE)
        least, most = ahead.min(axis=1), ahead.max(axis=1)
        while True:
            i = np.arange(a + 1, len(ahead))
            since = np.maximum(a, i - _BEFORE)
            means = (sums[i] - sums[since]) // (i - since)  # floored, as `_mean` is
            steps = np.flatnonzero((least[i] - means > _STEP_US) | (most[i] - means < -_STEP_US))
            if not len(steps):
                break
            found.append((a, int(i[steps[0]])))
            a = found[-1][1]
    found.append((a, len(leads)))
    return found


def _border(pts: Ints, leads: Ints, a: int, b: int, at_us: int) -> int | None:
    """The level at a border, of the stamps of the half second before it; None where there are none of this piece."""
    first, end = (int(index) for index in np.searchsorted(pts, (at_us - REACH_US, at_us), "right"))
    near = leads[max(a, first) : min(b, end)]
    if not len(near):
        return None
    # steps are looked for anew among these few, for the window on the other side knows no others
    last = _pieces(near)[-1]
    return _mean(near[last[0] : last[1]])


def _slew(pts: Ints, lengths: Ints, begin: int, target: int, from_us: int, to_us: int) -> Ints:
    """Levels from one border to the next: moved at once and slowly, then kept; outside of the window they stand."""
    inside = (pts >= from_us) & (pts < to_us)
    steps = np.where(inside, lengths * _SLEW_PPM // 1_000_000, 0)
    moved = np.concatenate(([0], np.cumsum(steps)[:-1]))
    way = abs(target - begin)
    reached = int(moved[-1] + steps[-1])
    if way > reached > 0:  # too far for the time there is: as much faster as it takes
        moved = moved * way // reached
    levels = begin + np.sign(target - begin) * np.minimum(moved, way)
    return np.where(pts >= to_us, target, levels)


def _mean(values: Ints) -> int:
    # floored, so that values that are all moved by a whole number have a mean moved by just that
    return int(values.sum() // len(values))
