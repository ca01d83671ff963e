"""Asking for work twice does no harm, and lost work can be asked for again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from redis import Redis
from rq import Queue as RqQueue
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from callreel.queue import COOLDOWN_S, LEASE_S, Queue

RECORDING = "rec_call-1_1732259000000"


@pytest.fixture
def queue(redis_url: str) -> Queue:
    return Queue(redis_url)


def waiting(queue: Queue, name: str = "render") -> list[Job]:
    return RqQueue(name, connection=queue.redis, serializer=JSONSerializer).get_jobs()


def mark(queue: Queue, job: Job, status: JobStatus, silent_s: float) -> None:
    """What a worker does to a job when it takes it."""
    queue.redis.lrem("rq:queue:" + job.origin, 1, job.id)
    at = datetime.now(UTC) - timedelta(seconds=silent_s)
    queue.redis.hset(job.key, mapping={"status": status.value, "last_heartbeat": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")})


def test_a_window_is_enqueued_once_while_it_waits(queue: Queue) -> None:
    assert queue.render(RECORDING, "a1")
    assert not queue.render(RECORDING, "a1")
    assert queue.render_all(RECORDING, ["a1", "a2", "a3"]) == 2
    jobs = waiting(queue)
    assert [job.args for job in jobs] == [[RECORDING, "a1"], [RECORDING, "a2"], [RECORDING, "a3"]]
    assert {job.func_name for job in jobs} == {"workers.jobs.render"}


def test_jobs_say_how_long_they_may_take_and_leave_nothing_behind(redis_url: str) -> None:
    queue = Queue(redis_url, render_timeout_s=100)
    queue.render(RECORDING, "a1")
    job = waiting(queue)[0]
    assert (job.timeout, job.result_ttl, job.retries_left) == (260, 0, 2)


def test_advance_goes_to_the_front_and_once(queue: Queue) -> None:
    queue.render(RECORDING, "a1")
    assert queue.advance(RECORDING)
    assert not queue.advance(RECORDING)
    assert [job.func_name for job in waiting(queue)] == ["workers.jobs.advance", "workers.jobs.render"]


def test_a_running_window_is_not_enqueued_again_and_a_running_advance_is(queue: Queue) -> None:
    queue.render(RECORDING, "a1")
    queue.advance(RECORDING)
    for job in waiting(queue):
        mark(queue, job, JobStatus.STARTED, silent_s=1)
    assert not queue.render(RECORDING, "a1")
    assert queue.advance(RECORDING)


def test_a_window_whose_worker_fell_silent_is_enqueued_again_under_another_id(queue: Queue) -> None:
    queue.render(RECORDING, "a1")
    first = waiting(queue)[0]
    mark(queue, first, JobStatus.STARTED, silent_s=LEASE_S + 1)
    assert queue.render(RECORDING, "a1")
    second = waiting(queue)[0]
    assert first.id != second.id
    assert queue.attempts("render", RECORDING, "a1") == 2


def test_a_finished_job_can_be_asked_for_again(queue: Queue) -> None:
    queue.join(RECORDING)
    job = waiting(queue)[0]
    job.delete()
    assert queue.join(RECORDING)


def test_a_job_that_failed_for_good_rests_before_it_is_tried_again(queue: Queue) -> None:
    queue.export(RECORDING, "ann", "microphone")
    job = waiting(queue, "export")[0]
    mark(queue, job, JobStatus.FAILED, silent_s=1)
    assert not queue.export(RECORDING, "ann", "microphone")
    mark(queue, job, JobStatus.FAILED, silent_s=COOLDOWN_S + 1)
    assert queue.export(RECORDING, "ann", "microphone")


def test_a_job_taken_by_a_worker_that_died_at_once_is_believed_for_a_moment_only(queue: Queue) -> None:
    queue.render(RECORDING, "a1")
    job = waiting(queue)[0]
    queue.redis.lrem("rq:queue:render", 1, job.id)
    assert not queue.render(RECORDING, "a1")
    queue.redis.set(f"callreel:missed:{job.id}", datetime.now(UTC).timestamp() - 10)
    assert queue.render(RECORDING, "a1")


def test_ids_that_look_alike_when_joined_are_different_jobs(queue: Queue) -> None:
    assert queue.export(RECORDING, "a-b", "c")
    assert queue.export(RECORDING, "a", "b-c")
    assert len({job.id for job in waiting(queue, "export")}) == 2


def test_after_a_flush_everything_can_be_asked_for_again(queue: Queue, redis_url: str) -> None:
    queue.render(RECORDING, "a1")
    Redis.from_url(redis_url).flushall()
    assert queue.render(RECORDING, "a1")
