"""Nothing that is not final is forgotten: not after a deadline, not after a lost job, not after a lost index."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from redis import Redis
from rq import Queue as RqQueue
from rq.job import Job
from rq.serializers import JSONSerializer

from callreel import keys
from callreel.control import Control, now_ms
from callreel.index import Index, connect
from callreel.queue import Queue
from callreel.settings import Settings
from callreel.states import Status
from callreel.storage.local import LocalStorage
from tests.kit.build import NoObserver
from workers.sweep import Sweeper, clean_litter

ROOT = Path(__file__).parents[2]


class Clock:
    """The server's clock, set back at will."""

    def __init__(self) -> None:
        self.ago_ms = 0

    def __call__(self) -> int:
        return now_ms() - self.ago_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def storage(data_dir: Path) -> LocalStorage:
    return LocalStorage(data_dir, fsync=False)


@pytest.fixture
def index(redis_url: str) -> Index:
    return Index(connect(redis_url))


@pytest.fixture
def control(storage: LocalStorage, index: Index, clock: Clock) -> Control:
    return Control(storage, index, clock)


@pytest.fixture
def queue(redis_url: str) -> Queue:
    return Queue(redis_url)


@pytest.fixture
def sweeper(storage: LocalStorage, index: Index, queue: Queue) -> Sweeper:
    return Sweeper(settings=Settings(drain_s=15), storage=storage, index=index, queue=queue)


def waiting(queue: Queue) -> list[Job]:
    return RqQueue("render", connection=queue.redis, serializer=JSONSerializer).get_jobs()


def test_a_stopped_recording_is_advanced_when_its_drain_is_over(
    sweeper: Sweeper, control: Control, clock: Clock, queue: Queue
) -> None:
    sweeper.tick()
    clock.ago_ms = 1_000
    control.start("one", "host", {})
    recent = control.stop("one")
    clock.ago_ms = 20_000
    control.start("two", "host", {})
    due = control.stop("two")
    sweeper.tick()
    assert [(job.func_name, job.args) for job in waiting(queue)] == [("workers.jobs.advance", [due.recording_id])]
    assert recent.status == Status.STOPPING


def test_a_stopped_recording_is_looked_at_once_while_somebody_is_waited_for(
    storage: LocalStorage, control: Control, clock: Clock, index: Index, queue: Queue
) -> None:
    """Its last windows can be made meanwhile."""
    sweeper = Sweeper(settings=Settings(drain_s=15, render="rolling"), storage=storage, index=index, queue=queue)
    sweeper.tick()
    clock.ago_ms = 500
    control.start("one", "host", {})
    control.stop("one")
    clock.ago_ms = 3_000
    control.start("two", "host", {})
    due = control.stop("two")
    sweeper.tick()
    assert [job.args for job in waiting(queue)] == [[due.recording_id]], "the first one is still sending"
    queue.redis.delete("rq:queue:render", f"{keys.INDEX_PREFIX}pending:advance:{due.recording_id}")
    sweeper.tick()
    assert not waiting(queue)


def test_a_recording_that_stays_in_processing_is_asked_for_again_but_not_every_second(
    sweeper: Sweeper, control: Control, queue: Queue
) -> None:
    sweeper.tick()
    recording_id = control.start("one", "host", {}).recording_id
    control.stop("one")
    control.append(recording_id, lambda state: ("drained", {}))
    sweeper.tick()
    (job,) = waiting(queue)
    job.delete()  # lost, or done and nothing came of it
    sweeper.tick()
    assert waiting(queue) == []
    status, asked_ms, pause_ms = sweeper._asked[recording_id]
    sweeper._asked[recording_id] = (status, asked_ms - pause_ms, pause_ms)
    sweeper.tick()
    assert len(waiting(queue)) == 1


def test_a_final_recording_is_asked_for_rarely_until_it_is_settled(
    sweeper: Sweeper, control: Control, queue: Queue, index: Index
) -> None:
    sweeper.tick()
    recording_id = control.start("one", "host", {}).recording_id
    control.stop("one")
    for draft in (("drained", {}), ("failed", {"code": "no_media", "message": "Nothing."})):
        control.append(recording_id, lambda state, draft=draft: draft)  # type: ignore[misc]  # mypy cannot type a lambda with a default
    sweeper.tick()
    (job,) = waiting(queue)
    job.delete()
    assert sweeper._asked[recording_id][2] == 15_000
    sweeper.tick()
    assert waiting(queue) == []
    index.settled(recording_id, 0)
    sweeper.tick()
    assert recording_id not in sweeper._asked


