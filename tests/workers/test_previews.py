"""Thumbnails, waveforms and the editor's timeline, held against the call: what a cue says is in its picture."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from callreel import glances, keys, previews, rebuild, repository
from callreel.errors import RenderFailed
from callreel.index import Index, connect
from callreel.manifest import Build
from callreel.model import PREVIEWS, Artifact
from callreel.storage.local import LocalStorage
from tests.kit import timecode
from tests.kit.build import STARTED_MS, Upload, build_recording, plan_uploads, put_upload
from tests.kit.call_generator import generate_call
from tests.kit.capture import Capture
from tests.kit.container import facts_of
from tests.kit.eyes import Hues
from tests.kit.line import make_film, plan_now, settings_for
from workers.advance import waiting_previews
from workers.jobs import bench as make_bench
from workers.previews import give_up, make_previews, preview_files

LENGTH_MS = 9_500
SMALL = {"name": "small", "container": "mp4", "width": 320, "height": 180}
POINT_MS = 100
_PICTURE_MS = 34


@dataclass(frozen=True, slots=True)
class Looked:
    """A film with its previews, and one that lacks a chunk."""

    capture: Capture
    root: Path
    recording_id: str
    build: Build
    files: dict[str, bytes]
    before: dict[str, Artifact]  #: while a chunk was missing
    manifest: dict[str, Any]


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory, index_server: str) -> Looked:
    capture = generate_call(seed=4, count=2, length_ms=LENGTH_MS)
    root = tmp_path_factory.mktemp("previews")
    late: Upload = next(upload for upload in plan_uploads(capture, STARTED_MS) if upload.chunk.seq == 1)
    recording_id = build_recording(root, capture, options={"outputs": [SMALL]}, lose=[late.place])
    bench = make_bench(settings_for(root, index_server))
    make_film(root, index_server, recording_id)
    assert waiting_previews(repository.load(bench.storage, recording_id))
    make_previews(bench, recording_id)
    before = {each.name: each for each in repository.load(bench.storage, recording_id).artifacts}

    put_upload(bench.storage, recording_id, late)
    made = make_film(root, index_server, recording_id)
    assert waiting_previews(repository.load(bench.storage, recording_id)), "a late chunk makes them anew"
    make_previews(bench, recording_id)
    state = repository.load(bench.storage, recording_id)
    assert not waiting_previews(state)
    files = {
        each.name: bench.storage.get(keys.artifact(recording_id, each.name, each.sha256))
        for each in state.artifacts
        if each.kind in PREVIEWS and each.status == "ready"
    }
    return Looked(capture, root, recording_id, plan_now(bench, recording_id), files, before, made.manifest)


def cues(text: str) -> Iterator[tuple[int, int, str, tuple[int, int, int, int]]]:
    """(from, to, image, x y width height) of every cue; ms."""
    stamp = r"(\d\d):(\d\d):(\d\d)\.(\d\d\d)"
    for match in re.finditer(rf"{stamp} --> {stamp}\n(\S+)#xywh=(\d+),(\d+),(\d+),(\d+)\n", text):
        numbers = [int(part) for part in match.groups()[:8]]
        from_ms, to_ms = (((h * 60 + m) * 60 + s) * 1000 + ms for h, m, s, ms in (numbers[:4], numbers[4:]))
        x, y, width, height = (int(match[group]) for group in (10, 11, 12, 13))
        yield from_ms, to_ms, match[9], (x, y, width, height)


def test_all_that_was_announced_is_there_and_the_manifest_lists_it(looked: Looked) -> None:
    expected = {each["name"] for each in looked.manifest["previews"]}
    assert looked.files.keys() == expected
    tracks = {previews.wave_name(run.participant, run.track_id) for run in looked.capture.runs if run.kind != "video"}
    assert tracks
    usual = {previews.POSTER, previews.CUES, previews.MIX, previews.TIMELINE, previews.sheet_name(0)}
    assert looked.files.keys() == usual | tracks


def test_the_cues_cover_the_film_without_a_hole(looked: Looked) -> None:
    found = list(cues(looked.files[previews.CUES].decode()))
    assert looked.files[previews.CUES].startswith(b"WEBVTT\n\n")
    assert found[0][0] == 0
    assert abs(found[-1][1] - LENGTH_MS) <= _PICTURE_MS
    assert [to_ms for _, to_ms, _, _ in found[:-1]] == [from_ms for from_ms, _, _, _ in found[1:]]
    assert max(to_ms - from_ms for from_ms, to_ms, _, _ in found) < 4_000


def test_the_thumbnail_of_an_instant_shows_the_time_code_of_that_instant(looked: Looked) -> None:
    sheets = {name.rpartition("/")[2]: data for name, data in looked.files.items() if name.endswith(".jpg")}
    read = 0
    for from_ms, _, image, (x, y, width, height) in cues(looked.files[previews.CUES].decode()):
        with Image.open(io.BytesIO(sheets[image])) as sheet:
            assert x + width <= sheet.width
            assert y + height <= sheet.height
            tile = np.asarray(sheet.crop((x, y, x + width, y + height)).convert("RGB"))
        for name in looked.capture.participants:
            large = np.asarray(Image.fromarray(tile).resize((width * 4, height * 4), Image.Resampling.NEAREST))
            box = Hues(large).find(looked.capture.rgb_of(name))
            if box is None:
                continue
            left, top, right, bottom = box
            shown = timecode.read(np.asarray(Image.fromarray(large).convert("L"))[top:bottom, left:right])
            if shown is not None:
                read += 1
                # who comes within 0.2 s of the start is shown from the first picture on
                may_be_off_ms = 2 * _PICTURE_MS if from_ms else 200
                assert abs(shown - from_ms) <= may_be_off_ms, f"{name} at {from_ms} ms"
    assert read >= 4, "most thumbnails can be read"


def test_the_poster_shows_everybody(looked: Looked) -> None:
    with Image.open(io.BytesIO(looked.files[previews.POSTER])) as poster:
        assert poster.size == (640, 360)
        hues = Hues(np.asarray(poster.convert("RGB")))
    assert all(hues.find(looked.capture.rgb_of(name)) for name in looked.capture.participants)


def swings(data: bytes) -> list[int]:
    told = json.loads(data)
    assert told["version"] == 2
    assert told["channels"] == 1
    assert told["bits"] == 8
    assert told["samples_per_pixel"] * 1000 == POINT_MS * told["sample_rate"]
    assert len(told["data"]) == 2 * told["length"]
    assert [-low for low in told["data"][0::2]] == told["data"][1::2]
    return list(told["data"][1::2])


def test_waveforms_swing_where_somebody_beeps_and_are_silent_where_nobody_does(looked: Looked) -> None:
    mix = swings(looked.files[previews.MIX])
    tracks = [swings(data) for name, data in looked.files.items() if name.startswith("waveforms/p")]
    assert {len(mix), *map(len, tracks)} == {LENGTH_MS // POINT_MS}
    there = [span for name in looked.capture.participants for span in looked.capture.presence(name, sound=True)]
    alone = 0
    for beat_ms in looked.capture.beats_ms[1:-1]:
        beat = beat_ms // POINT_MS
        assert max(max(wave[beat + 4 : beat + 9]) for wave in (mix, *tracks)) <= 1, f"nobody beeps behind {beat_ms} ms"
        if any(from_ms + 200 < beat_ms < to_ms - 200 for from_ms, to_ms in there):
            assert max(mix[beat : beat + 2]) >= 20, f"somebody beeps at {beat_ms} ms"
        elif not any(from_ms - 200 < beat_ms < to_ms + 200 for from_ms, to_ms in there):
            alone += 1
            assert max(mix[beat : beat + 2]) <= 1, f"nobody is there at {beat_ms} ms"
    assert alone >= 1, "the call has a second in which nobody is there"
    assert all(max(wave) >= 20 for wave in tracks)


def reads(storage: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys that are read from here on."""
    get, found = storage.get, list[str]()

    def noting(key: str, *span: int) -> bytes:
        found.append(key)
        return get(key, *span)

    monkeypatch.setattr(storage, "get", noting)
    return found


