"""Track files: playable by themselves, seekable, every packet once, and clean at gaps."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import av
import pytest

from callreel import keys, repository
from callreel.control import Control
from callreel.model import Recording
from callreel.storage.local import LocalStorage
from tests.kit.build import NoObserver, build_recording
from tests.kit.capture import load_named
from tests.kit.container import top_boxes
from tests.kit.line import make_film, plan_now, settings_for
from workers import export
from workers.jobs import bench as make_bench


def exported(root: Path, redis_url: str, recording_id: str) -> Recording:
    bench = make_bench(settings_for(root, redis_url))
    for participant_id, track_id in export.wanted(bench, recording_id):
        export.export(bench, recording_id, participant_id, track_id)
    return repository.load(bench.storage, recording_id)


def path_of(root: Path, recording: Recording, name: str) -> Path:
    artifact = next(a for a in recording.artifacts if a.name == name)
    assert artifact.status == "ready", artifact.error
    return root / keys.artifact(recording.recording_id, name, artifact.sha256)


def decoded(path: Path, kind: str) -> list[float]:
    """Times of all frames in seconds, every one of which must decode."""
    with av.open(str(path)) as file:
        stream = next(stream for stream in file.streams if stream.type == kind)
        return [frame.time for packet in file.demux(stream) for frame in packet.decode()]  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["duo-split", "trio-rejoin"])
def test_every_track_becomes_a_playable_file(name: str, data_dir: Path, redis_url: str) -> None:
    capture = load_named(name)
    recording_id = build_recording(data_dir, capture, options={"preset": "480p"})
    made = make_film(data_dir, redis_url, recording_id)
    assert made.manifest["complete"]
    recording = exported(data_dir, redis_url, recording_id)
    for run in capture.runs:
        ours = [a for a in recording.artifacts if a.name.startswith(f"tracks/{run.participant}/{run.track_id}")]
        assert ours, run.track_id
        for artifact in ours:
            path = path_of(data_dir, recording, artifact.name)
            with av.open(str(path)) as file:
                length_s = (file.duration or 0) / 1e6
                assert abs(length_s * 1000 - artifact.duration_ms) < 100, "the file knows its length"
                file.seek(int(length_s / 2 * 1e6))  # cues, or an index
                packet = next(packet for packet in file.demux() if packet.size)
                assert packet.pts * packet.time_base > length_s / 2 - 5.1, "Matroska's Clusters of sound are 5 s long"
            if artifact.name.endswith(".mp4"):
                assert top_boxes(path)[:2] == ["ftyp", "moov"]
            if run.has_video:
                times = decoded(path, "video")
                assert times == sorted(times)


def test_the_copy_has_every_packet_of_its_segment(data_dir: Path, redis_url: str) -> None:
    capture = load_named("duo-split")
    recording_id = build_recording(data_dir, capture, options={"preset": "480p"})
    make_film(data_dir, redis_url, recording_id)
    recording = exported(data_dir, redis_url, recording_id)
    for run in capture.runs:
        path = path_of(data_dir, recording, f"tracks/{run.participant}/{run.track_id}.webm")
        with av.open(str(path)) as file:
            payloads = {bytes(packet) for packet in file.demux() if packet.size}
        with av.open(str(path)) as file:
            count = sum(1 for packet in file.demux() if packet.size)
        with av.open(io.BytesIO(run.data)) as file:
            raw = [bytes(packet) for packet in file.demux() if packet.size]
        assert payloads <= set(raw)
        assert len(raw) - count <= 3, "only what was recorded after stop may be missing"


def test_behind_a_gap_pictures_come_back_at_a_key_frame(data_dir: Path, redis_url: str) -> None:
    capture = load_named("duo-split")
    lost = [("alice", "camera", 0, 4), ("bob", "camera", 0, 3)]
    recording_id = build_recording(data_dir, capture, lose=lost, options={"preset": "480p"})
    make_film(data_dir, redis_url, recording_id)
    recording = exported(data_dir, redis_url, recording_id)
    build = plan_now(make_bench(settings_for(data_dir, redis_url)), recording_id)
    for who in ("alice", "bob"):
        path = path_of(data_dir, recording, f"tracks/{who}/{who}-camera.webm")
        with av.open(str(path)) as file:
            packets = [p for p in file.demux(video=0) if p.size]
        steps = [(float((b.pts - a.pts) * b.time_base), b.is_keyframe) for a, b in pairwise(packets)]
        wide = [key for step_s, key in steps if step_s > 0.5]
        assert wide == [True], who
        assert len(decoded(path, "video")) == len(packets), "no picture of it is garbage that fails to decode"
        (gap,) = [gap for gap in build.timeline.gaps if gap.participant_id == who]
        assert gap.reason == "lost"


def test_a_track_of_nothing_readable_has_no_file(data_dir: Path, redis_url: str) -> None:
    capture = load_named("duo-split")
    recording_id = build_recording(data_dir, capture, options={"preset": "480p"})
    Control(LocalStorage(data_dir, fsync=False), NoObserver()).put_track(
        recording_id, "empty", "alice", "Alice", "screen", "video", ""
    )
    make_film(data_dir, redis_url, recording_id)
    names = [a.name for a in exported(data_dir, redis_url, recording_id).artifacts]
    assert not any("empty" in name for name in names)