def test_a_recording_ends_at_its_longest_duration(
    sweeper: Sweeper, control: Control, clock: Clock, queue: Queue
) -> None:
    sweeper.tick()
    clock.ago_ms = 61_000
    over = control.start("one", "host", {"maxDurationS": 60}).recording_id
    under = control.start("two", "host", {"maxDurationS": 600}).recording_id
    sweeper.tick()
    clock.ago_ms = 0
    assert control.state(over).status == Status.STOPPING
    assert control.state(over).end_reason == "maxDuration"
    assert control.state(under).status == Status.RECORDING
    sweeper.tick()
    assert control.state(over).sequence == 2


def test_a_recording_that_everybody_left_ends(sweeper: Sweeper, control: Control, clock: Clock, index: Index) -> None:
    sweeper.tick()
    clock.ago_ms = 901_000
    left, uploading, joined = (control.start(call, "host", {}).recording_id for call in ("one", "two", "three"))
    index.redis.hset(keys.index_recording(uploading), "lastChunkMs", now_ms() - 880_000)
    clock.ago_ms = 880_000
    control.put_track(joined, "cam", "ada", "Ada", "camera", "av", "")
    clock.ago_ms = 0
    sweeper._refreshed_s -= 30
    sweeper.tick()
    assert control.state(left).end_reason == "idle"
    assert [control.state(each).status for each in (left, uploading, joined)] == ["stopping", "recording", "recording"]
    control.start("one", "host", {})


def test_where_everybody_said_that_they_left_it_ends_sooner(
    sweeper: Sweeper, control: Control, clock: Clock, index: Index
) -> None:
    sweeper.tick()
    clock.ago_ms = 300_000
    left, there, back = (control.start(call, "host", {}).recording_id for call in ("one", "two", "three"))
    for recording_id in (left, there, back):
        control.put_track(recording_id, "cam", "ada", "Ada", "camera", "av", "")
        control.complete_track(recording_id, "cam", [], "left")
    control.put_track(there, "cam-2", "bob", "Bob", "camera", "av", "")
    index.redis.hset(keys.index_recording(back), "lastChunkMs", now_ms() - 100_000)  # what was left is being sent
    sweeper._refreshed_s -= 30
    sweeper.tick()
    assert control.state(left).end_reason == "idle"
    assert [control.state(each).status for each in (left, there, back)] == ["stopping", "recording", "recording"]


def test_a_pause_may_last_longer_than_silence_and_not_for_ever(
    sweeper: Sweeper, control: Control, clock: Clock
) -> None:
    sweeper.tick()
    ids = []
    for call, paused_s in (("one", 3_600), ("two", 14_401)):
        clock.ago_ms = paused_s * 1000
        ids.append(control.start(call, "host", {}).recording_id)
        control.pause(call)
    sweeper._refreshed_s -= 30
    sweeper.tick()
    assert [control.state(each).status for each in ids] == ["paused", "stopping"]
    assert control.state(ids[1]).end_reason == "idle"


def test_paused_time_does_not_count_for_the_longest_duration(sweeper: Sweeper, control: Control, clock: Clock) -> None:
    sweeper.tick()
    clock.ago_ms = 90_000
    recording_id = control.start("one", "host", {"maxDurationS": 60}).recording_id
    clock.ago_ms = 80_000
    control.pause("one")
    clock.ago_ms = 30_000
    control.resume("one")
    sweeper.tick()
    assert control.state(recording_id).status == Status.RECORDING
    clock.ago_ms = 0
    control.pause("one")
    sweeper.tick()
    assert control.state(recording_id).status == Status.PAUSED


def test_a_flushed_index_is_filled_again_and_nobody_is_forgotten(
    sweeper: Sweeper, control: Control, clock: Clock, queue: Queue, index: Index
) -> None:
    sweeper.tick()
    clock.ago_ms = 20_000
    control.start("one", "host", {})
    due = control.stop("one")
    queue.redis.flushall()
    sweeper.tick()
    assert index.ready()
    assert [job.args for job in waiting(queue)] == [[due.recording_id]]


def test_facts_that_nobody_told_the_index_are_noticed(
    sweeper: Sweeper, control: Control, storage: LocalStorage, clock: Clock, queue: Queue, index: Index
) -> None:
    sweeper.tick()
    untold = Control(storage, NoObserver(), clock)  # a process that died behind each fact
    clock.ago_ms = 20_000
    known = control.start("one", "host", {}).recording_id
    untold.stop("one")
    unknown = untold.start("two", "host", {}).recording_id
    sweeper.tick()
    assert waiting(queue) == []
    sweeper._refreshed_s -= 30
    sweeper.tick()
    assert [job.args for job in waiting(queue)] == [[known]]
    assert {each.recording_id for each in index.open_recordings()} == {known, unknown}


