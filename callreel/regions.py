"""Regions of one's own: named rectangles of the canvas, in per cent, and what each of them shows. Pure.

`{"regions": [{"name", "x", "y", "width", "height", "source"}]}`, where a source is one of `{"participantId"}`,
`{"participantId", "source"}`, `{"source"}` and `{"speaker"}`. What stands later in the list lies above.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .errors import InvalidOption
from .keys import is_id
from .model import SOURCES as ALL_SOURCES
from .tiling import Box, Region, Tile, by_rank, even_floor, faces, fit, people, region_of, size_of

MOST_REGIONS = 25
LEAST_PER_CENT = 1
#: What has pictures; a microphone has none.
SOURCES = tuple(source for source in ALL_SOURCES if source != "microphone")
#: A person can be ranked so far behind; more people are in no call.
MOST_SPEAKERS = 100

_IS_ID = "must be 1 to 64 of A-Z a-z 0-9 _ -"
_RECTANGLE = ("x", "y", "width", "height")
_FIELDS = ("name", *_RECTANGLE, "source")
_CHOICES = ({"participantId"}, {"participantId", "source"}, {"source"}, {"speaker"})
_ROUNDED = 1e-6  #: per cent; thirds of a canvas do not add up


def check(asked: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The object as it came, if all of it fits. Raises `InvalidOption` naming the field."""
    for field in asked:
        _that(field == "regions", f"{place}.{field}", "is no field of a layout; known is regions", asked[field])
    items = asked.get("regions")
    fits = isinstance(items, list) and 1 <= len(items) <= MOST_REGIONS
    _that(fits, f"{place}.regions", f"must be a list of 1 to {MOST_REGIONS} regions", items)
    taken: set[str] = set()
    for number, item in enumerate(items or ()):
        _check_region(item, f"{place}.regions[{number}]")
        _that(item["name"] not in taken, f"{place}.regions[{number}].name", "is the name of another one", item["name"])
        taken.add(item["name"])
    return dict(asked)


def by_speaker(asked: Mapping[str, Any]) -> bool:
    return any("speaker" in item["source"] for item in asked["regions"])


def placing(asked: Mapping[str, Any]) -> Callable[[Sequence[Tile], int, int], tuple[Region, ...]]:
    """The layout that was asked for.

    Nothing is shown twice: named participants choose first, then speakers among who is left, then sources. A region
    for which nothing is left stays empty.
    """
    items = asked["regions"]

    def placed(tiles: Sequence[Tile], width_px: int, height_px: int) -> tuple[Region, ...]:
        chosen = dict(_chosen([item["source"] for item in items], tiles))
        boxes = {number: _box(items[number], width_px, height_px) for number in chosen}
        return tuple(region_of(chosen[n], fit(size_of(chosen[n]), boxes[n])) for n in sorted(chosen))

    return placed


def _chosen(sources: Sequence[Mapping[str, Any]], tiles: Sequence[Tile]) -> Iterator[tuple[int, Tile]]:
    """(region, tile) wherever there is something to show."""
    left = [*faces(tiles), *(tile for tile in tiles if tile.source == "screen")]
    for number, source in enumerate(sources):
        if "participantId" in source:
            own = [tile for tile in left if tile.participant_id == source["participantId"]]
            kind = source.get("source")
            if found := [tile for tile in own if (tile.source == kind if kind else tile.source != "screen")]:
                left.remove(found[0])
                yield number, found[0]
    ranked = by_rank(people([tile for tile in left if tile.source != "screen"]))
    for number, source in enumerate(sources):
        if source.get("speaker", len(ranked) + 1) <= len(ranked):
            speaker = ranked[source["speaker"] - 1]
            if speaker in left:
                left.remove(speaker)
                yield number, speaker
    for number, source in enumerate(sources):
        if source.keys() == {"source"} and (found := [tile for tile in left if tile.source == source["source"]]):
            left.remove(found[0])
            yield number, found[0]


def _box(item: Mapping[str, Any], width_px: int, height_px: int) -> Box:
    def px(per_cent: float, of_px: int) -> int:
        return min(even_floor(round(per_cent * of_px / 100 + 1e-6)), even_floor(of_px))

    x, y = px(item["x"], width_px), px(item["y"], height_px)
    right, bottom = px(item["x"] + item["width"], width_px), px(item["y"] + item["height"], height_px)
    return x, y, max(2, right - x), max(2, bottom - y)


def _check_region(item: object, place: str) -> None:
    if not isinstance(item, dict):
        raise InvalidOption(f"{place} must be an object; got {item!r:.60}.", field=place)
    for field in item:
        _that(field in _FIELDS, f"{place}.{field}", f"is no field; known are {', '.join(_FIELDS)}", item[field])
    _that(is_id(item.get("name")), f"{place}.name", _IS_ID, item.get("name"))
    for field in _RECTANGLE:
        value, least = item.get(field), LEAST_PER_CENT if field in ("width", "height") else 0
        fits = isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= 100  # NaN never
        _that(fits, f"{place}.{field}", f"must be a number from {least} to 100", value)
    for at, size in (("x", "width"), ("y", "height")):
        inside = item[at] + item[size] <= 100 + _ROUNDED
        _that(inside, f"{place}.{size}", f"reaches beyond the canvas: {at} is {item[at]}", item[size])
    _check_source(item.get("source"), f"{place}.source")


def _check_source(source: object, place: str) -> None:
    if not isinstance(source, dict):
        raise InvalidOption(f"{place} must be an object; got {source!r:.60}.", field=place)
    for field in source:
        known = field in ("participantId", "source", "speaker")
        _that(known, f"{place}.{field}", "is no field; known are participantId, source, speaker", source[field])
    _that(set(source) in _CHOICES, place, "must be a participantId, a source, both of them, or a speaker", source)
    participant, rank = source.get("participantId", "x"), source.get("speaker", 1)
    _that(is_id(participant), f"{place}.participantId", _IS_ID, participant)
    kind = source.get("source", SOURCES[0])
    _that(isinstance(kind, str) and kind in SOURCES, f"{place}.source", f"must be one of {', '.join(SOURCES)}", kind)
    whole = isinstance(rank, int) and not isinstance(rank, bool) and 1 <= rank <= MOST_SPEAKERS
    _that(whole, f"{place}.speaker", f"must be 1, for who speaks, to {MOST_SPEAKERS}", rank)


def _that(fits: bool, field: str, otherwise: str, got: object) -> None:
    if not fits:
        raise InvalidOption(f"{field} {otherwise}; got {got!r:.60}.", field=field)
