"""Track files: playable by themselves, seekable, every packet once, and clean at gaps."""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest

from callreel import repository
from callreel.control import Control
from callreel.manifest import Build
from callreel.model import Track
from callreel.storage.local import LocalStorage
from tests.kit.build import NoObserver, Place, build_recording
from tests.kit.capture import Run, load_named
from tests.kit.container import top_boxes
from tests.kit.line import settings_for
from workers import demux
from workers.export import TrackFile, plan_files, write_file
from workers.planning import plan


@dataclass(frozen=True)
class Exported:
    file: TrackFile
    path: Path
    duration_ms: int


def export_all(root: Path, name: str, lose: tuple[Place, ...] = ()) -> tuple[Build, dict[str, Exported]]:
    """The track files of a capture by their names; nothing is rendered for them."""
    storage = LocalStorage(root, fsync=False)
    recording_id = build_recording(storage, load_named(name), lose=lose)
    build = plan(storage, settings_for(root, "redis://never-asked"), repository.load(storage, recording_id))
    found = {}
    for track in build.recording.tracks():
        for number, file in enumerate(plan_files(build, track)):
            path = root / f"{track.track_id}-{number}.{file.extension}"
            found[file.name] = Exported(file, path, write_file(storage, build, track, file, path))
    return build, found


def packets(source: Path | bytes) -> list[tuple[bytes, Fraction, bool]]:
    """(payload, time in s, key) of every packet, in the order of the file."""
    with av.open(str(source) if isinstance(source, Path) else io.BytesIO(source), "r") as file:
        return [
            (bytes(p), Fraction(p.pts or 0) * p.time_base, p.is_keyframe) for p in demux.packets(file, *file.streams)
        ]


def pictures(path: Path) -> int:
    """How many pictures decode; the first that does not, raises."""
    with av.open(str(path), "r") as file:
        return sum(len(list(packet.decode())) for packet in file.demux(video=0))


@pytest.mark.parametrize("name", ["duo-split", "trio-rejoin"])
def test_every_track_becomes_a_playable_file(name: str, data_dir: Path) -> None:
    build, found = export_all(data_dir, name)
    assert build.timeline.gaps == ()
    assert {item.file.track_id for item in found.values()} == {track.track_id for track in build.recording.tracks()}
    for item in found.values():
        with av.open(str(item.path), "r") as file:
            length_s = (file.duration or 0) / 1e6
            assert abs(length_s * 1000 - item.duration_ms) < 100, "the file knows its length"
            file.seek(int(length_s / 2 * 1e6))  # needs cues, or an index
            first = next(demux.packets(file, *file.streams))
            assert Fraction(first.pts or 0) * first.time_base > length_s / 2 - 5.1, "Clusters of sound are 5 s long"
        if item.file.extension == "mp4":
            assert top_boxes(item.path)[:2] == ["ftyp", "moov"]
        if item.file.mime_type.startswith("video/"):
            assert pictures(item.path) > 100


def test_the_copy_has_the_packets_of_its_segment(data_dir: Path) -> None:
    _, found = export_all(data_dir, "duo-split")
    for run in load_named("duo-split").runs:
        item = found[f"tracks/{run.participant}/{run.track_id}.webm"]
        copied, raw = [p[0] for p in packets(item.path)], [p[0] for p in packets(run.data)]
        assert copied == raw[: len(copied)]
        assert len(raw) - len(copied) <= 3, "only what was recorded after stop may be missing"


def test_behind_a_gap_pictures_come_back_at_a_key_frame(data_dir: Path) -> None:
    build, found = export_all(data_dir, "duo-split", (("alice", "camera", 0, 4), ("bob", "camera", 0, 3)))
    for who in ("alice", "bob"):
        path = found[f"tracks/{who}/{who}-camera.webm"].path
        copied = packets(path)
        behind = [later[2] for earlier, later in pairwise(copied) if later[1] - earlier[1] > Fraction(1, 2)]
        assert behind == [True], who
        assert pictures(path) == len(copied)
        assert [gap.reason for gap in build.timeline.gaps if gap.participant_id == who] == ["lost"]


def test_segments_share_a_file_where_one_header_serves_both(data_dir: Path) -> None:
    build, _ = export_all(data_dir, "trio-rejoin")
    carol = next(track for track in build.recording.tracks() if track.participant_id == "carol")
    # her H.264 settings changed between the two
    assert [file.segs for file in plan_files(build, carol)] == [(0,), (1,)]
    assert [file.name.rsplit("/", 1)[1] for file in plan_files(build, carol)] == [
        "carol-camera.mp4",
        "carol-camera.1.mp4",
    ]


def test_a_track_of_nothing_readable_has_no_file(data_dir: Path) -> None:
    storage = LocalStorage(data_dir, fsync=False)
    recording_id = build_recording(storage, load_named("duo-split"))
    control = Control(storage, NoObserver())
    control.put_track(recording_id, "empty", "alice", "Alice", "screen", "video", "")
    build = plan(storage, settings_for(data_dir, "redis://never-asked"), control.state(recording_id))
    empty = build.recording.track("empty")
    assert isinstance(empty, Track)
    assert plan_files(build, empty) == []


def test_the_kit_says_what_these_tests_stand_on() -> None:
    runs: list[Run] = [run for run in load_named("duo-split").runs if run.kind == "video"]
    assert [len(packets(run.data)) > 400 for run in runs] == [True, True]