def test_a_damaged_recording_does_not_stop_the_others(
    sweeper: Sweeper, control: Control, storage: LocalStorage, clock: Clock, queue: Queue, index: Index
) -> None:
    sweeper.tick()
    clock.ago_ms = 20_000
    damaged = control.start("one", "host", {"maxDurationS": 10}).recording_id
    due = control.start("two", "host", {}).recording_id
    control.stop("two")
    storage.path(keys.journal_fact(damaged, 1)).write_bytes(b"")
    sweeper._refreshed_s -= 30
    index.owed.add(damaged)
    sweeper.tick()
    assert [job.args for job in waiting(queue)] == [[due]]
    sweeper._rests_until_ms.clear()
    sweeper.tick()
    assert damaged in sweeper._rests_until_ms


def test_of_many_sweepers_one_leads_until_it_resigns(sweeper: Sweeper) -> None:
    other = Sweeper(settings=sweeper.settings, storage=sweeper.storage, index=sweeper.index, queue=sweeper.queue)
    assert sweeper.leads()
    assert sweeper.leads()
    assert not other.leads()
    other.resign()
    assert not other.leads()
    sweeper.resign()
    assert other.leads()


def test_only_old_temporary_files_are_litter(storage: LocalStorage) -> None:
    old, new = storage.new_temporary(), storage.new_temporary()
    for path in (old, new):
        path.write_bytes(b"half a chunk")
    day_ago = time.time() - 86400
    os.utime(old, (day_ago, day_ago))
    clean_litter(storage)
    assert not old.exists()
    assert new.exists()


def test_folders_of_jobs_that_were_killed_are_litter_once_nothing_in_them_is_new(storage: LocalStorage) -> None:
    killed, working = storage.tmp / "callreel-1", storage.tmp / "callreel-2"
    day_ago = time.time() - 86400
    for folder in (killed, working):
        (folder / "parts").mkdir(parents=True)
        (folder / "parts" / "film.mp4").write_bytes(b"half a film")
        for path in (folder / "parts" / "film.mp4", folder / "parts", folder):
            os.utime(path, (day_ago, day_ago))
    os.utime(working / "parts" / "film.mp4")
    clean_litter(storage)
    assert not killed.exists()
    assert (working / "parts" / "film.mp4").exists()


def test_the_command_sweeps_and_ends_politely(redis_url: str, data_dir: Path, control: Control, clock: Clock) -> None:
    clock.ago_ms = 20_000
    control.start("one", "host", {})
    control.stop("one")
    env = os.environ | {"CALLREEL_REDIS_URL": redis_url, "CALLREEL_STORAGE": f"file://{data_dir}"}
    process = subprocess.Popen([sys.executable, "-m", "callreel.cli", "sweep"], env=env, cwd=ROOT)
    try:
        deadline = time.monotonic() + 30
        with Redis.from_url(redis_url) as client:
            while not client.llen("rq:queue:render"):
                assert time.monotonic() < deadline
                time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0


def test_what_was_replaced_an_hour_ago_is_to_be_deleted(
    sweeper: Sweeper, control: Control, clock: Clock, queue: Queue
) -> None:
    sweeper.tick()
    ids = []
    for call, ago_s in (("one", 3_500), ("two", 3_700)):
        clock.ago_ms = ago_s * 1000
        recording_id = control.start(call, "host", {}).recording_id
        control.stop(call)
        control.append(recording_id, lambda state: ("drained", {}))
        made = {"complete": True, "gaps": [], "build": "b", "artifacts": []}
        control.append(recording_id, lambda state, made=made: ("completed", made))  # type: ignore[misc]  # mypy cannot type a lambda with a default
        ids.append(recording_id)
    exports = RqQueue("export", connection=queue.redis, serializer=JSONSerializer)
    sweeper.tick()
    (job,) = exports.get_jobs()
    assert (job.func_name, list(job.args)) == ("workers.jobs.tidy", [ids[1]])
    job.delete()
    sweeper.tick()
    assert exports.get_jobs() == [], "not every second"
    control.append(ids[1], lambda state: ("tidied", {"sequence": state.sequence}))
    sweeper._tidies.clear()
    sweeper.tick()
    assert exports.get_jobs() == []
