"""Layouts in films: who speaks is large when they speak, and what lies above is seen above."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from callreel import keys, repository
from callreel.manifest import Build
from callreel.storage.local import LocalStorage
from tests.kit.build import build_recording
from tests.kit.call_generator import generate_call
from tests.kit.capture import Capture
from tests.kit.line import settings_for
from tests.kit.voices import Turns, recorded, sound_call, voice
from workers.cards import card_png
from workers.planning import plan, store_plans
from workers.render import render

LENGTH_S = 30
TURNS: list[Turns] = [
    [(0.5, 5.0), (14.0, 18.0)],
    [(5.3, 9.5), (18.4, 23.0)],
    [(9.8, 13.6), (23.5, 29.0)],
]
FPS = 30


def planned(root: Path, capture: Capture, **options: Any) -> tuple[Build, LocalStorage]:
    storage = LocalStorage(root, fsync=False)
    recording_id = build_recording(storage, capture, options={"preset": "480p", **options})
    settings = settings_for(root, "redis://never-asked")
    return plan(storage, settings, repository.load(storage, recording_id)), storage


def test_who_speaks_is_large_while_they_speak(data_dir: Path) -> None:
    files = {f"p{n}": recorded(voice(own, LENGTH_S, seed=n)) for n, own in enumerate(TURNS)}
    outputs = [{"name": "film", "container": "mp4"}, {"name": "alone", "container": "mp4", "trackId": "p1-microphone"}]
    build, _ = planned(data_dir, sound_call(files, LENGTH_S * 1000), layout="speaker", outputs=outputs)
    film, alone = build.films
    large = [
        max(piece["tiles"], key=lambda tile: tile["width"])["label"]
        for window in film.windows
        for piece in window.plan["slices"]
        for _ in range(piece["pictures"])
    ]
    for n, own in enumerate(TURNS):
        for begin, end in own:
            assert large[int((end - 0.2) * FPS)] == f"P{n}", (begin, end)
    (where,) = {(tile["width"], tile["x"]) for w in alone.windows for s in w.plan["slices"] for tile in s["tiles"]}
    assert where == (854, 0), "a track alone has nobody to be arranged with"


def test_a_turn_that_nobody_sees_is_no_border(data_dir: Path) -> None:
    files = {f"p{n}": recorded(voice(own[:1], 12, seed=n)) for n, own in enumerate(TURNS[:2])}
    build, _ = planned(data_dir, sound_call(files, 12_000), layout="side-by-side")
    assert [len(window.plan["slices"]) for window in build.windows] == [1, 1]


def test_cards_and_pictures_lie_above_what_was_listed_before_them(data_dir: Path, tmp_path: Path) -> None:
    capture = generate_call(30, count=2, length_ms=5000)
    regions = [
        {"name": "all", "x": 0, "y": 0, "width": 100, "height": 100, "source": {"participantId": "p0"}},
        {"name": "inset", "x": 40, "y": 40, "width": 20, "height": 20, "source": {"participantId": "p1"}},
    ]
    build, storage = planned(data_dir, capture, layout={"regions": regions})
    key = store_plans(storage, build)[0]
    stored = json.loads(storage.get(keys.window_plan(build.recording.recording_id, key)))
    card = {"label": "Zoe", "x": 360, "y": 60, "width": 128, "height": 72}
    first = stored["plan"]["slices"][0]
    assert ["input" in tile for tile in first["tiles"]] == [True, True]
    inset = first["tiles"][1]
    first["tiles"].append(card)
    settings = settings_for(data_dir, "redis://never-asked")
    film = render(storage, settings, stored["plan"], stored["objects"], tmp_path, [])
    with av.open(film) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    drawn = np.asarray(Image.open(io.BytesIO(card_png("Zoe", 128, 72))).convert("RGB")).astype(int)
    assert np.abs(picture[60:132, 360:488] - drawn).mean() < 6
    x, y, right, bottom = (inset["x"], inset["y"], inset["x"] + inset["width"], inset["y"] + inset["height"])
    for who, area in {"p0": picture[200:280, 20:120], "p1": picture[y:bottom, x:right]}.items():
        colour, rgb = np.median(area.reshape(-1, 3), axis=0), np.array(capture.rgb_of(who))
        assert np.abs(colour / colour.max() - rgb / rgb.max()).max() < 0.3, (who, colour)


def test_the_background_is_seen_where_nothing_is_shown_and_is_in_the_key(data_dir: Path, tmp_path: Path) -> None:
    capture = generate_call(30, count=1, length_ms=1_000)
    aside = {"regions": [{"name": "a", "x": 0, "y": 0, "width": 40, "height": 100, "source": {"participantId": "p0"}}]}
    outputs = [{"name": "film", "container": "mp4", "width": 320, "height": 180}]
    plain, _ = planned(data_dir / "plain", capture, layout=aside, outputs=outputs)
    build, storage = planned(data_dir / "own", capture, layout={**aside, "background": "#2060A0"}, outputs=outputs)
    assert [w.key for w in plain.windows] != [w.key for w in build.windows]
    store_plans(storage, build)
    stored = json.loads(storage.get(keys.window_plan(build.recording.recording_id, build.windows[0].key)))
    settings = settings_for(data_dir / "own", "redis://never-asked")
    film = render(storage, settings, stored["plan"], stored["objects"], tmp_path, [])
    with av.open(film) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    assert np.abs(np.median(picture[:, 140:].reshape(-1, 3), axis=0) - (0x20, 0x60, 0xA0)).max() < 8
    assert np.abs(np.median(picture[60:120, 10:110].reshape(-1, 3), axis=0) - (0x20, 0x60, 0xA0)).max() > 30


def test_a_picture_lies_below_everything_and_one_that_is_none_is_left_out(data_dir: Path, tmp_path: Path) -> None:
    """Twice as wide as the canvas in proportion: its blue middle is seen, the red at both sides is cut off."""
    wall = Image.new("RGB", (320, 90), (255, 0, 0))
    wall.paste((0, 0, 255), (80, 0, 240, 90))
    file = io.BytesIO()
    wall.save(file, "PNG")
    capture = generate_call(30, count=1, length_ms=1_000)
    outputs = [{"name": "film", "container": "mp4", "width": 320, "height": 180}]
    aside = {"regions": [{"name": "a", "x": 0, "y": 0, "width": 40, "height": 100, "source": {"participantId": "p0"}}]}
    for name, data, seen in (
        ("whole", file.getvalue(), (0, 0, 255)),
        ("broken", file.getvalue()[:40], (0x10, 0x13, 0x19)),
    ):
        image = "data:image/png;base64," + base64.b64encode(data).decode()
        build, storage = planned(data_dir / name, capture, layout={**aside, "background": image}, outputs=outputs)
        store_plans(storage, build)
        stored = json.loads(storage.get(keys.window_plan(build.recording.recording_id, build.windows[0].key)))
        assert image not in json.dumps(stored)
        folder = tmp_path / name
        folder.mkdir()
        settings = settings_for(data_dir / name, "redis://never-asked")
        film = render(storage, settings, stored["plan"], stored["objects"], folder, [])
        with av.open(film) as container:
            picture = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
        assert np.abs(np.median(picture[:, 140:].reshape(-1, 3), axis=0) - seen).max() < 12
        assert np.abs(np.median(picture[8:40, 8:120].reshape(-1, 3), axis=0) - seen).max() < 12, "above the tile"
        assert np.abs(np.median(picture[60:120, 10:110].reshape(-1, 3), axis=0) - seen).max() > 20


def test_a_logo_lies_above_everything_and_one_that_is_no_picture_is_left_out(data_dir: Path, tmp_path: Path) -> None:
    """Half of it red, half of it clear; the broken one has a good header and nothing behind it."""
    mark = Image.new("RGBA", (40, 20))
    mark.paste((255, 0, 0, 255), (0, 0, 20, 20))
    file = io.BytesIO()
    mark.save(file, "PNG")
    capture = generate_call(30, count=1, length_ms=1_000)
    outputs = [{"name": "film", "container": "mp4", "width": 320, "height": 180}]
    seen = []
    for name, data in (("whole", file.getvalue()), ("broken", file.getvalue()[:40])):
        image = "data:image/png;base64," + base64.b64encode(data).decode()
        asked = {"name": "grid", "logo": {"image": image, "corner": "bottom-left", "width": 25}}
        build, storage = planned(data_dir / name, capture, layout=asked, outputs=outputs)
        store_plans(storage, build)
        stored = json.loads(storage.get(keys.window_plan(build.recording.recording_id, build.windows[0].key)))
        where = stored["plan"]["slices"][0]["logo"]
        assert (where["x"], where["y"], where["width"], where["height"]) == (2, 138, 80, 40)
        assert image not in json.dumps(stored)
        folder = tmp_path / name
        folder.mkdir()
        film = render(
            storage, settings_for(data_dir / name, "redis://never-asked"), stored["plan"], stored["objects"], folder, []
        )
        with av.open(film) as container:
            seen.append(next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int))
    with_logo, without = seen
    red = np.median(with_logo[144:172, 8:36].reshape(-1, 3), axis=0)
    assert red[0] > 200
    assert red[1:].max() < 60
    assert np.abs(with_logo[144:172, 48:76] - without[144:172, 48:76]).mean() < 12, "what is clear stays clear"
    assert np.abs(with_logo[:, 120:] - without[:, 120:]).mean() < 6
