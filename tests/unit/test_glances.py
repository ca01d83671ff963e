"""Which pictures of a window are kept for thumbnails, and the object that they are kept in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callreel import glances, waveforms
from callreel.glances import Glance


def plan(first: int, *slices: int, fps: int = 30) -> dict[str, Any]:
    """A window from this picture on, with slices of so many."""
    pieces = [{"pictures": count, "tiles": []} for count in slices]
    profile = {"fps": fps, "width_px": 1280, "height_px": 720, "audio_rate_hz": 48_000}
    return {"profile": profile, "firstPicture": first, "pictures": sum(slices), "slices": pieces}


@pytest.mark.parametrize(
    ("window", "keys", "kept"),
    [
        (plan(0, 240), [0, 60, 120, 180], (0, 60, 120, 180)),
        (plan(240, 90, 150), [0, 60, 90, 150, 210], (0, 60, 90, 150)),  # at 2, 4, 6 s
        (plan(240, 90, 30, 120), [0, 60, 90, 120, 180], (0, 60, 120, 180)),
        (plan(240, *[1] * 240), list(range(240)), (0, 60, 120, 180)),
        (plan(48, 48), [0], (0,)),  # from 1.6 s, so that 2 s are in it …
        (plan(90, 29), [0], ()),  # … and from 3 s to almost 4
        (plan(200, 24, 176, fps=25), [0, 24, 74, 124, 174], (0, 24, 74, 124)),
        (plan(0), [], ()),
    ],
)  # fmt: skip
def test_what_is_kept_is_the_last_key_picture_before_each_two_seconds(
    window: dict[str, Any], keys: list[int], kept: tuple[int, ...]
) -> None:
    assert glances.key_pictures(window) == keys
    assert glances.looked_at(window) == kept


@given(st.integers(0, 10_000), st.lists(st.integers(1, 100), max_size=8), st.sampled_from([24, 25, 30, 50, 60]))
def test_every_grid_point_in_a_window_has_its_picture(first: int, slices: list[int], fps: int) -> None:
    window = plan(first, *slices, fps=fps)
    from_us, to_us = glances.span_us(window)
    grid_us = [at_us for at_us in range(0, to_us, 2_000_000) if at_us >= from_us]
    kept = glances.looked_at(window)
    found = Glance(pictures=dict.fromkeys(kept, b""), swings=None).numbers(from_us, grid_us, fps)
    assert len(found) == len(grid_us)
    assert set(found) == set(kept)
    for number, at_us in zip(found, grid_us, strict=True):
        shown = glances.shown_us(from_us, number, fps)
        assert at_us - 2_000_000 < shown <= at_us
        assert not any(shown < glances.shown_us(from_us, k, fps) <= at_us for k in glances.key_pictures(window))


def test_a_glance_comes_back_as_it_was() -> None:
    kept = Glance(pictures={0: b"one", 60: b"", 120: b"three"}, swings=np.array([0, 0.25, 1, 1.5]))
    found = glances.decode(glances.encode(kept))
    assert found is not None
    assert found.pictures == kept.pictures
    assert found.swings is not None
    assert np.abs(found.swings - [0, 0.25, 1, 1]).max() < 1e-4
    assert glances.decode(glances.encode(Glance(pictures={}, swings=None))) == Glance(pictures={}, swings=None)


def test_what_rotted_or_is_of_another_version_counts_as_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    data = glances.encode(Glance(pictures={0: b"picture"}, swings=np.zeros(80)))
    assert glances.decode(data[:-1]) is None
    assert glances.decode(data[:-1] + b"!") is None
    assert glances.decode(data[:20]) is None
    assert glances.decode(b"") is None
    assert glances.decode(data[:10] + b"\xff" + data[11:]) is None
    monkeypatch.setattr(glances, "GLANCE_VERSION", 2)
    assert glances.decode(data) is None


def test_the_swings_of_two_windows_that_meet_within_a_point_are_those_of_one() -> None:
    heard = np.random.default_rng(1).random(48_000, np.float32)
    whole = waveforms.of_sound(heard, 0, 48_000)
    assert len(whole) == 10
    found = np.zeros(10)
    for from_sample, to_sample in ((0, 7_000), (7_000, 9_601), (9_601, 48_000)):
        part = waveforms.of_sound(heard[from_sample:to_sample], from_sample, 48_000)
        first = waveforms.first_point(from_sample, 48_000)
        found[first : first + len(part)] = np.maximum(found[first : first + len(part)], part)
    assert np.array_equal(found, whole)
