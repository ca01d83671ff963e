"""How hard a machine may search while a call runs, so that its films keep up: a table of steps, and one decision. Pure.

A step makes the encoder's search faster, and nothing else: what shapes the init segment stays, so windows of any step
join, and the key of a window is the same. Where the fastest is not fast enough, windows wait for the end of the call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    name: str
    from_behind: int  #: windows behind the call at which it may be taken
    back_behind: int  #: with so few the one before it is taken again


#: One window is always on its way, and one may wait for it. What is taken back at half of it does not flutter.
STEPS = (
    Step(name="full", from_behind=0, back_behind=-1),
    Step(name="faster", from_behind=4, back_behind=1),
    Step(name="fastest", from_behind=8, back_behind=4),
    Step(name="waiting", from_behind=16, back_behind=-1),  # who renders nothing does not catch up
)
WAITING = len(STEPS) - 1
#: A step is taken only by who has fallen behind by so many windows since the one before it: workers that came late, or
#: were away, have much to do and are not slow.
_GROWN = 2

#: codec → the speeds of its encoder, from the one that profiles ask for on; the last one is the fastest it has.
SPEEDS: dict[str, tuple[str, ...]] = {
    "h264": ("veryfast", "superfast", "ultrafast"),
    "vp8": ("8", "12", "16"),
    "vp9": ("8",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How a recording that runs is rendered."""

    step: int = 0
    behind: int = 0  #: windows that could be rendered and are not
    least_behind: int = 0  #: the fewest since the step was taken

    @property
    def waits(self) -> bool:
        return self.step == WAITING


def paced(pace: Pace, behind: int) -> Pace:
    """The pace for a recording that is so many windows behind, whose pace was this one."""
    step = pace.step
    if behind <= STEPS[step].back_behind:
        return Pace(step=step - 1, behind=behind, least_behind=behind)
    further = STEPS[min(step + 1, WAITING)]
    if step < WAITING and behind >= further.from_behind and behind >= pace.least_behind + _GROWN:
        return Pace(step=step + 1, behind=behind, least_behind=behind)
    return Pace(step=step, behind=behind, least_behind=min(pace.least_behind, behind))


def speed(profile: Mapping[str, Any], step: int) -> str:
    """The speed of a profile's encoder (in a plan's words) at a step; its own where it has none that are faster."""
    own = str(profile["speed"])
    speeds = SPEEDS.get(profile.get("video_codec", "h264"), ())
    return speeds[min(step, len(speeds) - 1)] if own in speeds[:1] else own


def encode(pace: Pace) -> str:
    return f"{pace.step} {pace.behind} {pace.least_behind}"


def decode(text: str) -> Pace:
    """What `encode` made; the usual pace of anything else, for it is a hint."""
    try:
        step, behind, least_behind = (int(word) for word in text.split())
    except ValueError:
        return Pace()
    return Pace(step=min(max(step, 0), WAITING), behind=behind, least_behind=least_behind)
