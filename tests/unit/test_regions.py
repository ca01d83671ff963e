"""Regions of one's own: what is refused, who is shown where, and what lies above."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from PIL import Image

from callreel.errors import InvalidOption
from callreel.layouts import check_layout, layout_of
from callreel.logos import CORNERS, MOST_BYTES
from callreel.model import Source
from callreel.regions import MOST_REGIONS
from callreel.tiling import Region, Tile


def region(name: str, source: object, **more: object) -> dict[str, Any]:
    return {"name": name, "x": 0, "y": 0, "width": 50, "height": 50, "source": source, **more}


def asked(*sources: object) -> dict[str, Any]:
    return {"regions": [region(f"r{n}", source) for n, source in enumerate(sources)]}


def tile(who: str, rank: int = 0, source: Source = "camera", size: tuple[int, int] = (1280, 720)) -> Tile:
    return Tile(
        participant_id=who, track_id=f"{who}-{source}", label=who, width_px=size[0], height_px=size[1], rank=rank,
        source=source,
    )  # fmt: skip


def shown(layout: dict[str, Any], *tiles: Tile, canvas: tuple[int, int] = (1280, 720)) -> list[Region]:
    return list(layout_of(check_layout(layout)).place(tiles, *canvas))


def tracks(layout: dict[str, Any], *tiles: Tile) -> list[str]:
    return [found.track_id for found in shown(layout, *tiles)]


CALL = (tile("ada", 1), tile("bob", 0), tile("cem", 2), tile("bob", 0, "screen"))


def test_what_fits_is_taken_as_it_came() -> None:
    layout = {
        "regions": [
            region("a", {"participantId": "ada"}, x=0.5, width=99.5),
            region("b", {"participantId": "ada", "source": "screen"}, x=33.4, width=66.6),
            region("c", {"source": "other"}, x=100 / 3, width=200 / 3),
            region("d", {"speaker": 100}, x=99, y=99, width=1, height=1),
        ]
    }
    assert check_layout(layout) == layout
    assert json.loads(json.dumps(check_layout(layout))) == layout


@pytest.mark.parametrize(
    ("layout", "field"),
    [
        ({}, "layout.regions"),
        ({"regions": []}, "layout.regions"),
        ({"regions": {}}, "layout.regions"),
        ({"regions": [region(f"r{n}", {"speaker": 1}) for n in range(MOST_REGIONS + 1)]}, "layout.regions"),
        ({"regions": [region("a", {"speaker": 1})], "background": "red"}, "layout.background"),
        ({"regions": [7]}, "layout.regions[0]"),
        ({"regions": [region("a", {"speaker": 1}, z=1)]}, "layout.regions[0].z"),
        ({"regions": [region("", {"speaker": 1})]}, "layout.regions[0].name"),
        ({"regions": [region("two words", {"speaker": 1})]}, "layout.regions[0].name"),
        ({"regions": [region("a", {"speaker": 1}), region("a", {"speaker": 2})]}, "layout.regions[1].name"),
        ({"regions": [{"name": "a"}]}, "layout.regions[0].x"),
        ({"regions": [region("a", {"speaker": 1}, x=-1)]}, "layout.regions[0].x"),
        ({"regions": [region("a", {"speaker": 1}, x="0")]}, "layout.regions[0].x"),
        ({"regions": [region("a", {"speaker": 1}, y=True)]}, "layout.regions[0].y"),
        ({"regions": [region("a", {"speaker": 1}, y=float("nan"))]}, "layout.regions[0].y"),
        ({"regions": [region("a", {"speaker": 1}, y=10**400)]}, "layout.regions[0].y"),
        ({"regions": [region("a", {"speaker": 1}, width=0.5)]}, "layout.regions[0].width"),
        ({"regions": [region("a", {"speaker": 1}, x=50.1)]}, "layout.regions[0].width"),
        ({"regions": [region("a", {"speaker": 1}, y=60)]}, "layout.regions[0].height"),
        ({"regions": [region("a", "ada")]}, "layout.regions[0].source"),
        ({"regions": [region("a", {})]}, "layout.regions[0].source"),
        ({"regions": [region("a", {"speaker": 1, "source": "camera"})]}, "layout.regions[0].source"),
        ({"regions": [region("a", {"who": "ada"})]}, "layout.regions[0].source.who"),
        ({"regions": [region("a", {"participantId": "a b"})]}, "layout.regions[0].source.participantId"),
        ({"regions": [region("a", {"source": "microphone"})]}, "layout.regions[0].source.source"),
        ({"regions": [region("a", {"source": ["camera"]})]}, "layout.regions[0].source.source"),
        ({"regions": [region("a", {"speaker": 0})]}, "layout.regions[0].source.speaker"),
        ({"regions": [region("a", {"speaker": True})]}, "layout.regions[0].source.speaker"),
    ],
)
def test_what_does_not_fit_is_named(layout: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidOption) as refused:
        check_layout(layout)
    assert refused.value.extra == {"field": field}
    assert len(refused.value.detail) < 300


@pytest.mark.parametrize("background", ["red", "#12345", "#12345g", 0, None, "#1234567", "#123456\n"])
@pytest.mark.parametrize("base", [{"name": "pip"}, {"regions": [region("a", {"speaker": 1})]}])
def test_a_background_is_a_colour(base: dict[str, Any], background: object) -> None:
    coloured = {**base, "background": "#A0b0C0"}
    assert check_layout(coloured) == coloured
    assert layout_of(coloured).background == "a0b0c0"
    assert layout_of(base).background == ""
    assert layout_of(coloured).by_speaker
    with pytest.raises(InvalidOption) as refused:
        check_layout({**base, "background": background}, "slices[1].layout")
    assert refused.value.extra["field"] == "slices[1].layout.background"


@pytest.mark.parametrize(
    "layout", [{"name": "nothing"}, {"name": 7}, {"name": "grid", "regions": []}, {"background": "#000000"}]
)
def test_an_object_has_a_name_or_regions(layout: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption):
        check_layout(layout)


def test_named_people_choose_first_then_speakers_then_sources() -> None:
    assert tracks(asked({"source": "camera"}, {"speaker": 1}, {"participantId": "bob"}), *CALL) == [
        "cem-camera", "ada-camera", "bob-camera",
    ]  # fmt: skip


def test_a_screen_has_its_region_by_source_or_by_whose_it_is() -> None:
    for source in ({"source": "screen"}, {"participantId": "bob", "source": "screen"}):
        assert tracks(asked(source), *CALL) == ["bob-screen"]
    assert tracks(asked({"participantId": "ada", "source": "screen"}), *CALL) == []
    assert tracks(asked({"participantId": "bob"}), *CALL) == ["bob-camera"]


def test_cameras_are_taken_in_the_order_in_which_people_came_and_nobody_twice() -> None:
    assert tracks(asked(*[{"source": "camera"}] * 4), *CALL) == ["ada-camera", "bob-camera", "cem-camera"]
    assert tracks(asked({"speaker": 2}, {"speaker": 2}, {"speaker": 9}), *CALL) == ["ada-camera"]


def test_speakers_make_borders_only_where_they_are_asked_for() -> None:
    assert layout_of(asked({"source": "screen"}, {"speaker": 2})).by_speaker
    assert not layout_of(asked({"source": "screen"}, {"participantId": "ada"})).by_speaker


def test_who_only_shares_has_a_card() -> None:
    (found,) = shown(asked({"participantId": "bob"}), tile("bob", source="screen"))
    assert (found.participant_id, found.track_id) == ("bob", "")


def test_pictures_stand_in_the_middle_of_their_rectangles_true_to_shape() -> None:
    layout = {"regions": [region("a", {"participantId": "ada"}, x=25, y=50, width=50, height=50)]}
    (found,) = shown(layout, tile("ada", size=(720, 1280)))
    assert (found.x_px, found.y_px, found.width_px, found.height_px) == (538, 360, 202, 360)


@pytest.mark.parametrize("canvas", [(1280, 720), (854, 480), (720, 1280), (128, 128)])
def test_rectangles_reach_the_canvas_and_never_beyond(canvas: tuple[int, int]) -> None:
    layout = {
        "regions": [
            region("a", {"participantId": "ada"}, x=0, y=0, width=100, height=100),
            region("b", {"participantId": "bob"}, x=66.7, y=66.7, width=33.3, height=33.3),
            region("c", {"participantId": "cem"}, x=99, y=99, width=1, height=1),
        ]
    }
    whole, *others = shown(layout, tile("ada", size=canvas), tile("bob", size=canvas), tile("cem"), canvas=canvas)
    assert (whole.x_px, whole.y_px, whole.width_px, whole.height_px) == (0, 0, *canvas)
    for found in others:
        assert found.x_px % 2 == found.y_px % 2 == found.width_px % 2 == found.height_px % 2 == 0
        assert found.x_px + found.width_px <= canvas[0]
        assert found.y_px + found.height_px <= canvas[1]


def test_later_regions_lie_above() -> None:
    layout = {"regions": [region("below", {"speaker": 1}), region("above", {"participantId": "ada"})]}
    assert tracks(layout, *CALL) == ["bob-camera", "ada-camera"]


def png(width_px: int = 8, height_px: int = 4, more: int = 0) -> bytes:
    file = io.BytesIO()
    Image.new("RGBA", (width_px, height_px), (255, 0, 0, 128)).save(file, "PNG")
    return file.getvalue() + bytes(more)


def logo(data: bytes, **more: object) -> dict[str, Any]:
    return {"image": "data:image/png;base64," + base64.b64encode(data).decode(), **more}


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ("x", ""),
        ({}, ".image"),
        (logo(b""), ".image"),
        (logo(b"GIF89a" + bytes(40)), ".image"),
        (logo(png(more=MOST_BYTES)), ".image"),
        (logo(png(1025, 1)), ".image"),
        ({"image": "https://example.org/logo.png"}, ".image"),
        ({"image": "data:image/png;base64,not base64!"}, ".image"),
        (logo(png(), corner="middle"), ".corner"),
        (logo(png(), corner=[]), ".corner"),
        (logo(png(), width=0.5), ".width"),
        (logo(png(), width=51), ".width"),
        (logo(png(), width=True), ".width"),
        (logo(png(), opacity=1), ".opacity"),
    ],
)
def test_a_logo_that_does_not_fit_is_named(asked: object, field: str) -> None:
    with pytest.raises(InvalidOption) as refused:
        check_layout({"name": "grid", "logo": asked})
    assert refused.value.extra == {"field": f"layout.logo{field}"}
    assert len(refused.value.detail) < 300


@pytest.mark.parametrize(
    "asked",
    [
        "x",
        "#12345",
        7,
        {},
        "https://example.org/wall.png",
        "data:image/jpeg;base64,/9j/4AAQ",
        "data:image/png;base64,not base64!",
        "data:image/png;base64,",
        logo(b"GIF89a" + bytes(40))["image"],
        logo(png(more=MOST_BYTES))["image"],
        logo(png(1, 1025))["image"],
    ],
)
def test_a_background_that_is_neither_colour_nor_picture_is_named(asked: object) -> None:
    with pytest.raises(InvalidOption) as refused:
        check_layout({"name": "grid", "background": asked})
    assert refused.value.extra == {"field": "layout.background"}
    assert len(refused.value.detail) < 300


def test_a_background_is_a_colour_or_a_picture() -> None:
    for given, colour, has_picture in (("#20A0b0", "20a0b0", False), (logo(png())["image"], "", True)):
        found = layout_of(check_layout({"name": "grid", "background": given}))
        assert (found.background, bool(found.backdrop)) == (colour, has_picture)


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("canvas", [(1280, 720), (720, 1280), (128, 3840), (3840, 128)])
@pytest.mark.parametrize("size", [(8, 4), (1, 1024), (1024, 1)])
def test_a_logo_lies_in_its_corner_and_inside(corner: str, canvas: tuple[int, int], size: tuple[int, int]) -> None:
    asked = check_layout({"name": "grid", "logo": logo(png(*size), corner=corner, width=20)})
    found = layout_of(asked).logo
    assert found is not None
    placed = found.placed(*canvas)
    assert 0 <= placed["x"] <= placed["x"] + placed["width"] <= canvas[0]
    assert 0 <= placed["y"] <= placed["y"] + placed["height"] <= canvas[1]
    assert (placed["x"] < canvas[0] // 2) == corner.endswith("left") or placed["width"] * 3 > canvas[0]
    assert (placed["y"] < canvas[1] // 3) == corner.startswith("top") or placed["height"] * 3 > canvas[1]
