"""Windows of one film, rendered in turn by every ffmpeg that is here: they join, and each shows what it should when."""

from __future__ import annotations

import base64
import io
import itertools
import json
from dataclasses import replace
from pathlib import Path

import av
import pytest
from PIL import Image

from callreel import glances, keys
from callreel.states import Status
from tests.kit import ffmpegs
from tests.kit.build import build_recording
from tests.kit.call_generator import Person, generate_call
from tests.kit.container import facts_of
from tests.kit.figures import measure
from tests.kit.forms import Recorder
from tests.kit.line import make_film, plan_now, settings_for
from workers import ffmpeg as runner
from workers.jobs import bench as make_bench
from workers.planning import store_plans
from workers.render import render_window

LENGTH_MS, WINDOW_MS = 6_400, 1_600
ERROR_MS = 20
SIZE = {"width": 320, "height": 180}
#: What filters of another version could do otherwise: sources that turn, cards, a background, a logo.
RECORDERS = {"p0": Recorder.MP4_AVC3, "p1": Recorder.WEBM_VP9}


def change(person: Person) -> Person:
    usual = replace(person, recorder=RECORDERS[person.name], size=(160, 90), fps=30, spans_ms=((0, LENGTH_MS + 50),))
    return replace(usual, later=((2_200, (90, 160)), (4_100, (160, 90)))) if person.name == "p0" else usual


def test_one_film_of_all_of_them(data_dir: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = io.BytesIO()
    Image.new("RGBA", (8, 8), (255, 255, 255, 60)).save(mark, "PNG")
    image = "data:image/png;base64," + base64.b64encode(mark.getvalue()).decode()
    layout = {"name": "grid", "background": "#2060A0", "logo": {"image": image, "corner": "top-right", "width": 4}}
    outputs = [{"name": "film", "container": "mp4", **SIZE}, {"name": "web", "container": "webm", **SIZE, "fps": 25}]
    capture = generate_call(11, count=2, length_ms=LENGTH_MS, change=change)
    recording_id = build_recording(data_dir, capture, options={"layout": layout, "outputs": outputs})
    monkeypatch.setenv("CALLREEL_WINDOW_MS", str(WINDOW_MS))

    found = ffmpegs.found()
    print("rendered by", [runner.version(path) for path in found])
    benches = [make_bench(settings_for(data_dir, redis_url, ffmpeg=path)) for path in found]
    window_keys = store_plans(benches[0].storage, plan_now(benches[0], recording_id))
    assert len(window_keys) == 2 * LENGTH_MS / WINDOW_MS > len(found)
    for key, bench in zip(window_keys, itertools.cycle(benches), strict=False):
        assert render_window(bench.storage, bench.settings, recording_id, key)
        kept = glances.decode(bench.storage.get(keys.window_glance(recording_id, key)))
        assert kept
        assert kept.swings is not None
        plan = json.loads(bench.storage.get(keys.window_plan(recording_id, key)))["plan"]
        assert tuple(kept.pictures) == glances.looked_at(plan)
    for path in found:  # joined by each of them as well, the last time for good
        monkeypatch.setenv("CALLREEL_FFMPEG", path)
        made = make_film(data_dir, redis_url, recording_id)
        assert (made.status, made.encoded, made.manifest["leftOut"]) == (Status.COMPLETED, [], [])
    for name, fps in (("film.mp4", 30), ("web.webm", 25)):
        facts = facts_of(made.files[name])
        assert (facts.pictures, facts.uniform, facts.first_picture_ms) == (LENGTH_MS * fps // 1000, True, 0)
    with av.open(str(made.files["film.mp4"])) as file:
        told = file.streams.video[0].codec_context
        assert (told.color_range, told.colorspace, told.color_primaries, told.color_trc) == (1, 1, 1, 1)
    seen = measure(made, capture, "all", 11, still=False)
    print(seen)
    assert seen.picture_worst_ms <= ERROR_MS, seen
    assert seen.sound_ms <= ERROR_MS, seen
    assert seen.unread <= 30, seen
