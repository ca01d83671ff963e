"""A clock drawn into pictures: 20 blocks, black or white, that survive scaling, a high crf and a seam.

16 bits are milliseconds in Gray code, so that a picture torn between two neighbours reads as one of them;
4 bits are a checksum, so that what is no clock at all is not read as one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]

ROWS, COLUMNS = 4, 5
_BITS = 16
WRAP_MS = 1 << _BITS  #: a clock begins again then
#: the blocks lie in this part of the picture: left, top, right, bottom. Below it is room for a name.
AREA = (0.15, 0.14, 0.85, 0.68)
_EDGE = 0.03  #: black border around them, so that a white flash does not melt with white blocks
_CONTRAST = 60  #: between the darkest and the lightest block; less is no clock


def _checksum(gray: int) -> int:
    """Exclusive or of the four nibbles, inverted: all blocks black, or all white, is no valid clock."""
    return (gray ^ gray >> 4 ^ gray >> 8 ^ gray >> 12) & 15 ^ 0b0110


def blocks(value_ms: int) -> list[bool]:
    """Light (True) or dark, row by row."""
    gray = value_ms ^ value_ms >> 1
    word = gray << 4 | _checksum(gray)
    return [bool(word >> bit & 1) for bit in reversed(range(ROWS * COLUMNS))]


def value_of(light: list[bool]) -> int | None:
    """The milliseconds, None where the checksum does not fit."""
    word = 0
    for bit in light:
        word = word << 1 | bit
    gray, check = word >> 4, word & 15
    if _checksum(gray) != check:
        return None
    value = gray
    for shift in (1, 2, 4, 8):
        value ^= value >> shift
    return value


def draw(picture: Picture, value_ms: int) -> None:
    """Draw the clock into an RGB picture."""
    if not 0 <= value_ms < 1 << _BITS:
        raise ValueError(f"the clock shows 0 to {(1 << _BITS) - 1} ms; got {value_ms}")
    height, width = picture.shape[:2]
    left, top, right, bottom = AREA
    border = slice(int((top - _EDGE) * height), int((bottom + _EDGE) * height))
    picture[border, int((left - _EDGE) * width) : int((right + _EDGE) * width)] = 16
    for index, light in enumerate(blocks(value_ms)):
        if light:
            x0, y0, x1, y1 = _block(index, width, height, shrink=0.06)
            picture[y0:y1, x0:x1] = 235


def read(luma: Picture) -> int | None:
    """The clock of a picture, given as the luma of exactly the picture's own box."""
    height, width = luma.shape
    means = []
    for index in range(ROWS * COLUMNS):
        x0, y0, x1, y1 = _block(index, width, height, shrink=0.3)
        if x1 <= x0 or y1 <= y0:
            return None
        means.append(float(luma[y0:y1, x0:x1].mean()))
    if max(means) - min(means) < _CONTRAST:
        return None
    middle = (max(means) + min(means)) / 2
    return value_of([mean > middle for mean in means])


def _block(index: int, width: int, height: int, *, shrink: float) -> tuple[int, int, int, int]:
    """A block's rectangle in px, made smaller by a share of its size on each side."""
    left, top, right, bottom = AREA
    row, column = divmod(index, COLUMNS)
    w, h = (right - left) * width / COLUMNS, (bottom - top) * height / ROWS
    x, y = left * width + column * w, top * height + row * h
    return round(x + shrink * w), round(y + shrink * h), round(x + (1 - shrink) * w), round(y + (1 - shrink) * h)
