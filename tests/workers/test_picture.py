"""The pictures of a window: every slice has its own, however short, and people come in on the picture they came."""

from __future__ import annotations

from pathlib import Path

import pytest

from callreel import repository, slices
from callreel.storage.local import LocalStorage
from tests.kit import eyes
from tests.kit.build import build_recording
from tests.kit.call_generator import generate_call
from tests.kit.line import settings_for
from workers.planning import plan, store_plans
from workers.render import render_window

PICTURE_MS = 1000 / 30


def test_slices_of_one_and_two_pictures_are_shown_on_their_pictures(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seed 5 has people coming in on pictures 0, 2, 3 and 6: concat would lose the slice that has one picture."""
    monkeypatch.setattr(slices, "_OPENING_S", 0)  # at the start all of them would be shown at once
    capture = generate_call(5)
    storage = LocalStorage(data_dir, fsync=False)
    recording_id = build_recording(storage, capture)
    settings = settings_for(data_dir, "redis://never-asked")
    build = plan(storage, settings, repository.load(storage, recording_id))
    first = build.windows[0].plan
    assert [piece["pictures"] for piece in first["slices"]][:3] == [2, 1, 3]
    key = store_plans(storage, build)[0]
    assert render_window(storage, settings, recording_id, key)

    window = data_dir / f"recordings/{recording_id}/derived/windows/{key}.mp4"
    names = {name: capture.rgb_of(name) for name in ("p5", "p0")}
    view = eyes.watch(window, names, clocks=True)
    assert len(view.times_ms) == 240
    drawn = capture.runs_of("p5")[0].drawn_ms
    for number, seen in enumerate(view.sights["p5"].clock_ms[:12]):
        nearest = min(drawn, key=lambda at: abs(at - number * PICTURE_MS))
        assert seen is not None
        # of two equally near pictures either may be shown; clocks of browsers are believed to 2 ms
        assert abs(seen - number * PICTURE_MS) <= abs(nearest - number * PICTURE_MS) + 5, f"picture {number}"
    assert [state != eyes.ABSENT for state in view.sights["p0"].state[:4]] == [False, False, True, True]


def test_a_film_opens_with_everybody_who_is_there(data_dir: Path) -> None:
    capture = generate_call(5)
    storage = LocalStorage(data_dir, fsync=False)
    recording_id = build_recording(storage, capture)
    settings = settings_for(data_dir, "redis://never-asked")
    key = store_plans(storage, plan(storage, settings, repository.load(storage, recording_id)))[0]
    assert render_window(storage, settings, recording_id, key)
    window = data_dir / f"recordings/{recording_id}/derived/windows/{key}.mp4"
    names = {name: capture.rgb_of(name) for name in ("p5", "p0", "p2", "p1")}
    view = eyes.watch(window, names)
    for name in names:
        assert view.sights[name].state[0] != eyes.ABSENT, name
