"""Everybody's sound as levels on the recording's clock: what gains and speakers are decided from. Pure.

Steps of 100 ms from the recording's start, and fine ones of 20 ms. Each takes the nearest step of the media, so a
level may stand up to half a step beside its sound: nothing that is decided from levels is finer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .levels import FINE, FINE_US, STEP_US, UNKNOWN, Levels16
from .placement import Line
from .scans import Ints, Scans
from .timeline import Clip, Timeline

#: It is a voice where it is louder than this, and louder than the quietest tenth of the last half minute by that …
_QUIETEST_LUFS, _ABOVE_FLOOR_LU = -50, 6
FLOOR_STEPS = 300
#: … or so loud that it is meant to be heard, be it as steady as music.
_LOUD_LUFS = -33

#: Steps that are looked for at once: it takes ten arrays of them, which for fine ones of hours are 40 MB.
_AT_ONCE = 1 << 15

Floats = NDArray[np.float64]
Place = tuple[str, str, int]  #: participant, track, seg: one microphone, one recorder


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """The sound of one segment."""

    power: Floats  #: K-weighted mean square of each step of the recording; NaN where nothing is known
    fine: Levels16  #: 0.01 LUFS, `FINE` a step; `UNKNOWN` where nothing is known


def voices(timeline: Timeline, scans: Scans, *, fine: bool = True) -> Mapping[Place, Voice]:
    """All segments with sound, in the timeline's order; without `fine`, which is most of it, where nobody asks."""
    return dict(each_voice(timeline, scans, fine=fine))


def each_voice(timeline: Timeline, scans: Scans, *, fine: bool = True) -> Iterator[tuple[Place, Voice]]:
    """The same one after the other: of 25 people for three hours all of them take 50 MB."""
    count = -(-timeline.duration_us // STEP_US)
    clips: dict[Place, list[Clip]] = {}
    for clip in timeline.clips:
        if clip.kind == "audio":
            clips.setdefault(clip.place, []).append(clip)
    for place, own in clips.items():
        voice = Voice(power=np.full(count, np.nan), fine=np.full(count * FINE * fine, UNKNOWN, np.int16))
        for clip in own:
            levels = scans[place][clip.run].levels
            for steps, media in on_the_clock(clip, levels.first, len(levels), STEP_US, count):
                voice.power[steps] = power_of(levels.loudness[media])
            for steps, media in on_the_clock(clip, levels.first * FINE, len(levels.fine), FINE_US, len(voice.fine)):
                voice.fine[steps] = levels.fine[media]
        yield place, voice


def on_the_clock(clip: Clip, first: int, count: int, step_us: int, until: int) -> Iterator[tuple[Ints, Ints]]:
    """Steps of the recording below `until` in which a clip is heard, and which of `count` levels from media step
    `first` on belongs to each; some after some."""
    back = Line(tuple((placed, media) for media, placed in clip.line.knots))
    end = min(clip.to_us // step_us, until)
    for begin in range(-(-clip.from_us // step_us), end, _AT_ONCE):
        steps = np.arange(begin, min(begin + _AT_ONCE, end))
        media = (back.place(steps * step_us) + step_us // 2) // step_us - first
        known = (media >= 0) & (media < count)
        yield steps[known], media[known]


def power_of(loudness: Levels16) -> Floats:
    """Mean squares of loudness in 0.01 LUFS (ITU-R BS.1770-4, equation 2)."""
    return np.where(loudness == UNKNOWN, np.nan, 10 ** ((loudness / 100 + 0.691) / 10))


def lufs(power: Floats | float) -> Floats:
    """The loudness of mean squares, LUFS; not less than −130."""
    return -0.691 + 10 * np.log10(np.maximum(power, 1e-13))


def voiced(loudness: Floats, floor: Floats | float) -> NDArray[np.bool_]:
    """Where it is a voice, and neither silence nor a room; LUFS."""
    found: NDArray[np.bool_] = (loudness > _QUIETEST_LUFS) & (
        (loudness > floor + _ABOVE_FLOOR_LU) | (loudness > _LOUD_LUFS)
    )
    return found
