"""The grid: everybody inside, nobody overlapped, true to shape, and as large as can be."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callreel.layouts import LAYOUTS, MAX_TILES, Region, Tile, grid

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


def test_the_grid_is_registered() -> None:
    assert LAYOUTS["grid"] is grid