def test_no_window_is_decoded_but_for_the_poster(looked: Looked, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage(looked.root, fsync=False)
    read = reads(storage, monkeypatch)
    assert dict(preview_files(storage, looked.build)) == looked.files
    assert len([key for key in read if key.startswith(keys.windows_prefix(looked.recording_id))]) == 1
    assert len({key for key in read if key.startswith(keys.glances_prefix(looked.recording_id))}) == 2


@pytest.mark.parametrize("lost", ["all", "one", "rotted"])
def test_a_window_without_a_glance_is_decoded_and_shows_the_same(
    looked: Looked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    shutil.copytree(looked.root, tmp_path / "data", copy_function=os.link)
    storage = LocalStorage(tmp_path / "data", fsync=False)
    names = [keys.window_glance(looked.recording_id, window.key) for window in looked.build.windows]
    for name in names if lost == "all" else names[:1]:
        kept = storage.get(name)
        storage.delete(name)
        if lost == "rotted":
            storage.put_if_absent(name, kept[:-1] + bytes([kept[-1] ^ 1]))
    read = reads(storage, monkeypatch)
    found = dict(preview_files(storage, looked.build))
    windows = [key for key in read if key.startswith(keys.windows_prefix(looked.recording_id))]
    assert len(set(windows)) == (2 if lost == "all" else 1)
    assert len(windows) == 2 * len(set(windows)) + 1  # pictures, sound, and the poster
    assert found.keys() == looked.files.keys()
    assert found[previews.CUES] == looked.files[previews.CUES]
    assert found[previews.POSTER] == looked.files[previews.POSTER]
    name = previews.sheet_name(0)
    ours, theirs = (
        np.asarray(Image.open(io.BytesIO(files[name])).convert("RGB")).astype(int) for files in (looked.files, found)
    )
    assert ours.shape == theirs.shape
    # what encoding took from it makes 1.5; the colours of PAL 2.9, a picture 0.1 s later 10
    assert np.abs(ours - theirs).mean() < 2.2
    a, b = (np.array(swings(files[previews.MIX])) for files in (looked.files, found))
    assert np.abs(a - b).max() <= 4  # AAC makes 2; beeps reach 76


def test_what_a_glance_shows_are_the_key_frames_of_its_window(looked: Looked) -> None:
    storage = LocalStorage(looked.root, fsync=False)
    windows = looked.build.windows
    assert any(len(window.seen["slices"]) > 1 for window in windows)
    for window in windows:
        path = looked.root / keys.window(looked.recording_id, window.key)
        assert glances.key_pictures(window.seen) == facts_of(path).key_frames
        kept = glances.decode(storage.get(keys.window_glance(looked.recording_id, window.key)))
        assert kept
        assert tuple(kept.pictures) == glances.looked_at(window.seen)


def test_the_timeline_opens_and_every_clip_lies_where_it_was_recorded(looked: Looked) -> None:
    import opentimelineio as otio

    path = looked.root / "timeline.otio"
    path.write_bytes(looked.files[previews.TIMELINE])
    timeline = otio.adapters.read_from_file(str(path))
    assert isinstance(timeline, otio.schema.Timeline)
    found = set()
    for track in timeline.tracks:
        facts = track.metadata["callreel"]
        for clip in track.find_clips():
            placed, source = clip.range_in_parent(), clip.source_range
            available = clip.media_reference.available_range
            assert available.start_time <= source.start_time
            assert source.end_time_exclusive() <= available.end_time_exclusive()
            name = f"tracks/{facts['participantId']}/{facts['trackId']}"
            assert clip.media_reference.target_url in (f"{name}.webm", f"{name}.mp4")
            found.add((track.kind.lower(), facts["trackId"], round(placed.start_time.to_seconds() * 1000)))
    expected = {(clip.kind, clip.track_id, clip.from_us // 1000) for clip in looked.build.timeline.clips}
    assert found <= expected
    assert {each[:2] for each in found} == {each[:2] for each in expected}
    assert timeline.duration().to_seconds() * 1000 <= LENGTH_MS + 1


def test_a_late_chunk_makes_them_anew(looked: Looked) -> None:
    assert looked.before[previews.CUES].status == "ready"
    state = repository.load(LocalStorage(looked.root, fsync=False), looked.recording_id)
    now = {each.name: each for each in state.artifacts}
    assert now[previews.MIX].sha256 != looked.before[previews.MIX].sha256


def test_a_file_that_is_lost_is_found(looked: Looked, redis_url: str) -> None:
    storage, index = LocalStorage(looked.root, fsync=False), Index(connect(redis_url))
    rebuild.ensure(index, storage)
    assert rebuild.check(index, storage) == []
    state = repository.load(storage, looked.recording_id)
    [poster] = [each for each in state.artifacts if each.name == previews.POSTER]
    key = keys.artifact(looked.recording_id, poster.name, poster.sha256)
    storage.delete(key)
    [sentence] = rebuild.check(index, storage)
    assert previews.POSTER in sentence
    storage.put_if_absent(key, looked.files[previews.POSTER])
    index.redis.close()


def test_previews_that_always_fail_are_given_up(data_dir: Path, redis_url: str) -> None:
    recording_id = build_recording(
        data_dir, generate_call(seed=4, count=1, length_ms=2_000), options={"outputs": [SMALL]}
    )
    bench = make_bench(settings_for(data_dir, redis_url))
    make_film(data_dir, redis_url, recording_id)
    give_up(bench, recording_id, RenderFailed("eight times"))
    state = repository.load(bench.storage, recording_id)
    assert not waiting_previews(state)
    told = {each.status for each in state.artifacts if each.kind in PREVIEWS}
    assert told == {"failed"}
