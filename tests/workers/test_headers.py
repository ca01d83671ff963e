"""Segments without their header: read with the kept copy, else with that of another segment of the same settings."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import av
import pytest

from callreel import facts, keys, repository
from callreel.facts import TrackFact
from callreel.scans import RunScan
from callreel.states import Status
from callreel.storage.local import LocalStorage
from tests.kit.build import STARTED_MS, build_recording, plan_uploads
from tests.kit.call_generator import Person, generate_call
from tests.kit.capture import Capture, Run
from tests.kit.detect import examine
from tests.kit.forms import Recorder, cases
from tests.kit.line import make_film, plan_now, settings_for
from workers import containers
from workers.export import plan_files, write_file
from workers.jobs import bench as make_bench
from workers.scan import scan_segment

OUTPUTS = {"outputs": [{"name": "film", "container": "mp4", "width": 320, "height": 180}]}


@cache
def rejoined(recorder: Recorder, seed: int = 5) -> Capture:
    """One person who was there twice."""

    def change(person: Person) -> Person:
        spans = ((0, 5_000), (5_500, 10_050))  # VP8 has a key frame each 3.4 s
        return replace(person, recorder=recorder, size=(160, 90), spans_ms=spans, timeslice_ms=500, fps=30)

    return generate_call(seed, count=1, length_ms=10_000, change=change)


def first_of(capture: Capture, seg: int) -> list[tuple[str, str, int, int]]:
    return [(run.participant, run.track, run.seg, 0) for run in capture.runs if run.seg == seg]


RECORDERS = cases(Recorder.WEBM_VP8, Recorder.MP4_H264_AAC_SPLIT, Recorder.WEBM_VP8_OGG)


@pytest.mark.parametrize("recorder", RECORDERS)
def test_a_header_is_known_to_be_whole_or_not(recorder: Recorder) -> None:
    for run in rejoined(recorder).runs[:2]:
        container = containers.container_of(run.data)
        assert container is not None
        end = containers.header_end(container, run.data)
        assert end is not None
        whole = [cut for cut in range(4, end, 7) if containers.header_end(container, run.data[:cut]) is not None]
        # nothing but tags, or the beginning of a Cluster, may lie behind what a decoder needs
        assert whole == list(range(whole[0], end, 7)) if whole else True
        for cut in {end, *whole[:1]}:
            assert containers.header_end(container, run.data[:cut]) <= cut  # type: ignore[operator]  # just seen to be one


@pytest.mark.parametrize("recorder", RECORDERS)
def test_a_lost_header_is_borrowed_from_the_other_segment(recorder: Recorder, tmp_path: Path) -> None:
    capture = rejoined(recorder)
    for seg in (0, 1):
        folder = tmp_path / str(seg)
        whole, lacking = folder / "whole", folder / "lacking"
        places = first_of(capture, seg)
        complete = scans_of(whole, build_recording(whole, capture), seg)
        found = scans_of(lacking, build_recording(lacking, capture, lose=places), seg)
        for name, scan in found.items():
            assert (scan.error, scan.header_seg) == ("", 1 - seg), name
            full = complete[name]
            for kind in ("video", "audio"):
                part, all_of_it = getattr(scan, kind), getattr(full, kind)
                assert len(part) > len(all_of_it) / 5 or not len(all_of_it), (name, kind)
                assert part.pts_us.tolist() == all_of_it.pts_us[len(all_of_it) - len(part) :].tolist()


def scans_of(folder: Path, recording_id: str, seg: int) -> dict[str, RunScan]:
    storage = LocalStorage(folder, fsync=False)
    found = {}
    for track in repository.load(storage, recording_id).tracks():
        (found[track.track_id],) = scan_segment(storage, recording_id, track, track.segments[seg])
    return found


def test_the_kept_copy_comes_first(tmp_path: Path) -> None:
    capture = rejoined(Recorder.WEBM_VP8)
    recording_id = build_recording(tmp_path, capture, lose=first_of(capture, 1))
    storage = LocalStorage(tmp_path, fsync=False)
    run = next(run for run in capture.runs if run.seg == 1)
    head = keys.segment_head(recording_id, run.participant, run.track_id, 1)
    storage.put_if_absent(head, run.chunks[0].data)
    (scan,) = scans_of(tmp_path, recording_id, 1).values()
    assert (scan.error, scan.header_seg) == ("", None)


@pytest.mark.parametrize("cut", [1, 60, 200])
def test_a_header_may_be_spread_over_chunks_of_which_one_is_lost(cut: int, tmp_path: Path) -> None:
    """Chromium's first Blob has been seen to be one byte: what of the header is there is not enough."""
    capture = rejoined(Recorder.WEBM_VP8)
    spread = replace(capture, runs=tuple(split_first(run, cut) if run.seg == 1 else run for run in capture.runs))
    lost = [(run.participant, run.track, 1, 1) for run in spread.runs if run.seg == 1]
    recording_id = build_recording(tmp_path, spread, lose=lost)
    storage = LocalStorage(tmp_path, fsync=False)
    (track,) = repository.load(storage, recording_id).tracks()
    first, rest = scan_segment(storage, recording_id, track, track.segments[1])
    assert (len(first.video), rest.error, rest.header_seg) == (0, "", 0)
    assert len(rest.video) > 20


