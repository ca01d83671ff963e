"""Which pictures of a film are thumbnails, where they lie on sheets, and what their cues say."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callreel import previews, waveforms
from callreel.manifest import Film
from callreel.outputs import DEFAULT
from callreel.previews import MOST, plan_thumbnails, webvtt, with_queries
from callreel.profiles import PROFILES, Profile
from callreel.windows import Window

WINDOW_US = 8_000_000


def film(duration_us: int, profile: Profile = PROFILES["720p"], people: tuple[int, ...] = ()) -> Film:
    """A film of windows in which so many people are seen."""
    windows = []
    for k, from_us in enumerate(range(0, duration_us, WINDOW_US)):
        to_us = min(from_us + WINDOW_US, duration_us)
        count = (to_us - from_us) * profile.fps // 1_000_000
        tiles = [{"input": n} for n in range(people[k] if k < len(people) else 1)]
        slices = [{"pictures": count, "tiles": [*tiles, {"label": "a card"}]}]
        plan = {"firstPicture": from_us * profile.fps // 1_000_000, "pictures": count, "slices": slices}
        windows.append(Window(k=k, key=str(k), seen=plan, hear=list, from_us=from_us, to_us=to_us))
    return Film(output=DEFAULT, profile=profile, windows=tuple(windows))


@pytest.mark.parametrize(("hours", "step_s"), [(0.1, 2), (0.5, 2), (1, 4), (2, 8), (3, 16), (24, 128), (168, 1024)])
def test_a_long_film_has_no_more_thumbnails_than_a_short_one(hours: float, step_s: int) -> None:
    wanted = plan_thumbnails(film(int(hours * 3_600_000_000)))
    assert wanted.grid_us[1] - wanted.grid_us[0] == step_s * 1_000_000
    assert len(wanted.grid_us) <= MOST
    assert wanted.sheets <= 10


def test_every_thumbnail_has_a_place_of_its_own_inside_of_its_sheet() -> None:
    wanted = plan_thumbnails(film(415_000_000))
    places = [wanted.place(number) for number in range(len(wanted.grid_us))]
    assert len(set(places)) == len(places) == 208
    assert [wanted.sheet_px(sheet) for sheet in range(wanted.sheets)] == [(1600, 900), (1600, 900), (1280, 90)]
    for sheet, x, y in places:
        width_px, height_px = wanted.sheet_px(sheet)
        assert x + 160 <= width_px
        assert y + 90 <= height_px


def test_films_higher_than_wide_have_thumbnails_like_them() -> None:
    profile = Profile(
        **{**{f: getattr(PROFILES["720p"], f) for f in Profile.__slots__}, "width_px": 720, "height_px": 1280}
    )
    wanted = plan_thumbnails(film(8_000_000, profile))
    assert (wanted.tile_px, wanted.poster_px) == ((90, 160), (360, 640))


def test_the_poster_is_the_middle_of_those_with_the_most_people() -> None:
    wanted = plan_thumbnails(film(48_000_000, people=(1, 3, 3, 3, 2, 1)))
    assert wanted.grid_us[wanted.poster] == 20_000_000
    assert plan_thumbnails(film(1_000_000)).poster == 0


@given(st.integers(min_value=100_000, max_value=2_000_000_000))
def test_cues_follow_each_other_from_the_first_to_the_last_moment(duration_us: int) -> None:
    wanted = plan_thumbnails(film(duration_us))
    shown_us = [at_us - at_us % 7 * 100_000 for at_us in wanted.grid_us]  # key frames are where they are
    lines = [line for line in webvtt(wanted, shown_us, duration_us).splitlines() if " --> " in line]
    edges = [line.split(" --> ") for line in lines]
    assert edges[0][0] == "00:00:00.000"
    assert [to for _, to in edges[:-1]] == [begins for begins, _ in edges[1:]]
    assert len(edges) == len(wanted.grid_us)


def test_every_image_of_the_cues_gets_its_own_query_once() -> None:
    wanted = plan_thumbnails(film(415_000_000))
    asked: list[str] = []

    def query_of(name: str) -> str:
        asked.append(name)
        return f"signature={len(asked)}"

    text = with_queries(webvtt(wanted, wanted.grid_us, 415_000_000), query_of)
    assert asked == [previews.sheet_name(sheet) for sheet in range(3)]
    images = [line for line in text.splitlines() if "#xywh=" in line]
    assert images[0] == "sprite-000.jpg?signature=1#xywh=0,0,160,90"
    assert images[-1] == "sprite-002.jpg?signature=3#xywh=1120,0,160,90"
    assert len(images) == 208


def test_a_waveform_is_told_to_both_sides() -> None:
    told = json.loads(waveforms.encode(np.array([0.0, 1.0, 0.5, 2.0])))
    assert told["data"] == [0, 0, -127, 127, -64, 64, -127, 127]
    assert (told["length"], told["sample_rate"] // told["samples_per_pixel"]) == (4, 10)
