"""Tiles into a box, as large as possible and true to their shapes: what layouts are made of. Pure.

Integers alone and no memory, for regions enter the keys of windows: the same tiles give the same regions for ever.
A region is the picture's own rectangle, aspect kept, so that a renderer scales to it and pads nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .model import Source

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
    source: Source = "camera"  #: a card stands for a camera that is off
    rank: int = 0  #: of the participant: 0 for the active speaker, then who was it last


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """Where on the canvas one tile is shown: even numbers, for 4:2:0 has one colour for 2 × 2 pixels."""

    participant_id: str
    track_id: str
    label: str
    x_px: int
    y_px: int
    width_px: int
    height_px: int


Size = tuple[int, int]
Box = tuple[int, int, int, int]  #: x, y, width, height


def tiled(tiles: Sequence[Tile], box: Box, gutter: int) -> tuple[Region, ...]:
    """Tiles as large as possible, row by row in the order given, every row centred, a gutter around each.

    Of all tilings, with slots of equal height and with equal cells, the one that shows the largest sum of picture.
    Above `MAX_TILES`, or where pictures would vanish, the first ones are shown.
    """
    x, y, *canvas = box
    return tuple(
        replace(region, x_px=region.x_px + x, y_px=region.y_px + y)
        for region in _tiled(tiles[:MAX_TILES], (canvas[0], canvas[1]), gutter)
    )


def _tiled(tiles: Sequence[Tile], canvas: Size, gutter: int) -> tuple[Region, ...]:
    shown = list(tiles)
    while shown:
        sizes = [size_of(tile) for tile in shown]
        tilings = [_equal_heights(sizes, canvas, gutter), *_equal_cells(sizes, canvas, gutter)]
        fitted = [[fit(size, slot) for size, slot in zip(sizes, slots, strict=True)] for slots in tilings if slots]
        if fitted:
            best = max(fitted, key=lambda rects: sum(w * h for _, _, w, h in rects))  # of equals the first
            return tuple(region_of(tile, rect) for tile, rect in zip(shown, best, strict=True))
        shown.pop()
    return ()


def faces(tiles: Sequence[Tile]) -> list[Tile]:
    """All that is no shared screen, in the order given; a card of who only shares."""
    seen = {tile.participant_id for tile in tiles if tile.source != "screen"}
    found: list[Tile] = []
    for tile in tiles:
        if tile.source != "screen":
            found.append(tile)
        elif tile.participant_id not in seen:
            seen.add(tile.participant_id)
            found.append(card(tile))
    return found


def people(tiles: Sequence[Tile]) -> list[Tile]:
    """One tile of everybody, in the order given."""
    first: dict[str, Tile] = {}
    for tile in faces(tiles):
        first.setdefault(tile.participant_id, tile)
    return list(first.values())


def card(tile: Tile) -> Tile:
    """The card of a tile's participant."""
    return replace(tile, track_id="", width_px=_CARD[0], height_px=_CARD[1], source="camera")


def by_rank(tiles: Sequence[Tile]) -> list[Tile]:
    return sorted(tiles, key=lambda tile: tile.rank)


def size_of(tile: Tile) -> Size:
    return (tile.width_px, tile.height_px) if tile.width_px > 0 and tile.height_px > 0 else _CARD


def _equal_heights(sizes: list[Size], canvas: Size, gutter: int) -> list[Box]:
    """Slots as wide as their pictures, all of the greatest height at which the rows still fit. Empty if none does."""
    width, height = canvas
    for slot_height in range(height - 2 * gutter, 0, -2):
        widths = [_slot_width(size, slot_height, width) for size in sizes]
        rows = _fill_rows(widths, width - gutter, gutter)
        if rows and len(rows) * (slot_height + gutter) + gutter <= height:
            return _place(rows, slot_height, canvas, gutter)
    return []


def _equal_cells(sizes: list[Size], canvas: Size, gutter: int) -> list[list[Box]]:
    """The plain grid, for every number of columns."""
    found = []
    for columns in range(1, len(sizes) + 1):
        rows = -(-len(sizes) // columns)
        cell_width = even_floor((canvas[0] - gutter) // columns - gutter)
        cell_height = even_floor((canvas[1] - gutter) // rows - gutter)
        if cell_width > 0 and cell_height > 0:
            widths = [cell_width] * len(sizes)
            cut = [widths[at : at + columns] for at in range(0, len(widths), columns)]
            found.append(_place(cut, cell_height, canvas, gutter))
    return found


def _slot_width(size: Size, slot_height: int, canvas_width: int) -> int:
    width, height = size
    if width * _WIDEST[1] > height * _WIDEST[0]:
        width, height = _WIDEST
    elif width * _TALLEST[1] < height * _TALLEST[0]:
        width, height = _TALLEST
    return min(even_nearest(slot_height * width, height), canvas_width + 2)  # wider than the canvas fits nowhere


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


def _place(rows: list[list[int]], slot_height: int, canvas: Size, gutter: int) -> list[Box]:
    """The slots of rows of one height, all of it in the middle of the canvas."""
    slots = []
    y = even_floor((canvas[1] - len(rows) * (slot_height + gutter) + gutter) // 2)
    for row in rows:
        x = even_floor((canvas[0] - sum(row) - gutter * (len(row) - 1)) // 2)
        for width in row:
            slots.append((x, y, width, slot_height))
            x += width + gutter
        y += slot_height + gutter
    return slots


def fit(size: Size, slot: Box) -> Box:
    """The largest rectangle of the picture's shape inside a slot, in its middle."""
    (width, height), (x, y, slot_width, slot_height) = size, slot
    shown_width = min(slot_width, max(2, even_nearest(slot_height * width, height)))
    shown_height = min(slot_height, max(2, even_nearest(slot_width * height, width)))
    x += even_floor((slot_width - shown_width) // 2)
    y += even_floor((slot_height - shown_height) // 2)
    return x, y, shown_width, shown_height


def region_of(tile: Tile, rect: Box) -> Region:
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


def even_floor(value: int) -> int:
    return value // 2 * 2


def even_nearest(numerator: int, denominator: int) -> int:
    return (numerator + denominator) // (2 * denominator) * 2
