"""Where media lies: a straight or bent line from media time to another axis, both in µs. Pure.

Between its knots a line runs straight, outside of them as fast as media itself; so a line of one knot only shifts.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .scans import Ints


@dataclass(frozen=True)
class Line:
    """A continuous, rising function of media time. Compared and hashed by its knots."""

    knots: tuple[tuple[int, int], ...]  #: (media µs, placed µs), at least one, both rising

    def placed_us(self, media_us: int) -> int:
        media, placed = self._lists
        return _along_one(media, placed, media_us)

    def media_us(self, placed_us: int) -> int:
        """The media time that lies at an instant, to the µs."""
        media, placed = self._lists
        return _along_one(placed, media, placed_us)

    def place(self, media_us: Ints) -> Ints:
        """The same for many media times at once."""
        media, placed = self._columns
        return _along(media, placed, media_us)

    def moved(self, by_us: int) -> Line:
        return Line(tuple((media, placed + by_us) for media, placed in self.knots))

    def gain_ppm(self, from_us: int, to_us: int) -> int:
        """How much faster than media time the line runs between two media times."""
        way_us = self.placed_us(to_us) - self.placed_us(from_us) - (to_us - from_us)
        return way_us * 1_000_000 // (to_us - from_us) if to_us > from_us else 0

    @cached_property
    def _columns(self) -> tuple[Ints, Ints]:
        table = np.array(self.knots, np.int64)
        return table[:, 0], table[:, 1]

    @cached_property
    def _lists(self) -> tuple[list[int], list[int]]:
        return [media for media, _ in self.knots], [placed for _, placed in self.knots]


def bent(knots: Sequence[tuple[int, int]]) -> Line:
    """A line through these knots, of which only those are kept that bend it."""
    kept = [knots[0]]
    for number in range(1, len(knots)):
        here = knots[number]
        before = here[0] - knots[number - 1][0], here[1] - knots[number - 1][1]
        after = (knots[number + 1][0] - here[0], knots[number + 1][1] - here[1]) if number + 1 < len(knots) else (1, 1)
        if before[0] * after[1] != before[1] * after[0]:
            kept.append(here)
    return Line(tuple(kept))


def _along_one(x: list[int], y: list[int], at: int) -> int:
    """`_along` of one value: planning asks for some ten thousand, and numpy takes ten times as long for each."""
    if at < x[0]:
        return at - x[0] + y[0]
    if at >= x[-1]:
        return at - x[-1] + y[-1]
    index = bisect_right(x, at) - 1
    step = x[index + 1] - x[index]
    gain = y[index + 1] - y[index] - step
    return y[index] + at - x[index] + ((at - x[index]) * gain + step // 2) // step


def _along(x: Ints, y: Ints, at: Ints) -> Ints:
    """Values at `at` between knots, rounded; beyond the outer knots with the slope 1. Integers, for µs since 1970 have
    no room in a float beside their fractions."""
    index = np.clip(np.searchsorted(x, at, "right") - 1, 0, max(len(x) - 2, 0))
    beyond = (at < x[0]) | (at >= x[-1])
    outer: Ints = np.where(at < x[0], at - x[0] + y[0], at - x[-1] + y[-1])
    if len(x) < 2:
        return outer
    step = x[index + 1] - x[index]
    gain = y[index + 1] - y[index] - step  # small, so that its product with hours of µs has room
    inner = y[index] + at - x[index] + ((at - x[index]) * gain + step // 2) // step
    found: Ints = np.where(beyond, outer, inner)
    return found
