"""Layouts: everybody inside, nobody overlapped, true to shape, and as large as can be; and who is where in each."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageStat

from callreel.layouts import LAYOUTS, MAX_STRIP, grid
from callreel.model import Source
from callreel.tiling import MAX_TILES, Region, Tile
from tests.kit import layout_pictures

CANVASES = [(1280, 720), (854, 480), (1920, 1080), (720, 1280), (480, 480)]
SHAPES = [
    (1280, 720),
    (640, 480),
    (720, 1280),
    (480, 640),
    (480, 480),
    (1920, 1080),
    (854, 480),
    (426, 240),
    (2560, 1080),
]


def tiles_of(shapes: list[tuple[int, int]]) -> list[Tile]:
    return [
        Tile(participant_id=f"p{n}", track_id=f"t{n}", label=f"Person {n}", width_px=width, height_px=height)
        for n, (width, height) in enumerate(shapes)
    ]


def boxes(regions: tuple[Region, ...]) -> list[tuple[int, int, int, int]]:
    return [(r.x_px, r.y_px, r.width_px, r.height_px) for r in regions]


def area(regions: tuple[Region, ...]) -> int:
    return sum(r.width_px * r.height_px for r in regions)


def naive_area(shapes: list[tuple[int, int]], width_px: int, height_px: int, gutter_px: int) -> int:
    """The best plain grid, in whole numbers rounded down to even ones."""
    best = 0
    for columns in range(1, len(shapes) + 1):
        rows = -(-len(shapes) // columns)
        cell_w = (width_px - (columns + 1) * gutter_px) // columns
        cell_h = (height_px - (rows + 1) * gutter_px) // rows
        total = 0
        for w, h in shapes:
            scale = min(Fraction(cell_w, w), Fraction(cell_h, h))
            total += int(w * scale) // 2 * 2 * (int(h * scale) // 2 * 2)
        best = max(best, total)
    return best


shapes = st.lists(
    st.sampled_from(SHAPES) | st.tuples(st.integers(16, 4096), st.integers(16, 4096)), min_size=1, max_size=25
)
canvases = st.sampled_from(CANVASES) | st.tuples(st.integers(240, 3840), st.integers(240, 2160))


@settings(max_examples=150, deadline=None)
@given(shapes, canvases)
def test_everybody_is_inside_even_and_apart(shapes: list[tuple[int, int]], canvas: tuple[int, int]) -> None:
    regions = grid(tiles_of(shapes), *canvas)
    assert [r.participant_id for r in regions] == [f"p{n}" for n in range(len(shapes))]
    for x, y, w, h in boxes(regions):
        assert x % 2 == y % 2 == w % 2 == h % 2 == 0
        assert x >= 0
        assert y >= 0
        assert w >= 2
        assert h >= 2
        assert x + w <= canvas[0]
        assert y + h <= canvas[1]
    for n, (ax, ay, aw, ah) in enumerate(boxes(regions)):
        for bx, by, bw, bh in boxes(regions)[:n]:
            assert ax + aw <= bx or bx + bw <= ax or ay + ah <= by or by + bh <= ay


@settings(max_examples=150, deadline=None)
@given(shapes, canvases)
def test_the_shape_of_pictures_is_kept_to_two_pixels(shapes: list[tuple[int, int]], canvas: tuple[int, int]) -> None:
    for (w, h), region in zip(shapes, grid(tiles_of(shapes), *canvas), strict=True):
        off_w = abs(Fraction(region.height_px * w, h) - region.width_px)
        off_h = abs(Fraction(region.width_px * h, w) - region.height_px)
        assert min(off_w, off_h) <= 2


@settings(max_examples=150, deadline=None)
@given(shapes, canvases)
def test_no_plain_grid_shows_more(shapes: list[tuple[int, int]], canvas: tuple[int, int]) -> None:
    regions = grid(tiles_of(shapes), *canvas)
    gutter_px = min(canvas) // 90 // 2 * 2 if len(shapes) > 1 else 0
    rounding = sum(2 * (r.width_px + r.height_px) for r in regions)
    assert area(regions) >= naive_area(shapes, *canvas, gutter_px) - rounding


@given(shapes, canvases)
@settings(max_examples=30, deadline=None)
def test_the_same_tiles_give_the_same_regions(shapes: list[tuple[int, int]], canvas: tuple[int, int]) -> None:
    assert grid(tiles_of(shapes), *canvas) == grid(tuple(tiles_of(shapes)), *canvas)


@pytest.mark.parametrize("canvas", [(1280, 720), (854, 480), (1920, 1080)])
def test_one_person_fills_the_canvas(canvas: tuple[int, int]) -> None:
    assert boxes(grid(tiles_of([(1280, 720)]), *canvas)) == [(0, 0, *canvas)]


def test_one_upright_phone_stands_in_the_middle_as_tall_as_the_canvas() -> None:
    assert boxes(grid(tiles_of([(720, 1280)]), 1280, 720)) == [(436, 0, 406, 720)]


def test_two_cameras_stand_side_by_side() -> None:
    left, right = boxes(grid(tiles_of([(1280, 720), (640, 360)]), 1280, 720))
    assert left[1:] == right[1:]
    assert left[0] + left[2] < right[0]


def test_a_camera_and_a_phone_are_equally_tall() -> None:
    camera, phone = boxes(grid(tiles_of([(1280, 720), (720, 1280)]), 1280, 720))
    assert camera[3] == phone[3]
    assert camera[2] + phone[2] > 1240


@pytest.mark.parametrize(("people", "rows"), [(3, [2, 1]), (4, [2, 2]), (5, [3, 2]), (7, [3, 3, 1]), (8, [3, 3, 2])])
def test_rows_are_filled_in_order_and_the_last_is_centred(people: int, rows: list[int]) -> None:
    regions = grid(tiles_of([(1280, 720)] * people), 1280, 720)
    ys = sorted({r.y_px for r in regions})
    assert [sum(r.y_px == y for r in regions) for y in ys] == rows
    last = [r for r in regions if r.y_px == ys[-1]]
    assert abs(last[0].x_px - (1280 - last[-1].x_px - last[-1].width_px)) <= 2
    assert len({(r.width_px, r.height_px) for r in regions}) == 1


@pytest.mark.parametrize("people", range(2, 26))
def test_cameras_alike_are_shown_equally_large(people: int) -> None:
    regions = grid(tiles_of([(1280, 720)] * people), 1280, 720)
    assert len({(r.width_px, r.height_px) for r in regions}) == 1
    assert area(regions) > 0.45 * 1280 * 720


def test_a_banner_does_not_make_the_others_small() -> None:
    banner, *others = boxes(grid(tiles_of([(3000, 200), (1280, 720), (1280, 720)]), 1280, 720))
    assert banner[2] > 800
    assert all(h > 300 for _, _, _, h in others)


def test_what_has_no_size_is_shown_like_a_card() -> None:
    assert boxes(grid(tiles_of([(0, 0), (16, 9)]), 1280, 720)) == boxes(grid(tiles_of([(16, 9), (16, 9)]), 1280, 720))


def test_beyond_a_hundred_the_first_hundred_are_shown() -> None:
    regions = grid(tiles_of([(1280, 720)] * 130), 1280, 720)
    assert [r.participant_id for r in regions] == [f"p{n}" for n in range(MAX_TILES)]
    assert min(r.height_px for r in regions) >= 60


def test_nobody_gives_an_empty_canvas() -> None:
    assert grid([], 1280, 720) == ()


def test_a_canvas_too_small_for_all_shows_the_first() -> None:
    regions = grid(tiles_of([(16, 9)] * 25), 8, 8)
    assert regions
    assert all(r.x_px + r.width_px <= 8 and r.y_px + r.height_px <= 8 for r in regions)


# ── all of them ──────────────────────────────────────────────────────────────────────────────────────────────────────
def someone(n: int, *, rank: int = 0, size: tuple[int, int] = (1280, 720), source: Source = "camera") -> Tile:
    return Tile(
        participant_id=f"p{n}", track_id=f"{source}{n}", label=f"Person {n}", width_px=size[0], height_px=size[1],
        source=source, rank=rank,
    )  # fmt: skip


def crowd(count: int, speaking: int = 0, before: int = 1) -> list[Tile]:
    """So many cameras; one speaks, another did before."""
    ranks = [speaking, before, *(n for n in range(count) if n not in (speaking, before))]
    return [someone(n, rank=ranks.index(n)) for n in range(count)]


def shared(n: int = 1, size: tuple[int, int] = (1920, 1080)) -> Tile:
    return someone(n, size=size, source="screen")


def placed(name: str, tiles: list[Tile], canvas: tuple[int, int] = (1280, 720)) -> list[Region]:
    return list(LAYOUTS[name].place(tiles, *canvas))


def tracks(regions: list[Region]) -> list[str]:
    return [region.track_id for region in regions]


def test_the_small_picture_stays_inside_of_a_canvas_four_times_as_high_as_wide() -> None:
    _, small = placed("pip", [someone(0), someone(1)], (240, 952))
    assert small.x_px >= 0
    assert small.x_px + small.width_px <= 240


def apart(a: Region, b: Region) -> bool:
    return (
        a.x_px + a.width_px <= b.x_px
        or b.x_px + b.width_px <= a.x_px
        or a.y_px + a.height_px <= b.y_px
        or b.y_px + b.height_px <= a.y_px
    )


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(list(LAYOUTS)),
    people=st.lists(st.sampled_from(SHAPES) | st.just((0, 0)), max_size=16),
    order=st.randoms(),
    screens=st.integers(0, 2),
    canvas=canvases,
)
def test_every_layout_keeps_inside_even_and_true_to_shape(
    name: str, people: list[tuple[int, int]], order: Any, screens: int, canvas: tuple[int, int]
) -> None:
    ranks = order.sample(range(len(people)), len(people))
    tiles = [someone(n, rank=rank, size=size) for n, (rank, size) in enumerate(zip(ranks, people, strict=True))]
    tiles += [shared(90 + n) for n in range(screens)]
    regions = placed(name, tiles, canvas)
    assert bool(regions) == bool(tiles)
    assert len({(r.participant_id, r.track_id) for r in regions}) == len(regions), "nobody is there twice"
    sizes = {tile.track_id: (tile.width_px, tile.height_px) if tile.width_px else (16, 9) for tile in tiles}
    for region in regions:
        x, y, w, h = region.x_px, region.y_px, region.width_px, region.height_px
        assert x % 2 == y % 2 == w % 2 == h % 2 == 0
        assert min(x, y) >= 0
        assert min(w, h) >= 2
        assert x + w <= canvas[0]
        assert y + h <= canvas[1]
        true_w, true_h = sizes.get(region.track_id, (16, 9))
        assert min(abs(Fraction(h * true_w, true_h) - w), abs(Fraction(w * true_h, true_w) - h)) <= 2
    if name != "pip":
        assert all(apart(a, b) for n, a in enumerate(regions) for b in regions[:n])


@pytest.mark.parametrize("name", ["grid", "screen", "audio-only"])
def test_who_speaks_is_not_asked_where_it_does_not_matter(name: str) -> None:
    assert not LAYOUTS[name].by_speaker
    assert placed(name, crowd(5, speaking=3)) == placed(name, crowd(5, speaking=1, before=4))


@pytest.mark.parametrize("name", ["speaker", "single-speaker", "side-by-side", "pip"])
def test_who_speaks_is_asked_where_it_matters(name: str) -> None:
    assert LAYOUTS[name].by_speaker
    assert placed(name, crowd(5, speaking=3, before=4)) != placed(name, crowd(5, speaking=1, before=0))


def test_the_speaker_is_large_and_the_others_stand_in_a_strip_in_their_order() -> None:
    large, *strip = placed("speaker", crowd(5, speaking=2))
    assert boxes((large,)) == [(8, 76, 1008, 568)]
    assert tracks([large, *strip]) == ["camera2", "camera0", "camera1", "camera3", "camera4"]
    assert {r.x_px for r in strip} == {1032}
    assert [r.y_px for r in strip] == sorted(r.y_px for r in strip)
    assert {(r.width_px, r.height_px) for r in strip} == {(240, 136)}


def test_in_a_film_higher_than_wide_the_strip_lies_below() -> None:
    large, *strip = placed("speaker", crowd(4, speaking=3), (720, 1280))
    assert large.width_px == 704
    assert all(r.y_px >= 1024 > large.y_px + large.height_px for r in strip)


def test_a_strip_shows_those_who_spoke_last_and_no_more_than_can_be_seen() -> None:
    large, *strip = placed("speaker", crowd(25, speaking=24, before=23))
    assert len(strip) == MAX_STRIP
    assert (large.track_id, strip[-1].track_id) == ("camera24", "camera23")
    assert min(r.height_px for r in strip) >= 60


def test_alone_the_speaker_fills_the_canvas() -> None:
    for name in ("grid", "speaker", "single-speaker", "side-by-side", "pip"):
        assert boxes(tuple(placed(name, crowd(1)))) == [(0, 0, 1280, 720)], name


def test_a_single_speaker_is_all_that_is_shown() -> None:
    assert [(r.track_id, *boxes((r,))) for r in placed("single-speaker", crowd(4, speaking=2))] == [
        ("camera2", (0, 0, 1280, 720))
    ]


def test_the_last_two_speakers_keep_their_sides() -> None:
    one, other = (
        placed("side-by-side", crowd(4, speaking=3, before=1)),
        placed("side-by-side", crowd(4, speaking=1, before=3)),
    )
    assert one == other
    assert tracks(one) == ["camera1", "camera3"]
    assert one[0].x_px + one[0].width_px < one[1].x_px


def test_the_picture_in_the_picture_lies_in_the_corner_above_the_other() -> None:
    regions = placed("pip", crowd(4, speaking=2, before=0))
    assert tracks(regions) == ["camera2", "camera0"]
    assert boxes(tuple(regions)) == [(0, 0, 1280, 720), (944, 524, 320, 180)]


@pytest.mark.parametrize("name", ["grid", "speaker", "screen"])
def test_a_shared_screen_is_large_while_it_is_there(name: str) -> None:
    tiles = [*crowd(3, speaking=2), shared(1)]
    screen, *strip = placed(name, tiles)
    assert screen.track_id == "screen1"
    assert screen.width_px * screen.height_px > 0.6 * 1280 * 720
    assert tracks(strip) == ["camera0", "camera1", "camera2"]
    assert "screen1" not in tracks(placed(name, tiles[:-1]))


def test_two_screens_share_the_stage() -> None:
    regions = placed("screen", [*crowd(3), shared(0), shared(2)])
    assert tracks(regions) == ["screen0", "screen2", "camera0", "camera1", "camera2"]
    assert min(r.width_px for r in regions[:2]) > 2 * max(r.width_px for r in regions[2:])


def test_who_shares_and_has_no_camera_keeps_a_card() -> None:
    tiles = [someone(0), shared(1)]
    assert [(r.participant_id, r.track_id) for r in placed("grid", tiles)] == [
        ("p1", "screen1"), ("p0", "camera0"), ("p1", ""),
    ]  # fmt: skip
    assert [(r.participant_id, r.track_id) for r in placed("audio-only", tiles)] == [("p0", ""), ("p1", "")]


def test_beside_a_shared_screen_stands_who_speaks() -> None:
    tiles = [*crowd(3, speaking=2), shared(0)]
    assert tracks(placed("side-by-side", tiles)) == ["screen0", "camera2"]
    assert tracks(placed("pip", tiles)) == ["screen0", "camera2"]
    assert tracks(placed("single-speaker", tiles)) == ["camera2"]


def test_without_pictures_everybody_is_one_card() -> None:
    second = someone(1, source="other")
    assert [(r.participant_id, r.track_id) for r in placed("audio-only", [*crowd(3), second, shared(2)])] == [
        ("p0", ""), ("p1", ""), ("p2", ""),
    ]  # fmt: skip


# ── the pictures in the docs ─────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("name", list(layout_pictures.PICTURES))
def test_the_pictures_in_the_docs_show_the_layouts_as_they_are(name: str) -> None:
    with Image.open(layout_pictures.FOLDER / f"{name}.png") as stored:
        drawn, there = layout_pictures.draw(name).convert("RGB"), stored.convert("RGB")
    assert drawn.size == there.size
    off = max(ImageStat.Stat(ImageChops.difference(drawn, there)).mean)
    assert off < 1, "stale: python -m tests.kit.layout_pictures"


def test_every_layout_has_its_picture() -> None:
    assert {name.removesuffix("-portrait").removesuffix("-dressed") for name in layout_pictures.PICTURES} == {
        *LAYOUTS,
        "custom",
    }
    page = (layout_pictures.FOLDER.parent / "layouts.md").read_text()
    assert all(f"(layouts/{name}.png)" in page for name in layout_pictures.PICTURES)
