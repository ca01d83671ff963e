"""Layouts: pure functions from what wants to be shown to where on the canvas it is shown.

No memory and no clock, for regions enter the keys of windows. What comes later in the list lies above.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from . import logos, regions
from .errors import InvalidOption
from .logos import Logo
from .tiling import Region, Tile, by_rank, card, even_floor, faces, fit, people, region_of, size_of, tiled

_BESIDE = ("background", "logo")  #: of a name or of regions
_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}\Z")
#: Beside something large so many people are shown: at 720p in two rows, each 70 px high.
MAX_STRIP = 12

Place = Callable[[Sequence[Tile], int, int], tuple[Region, ...]]


@dataclass(frozen=True, slots=True)
class Layout:
    place: Place
    by_speaker: bool = False  #: it looks at ranks: who speaks is found out, and a change of it is a slice border
    logo: Logo | None = None
    background: str = ""  #: what is seen where nothing is shown, as `rrggbb`; the usual one where nobody said
    backdrop: str = ""  #: a picture instead, by its digest


def grid(tiles: Sequence[Tile], width_px: int, height_px: int) -> tuple[Region, ...]:
    """Everybody as large as possible, in the order given. One person alone fills the canvas."""
    gutter = _gutter(width_px, height_px) if len(tiles) > 1 else 0
    return tiled(tiles, (0, 0, even_floor(width_px), even_floor(height_px)), gutter)


def screen(tiles: Sequence[Tile], width_px: int, height_px: int) -> tuple[Region, ...]:
    """What is shared is large, with people in a strip."""
    return _staged(_shared(tiles), faces(tiles), width_px, height_px)


def speaker(tiles: Sequence[Tile], width_px: int, height_px: int) -> tuple[Region, ...]:
    """Who speaks is large, with the others in a strip, each at the place that they have anyway."""
    large = by_rank(people(tiles))[:1]
    return _staged(large, [tile for tile in tiles if tile not in large], width_px, height_px)


def single_speaker(tiles: Sequence[Tile], width_px: int, height_px: int) -> tuple[Region, ...]:
    """Who speaks, and nothing else."""
    return grid(by_rank(people(tiles))[:1], width_px, height_px)


def side_by_side(tiles: Sequence[Tile], width_px: int, height_px: int) -> tuple[Region, ...]:
    """The last two who spoke, each at their side; while somebody shares, that and who speaks."""
    two = _two(tiles)
    return grid([tile for tile in (*_shared(tiles), *people(tiles)) if tile in two], width_px, height_px)


def picture_in_picture(tiles: Sequence[Tile], width_px: int, height_px: int) -> tuple[Region, ...]:
    """What is shared, or who speaks, on all of the canvas; who speaks, or did before, in its lower right corner."""
    two = _two(tiles)
    if len(two) < 2:
        return grid(two, width_px, height_px)
    large, small = two
    margin = 2 * _gutter(width_px, height_px)
    side = even_floor(min(max(width_px, height_px) // 4, min(width_px, height_px) - 2 * margin))
    _, _, width, height = fit(size_of(small), (0, 0, side, side))
    corner = (even_floor(width_px) - margin - width, even_floor(height_px) - margin - height, width, height)
    return (*grid([large], width_px, height_px), region_of(small, corner))


def audio_only(tiles: Sequence[Tile], width_px: int, height_px: int) -> tuple[Region, ...]:
    """Everybody's card, whatever their cameras show."""
    return grid([card(tile) for tile in people(tiles)], width_px, height_px)


def unless_shared(place: Place) -> Place:
    """The layout, giving way to `screen` while somebody shares: in a cell of a grid nobody reads a document."""

    def placed(tiles: Sequence[Tile], width_px: int, height_px: int) -> tuple[Region, ...]:
        return (screen if _shared(tiles) else place)(tiles, width_px, height_px)

    return placed


