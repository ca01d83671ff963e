"""Pictures in a layout: a logo in a corner, above everything, and a background below it. Checked here, decoded
elsewhere. Pure.

The picture comes within the layout, as a `data:` address, and is in no plan: a plan names its digest, and the renderer
finds the bytes under that.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from .errors import InvalidOption
from .model import Recording
from .tiling import even_floor

CORNERS = ("top-left", "top-right", "bottom-left", "bottom-right")
MOST_BYTES = 24 * 1024  #: of the picture: it is read wherever the recording is, and a JSON body has 64 KiB
MOST_PX = 1024
LEAST_PER_CENT, MOST_PER_CENT = 1, 50
USUAL_PER_CENT = 10

_FIELDS = ("image", "corner", "width")
PREFIX = "data:image/png;base64,"
_PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"  #: the signature and the first chunk's head (PNG, 5.2, 11.2.1)


@dataclass(frozen=True, slots=True)
class Logo:
    """Where a logo is shown; its picture by digest."""

    sha256: str
    corner: str
    width_per_cent: float
    width_px: int  #: of the picture itself
    height_px: int

    def placed(self, width_px: int, height_px: int) -> dict[str, Any]:
        """As a plan has it, on a canvas of this size: a fiftieth of the short side away from its corner."""
        margin = even_floor(min(width_px, height_px) // 50)
        wide = max(2, even_floor(round(width_px * self.width_per_cent / 100)))
        high = max(2, even_floor(round(wide * self.height_px / self.width_px)))
        if high > height_px // 2:
            wide, high = max(2, even_floor(round(height_px // 2 * self.width_px / self.height_px))), height_px // 2
        x = margin if self.corner.endswith("left") else even_floor(width_px) - margin - wide
        y = margin if self.corner.startswith("top") else even_floor(height_px) - margin - high
        return {"sha256": self.sha256, "x": max(0, x), "y": max(0, y), "width": wide, "height": high}


def check(asked: object, place: str) -> None:
    """Raises `InvalidOption` naming the field."""
    if not isinstance(asked, dict):
        raise InvalidOption(f"{place} must be an object; got {asked!r:.60}.", field=place)
    for field in asked:
        _that(field in _FIELDS, f"{place}.{field}", f"is no field; known are {', '.join(_FIELDS)}")
    _that(asked.get("corner", CORNERS[0]) in CORNERS, f"{place}.corner", f"must be one of {', '.join(CORNERS)}")
    width = asked.get("width", USUAL_PER_CENT)
    fits = isinstance(width, int | float) and not isinstance(width, bool) and LEAST_PER_CENT <= width <= MOST_PER_CENT
    _that(fits, f"{place}.width", f"must be a number from {LEAST_PER_CENT} to {MOST_PER_CENT}, per cent of the canvas")
    check_picture(asked.get("image"), f"{place}.image")


def check_picture(image: object, place: str) -> None:
    """A PNG as a `data:` address. Raises `InvalidOption` naming the field."""
    if not is_picture(image):
        raise InvalidOption(f"{place} must begin with {PREFIX}.", field=place)
    try:
        data = bytes_of(str(image))
    except (binascii.Error, ValueError):
        data = b""
    _that(data.startswith(_PNG) and len(data) <= MOST_BYTES, place, f"must be a PNG of at most {MOST_BYTES} bytes")
    _that(all(1 <= size <= MOST_PX for size in size_of(data)), place, f"must be at most {MOST_PX} px wide and high")


def is_picture(asked: object) -> bool:
    """Is this meant to be a picture?"""
    return isinstance(asked, str) and asked.startswith(PREFIX)


def bytes_of(image: str) -> bytes:
    """The PNG that an address holds."""
    return base64.b64decode(image.removeprefix(PREFIX), validate=True)


def picture_of(asked: Mapping[str, Any]) -> bytes:
    return bytes_of(asked["image"])


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height, as its header tells."""
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def logo_of(asked: Mapping[str, Any]) -> Logo:
    """What was checked."""
    data = picture_of(asked)
    corner, width = asked.get("corner", "top-right"), asked.get("width", USUAL_PER_CENT)
    return Logo(sha256(data).hexdigest(), corner, width, *size_of(data))


def pictures(recording: Recording) -> Iterator[tuple[str, bytes]]:
    """(digest, PNG) of every logo and background that a recording's films may show."""
    layouts: list[Any] = [recording.options.layout, *(layout for _, layout in recording.layouts)]
    for composition in recording.compositions:
        layouts += [composition.layout, *(piece["layout"] for piece in composition.slices)]
    for layout in layouts:
        beside = layout if isinstance(layout, Mapping) else {}
        found = [picture_of(beside["logo"])] if "logo" in beside else []
        if is_picture(beside.get("background")):
            found.append(bytes_of(beside["background"]))
        yield from ((sha256(data).hexdigest(), data) for data in found)


def _that(fits: bool, field: str, otherwise: str) -> None:
    if not fits:
        raise InvalidOption(f"{field} {otherwise}.", field=field)
