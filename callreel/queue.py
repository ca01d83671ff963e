"""Work for the workers: which jobs there are, and how one is asked for so that asking twice does no harm.

A job is enqueued by its dotted name, at most once while it is pending, and again once it was lost: a key holds the id
of the pending job, and whoever finds the key taken looks whether that job still lives. So every `advance` may ask for
all that is due, and nothing has to be cleaned up behind a worker that died.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from redis import Redis, WatchError
from rq import Queue as RqQueue
from rq import Retry
from rq.exceptions import NoSuchJobError
from rq.executions import ExecutionRegistry
from rq.job import Job, JobStatus
from rq.registry import FailedJobRegistry, StartedJobRegistry
from rq.serializers import JSONSerializer

from . import keys
from .failpoints import failpoint

#: In this order a worker serves them: what the world waits for, films, files for later.
QUEUES = ("deliver", "render", "export")

#: The one way to start a worker.
WORKER_COMMAND = "rq worker -c workers.settings -S json -w workers.settings.Worker"

HEARTBEAT_S = 5  #: how often a worker says that its job still runs
LEASE_S = 20  #: after so long without a word a job is lost: three missed heartbeats, and some seconds of clock skew
COOLDOWN_S = 30  #: a job that failed for good rests for so long, or one that always fails would keep a core busy
_POP_S = 3  #: between leaving the list and being marked as started a job is nowhere; that takes milliseconds
_DAY_S = 86400  #: how long a failed job can be looked at, and a forgotten key stays


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A kind of job."""

    function: str
    queue: str
    timeout_s: int
    at_front: bool = False
    retries: int = 0  #: at once, after a crash
    anew_while_running: bool = False  #: one that runs may have looked too early, so one more may wait behind it


WORKS: dict[str, Work] = {
    # Scanning hours of tracks for the first time reads some GB.
    "advance": Work(
        function="workers.jobs.advance", queue="render", timeout_s=1800, at_front=True, anew_while_running=True
    ),
    "render": Work(function="workers.jobs.render", queue="render", timeout_s=0, retries=2),
    # Copies packets of a whole film, no decoding: a day of 720p within an hour, on a slow disk.
    "join": Work(function="workers.jobs.join", queue="render", timeout_s=3600, at_front=True, retries=1),
    # Ends itself within a minute; what is left then is asked for again.
    "deliver": Work(function="workers.jobs.deliver", queue="deliver", timeout_s=180),
    "export": Work(function="workers.jobs.export", queue="export", timeout_s=3600, retries=1),
    # Decodes key frames and sound of a whole film: a day of it within half an hour.
    "previews": Work(function="workers.jobs.previews", queue="export", timeout_s=3600, retries=1),
    # Plans the recording's films once more, and deletes.
    "tidy": Work(function="workers.jobs.tidy", queue="export", timeout_s=1800, retries=1),
    "delete": Work(function="workers.jobs.delete", queue="export", timeout_s=3600, at_front=True, retries=1),
}


def connect(redis_url: str) -> Redis:
    """A connection as RQ needs it: bytes, no decoding."""
    return Redis.from_url(redis_url)