def _staged(large: Sequence[Tile], others: Sequence[Tile], width_px: int, height_px: int) -> tuple[Region, ...]:
    """A fifth of the canvas for the others: to the right, in a film higher than wide below."""
    if not large or not others:
        return grid([*large, *others], width_px, height_px)
    width, height, gutter = even_floor(width_px), even_floor(height_px), _gutter(width_px, height_px)
    seen = by_rank(others)[:MAX_STRIP]
    strip = [tile for tile in others if tile in seen]
    if width >= height:
        fifth = even_floor(width // 5)
        stage, beside = (0, 0, width - fifth, height), (width - fifth, 0, fifth, height)
    else:
        fifth = even_floor(height // 5)
        stage, beside = (0, 0, width, height - fifth), (0, height - fifth, width, fifth)
    return (*tiled(large, stage, gutter), *tiled(strip, beside, gutter))


def _shared(tiles: Sequence[Tile]) -> list[Tile]:
    return [tile for tile in tiles if tile.source == "screen"]


def _two(tiles: Sequence[Tile]) -> list[Tile]:
    """What matters most, first: what is shared, then people by rank."""
    return [*_shared(tiles)[:1], *by_rank(people(tiles))][:2]


def _gutter(width_px: int, height_px: int) -> int:
    """A ninetieth of the short side parts faces without framing them: 8 px at 720p."""
    return even_floor(even_floor(min(width_px, height_px)) // 90)


#: name → layout. A new one is one pure function and one line here.
LAYOUTS: dict[str, Layout] = {
    "grid": Layout(unless_shared(grid)),
    "speaker": Layout(unless_shared(speaker), by_speaker=True),
    "single-speaker": Layout(single_speaker, by_speaker=True),
    "side-by-side": Layout(side_by_side, by_speaker=True),
    "pip": Layout(picture_in_picture, by_speaker=True),
    "screen": Layout(screen),
    "audio-only": Layout(audio_only),
}

Asked = str | Mapping[str, Any]  #: as `check_layout` lets it pass
Arranged = Sequence[tuple[int, Asked]]  #: (recording time in µs, the layout from then on), in order, the first from 0


def check_layout(asked: object, place: str = "layout") -> str | dict[str, Any]:
    """A name, or an object of a name or regions with background and logo. Raises `InvalidOption` naming the field."""
    if isinstance(asked, dict):
        rest = {field: value for field, value in asked.items() if field not in _BESIDE}
        if rest.keys() == {"name"}:
            if not isinstance(rest["name"], str):
                raise InvalidOption(f"{place}.name must be the name of a layout.", field=f"{place}.name")
            check_layout(rest["name"], f"{place}.name")
        else:
            regions.check(rest, place)
        if "logo" in asked:
            logos.check(asked["logo"], f"{place}.logo")
        background = asked.get("background", "#000000")
        if logos.is_picture(background):
            logos.check_picture(background, f"{place}.background")
        elif not isinstance(background, str) or not _COLOUR.match(background):
            detail = f"{place}.background must be a colour as #203040, or {logos.PREFIX}…; got {background!r:.60}."
            raise InvalidOption(detail, field=f"{place}.background")
        return dict(asked)
    if not isinstance(asked, str) or asked not in LAYOUTS:
        known = ", ".join(LAYOUTS)
        detail = f"{place} must be one of {known}, or an object with regions; got {asked!r:.60}."
        raise InvalidOption(detail, field=place)
    return asked


def layout_of(asked: Asked) -> Layout:
    """The layout behind an option that was checked."""
    if isinstance(asked, str):
        return LAYOUTS[asked]
    own = "regions" in asked
    base = Layout(regions.placing(asked), by_speaker=regions.by_speaker(asked)) if own else LAYOUTS[asked["name"]]
    logo = logos.logo_of(asked["logo"]) if "logo" in asked else None
    behind = asked.get("background", "")
    if logos.is_picture(behind):
        return replace(base, logo=logo, backdrop=sha256(logos.bytes_of(behind)).hexdigest())
    return replace(base, logo=logo, background=behind.removeprefix("#").lower())
