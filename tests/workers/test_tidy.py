"""What was replaced is there for an hour, and then it is not; what anything still shows stays."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from callreel import editions, journal, keys, rebuild, repository, streams
from callreel.compositions import Compositions
from callreel.control import Control
from callreel.storage import Storage
from callreel.storage.local import LocalStorage
from callreel.storage.objects import ObjectStorage
from tests.kit.build import ManualClock, build_recording, plan_uploads, put_upload
from tests.kit.call_generator import generate_call
from tests.kit.line import make_film, make_more, plan_now, settings_for
from workers import advance as advancing
from workers import compose as composing
from workers import jobs
from workers.bench import Bench
from workers.jobs import bench as make_bench
from workers.tidy import tidy

CAPTURE = generate_call(seed=4, count=1, length_ms=9_000)
SMALL = {"container": "mp4", "width": 128, "height": 128, "fps": 24}
CORNER = {"regions": [{"name": "a", "x": 0, "y": 0, "width": 50, "height": 50, "source": {"participantId": "p0"}}]}


@dataclass(frozen=True, slots=True)
class Finished:
    """A film that a late chunk changed, and two compositions, of which one was taken back."""

    root: Path
    redis_url: str
    recording_id: str
    of_kept: frozenset[str]  #: keys of the windows of the other
    of_back: frozenset[str]  #: keys of those that only the one had that was taken back
    of_first: frozenset[str]  #: keys of the first film's windows
    completed_ms: int
    ended_ms: int  #: when the last fact was written

    def bench(self, at_ms: int, storage: Storage | None = None) -> Bench:
        bench = make_bench(settings_for(self.root, self.redis_url))
        storage = storage or bench.storage
        return replace(bench, storage=storage, control=Control(storage, bench.index, ManualClock(at_ms)))


def keys_in(found: Iterable[str]) -> frozenset[str]:
    return frozenset(key.rsplit("/", 1)[1].partition(".")[0] for key in found)


def windows(storage: Storage, recording_id: str) -> frozenset[str]:
    """All that is stored of windows."""
    prefixes = keys.window_prefixes(recording_id)
    return frozenset(entry.key for prefix in prefixes for entry in storage.list(prefix))


def files(storage: Storage, recording_id: str) -> frozenset[str]:
    return frozenset(entry.key for entry in storage.list(keys.artifacts_prefix(recording_id)))


def shown(storage: Storage, recording_id: str) -> frozenset[str]:
    """The files that the recording tells."""
    ready = [each for each in repository.load(storage, recording_id).artifacts if each.status == "ready"]
    return frozenset(keys.artifact(recording_id, each.name, each.sha256, each.edition) for each in ready)


def in_manifest(storage: Storage, recording_id: str) -> frozenset[str]:
    (listing,) = [key for key in shown(storage, recording_id) if "/manifest.json/" in key]
    return frozenset(key for film in json.loads(storage.get(listing))["films"] for key in film["windows"])


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory, index_server: str) -> Finished:
    root = tmp_path_factory.mktemp("tidy") / "data"
    root.mkdir()
    late = [upload for upload in plan_uploads(CAPTURE, 1_700_000_000_000) if upload.chunk.seq == 1]
    options = {"outputs": [{"name": "film", **SMALL}]}
    recording_id = build_recording(root, CAPTURE, options=options, lose=[upload.place for upload in late])
    storage = LocalStorage(root, fsync=False)
    bench = make_bench(settings_for(root, index_server))
    streams.append(
        storage, recording_id, map(streams.piece, plan_now(bench, recording_id).windows)
    )  # as if it had been watched
    of_first = frozenset(make_film(root, index_server, recording_id).window_keys)
    completed_ms = repository.load(storage, recording_id).ended_ms
    for upload in late:
        put_upload(storage, recording_id, upload)
    make_film(root, index_server, recording_id)
    made: dict[str, frozenset[str]] = {}
    calls = Compositions(Control(storage, bench.index))
    for name, to_ms in (("kept", 8_500), ("back", 8_900)):  # each has the last window for itself
        slices = [{"fromMs": 8_000, "toMs": to_ms, "layout": CORNER}]
        calls.add(recording_id, {"name": name, "output": SMALL, "slices": slices})
        made[name] = frozenset(make_more(root, index_server, recording_id)[0])
        assert len(made[name]) == 1
    calls.remove(recording_id, "back")
    build = advancing.advance(bench, recording_id)
    assert build
    assert composing.advance(bench, build)
    ended_ms = journal.read(storage, recording_id)[-1].at_ms
    return Finished(root, index_server, recording_id, made["kept"], made["back"], of_first, completed_ms, ended_ms)


@pytest.fixture
def finished(once: Finished, tmp_path: Path, redis_url: str) -> Finished:
    """The same for each test."""
    shutil.copytree(once.root, tmp_path / "data", copy_function=os.link)
    return replace(once, root=tmp_path / "data", redis_url=redis_url)


def in_memory(storage: LocalStorage, recording_id: str) -> ObjectStorage:
    other = ObjectStorage(MemoryStore())
    for entry in storage.list(keys.recording_prefix(recording_id)):
        other.put_if_absent(entry.key, storage.get(entry.key))
    return other


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_an_hour_later_there_is_what_is_shown_and_nothing_else(finished: Finished, kind: str) -> None:
    storage: Storage = LocalStorage(finished.root, fsync=False)
    recording_id = finished.recording_id
    if kind == "memory":
        storage = in_memory(LocalStorage(finished.root, fsync=False), recording_id)
    first, first_files = windows(storage, recording_id), files(storage, recording_id)
    film = in_manifest(storage, recording_id)
    assert finished.of_first - film
    assert first_files > shown(storage, recording_id)
    soon = finished.bench(finished.completed_ms + editions.KEPT_MS - 1, storage)
    assert tidy(soon, recording_id) == 0
    # the stream that was live has been replaced for an hour now, and somebody may still watch the first film, while
    # what only a composition had that was taken back is shown to nobody
    assert tidy(finished.bench(finished.completed_ms + editions.KEPT_MS, storage), recording_id) > 0
    told = repository.load(storage, recording_id)
    assert 0 < told.tidied < told.sequence
    assert files(storage, recording_id) == first_files
    assert keys_in(first) - keys_in(windows(storage, recording_id)) == finished.of_back

    later = finished.bench(finished.ended_ms + editions.KEPT_MS, storage)
    assert tidy(later, recording_id) > 0
    stay = film | finished.of_kept
    assert files(storage, recording_id) == shown(storage, recording_id)
    assert windows(storage, recording_id) == {key for key in first if keys_in([key]) <= stay}
    assert keys_in(windows(storage, recording_id)) == stay
    assert not stay & finished.of_back
    state = repository.load(storage, recording_id)
    assert editions.left(state) == []
    assert tidy(later, recording_id) == 0
    assert repository.load(storage, recording_id).sequence == state.sequence
    build = advancing.advance(later, recording_id)
    assert build, "nothing has to be rendered"
    assert composing.advance(later, build)


def test_the_job_tidies_up_and_what_is_deleted_for_good_is_left_alone(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = finished.bench(finished.ended_ms + editions.KEPT_MS)
    monkeypatch.setattr(jobs, "bench", lambda: bench)
    jobs.tidy(finished.recording_id)
    assert editions.left(bench.control.state(finished.recording_id)) == []
    bench.control.append(finished.recording_id, lambda state: ("delete_requested", {}))
    jobs.tidy(finished.recording_id)
    assert bench.control.state(finished.recording_id).outdated == ()


def test_who_dies_in_the_middle_is_followed_by_another(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    recording_id = finished.recording_id
    bench = finished.bench(finished.ended_ms + editions.KEPT_MS)
    delete, left = bench.storage.delete, [4]

    def dying(key: str) -> None:
        if not left[0]:
            raise OSError("killed")
        left[0] -= 1
        delete(key)

    monkeypatch.setattr(bench.storage, "delete", dying)
    with pytest.raises(OSError, match="killed"):
        tidy(bench, recording_id)
    assert repository.load(bench.storage, recording_id).tidied == 0
    monkeypatch.setattr(bench.storage, "delete", delete)
    assert tidy(bench, recording_id) > 0
    assert files(bench.storage, recording_id) == shown(bench.storage, recording_id)
    assert keys_in(windows(bench.storage, recording_id)) == (
        in_manifest(bench.storage, recording_id) | finished.of_kept
    )


def test_while_it_is_made_anew_no_window_is_deleted(finished: Finished) -> None:
    """Something of the call comes in the hour: its windows may be among those that nothing shows yet."""
    recording_id = finished.recording_id
    bench = finished.bench(finished.ended_ms + editions.KEPT_MS)
    bench.control.append(recording_id, lambda state: ("participant_removed", {"participantId": "p0"}))
    (track,) = {track.track_id for track in repository.load(bench.storage, recording_id).tracks()} - {"p0-screen"}
    word = {"trackId": track, "id": "no", "agreed": False, "clientMs": 1}
    bench.control.append(recording_id, lambda state: ("consent", word))
    before = windows(bench.storage, recording_id)
    tidy(bench, recording_id)
    assert windows(bench.storage, recording_id) == before
    assert repository.load(bench.storage, recording_id).tidied == 0
    assert [job.func_name for job in bench.queue._queues["render"].get_jobs()] == ["workers.jobs.advance"]


def test_a_window_that_came_to_be_shown_while_it_was_deleted_comes_again(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever decides to delete may sleep until that very window is a film's again."""
    recording_id = finished.recording_id
    bench = finished.bench(finished.ended_ms + editions.KEPT_MS)
    key = sorted(in_manifest(bench.storage, recording_id))[0]
    delete = bench.storage.delete

    def slowly(name: str) -> None:
        delete(name)
        delete(keys.window(recording_id, key))

    monkeypatch.setattr(bench.storage, "delete", slowly)
    assert tidy(bench, recording_id) > 0
    assert not editions.left(repository.load(bench.storage, recording_id))
    jobs = [job for job in bench.queue._queues["render"].get_jobs() if job.func_name == "workers.jobs.render"]
    assert [list(job.args) for job in jobs] == [[recording_id, key]]


def test_the_index_knows_when_something_is_due_and_so_does_one_made_anew(finished: Finished) -> None:
    recording_id = finished.recording_id
    bench = finished.bench(finished.ended_ms + editions.KEPT_MS)
    due_ms = finished.completed_ms + editions.KEPT_MS
    state = bench.control.state(recording_id)
    bench.index.note(state)
    assert bench.index.outdated(due_ms - 1) == []
    assert bench.index.outdated(due_ms) == [recording_id]
    bench.storage.put_if_absent(keys.call_slot(state.call_id, 1), json.dumps({"recordingId": recording_id}).encode())
    assert rebuild.rebuild(bench.index, bench.storage, force=True)
    assert bench.index.outdated(due_ms) == [recording_id]
    tidy(bench, recording_id)
    assert bench.index.outdated(finished.ended_ms + 10 * editions.KEPT_MS) == []
