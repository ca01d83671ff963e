"""How loud each voice is heard in each window: evened to −16 LUFS, and causal. Pure.

The gain of a window comes from what was heard before it. Loudness is measured as in ITU-R BS.1770-4 (blocks of 400 ms
every 100 ms, a gate 10 LU below their mean), over the last minute in which there was a voice at all: silence, and
a noise that stands still, move no gain.

A chunk that comes late shall change the windows that play it, and no other. So gains are whole dB and keep a value
until the measure is 0.7 dB away: two seconds more or less in sixty rarely move any. Every 16 windows the value is
taken afresh, so that no window depends on what lies further back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from .levels import STEP_US
from .voices import FLOOR_STEPS, Floats, Place, Voice, lufs, voiced

TARGET_LUFS = -16.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Range:
    """By what a sound may be moved, in dB."""

    least: int
    most: int
    step: int
    hold: float  #: a gain is kept until the measure is further away than this


#: Each voice. Louder than that would be its room.
_VOICE = _Range(least=-12, most=18, step=1, hold=0.7)
#: All of them together, for those who speak at once add up. Coarser, for a late chunk of anybody is in it.
_MIX = _Range(least=-12, most=0, step=2, hold=1.3)
_STEP_DB = 3  #: at most this much from one window to the next

_BLOCK = 4  #: steps of 100 ms
_GATE_LU = 10
_LOOK_BACK = 600  #: blocks with a voice
_FEWEST = 5  #: blocks with a voice; fewer tell nothing
_AFRESH = 16  #: windows

#: From one window's gain to the next: behind what the window before mixes too, and slowly.
_RAMP_BEHIND_US, _RAMP_US = 100_000, 1_000_000
#: Who is heard for the first time comes in at once.
_FIRST_RAMP_US = 100_000

Gain = int | None  #: 0.01 dB; None before the voice is first heard, which then passes as it is
Gains = Mapping[Place, Sequence[Gain]]  #: one for each window


def plan_gains(voices: Mapping[Place, Voice], borders_us: Sequence[int]) -> Gains:
    """The gain of every voice in every window; windows lie between neighbouring borders."""
    steps = [border_us // STEP_US for border_us in borders_us]
    spans = list(pairwise(steps))
    evened = {place: _follow(voice.power, spans, _VOICE) for place, voice in voices.items()}
    mixed = np.zeros(steps[-1])
    for place, voice in voices.items():
        if (known := _known(voice.power[: len(mixed)])) is not None:
            factors = [10 ** ((gain or 0) / 1000) for gain in evened[place]]
            mixed[known] += np.nan_to_num(voice.power[known]) * np.repeat(factors, np.diff(steps))[known]
    together = _follow(mixed, spans, _MIX)
    return {place: _stepped(own, together) for place, own in evened.items()}


def _known(power: Floats) -> slice | None:
    """From the first step of which something is known to the last; a segment is a small part of a long call."""
    there = np.flatnonzero(~np.isnan(power))
    return slice(int(there[0]), int(there[-1]) + 1) if len(there) else None


def ramp(gains: Sequence[Gain], k: int, from_us: int, to_us: int, lead_in_us: int) -> list[tuple[int, int]]:
    """Gain over time in window k and `lead_in_us` before it: (µs, 0.01 dB), straight between, kept outside.

    It has come to its end `lead_in_us` before the window ends, where the next one begins to mix.
    """
    now = gains[k]
    before = gains[k - 1] if k else now
    if (before or 0) == (now or 0):
        return [(from_us, now or 0)]
    begin_us = from_us + _RAMP_BEHIND_US
    length_us = _FIRST_RAMP_US if before is None else _RAMP_US
    end_us = max(begin_us + 1, min(begin_us + length_us, to_us - lead_in_us))
    return [(begin_us, before or 0), (end_us, now or 0)]


@dataclass(slots=True)
class _Leveller:
    """Follows one sound, block by block, and says by how many whole dB it is to be moved."""

    power: Floats  #: of blocks, by their last step
    range: _Range
    gain_db: int | None = None
    _heard: Floats = field(default_factory=lambda: np.zeros(0))  #: the last blocks with a voice
    _wanted: float | None = None  #: what they ask for

    def hear(self, a: int, b: int) -> None:
        """Take in the blocks that end in the steps [a, b)."""
        new = self.power[a:b]
        new = new[~np.isnan(new)]
        if not len(new):
            return
        recent = self.power[max(0, b - FLOOR_STEPS) : b]
        recent = recent[~np.isnan(recent)]
        floor = float(np.percentile(lufs(recent), 10))
        self._heard = np.concatenate([self._heard, new[voiced(lufs(new), floor)]])[-_LOOK_BACK:]
        if len(self._heard) >= _FEWEST:
            gate = self._heard.mean() / 10 ** (_GATE_LU / 10)
            self._wanted = TARGET_LUFS - float(lufs(self._heard[self._heard > gate].mean()))

    def decide(self, *, afresh: bool) -> int | None:
        if self._wanted is None:
            return self.gain_db
        wanted = min(max(self._wanted, self.range.least), self.range.most)
        self.gain_db = self.gain_db or 0
        if afresh or abs(wanted - self.gain_db) > self.range.hold:
            self.gain_db = round(wanted / self.range.step) * self.range.step
        return self.gain_db


def _follow(power: Floats, spans: Sequence[tuple[int, int]], allowed: _Range) -> list[Gain]:
    blocks = _blocks(power)
    known = _known(blocks) or slice(0, 0)
    leveller = _Leveller(blocks, allowed)
    found: list[Gain] = []
    for k, (a, b) in enumerate(spans):
        gain_db = leveller.decide(afresh=k % _AFRESH == 0)
        if a < known.stop and b > known.start:
            leveller.hear(a, b)
        if gain_db is None:  # nothing was heard before: what is heard in the window itself has to do
            gain_db = leveller.decide(afresh=False)
        found.append(None if gain_db is None else gain_db * 100)
    return found


def _blocks(power: Floats) -> Floats:
    """Mean squares of the 400 ms that end with each step; NaN where not all of it is known."""
    found = np.full(len(power), np.nan)
    if len(power) >= _BLOCK:
        found[_BLOCK - 1 :] = np.convolve(power, np.full(_BLOCK, 1 / _BLOCK), "valid")
    return found


def _stepped(own: Sequence[Gain], together: Sequence[Gain]) -> list[Gain]:
    """Both gains in one, which goes where it wants in steps."""
    found: list[Gain] = []
    last: Gain = None
    for voice, mix in zip(own, together, strict=True):
        if voice is not None:
            wanted = min(voice + (mix or 0), _VOICE.most * 100)
            last = wanted if last is None else max(last - _STEP_DB * 100, min(last + _STEP_DB * 100, wanted))
        found.append(last)
    return found
