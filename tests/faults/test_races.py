"""Two do the same thing at once, one of them slowly: what is newer, or was acknowledged, is never lost to it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from callreel import journal, keys, rebuild, repository
from callreel.control import Control
from callreel.index import Index, connect
from callreel.model import Recording
from callreel.slots import Limits, Slots
from callreel.storage.local import LocalStorage
from tests.ingest.desk import application, media, said
from tests.kit.build import STARTED_MS, ManualClock, NoObserver, Upload, build_recording, plan_uploads, put_upload
from tests.kit.call_generator import generate_call
from tests.kit.capture import Capture
from tests.kit.line import make_film, settings_for
from workers import export as exporting
from workers import films
from workers import join as joining
from workers.advance import is_drained, waiting_exports
from workers.jobs import bench as make_bench


@pytest.fixture(scope="module")
def call() -> Capture:
    """Its film ends before its recorders do."""
    return replace(generate_call(seed=4, count=1, length_ms=3600), length_ms=2500)


def begun(folder: Path, call: Capture) -> tuple[str, Upload]:
    """A recording that lacks a chunk, and the chunk that comes late."""
    late = next(upload for upload in plan_uploads(call, STARTED_MS) if upload.run.has_video and upload.chunk.seq == 1)
    return build_recording(folder, call, lose={late.place}, options={"preset": "480p"}), late


# ── films and files ──────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_track_that_was_exported_from_old_chunks_is_exported_again(
    redis_url: str, data_dir: Path, call: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late chunk comes, and the film with it, while the track's file is being written."""
    recording_id, late = begun(data_dir, call)
    make_film(data_dir, redis_url, recording_id)
    bench = make_bench(settings_for(data_dir, redis_url))
    place = (late.chunk.participant_id, late.chunk.track_id)
    write = exporting.write_file

    def slowly(*args: Any) -> int:
        done = write(*args)
        monkeypatch.setattr(exporting, "write_file", write)
        put_upload(bench.storage, recording_id, late)
        make_film(data_dir, redis_url, recording_id)
        return done

    monkeypatch.setattr(exporting, "write_file", slowly)
    exporting.export(bench, recording_id, *place)
    assert place in waiting_exports(bench.control.state(recording_id)), "the old file passes for the new one"
    exporting.export(bench, recording_id, *place)
    [made] = [a for a in bench.control.state(recording_id).artifacts if a.name.startswith(f"tracks/{'/'.join(place)}.")]
    assert made.status == "ready"


def test_a_join_that_planned_before_another_one_published_does_not_undo_it(
    redis_url: str, data_dir: Path, call: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording_id, late = begun(data_dir, call)
    make_film(data_dir, redis_url, recording_id)
    bench = make_bench(settings_for(data_dir, redis_url))
    old = bench.control.state(recording_id).build
    bench.control.append(recording_id, lambda state: ("updated", _published(state, "of another version")))
    write = films.write_film

    def slowly(*args: Any) -> tuple[Path, str]:
        monkeypatch.setattr(joining, "write_film", write)
        put_upload(bench.storage, recording_id, late)
        make_film(data_dir, redis_url, recording_id)
        return write(*args)

    monkeypatch.setattr(joining, "write_film", slowly)
    assert not joining.join(bench, recording_id)
    assert bench.control.state(recording_id).build not in (old, "of another version")


def _published(state: Recording, build: str) -> dict[str, Any]:
    return {"complete": state.complete, "gaps": list(state.gaps), "build": build, "artifacts": []}


# ── chunks ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_an_object_that_came_after_its_slot_was_given_away_does_not_replace_what_was_acknowledged(
    redis_url: str, data_dir: Path
) -> None:
    """A process hangs between slot and object for more than a minute, stores its object after all, and dies."""
    with application(redis_url, data_dir) as desk:
        recording_id = desk.begun()
        limits = Limits(late_ms=1000, track_bytes=10**9, recording_bytes=10**9, seq_ahead=4096)
        long_ago_ms = time.time_ns() // 1_000_000 - 120_000
        hung = Slots(desk.index.redis, limits, clock_ms=lambda: long_ago_ms)
        other = b"other bytes"
        said(desk.chunk(recording_id, 0), 201)
        [known] = repository.read_chunks(desk.storage, recording_id)
        chunk = replace(known, seq=1, received_ms=long_ago_ms, sha256=sha256(other).hexdigest(), size_bytes=len(other))
        reserved = hung.reserve(recording_id, chunk, "alice")
        said(desk.chunk(recording_id, 1), 201)
        desk.storage.put_if_absent(keys.chunk(recording_id, reserved.chunk), other)
        rebuild.rebuild(desk.index, desk.storage, force=True)
        assert rebuild.check(desk.index, desk.storage) == []
        track = repository.load(desk.storage, recording_id).track("cam")
        assert track is not None
        assert [chunk.sha256 for chunk in track.segments[0].chunks] == [
            sha256(media(0, seq)).hexdigest() for seq in (0, 1)
        ]
        assert said(desk.chunk(recording_id, 1), 200)["duplicate"]


