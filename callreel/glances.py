"""A glance: what is kept of a window to be looked at before it is played, beside it and as small. Pure.

Its key pictures at the size of thumbnails, and how far its sound swings: taken while it is rendered, of what is
composed and mixed for it anyway, so that nobody decodes a window to show what is in it.
"""

from __future__ import annotations

import json
import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .clock import US_PER_S, picture_us, samples
from .waveforms import Swings

#: What is kept may change: what another version has left counts as not there.
GLANCE_VERSION = 1
#: Key pictures are no further apart (`workers.codecs`) …
KEY_S = 2
#: … and no two thumbnails nearer to each other.
STEP_S = 2
_TILE_PX = 160  #: longer side of a thumbnail
_MOST = 32767  #: as far as sound can swing
_FRONT = struct.Struct("<II")  #: CRC-32 of all behind it, and how long the header is

Plan = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What is to be seen and heard in a window."""

    pictures: Mapping[int, bytes]  #: JPEG, by the picture's number in the window, in their order
    swings: Swings | None  #: of each point of a waveform that the window touches; None where it has no sound

    def numbers(self, from_us: int, grid_us: Iterable[int], fps: int) -> list[int]:
        """For every grid point in the window the last picture at or before it, where there is one."""
        return _last(sorted(self.pictures), from_us, grid_us, fps)


def scaled_px(width_px: int, height_px: int, longer_px: int) -> tuple[int, int]:
    """Width and height of a picture whose longer side becomes this."""
    longest = max(width_px, height_px)
    return max(2, round(width_px * longer_px / longest)), max(2, round(height_px * longer_px / longest))


def tile_px(width_px: int, height_px: int) -> tuple[int, int]:
    """Width and height of a thumbnail of such a film."""
    return scaled_px(width_px, height_px, _TILE_PX)


def span_us(plan: Plan) -> tuple[int, int]:
    """From when until when a window lasts."""
    fps, first = plan["profile"]["fps"], plan["firstPicture"]
    return picture_us(first, fps), picture_us(first + plan["pictures"], fps)


def span_samples(plan: Plan) -> tuple[int, int]:
    """The same in the film's samples."""
    rate_hz = plan["profile"]["audio_rate_hz"]
    from_us, to_us = span_us(plan)
    return samples(from_us, rate_hz), samples(to_us, rate_hz)


def key_pictures(plan: Plan) -> list[int]:
    """The numbers of a window's pictures that are encoded whole: a slice's first, and one each `KEY_S` from there."""
    found: list[int] = []
    first = 0
    for piece in plan["slices"]:
        found += range(first, first + piece["pictures"], KEY_S * plan["profile"]["fps"])
        first += piece["pictures"]
    return found


def looked_at(plan: Plan) -> tuple[int, ...]:
    """The numbers of the pictures that thumbnails may be made of: the last key pictures at or before each `STEP_S`."""
    if not plan["slices"]:
        return ()
    (from_us, to_us), fps, step_us = span_us(plan), plan["profile"]["fps"], STEP_S * US_PER_S
    grid_us = range(-(-from_us // step_us) * step_us, to_us, step_us)
    return tuple(dict.fromkeys(_last(key_pictures(plan), from_us, grid_us, fps)))


def _last(pictures: list[int], from_us: int, grid_us: Iterable[int], fps: int) -> list[int]:
    """For every grid point the last of these pictures that is shown at or before it, where there is one."""
    times_us = [shown_us(from_us, number, fps) for number in pictures]
    places = (bisect_right(times_us, at_us) for at_us in grid_us)
    return [pictures[place - 1] for place in places if place]


def shown_us(from_us: int, number: int, fps: int) -> int:
    """When a picture of a window that begins at `from_us` is shown."""
    return from_us + number * US_PER_S // fps


def encode(glance: Glance) -> bytes:
    """The object of a glance."""
    swings = None if glance.swings is None else np.rint(np.clip(glance.swings, 0, 1) * _MOST).astype(int).tolist()
    told = {
        "version": GLANCE_VERSION,
        "pictures": [[number, len(data)] for number, data in glance.pictures.items()],
        "swings": swings,
    }
    head = json.dumps(told, separators=(",", ":")).encode()
    body = b"".join([head, *glance.pictures.values()])
    return _FRONT.pack(zlib.crc32(body), len(head)) + body


def decode(data: bytes) -> Glance | None:
    """What an object tells; None where it is another version's or has rotted: the window itself is still there."""
    body = data[_FRONT.size :]
    if not body:
        return None
    crc32, at = _FRONT.unpack_from(data)
    if crc32 != zlib.crc32(body):
        return None
    told = json.loads(body[:at])
    if told["version"] != GLANCE_VERSION:
        return None
    pictures = {}
    for number, size_bytes in told["pictures"]:
        pictures[number] = body[at : at + size_bytes]
        at += size_bytes
    swings = None if told["swings"] is None else np.array(told["swings"]) / _MOST
    return Glance(pictures=pictures, swings=swings)
