"""Late chunks bring a finished film up to date: many of them at once, and not one film each."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from callreel import journal, keys, repository
from callreel.control import Control
from callreel.events import fold_events
from callreel.manifest import Build
from callreel.storage.local import LocalStorage
from tests.kit.build import ManualClock, Upload, build_recording, plan_uploads, put_upload
from tests.kit.call_generator import generate_call
from tests.kit.line import Made, make_film, plan_now, settings_for
from workers import advance as advancing
from workers import export as exporting
from workers import planning
from workers.bench import Bench
from workers.jobs import bench as make_bench
from workers.previews import make_previews

CAPTURE = generate_call(seed=4, count=1, length_ms=9_000)
OPTIONS = {"preset": "480p"}


@dataclass(frozen=True, slots=True)
class Lacking:
    """A film without some chunks, its recording, and those chunks."""

    folder: Path
    made: Made
    recording_id: str
    late: list[Upload]


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory, index_server: str) -> Lacking:
    folder = tmp_path_factory.mktemp("lacking") / "data"
    folder.mkdir()
    late = [upload for upload in plan_uploads(CAPTURE, 1_700_000_000_000) if upload.chunk.seq in (1, 2, 3)]
    assert len(late) >= 3
    recording_id = build_recording(folder, CAPTURE, options=OPTIONS, lose=[upload.place for upload in late])
    made = make_film(folder, index_server, recording_id)
    assert not made.manifest["complete"]
    return Lacking(folder, made, recording_id, late)


@pytest.fixture
def lacking(once: Lacking, tmp_path: Path) -> Lacking:
    """The same for each test."""
    shutil.copytree(once.folder, tmp_path / "data", copy_function=os.link)
    return replace(once, folder=tmp_path / "data")


def at_clock(folder: Path, redis_url: str, clock: ManualClock) -> Bench:
    bench = make_bench(settings_for(folder, redis_url))
    return replace(bench, control=Control(bench.storage, bench.index, clock))


def wants_a_film(bench: Bench, recording_id: str) -> bool:
    """Whether looking after the recording now asks for windows or a join."""
    before = bench.queue.redis.llen("rq:queue:render")
    advancing.advance(bench, recording_id)
    return bool(bench.queue.redis.llen("rq:queue:render") > before)


def test_a_burst_of_late_chunks_is_one_update(lacking: Lacking, redis_url: str) -> None:
    data_dir, recording_id, late = lacking.folder, lacking.recording_id, lacking.late
    storage = LocalStorage(data_dir, fsync=False)
    ended_ms = repository.load(storage, recording_id).ended_ms
    clock = ManualClock(ended_ms + 60_000)
    bench = at_clock(data_dir, redis_url, clock)
    asked = []
    for upload in late:
        clock.at_ms += 1_000
        chunk = replace(upload.chunk, received_ms=clock.at_ms)
        put_upload(storage, recording_id, replace(upload, chunk=chunk))
        asked.append(wants_a_film(bench, recording_id))
    assert asked == [False] * len(late)
    clock.at_ms += 4_900
    assert not wants_a_film(bench, recording_id)
    clock.at_ms += 200
    assert wants_a_film(bench, recording_id)


def test_late_chunks_that_never_pause_are_taken_up_after_half_a_minute(lacking: Lacking, redis_url: str) -> None:
    data_dir, recording_id, late = lacking.folder, lacking.recording_id, lacking.late
    storage = LocalStorage(data_dir, fsync=False)
    began_ms = repository.load(storage, recording_id).ended_ms + 60_000
    clock = ManualClock(began_ms)
    bench = at_clock(data_dir, redis_url, clock)
    first = replace(late[0], chunk=replace(late[0].chunk, received_ms=began_ms))
    put_upload(storage, recording_id, first)
    asked = []
    for second in range(1, 31):
        clock.at_ms = began_ms + 1000 * second
        # the same one again and again would be no news: one that is received now is what a trickle looks like
        newest = replace(late[-1].chunk, received_ms=clock.at_ms)
        key = keys.chunk(recording_id, newest)
        storage.put_if_absent(key, late[-1].data)
        asked.append(wants_a_film(bench, recording_id))
        storage.delete(key)
    assert asked == [False] * 29 + [True]


def test_an_update_is_told_once(lacking: Lacking, redis_url: str) -> None:
    data_dir, recording_id, late = lacking.folder, lacking.recording_id, lacking.late
    storage = LocalStorage(data_dir, fsync=False)
    for upload in late:  # received before it was finished, as far as their names tell: taken up at once
        put_upload(storage, recording_id, upload)
    updated = make_film(data_dir, redis_url, recording_id)
    assert updated.manifest["complete"]
    assert updated.window_keys != lacking.made.window_keys
    again = make_film(data_dir, redis_url, recording_id)
    assert again.encoded == []
    told = [event.type for event in fold_events(recording_id, journal.read(storage, recording_id))]
    assert told.count("recordingupdated") == 1
    bench = make_bench(settings_for(data_dir, redis_url))
    assert plan_now(bench, recording_id).digest == repository.load(storage, recording_id).build


def test_nobody_waits_for_who_was_removed(lacking: Lacking, redis_url: str) -> None:
    recording = repository.load(LocalStorage(lacking.folder, fsync=False), lacking.recording_id)
    settings = settings_for(lacking.folder, redis_url)
    silent = replace(
        recording,
        participants=tuple(
            replace(p, tracks=tuple(replace(track, complete=False) for track in p.tracks))
            for p in recording.participants
        ),
    )
    assert silent.stopped_ms is not None
    assert not advancing.is_drained(silent, settings, silent.stopped_ms)
    removed = replace(silent, removed=frozenset(p.participant_id for p in silent.participants))
    assert advancing.is_drained(removed, settings, silent.stopped_ms)


def test_what_nothing_came_for_is_not_planned_again(
    lacking: Lacking, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, recording_id = lacking.folder, lacking.recording_id
    bench = make_bench(settings_for(folder, redis_url))
    planned: list[str] = []

    def counted(what: str) -> None:
        original = getattr(planning, what)

        def counting(*of: Any, **how: Any) -> Any:
            planned.append(what)
            return original(*of, **how)

        monkeypatch.setattr(planning, what, counting)

    def asked_again() -> Build | None:
        planned.clear()
        return advancing.advance(bench, recording_id)

    counted("plan_timeline")
    counted("Planner")
    assert asked_again()
    assert "Planner" in planned, "what is made behind the film is made of a plan"
    for track in repository.load(bench.storage, recording_id).tracks():
        exporting.export(bench, recording_id, track.participant_id, track.track_id)
    make_previews(bench, recording_id)
    build = asked_again()
    assert build
    assert not planned
    assert build.digest == plan_now(bench, recording_id).digest
    planned.clear()
    assert build.has_media
    assert planned == ["plan_timeline"]
    assert build.windows == plan_now(bench, recording_id).windows
    # a film with other windows, or another Callreel's
    other = replace(bench, settings=settings_for(folder, redis_url, window_ms=4_000))
    assert advancing.known(other, build.recording) is None
    monkeypatch.setattr("callreel.windows.RENDER_VERSION", 1_000)
    assert advancing.known(bench, build.recording) is None
    monkeypatch.undo()
    counted("Planner")
    for upload in lacking.late[:1]:
        put_upload(bench.storage, recording_id, upload)
    assert not asked_again()
    assert planned, "something came"
