"""What is kept of a window to be looked at: of what is in it, there before it, and its bytes are the same for it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from callreel import glances, keys
from callreel.storage import Storage
from tests.kit import ffmpegs
from tests.kit.build import build_recording
from tests.kit.call_generator import generate_call
from tests.kit.line import plan_now, settings_for
from workers import glance as making
from workers import render as rendering
from workers.bench import Bench
from workers.jobs import bench as make_bench
from workers.planning import store_plans
from workers.previews import mix_swings
from workers.render import render_window

CAPTURE = generate_call(seed=4, count=1, length_ms=2_400)
SMALL = {"width": 256, "height": 144}


def planned(root: Path, redis_url: str, output: dict[str, Any], ffmpeg: str = "") -> tuple[Bench, str, list[str]]:
    """A recording, and the keys of the windows that are to be rendered."""
    recording_id = build_recording(root, CAPTURE, options={"outputs": [{"name": "film", **output}]})
    bench = make_bench(settings_for(root, redis_url, ffmpeg=ffmpeg))
    return bench, recording_id, store_plans(bench.storage, plan_now(bench, recording_id))


def glance(storage: Storage, recording_id: str, key: str) -> glances.Glance:
    found = glances.decode(storage.get(keys.window_glance(recording_id, key)))
    assert found
    return found


def packets(window: Path) -> list[tuple[int, int | None, bytes]]:
    with av.open(str(window)) as file:
        headers = [(stream.index, None, stream.codec_context.extradata or b"") for stream in file.streams]
        return headers + [(packet.stream.index, packet.pts, bytes(packet)) for packet in file.demux() if packet.size]


@pytest.mark.parametrize("ffmpeg", ffmpegs.found())
@pytest.mark.parametrize(
    "output",
    [
        {"container": "mp4", **SMALL},
        {"container": "webm", "videoCodec": "vp8", **SMALL},
        {"container": "webm", "videoCodec": "vp9", **SMALL},
    ],
)
def test_a_window_has_the_same_bytes_as_without_one(
    data_dir: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch, ffmpeg: str, output: dict[str, Any]
) -> None:
    bench, recording_id, (key,) = planned(data_dir, redis_url, output, ffmpeg)
    stored = json.loads(bench.storage.get(keys.window_plan(recording_id, key)))
    if output.get("videoCodec") == "vp8":  # at a speed above zero libvpx looks at the clock: no two windows are alike
        stored["plan"]["profile"]["speed"] = "-8"
    made = []
    for kept in ((0, 60), ()):
        folder = data_dir / f"with{len(kept)}"
        folder.mkdir()
        with monkeypatch.context() as patched:
            if not kept:
                patched.setattr(glances, "looked_at", lambda plan: ())
            window = rendering.render(bench.storage, bench.settings, stored["plan"], stored["objects"], folder, [])
        found = glances.decode((folder / "glance.bin").read_bytes())
        assert found
        assert tuple(found.pictures) == kept
        made.append(
            window.read_bytes() if window.suffix == ".mp4" else packets(window)
        )  # Matroska's have a random name
    assert made[0] == made[1]


def test_it_is_stored_before_its_window_and_again_where_that_came_out_otherwise(
    data_dir: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, recording_id, (key,) = planned(data_dir, redis_url, {"container": "mp4", **SMALL})
    put = bench.storage.put_if_absent

    def dying(name: str, data: bytes) -> bool:
        if name == keys.window(recording_id, key):
            raise OSError("killed")
        return put(name, data)

    with monkeypatch.context() as patched:
        patched.setattr(bench.storage, "put_if_absent", dying)
        with pytest.raises(OSError, match="killed"):
            render_window(bench.storage, bench.settings, recording_id, key)
    assert not rendering.exists(bench.storage, keys.window(recording_id, key))
    before = glance(bench.storage, recording_id, key)
    assert render_window(bench.storage, bench.settings, recording_id, key, cards_only=True)
    after = glance(bench.storage, recording_id, key)
    seen, card = (np.asarray(Image.open(io.BytesIO(each.pictures[60])).convert("RGB")) for each in (before, after))
    assert np.abs(seen.astype(int) - card).mean() > 10
    assert not render_window(bench.storage, bench.settings, recording_id, key)
    assert glance(bench.storage, recording_id, key).pictures == after.pictures


def test_sound_swings_as_it_does_in_the_film(data_dir: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLREEL_WINDOW_MS", "1600")
    bench, recording_id, window_keys = planned(data_dir, redis_url, {"container": "wav"})
    build = plan_now(bench, recording_id)
    for key in window_keys:
        assert render_window(bench.storage, bench.settings, recording_id, key)
        assert glance(bench.storage, recording_id, key).pictures == {}
    kept = mix_swings(bench.storage, recording_id, build.films[0])
    for key in window_keys:
        bench.storage.delete(keys.window_glance(recording_id, key))
    decoded = mix_swings(bench.storage, recording_id, build.films[0])
    assert kept.shape == decoded.shape == (24,)
    assert kept.max() > 0.2
    assert np.abs(kept - decoded).max() < 1e-3  # 16 bits of the one, 15 of the other


@pytest.mark.parametrize("size_bytes", [0, 1, 160 * 90 * 3, 2 * 160 * 90 * 3 + 1])
def test_no_window_fails_for_want_of_its_small_pictures(tmp_path: Path, size_bytes: int) -> None:
    profile = {"fps": 30, "width_px": 1280, "height_px": 720, "audio_rate_hz": 48_000}
    plan = {"k": 0, "profile": profile, "firstPicture": 0, "pictures": 120, "slices": [{"pictures": 120, "tiles": []}]}
    assert glances.looked_at(plan) == (0, 60)
    small = tmp_path / "small.rgb"
    small.write_bytes(bytes(size_bytes))
    found = glances.decode(making.make(plan, small, None))
    assert found == glances.Glance(pictures={}, swings=None)
    small.unlink()
    assert glances.decode(making.make(plan, small, None)) == found