def test_two_hundred_who_write_to_a_journal_at_once_all_get_their_fact(data_dir: Path) -> None:
    storage = LocalStorage(data_dir, fsync=False)
    control = Control(storage, NoObserver())
    recording_id = control.start("call", "host", {}).recording_id
    together = threading.Barrier(200)

    def announce(number: int) -> None:
        together.wait()
        control.put_track(recording_id, f"t{number}", f"p{number}", "", "camera", "av", "")

    with ThreadPoolExecutor(200) as threads:
        list(threads.map(announce, range(200)))
    facts = journal.read(storage, recording_id)
    assert [fact.sequence for fact in facts] == list(range(1, 202))
    assert {fact.data["trackId"] for fact in facts[1:]} == {f"t{number}" for number in range(200)}


# ── clocks ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_clock_that_is_set_back_makes_no_recording_end_before_it_began(data_dir: Path) -> None:
    clock = ManualClock(STARTED_MS)
    control = Control(LocalStorage(data_dir, fsync=False), NoObserver(), clock)
    recording_id = control.start("call", "host", {}).recording_id
    clock.at_ms += 5000
    control.put_track(recording_id, "cam", "ann", "Ann", "camera", "av", "")
    clock.at_ms -= 3600_000
    state = control.stop("call")
    assert state.stopped_ms == STARTED_MS + 5000
    assert control.start("call", "host", {}).started_ms > STARTED_MS


def test_a_drain_ends_though_the_clock_was_set_back(data_dir: Path, redis_url: str) -> None:
    clock = ManualClock(STARTED_MS)
    control = Control(LocalStorage(data_dir, fsync=False), NoObserver(), clock)
    recording_id = control.start("call", "host", {}).recording_id
    control.put_track(recording_id, "cam", "ann", "Ann", "camera", "av", "")
    stopped = control.stop("call")
    settings = settings_for(data_dir, redis_url)
    assert not is_drained(stopped, settings, STARTED_MS + 14_000)
    assert not is_drained(stopped, settings, STARTED_MS - 14_000), "two machines, one of them a little behind"
    assert is_drained(stopped, settings, STARTED_MS - 3600_000)


# ── the index ────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_rebuild_that_lost_its_lock_ends_nobody_elses(
    redis_url: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One hangs until its lock has run out, another one begins: the first may neither fill nor declare it filled."""
    storage, index = LocalStorage(data_dir, fsync=False), Index(connect(redis_url))
    for number in range(3):
        Control(storage, NoObserver()).start(f"c{number}", "host", {})
    load = repository.load

    def hanging(*args: Any) -> Recording:
        monkeypatch.setattr(rebuild, "load", load)
        index.redis.set(keys.INDEX_LOCK, "another one")
        for name in index.redis.scan_iter(f"{keys.INDEX_ENTRIES}*"):
            index.redis.delete(name)
        return load(*args)

    monkeypatch.setattr(rebuild, "load", hanging)
    assert not rebuild.rebuild(index, storage)
    assert not index.ready()
    assert index.redis.get(keys.INDEX_LOCK) == "another one"
    assert list(index.redis.scan_iter(f"{keys.INDEX_ENTRIES}*")) == []
    index.redis.close()