def split_first(run: Run, cut: int) -> Run:
    first, *rest = run.chunks
    pieces = [replace(first, data=first.data[:cut]), replace(first, seq=1, data=first.data[cut:])]
    return replace(run, chunks=(*pieces, *(replace(chunk, seq=chunk.seq + 1) for chunk in rest)))


@pytest.mark.parametrize(("width", "borrowed"), [(160, True), (90, False), (None, True)])
def test_of_other_settings_no_header_is_borrowed(width: int | None, borrowed: bool, tmp_path: Path) -> None:
    """A camera that was turned: H.264's parameters stand in the header."""
    capture = rejoined(Recorder.MP4_H264_SPLIT)
    lost = [place for place in first_of(capture, 1) if place[1] == "camera"]
    recording_id = build_recording(tmp_path, capture, lose=lost)
    storage = LocalStorage(tmp_path, fsync=False)
    track = next(t for t in repository.load(storage, recording_id).tracks() if t.track_id.endswith("camera"))
    for run in capture.runs:
        at_ms = next(u.chunk.start_ms for u in plan_uploads(capture, STARTED_MS) if u.run == run) + 30
        told = {"mimeType": "video/mp4", "width": 160 if run.seg == 0 else width, "height": 90}
        if told["width"] and run.kind == "video":
            fact = TrackFact(id=f"s{run.seg}", type="settings", at_ms=at_ms, received_ms=at_ms, data=told)
            facts.put(storage, recording_id, track, [fact])
    (scan,) = scan_segment(storage, recording_id, track, track.segments[1])
    assert (scan.error == "", scan.header_seg == 0) == (borrowed, borrowed)


def test_who_lost_their_header_is_in_the_film_at_the_right_instant(data_dir: Path, redis_url: str) -> None:
    capture = rejoined(Recorder.MP4_H264)
    recording_id = build_recording(data_dir, capture, lose=first_of(capture, 1), options=OUTPUTS)
    made = make_film(data_dir, redis_url, recording_id)
    assert made.status is Status.COMPLETED
    found = examine(made.film, capture)[0]["p0"]
    assert abs(found.flash_added_ms) <= 20, found
    assert abs(found.beep_added_ms) <= 20, found
    assert found.seen[0] >= found.seen[1] - 2, "what the lost chunk held is gone"
    assert found.seen[0] > 4
    (gap,) = made.manifest["gaps"]
    assert (gap["seg"], gap["chunks"], gap["reason"]) == (1, [[0, 0]], "lost")
    (track,) = made.manifest["participants"][0]["tracks"]
    assert [segment.get("headerSeg") for segment in track["segments"]] == [None, 0]

    bench = make_bench(settings_for(data_dir, redis_url))
    build = plan_now(bench, recording_id)
    (announced,) = build.recording.tracks()
    (file,) = plan_files(build, announced)
    write_file(bench.storage, build, announced, file, data_dir / "track.mp4")
    drawn = sum(len(run.drawn_ms) for run in capture.runs)
    with av.open(str(data_dir / "track.mp4")) as exported:
        assert sum(1 for _ in exported.decode(video=0)) > 0.7 * drawn