class Queue:
    """Asks for jobs. Every method may be called by anybody, any number of times; True means that a job was enqueued."""

    def __init__(self, redis: str | Redis, *, render_timeout_s: int = 600) -> None:
        self.redis: Redis = connect(redis) if isinstance(redis, str) else redis
        # A window may be rendered once more, without the track that breaks it, and is stored after that.
        self._render_timeout_s = 2 * render_timeout_s + 60
        self._queues = {name: RqQueue(name, connection=self.redis, serializer=JSONSerializer) for name in QUEUES}

    def advance(self, recording_id: str) -> bool:
        """Plan what is due. Asked for while one waits: that one will see it. While one runs: one more."""
        return self._ask("advance", [(recording_id,)]) == 1

    def render(self, recording_id: str, key: str) -> bool:
        """Render one window."""
        return self._ask("render", [(recording_id, key)]) == 1

    def render_all(self, recording_id: str, window_keys: Iterable[str]) -> int:
        """Render many windows, in this order; how many of them were not pending already."""
        return self._ask("render", [(recording_id, key) for key in window_keys])

    def join(self, recording_id: str) -> bool:
        """Make the film of its windows."""
        return self._ask("join", [(recording_id,)]) == 1

    def export(self, recording_id: str, participant_id: str, track_id: str) -> bool:
        """Make a playable file of one track."""
        return self._ask("export", [(recording_id, participant_id, track_id)]) == 1

    def previews(self, recording_id: str) -> bool:
        """Make what is looked at before a film is played."""
        return self._ask("previews", [(recording_id,)]) == 1

    def tidy(self, recording_id: str) -> bool:
        """Delete what was replaced long enough ago."""
        return self._ask("tidy", [(recording_id,)]) == 1

    def delete(self, recording_id: str) -> bool:
        """Remove all there is of a recording that is being deleted."""
        return self._ask("delete", [(recording_id,)]) == 1

    def cancel(self, recording_id: str) -> None:
        """Take back every job of a recording that waits or failed, but for its deletion and for telling of it."""
        for queue in self._queues.values():
            waiting = [*queue.get_job_ids(), *FailedJobRegistry(queue=queue).get_job_ids(cleanup=False)]
            for job_id in self._of(recording_id, waiting):
                with contextlib.suppress(NoSuchJobError):  # a worker was quicker
                    Job.fetch(job_id, connection=self.redis, serializer=JSONSerializer).delete()

    def is_at_work(self, recording_id: str) -> bool:
        """Does a job of this recording run that makes something?"""
        for queue in self._queues.values():
            running = self._of(recording_id, StartedJobRegistry(queue=queue).get_job_ids(cleanup=False))
            found = Job.fetch_many(running, connection=self.redis, serializer=JSONSerializer)
            if any(job is not None and _silent_s(job) < LEASE_S for job in found):
                return True
        return False

    def _of(self, recording_id: str, job_ids: Iterable[str]) -> list[str]:
        heads = tuple(f"{name}-{recording_id}-" for name in WORKS if name not in ("delete", "deliver"))
        return [job_id for job_id in job_ids if job_id.startswith(heads)]

    def deliver(self, recording_id: str, endpoint_id: str) -> bool:
        """Tell an endpoint what it is owed of a recording."""
        return self._ask("deliver", [(recording_id, endpoint_id)]) == 1

    def attempts(self, name: str, *args: str) -> int:
        """How often this very job has been enqueued since the index knows."""
        count = self.redis.get(_attempts_key(name, args))
        return int(count) if count else 0

    def recover(self) -> None:
        """Hand the jobs of dead workers to living ones; for the sweeper."""
        for queue in self._queues.values():
            registry = StartedJobRegistry(queue=queue)
            for job_id in registry.get_expired_job_ids():
                # RQ goes on looking for the execution that died, and takes the next one's success for a failure
                self.redis.delete(ExecutionRegistry(job_id, self.redis).key)
            registry.cleanup()

    def _ask(self, name: str, wanted: Sequence[tuple[str, ...]]) -> int:
        if not wanted:
            return 0
        with self.redis.pipeline(transaction=False) as pipe:
            for args in wanted:
                pipe.get(_pending_key(name, args))
            pending = [None if value is None else value.decode() for value in pipe.execute()]
        alive = self._alive(WORKS[name], [job_id for job_id in pending if job_id])
        return sum(
            self._enqueue(name, args, lost)
            for args, lost in zip(wanted, pending, strict=True)
            if lost is None or lost not in alive
        )

    def _enqueue(self, name: str, args: tuple[str, ...], lost: str | None) -> bool:
        """Key and job appear together or not at all: a key without its job would look like a lost one."""
        work = WORKS[name]
        key = _pending_key(name, args)
        with self.redis.pipeline() as pipe:
            try:
                pipe.watch(key)  # type: ignore[no-untyped-call]  # redis-py has no types for it
                found: Any = pipe.get(key)
                if (found.decode() if found else None) != lost:  # somebody else asked meanwhile
                    return False
                count: Any = pipe.get(_attempts_key(name, args))
                attempt = int(count or 0) + 1
                job_id = _job_id(name, args, attempt)
                pipe.multi()
                pipe.set(key, job_id, ex=_DAY_S)
                pipe.set(_attempts_key(name, args), attempt, ex=_DAY_S)
                self._queues[work.queue].enqueue_call(
                    work.function,
                    args=args,
                    timeout=work.timeout_s or self._render_timeout_s,
                    result_ttl=0,
                    failure_ttl=_DAY_S,
                    job_id=job_id,
                    at_front=work.at_front,
                    retry=Retry(max=work.retries) if work.retries else None,
                    pipeline=pipe,
                )
                failpoint("queue.asking")
                pipe.execute()
                failpoint("queue.asked")
            except WatchError:
                return False
        return True

    def _alive(self, work: Work, job_ids: Sequence[str]) -> set[str]:
        """Which of these jobs will still come to something, or failed so lately that they have to rest."""
        if not job_ids:
            return set()
        waiting = set(self._queues[work.queue].get_job_ids())
        found = Job.fetch_many(job_ids, connection=self.redis, serializer=JSONSerializer)
        return {
            job_id
            for job_id, job in zip(job_ids, found, strict=True)
            if job_id in waiting or (job is not None and self._is_alive(work, job))
        }

    def _is_alive(self, work: Work, job: Job) -> bool:
        status = job.get_status(refresh=False)
        silent_s = _silent_s(job)
        if status == JobStatus.STARTED:
            return not work.anew_while_running and silent_s < LEASE_S
        if status == JobStatus.FAILED:
            return silent_s < COOLDOWN_S
        if status == JobStatus.QUEUED:  # but not in the list: just taken by a worker, or lost by one that died then
            key, now_s = f"{keys.INDEX_PREFIX}missed:{job.id}", time.time()
            if self.redis.set(key, now_s, nx=True, ex=_DAY_S):
                return True
            return now_s - float(self.redis.get(key) or now_s) < _POP_S
        return False


def _silent_s(job: Job) -> float:
    """For how long nothing was heard of a job."""
    return (datetime.now(UTC) - job.last_heartbeat).total_seconds() if job.last_heartbeat else 0.0


def _pending_key(name: str, args: tuple[str, ...]) -> str:
    return f"{keys.INDEX_PREFIX}pending:{name}:{':'.join(args)}"


def _attempts_key(name: str, args: tuple[str, ...]) -> str:
    return f"{keys.INDEX_PREFIX}attempts:{name}:{':'.join(args)}"


def _job_id(name: str, args: tuple[str, ...], attempt: int) -> str:
    """Letters, digits, `_` and `-` are all that RQ takes; a digest keeps ids apart that only look alike when joined."""
    digest = hashlib.sha256("\n".join(args).encode()).hexdigest()[:16]
    return f"{name}-{args[0]}-{digest}-{attempt}"
