"""Layouts: pure functions from what wants to be shown to where on the canvas it is shown.

Integers alone and no memory, for regions enter the keys of windows: the same tiles give the same regions for ever.
A region is the picture's own rectangle, aspect kept, so that a renderer scales to it and pads nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: More people than this are not shown, the first ones are. At 720p a picture is then still 62 px high: a face, barely.
MAX_TILES = 100

#: A slot of a row is at most so wide and at most so tall (width : height). Without the bounds one banner of a shared
#: window, 15 times as wide as high, would make everybody else 80 px high.
_WIDEST, _TALLEST = (12, 5), (1, 2)

_CARD = (16, 9)  #: the shape of what has no true size


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """What wants to be shown."""

    participant_id: str
    track_id: str  #: "" where only a card is shown
    label: str  #: the name shown
    width_px: int  #: true size of the source picture, for its aspect ratio; cards say 16 × 9
    height_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Where on the canvas one tile is shown: even numbers, for 4:2:0 has one colour for 2 × 2 pixels; no overlaps."""

    participant_id: str
    track_id: str
    label: str
    x_px: int
    y_px: int
    width_px: int
    height_px: int


_Size = tuple[int, int]
_Slot = tuple[int, int, int, int]  #: x, y, width, height


def grid(tiles: Sequence[Tile], width_px: int, height_px: int) -> tuple[Region, ...]:
    """Everybody as large as possible, row by row in the order given, every row centred.

    Of all tilings, with slots of equal height and with equal cells, the one that shows the largest sum of picture.
    One person alone fills the canvas. Above `MAX_TILES`, or where pictures would vanish, the first ones are shown.
    """
    shown = list(tiles[:MAX_TILES])
    canvas = (_even_floor(width_px), _even_floor(height_px))
    # A ninetieth of the short side parts faces without framing them: 8 px at 720p.
    gutter = _even_floor(min(canvas) // 90) if len(shown) > 1 else 0
    while shown:
        sizes = [(t.width_px, t.height_px) if t.width_px > 0 and t.height_px > 0 else _CARD for t in shown]
        tilings = [_equal_heights(sizes, canvas, gutter), *_equal_cells(sizes, canvas, gutter)]
        fitted = [[_fit(size, slot) for size, slot in zip(sizes, slots, strict=True)] for slots in tilings if slots]
        if fitted:
            best = max(fitted, key=lambda rects: sum(w * h for _, _, w, h in rects))  # of equals the first
            return tuple(_region(tile, rect) for tile, rect in zip(shown, best, strict=True))
        shown.pop()
    return ()


def _equal_heights(sizes: list[_Size], canvas: _Size, gutter: int) -> list[_Slot]:
    """Slots as wide as their pictures, all of the greatest height at which the rows still fit. Empty if none does."""
    width, height = canvas
    for slot_height in range(height - 2 * gutter, 0, -2):
        widths = [_slot_width(size, slot_height, width) for size in sizes]
        rows = _fill_rows(widths, width - gutter, gutter)
        if rows and len(rows) * (slot_height + gutter) + gutter <= height:
            return _place(rows, slot_height, canvas, gutter)
    return []


def _equal_cells(sizes: list[_Size], canvas: _Size, gutter: int) -> list[list[_Slot]]:
    """The plain grid, for every number of columns."""
    found = []
    for columns in range(1, len(sizes) + 1):
        rows = -(-len(sizes) // columns)
        cell_width = _even_floor((canvas[0] - gutter) // columns - gutter)
        cell_height = _even_floor((canvas[1] - gutter) // rows - gutter)
        if cell_width > 0 and cell_height > 0:
            widths = [cell_width] * len(sizes)
            cut = [widths[at : at + columns] for at in range(0, len(widths), columns)]
            found.append(_place(cut, cell_height, canvas, gutter))
    return found


def _slot_width(size: _Size, slot_height: int, canvas_width: int) -> int:
    width, height = size
    if width * _WIDEST[1] > height * _WIDEST[0]:
        width, height = _WIDEST
    elif width * _TALLEST[1] < height * _TALLEST[0]:
        width, height = _TALLEST
    return min(_even_nearest(slot_height * width, height), canvas_width + 2)  # wider than the canvas fits nowhere


def _fill_rows(widths: list[int], room: int, gutter: int) -> list[list[int]]:
    """Rows, each as full as can be, so that a newcomer moves few. Empty if one slot alone is too wide."""
    rows: list[list[int]] = []
    free = 0
    for width in widths:
        if width + gutter > room:
            return []
        if width + gutter > free:
            rows.append([])
            free = room
        rows[-1].append(width)
        free -= width + gutter
    return rows


def _place(rows: list[list[int]], slot_height: int, canvas: _Size, gutter: int) -> list[_Slot]:
    """The slots of rows of one height, all of it in the middle of the canvas."""
    slots = []
    y = _even_floor((canvas[1] - len(rows) * (slot_height + gutter) + gutter) // 2)
    for row in rows:
        x = _even_floor((canvas[0] - sum(row) - gutter * (len(row) - 1)) // 2)
        for width in row:
            slots.append((x, y, width, slot_height))
            x += width + gutter
        y += slot_height + gutter
    return slots


def _fit(size: _Size, slot: _Slot) -> _Slot:
    """The largest rectangle of the picture's shape inside a slot, in its middle."""
    (width, height), (x, y, slot_width, slot_height) = size, slot
    shown_width = min(slot_width, max(2, _even_nearest(slot_height * width, height)))
    shown_height = min(slot_height, max(2, _even_nearest(slot_width * height, width)))
    x += _even_floor((slot_width - shown_width) // 2)
    y += _even_floor((slot_height - shown_height) // 2)
    return x, y, shown_width, shown_height


def _region(tile: Tile, rect: _Slot) -> Region:
    x, y, width, height = rect
    return Region(
        participant_id=tile.participant_id,
        track_id=tile.track_id,
        label=tile.label,
        x_px=x,
        y_px=y,
        width_px=width,
        height_px=height,
    )


def _even_floor(value: int) -> int:
    return value // 2 * 2


def _even_nearest(numerator: int, denominator: int) -> int:
    return (numerator + denominator) // (2 * denominator) * 2


Layout = Callable[[Sequence[Tile], int, int], tuple[Region, ...]]

#: name → layout. A new one is one pure function and one line here.
LAYOUTS: dict[str, Layout] = {"grid": grid}
