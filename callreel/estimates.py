"""How two clocks run against each other, from what is told of them: a line through probes, a slope of delays. Pure.

Both are grown step by step and asked for what is known so far, so that a placement can be causal and a certificate,
which knows all of it, need not be.
"""

from __future__ import annotations

from math import inf, lgamma, log, pi

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: A crystal's rate is within this of another's, as a rule (1 σ); probes have to show more before it is believed.
CLOCK_SIGMA = 60e-6
#: Sound by USB, on phones and headsets is off by up to 500 ppm.
_WORSE_SIGMA = 300e-6
_RARE = 0.5  #: of devices are so: fewer, but they are what has to be found out
#: Of fewer deliveries no model has anything to say.
_FEWEST = 3
#: Delays of neighbours are alike, and no model is true: each delivery counts for less than one that stands alone.
_TRUST = 0.7
#: Stamps are whole ms: nothing can be told to be narrower.
_ROUNDED_US = 500.0
_IMPLAUSIBLE_US = 250_000
#: Slopes to be weighed: all, and once something is known those around it, in σ. Faster than 0.1 % no device runs.
_EVERY: Floats = np.linspace(-1e-3, 1e-3, 201)
_NEAR: Floats = np.linspace(-6, 6, 61)
#: What lies at the ends of those may be a share of this at most, else all are weighed again.
_OUTSIDE = 1e-3


class ClockLine:
    """The client's offset at an instant, less the first one told: a line through its probes, weighed by their error."""

    def __init__(self, at_us: Floats, offset_us: Floats, err_us: Floats) -> None:
        # a probe is told with every chunk until the next one
        fresh = ~np.isnan(offset_us)
        fresh[1:] &= offset_us[1:] != offset_us[:-1]
        self._index = np.flatnonzero(fresh)
        self.at_us, self.offset_us, self.err_us = at_us[fresh], offset_us[fresh], err_us[fresh]
        self._weight = 1 / (self.err_us / 2 + 500) ** 2

    def __len__(self) -> int:
        return len(self.at_us)

    def at(self, time_us: float, known: int) -> float:
        """By the first `known` deliveries."""
        count = int(np.searchsorted(self._index, known, "left"))
        middle_at, middle, slope, _ = self._line(count)
        return middle + slope * (time_us - middle_at)

    def slope(self) -> tuple[float, float]:
        """By all that is known, and its standard deviation, as if nothing were known of crystals."""
        _, _, slope, spread = self._line(len(self))
        return slope, 1 / float(np.sqrt(spread)) if spread > 0 else _WORSE_SIGMA

    def _line(self, count: int) -> tuple[float, float, float, float]:
        if not count:
            return 0.0, 0.0, 0.0, 0.0
        at, offset, weight = self.at_us[:count], self.offset_us[:count], self._weight[:count]
        # numpy's own average takes twice as long, and of an hour there are thousands
        whole = weight.sum()
        middle_at, middle = float((at * weight).sum() / whole), float((offset * weight).sum() / whole)
        spread = float((weight * (at - middle_at) ** 2).sum())
        slope = float((weight * (at - middle_at) * (offset - middle)).sum()) / (spread + 1 / CLOCK_SIGMA**2)
        return middle_at, middle, slope, spread


class Slope:
    """How much more slowly media runs than the clock by which its deliveries were stamped, by what they were late.

    Delays vary, and nobody knows how: evenly between two bounds, with a sharp lower edge, or around a middle. So all
    three are asked what slope is likely, each free of its own level and width (flat over the level, 1 ÷ width over the
    width, both integrated out), and the better one of them fits, the more it counts. What is likely before anything was
    delivered is a crystal's rate, or, as likely, that of something worse.
    """

    def __init__(self, media_us: Floats, delay_us: Floats, *, crystals: bool = True) -> None:
        """Without `crystals` every rate is as likely as any other before something was delivered."""
        self._x, self._y = media_us, delay_us
        self._crystals = crystals
        self._low, self._high = Hull(), Hull()
        self._known = self._count = 0
        self._sums = np.zeros(5)
        self._around = _EVERY

    def at(self, known: int) -> tuple[float, float]:
        """The slope by the first `known` deliveries, and its standard deviation. To be asked in rising order."""
        for i in range(self._known, known):
            self._add(float(self._x[i]), float(self._y[i]))
        self._known = max(self._known, known)
        if self._count < _FEWEST:
            return 0.0, _WORSE_SIGMA
        found, share = self._weighed(self._around)
        if share > _OUTSIDE:
            found, _ = self._weighed(_EVERY)
        mean, sigma = found
        self._around = mean + max(sigma, 1e-7) * _NEAR
        return found

    def _weighed(self, slopes: Floats) -> tuple[tuple[float, float], float]:
        """Mean and standard deviation of the slope, and how much of what is likely lies at the ends of `slopes`."""
        likely = self._likely(slopes)
        weights = np.exp(likely - likely.max())
        weights /= weights.sum()
        mean = float(weights @ slopes)
        return (mean, float(np.sqrt(weights @ (slopes - mean) ** 2))), float(weights[0] + weights[-1])

    def _likely(self, slopes: Floats) -> Floats:
        n, (x, y, xx, xy, yy) = self._count, self._sums
        lowest, highest = self._low.least(slopes), -self._high.least(-slopes)
        mean = (y - slopes * x) / n
        squares = (yy - y * y / n) - 2 * slopes * (xy - x * y / n) + slopes**2 * (xx - x * x / n)
        models = (
            -(n - 1) * np.log(highest - lowest + _ROUNDED_US) - log(n * (n - 1)),
            lgamma(n - 1) - log(n) - (n - 1) * np.log(n * (mean - lowest + _ROUNDED_US)),
            lgamma((n - 1) / 2)
            - log(4 * n) / 2
            - (n - 1) / 2 * np.log(pi * (np.maximum(squares, 0) + n * _ROUNDED_US**2)),
        )
        found: Floats = np.logaddexp.reduce([_TRUST * model for model in models])
        if not self._crystals:
            return found
        rare = np.exp(-((slopes / _WORSE_SIGMA) ** 2) / 2) / _WORSE_SIGMA
        usual = np.exp(-((slopes / CLOCK_SIGMA) ** 2) / 2) / CLOCK_SIGMA
        return found + np.log((1 - _RARE) * usual + _RARE * rare)

    def _add(self, x: float, y: float) -> None:
        # Delivered long before anything else was: its clock had just been set, and no probe had told yet.
        if self._count and y < self._low.floor - _IMPLAUSIBLE_US:
            return
        if self._count and x <= self._low.last:
            return
        self._low.add(x, y)
        self._high.add(x, -y)
        self._count += 1
        self._sums += (x, y, x * x, x * y, y * y)


class Hull:
    """The lower convex hull of points that come from left to right (Andrew's monotone chain)."""

    def __init__(self) -> None:
        self._points: list[tuple[float, float]] = []
        self.floor = inf  #: the lowest point

    @property
    def last(self) -> float:
        return self._points[-1][0]

    def add(self, x: float, y: float) -> None:
        points = self._points
        self.floor = min(self.floor, y)
        while len(points) >= 2:
            (ax, ay), (bx, by) = points[-2:]
            if (by - ay) * (x - ax) < (y - ay) * (bx - ax):
                break
            points.pop()
        points.append((x, y))

    def least(self, slopes: Floats) -> Floats:
        """For each slope, the level of the line that touches the points from below."""
        x, y = np.array(self._points).T
        found: Floats = (y[None, :] - slopes[:, None] * x[None, :]).min(axis=1)
        return found
