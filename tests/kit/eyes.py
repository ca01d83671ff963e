"""Eyes: who is in the picture, where, flashing when, and what does their drawn clock say?

Tiles are found by colour alone; nothing here knows the layout. A participant's picture is one dark saturated colour
with little else on it; at a flash it is white, and is looked for where it was right before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from . import timecode
from .timecode import Picture

Rgb = tuple[int, int, int]
Box = tuple[int, int, int, int]  #: left, top, right, bottom in px of the film
Mask = npt.NDArray[np.bool_]

_SMALL_WIDTH = 320  #: tiles are looked for in a reduced picture, and measured once in the full one
_SMALLEST_SHARE = 0.003  #: of the canvas; a tile among 25 in a portrait shape still has twice that
_NEAR = 0.24  #: largest distance of two colours, each divided by its strongest channel; ours are 0.5 apart
_DARKEST = 60  #: a pixel whose strongest channel is below has no colour to speak of; our colours have 96 and more
_WHITE = 128  #: mean luma of a flashing tile is above, of a dark one below

_FLASH_PICTURES = 5  #: 100 ms are three or four, and one that was held back
_FILLED = 0.15  #: of the best line; beside a drawn clock a colour has 24 % of a line left

ABSENT, DARK, WHITE = 0, 1, 2


@dataclass
class Sight:
    """What was seen of one participant, one entry per picture of the film."""

    state: list[int] = field(default_factory=list)
    clock_ms: list[int | None] = field(default_factory=list)
    box: list[Box | None] = field(default_factory=list)

    def visible(self) -> list[bool]:
        return [state != ABSENT for state in self.state]


@dataclass(frozen=True)
class View:
    """A whole film, as seen."""

    width_px: int
    height_px: int
    times_ms: list[float]
    sights: dict[str, Sight]

    def flashes_ms(self, participant: str) -> list[float]:
        """When the participant's tile turned white."""
        state = self.sights[participant].state
        return [
            self.times_ms[n] for n in range(1, len(state)) if state[n] == WHITE and state[n - 1] == DARK
        ]  # fmt: skip


class Hues:
    """A picture's colours without their brightness: ranges and matrices of players differ by that."""

    def __init__(self, picture: Picture) -> None:
        # channel by channel: numpy is ten times slower at a maximum along an axis of three
        planes = [np.ascontiguousarray(picture[..., n], dtype=np.float32) for n in range(3)]
        strongest = np.maximum(np.maximum(planes[0], planes[1]), planes[2])
        self._colored = strongest > _DARKEST
        self._hues = [plane / np.maximum(strongest, 1) for plane in planes]

    def find(self, rgb: Rgb) -> Box | None:
        """The rectangle that a colour fills, but for stray pixels and things drawn on it."""
        mask: Mask = self._colored.copy()
        for hue, wanted in zip(self._hues, rgb, strict=True):
            mask &= np.abs(hue - np.float32(wanted / max(rgb))) < _NEAR
        left, top, right, bottom = 0, 0, mask.shape[1], mask.shape[0]
        for _ in range(2):  # the second time without what lies beside the first rectangle
            left, right = _longest(mask[top:bottom].sum(axis=0))
            top, bottom = _longest(mask[:, left:right].sum(axis=1))
        if mask[top:bottom, left:right].sum() < _SMALLEST_SHARE * mask.size:
            return None
        return left, top, right, bottom


def _longest(counts: npt.NDArray[np.int_]) -> tuple[int, int]:
    """The stretch of lines that a colour fills well enough and that holds most of it.

    Pixels between two other colours may look like this one, but do not lie beside it without a gap.
    """
    full = np.concatenate([[False], counts > _FILLED * counts.max(initial=1), [False]])
    edges = np.flatnonzero(full[1:] != full[:-1])
    stretches = list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
    return max(stretches, key=lambda ab: int(counts[ab[0] : ab[1]].sum()), default=(0, 0))


@dataclass
class _Tile:
    """Where a participant was last seen dark: in the small picture, and measured in the full one."""

    small: Box
    full: Box


def watch(path: Path, colors: Mapping[str, Rgb], *, clocks: bool = False, still: bool = False) -> View:
    """Look at every picture of a film. `clocks` reads the drawn clocks too.

    `still`: nobody's tile moves. So it is the largest that was seen: where a codec blurs colours some are cut short.
    """
    sights = {name: Sight() for name in colors}
    tiles: dict[str, _Tile] = {}
    largest: dict[str, Box] = {}
    times_ms: list[float] = []
    size = (0, 0)
    for time_ms, frame in _pictures(path):
        size = (frame.width, frame.height)
        times_ms.append(time_ms)
        small = _rgb(frame, _SMALL_WIDTH)
        hues = Hues(small)
        for name, rgb in colors.items():
            sight = sights[name]
            state = _look(frame, small, hues, rgb, tiles, name)
            sight.state.append(state)
            sight.box.append(tiles[name].full if name in tiles else None)
            if still and name in tiles:
                largest[name] = tiles[name].full = max(tiles[name].full, largest.get(name, _NOWHERE), key=_area)
            sight.clock_ms.append(_clock(frame, tiles[name].full) if clocks and name in tiles else None)
    for sight in sights.values():
        _follow_flashes(sight)
    return View(size[0], size[1], times_ms, sights)


def _follow_flashes(sight: Sight) -> None:
    """A tile that moves while it is white is lost until the flash is over and found again elsewhere: it was there."""
    begin = 0
    for end in range(1, len(sight.state)):
        if sight.state[end] == ABSENT:
            continue
        hole, before, after = end - begin - 1, sight.box[begin], sight.box[end]
        if 0 < hole <= _FLASH_PICTURES and sight.state[begin] != ABSENT and before != after:
            sight.state[begin + 1 : end] = [WHITE] * hole
        begin = end


def _look(frame: av.VideoFrame, small: Picture, hues: Hues, rgb: Rgb, tiles: dict[str, _Tile], name: str) -> int:
    """The state of one participant; notes in `tiles` where."""
    box = hues.find(rgb)
    if box is not None:
        known = tiles.get(name)
        if known is None or known.small != box:
            tiles[name] = _Tile(box, Hues(_rgb(frame, frame.width)).find(rgb) or box)
        return DARK
    if name in tiles and _mean(small, tiles[name].small) > _WHITE:
        return WHITE
    tiles.pop(name, None)
    return ABSENT


def _clock(frame: av.VideoFrame, box: Box) -> int | None:
    plane = frame.planes[0]
    luma = np.frombuffer(memoryview(plane), dtype=np.uint8).reshape(plane.height, plane.line_size)
    left, top, right, bottom = box
    return timecode.read(luma[top:bottom, left:right])


def _pictures(path: Path) -> Iterator[tuple[float, av.VideoFrame]]:
    with av.open(str(path)) as file:
        file.streams.video[0].thread_type = "AUTO"
        for frame in file.decode(video=0):
            if frame.pts is not None and frame.time_base is not None:
                yield float(frame.pts * frame.time_base * 1000), frame


def _rgb(frame: av.VideoFrame, width: int) -> Picture:
    height = max(2, round(width * frame.height / frame.width))
    return (
        frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA").to_ndarray().astype(np.uint8)
    )


_NOWHERE: Box = (0, 0, 0, 0)


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _mean(picture: Picture, box: Box) -> float:
    left, top, right, bottom = box
    return float(picture[top:bottom, left:right].mean())
