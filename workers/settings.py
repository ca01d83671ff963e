"""What `rq worker -c workers.settings -S json -w workers.settings.Worker` reads: where the queue is, and who serves it.

RQ takes serializer, class and intervals from its command line alone, so a worker started otherwise would lose jobs
quietly. Hence the rule of this file: whoever starts one otherwise is told how.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import resource
import sys
import time
from datetime import UTC, datetime
from typing import Any

import click
import rq
import structlog
from redis import RedisError
from redis.client import Pipeline
from rq.executions import Execution
from rq.job import Job
from rq.queue import Queue as RqQueue
from rq.serializers import JSONSerializer, resolve_serializer

from callreel import abilities, failpoints, metrics, queue
from callreel.checks import start_settings, start_storage
from callreel.errors import CallreelError, InvalidSettings
from callreel.lifeline import die_with
from callreel.logs import configure_logs
from callreel.settings import load_settings

from . import ffmpeg

#: Imported by the worker itself, so that every job begins with them: they take longer to load than a window to plan.
_HEAVY = ("av", "numpy", "soxr", "PIL.Image", "workers.jobs")

#: A worker that is killed is forgotten after this; it only matters to who counts workers.
_WORKER_TTL_S = 60

#: Addresses of a job: its libraries take one GiB, what it holds of media far less; ffmpeg has limits of its own.
_HORSE_BYTES = 8 * 1024**3

_REFUSAL = "A worker of Callreel is started with this line, and no other:\n    {} [queues]"


def _redis_url() -> str:
    try:
        return start_settings().redis_url
    except InvalidSettings as error:
        sys.exit(f"callreel: {error.detail}")


def _refuse_other_commands() -> None:
    """Exit where this module is being read by an `rq worker` that would not serve our jobs as they need it."""
    context = click.get_current_context(silent=True)
    if context is None or context.command.name not in ("worker", "worker-pool"):
        return
    asked = context.params
    right = (
        context.command.name == "worker"
        and asked.get("worker_class") == f"{__name__}.Worker"
        and resolve_serializer(asked.get("serializer")) is JSONSerializer
        and (asked.get("config") == __name__ or asked.get("url"))
        and set(asked.get("queues") or ()) <= set(queue.QUEUES)
    )
    if not right:
        sys.exit(_REFUSAL.format(queue.WORKER_COMMAND))


class Worker(rq.Worker):
    """An RQ worker that notices lost jobs within seconds and takes its jobs along when it dies."""

    codecs: frozenset[str] = frozenset()  #: what films this one can make
    in_charge = False  #: whether this process, or the one it was forked from, serves the queues with this class

    def __init__(self, *args: Any, **options: Any) -> None:
        options |= {"job_monitoring_interval": queue.HEARTBEAT_S, "worker_ttl": _WORKER_TTL_S}
        super().__init__(*args, **options)
        self.log_result_lifespan = False

    def work(self, *args: Any, **options: Any) -> bool:
        settings = load_settings()
        configure_logs(settings)
        try:  # what would fail every job is said before the first of them
            failpoints.arm(settings.failpoints)
            start_storage(settings)
            ffmpeg.check(settings.ffmpeg)
        except CallreelError as error:
            sys.exit(f"callreel: {error.detail}")
        for name in _HEAVY:
            importlib.import_module(name)
        from .codecs import encodable  # not before the heavy ones, for it needs them

        if "render" in self.queue_names():
            self.codecs = encodable(load_settings().ffmpeg)
        abilities.tell(self.connection, self.codecs)
        Worker.in_charge = True
        # what is imported is no garbage: horses, each of which ends with its job, need not look at it again and again
        gc.collect()
        gc.freeze()
        return bool(super().work(*args, **options))

    def main_work_horse(self, job: Job, queue: RqQueue) -> None:
        if queue.name != "deliver":
            os.nice(ffmpeg.NICE)  # a film may wait; the processes that take chunks may not
        die_with(self.pid or 0)  # here, for it is the horse's main thread that the kernel ties
        if sys.platform.startswith("linux"):  # what it reads is hostile, and whoever shares the machine is not
            resource.setrlimit(resource.RLIMIT_AS, (_HORSE_BYTES, _HORSE_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # every job's first argument is what it is about; the process ends with the job, and so do these
        structlog.contextvars.bind_contextvars(job_id=job.id, recording_id=job.args[0] if job.args else None)
        super().main_work_horse(job, queue)

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        super().heartbeat(timeout, pipeline)
        abilities.tell(self.connection if pipeline is None else pipeline, self.codecs)

    def perform_job(self, job: Job, queue: RqQueue, execution: Execution) -> bool:
        kind, begun_s = _kind(job), time.monotonic()
        if job.enqueued_at is not None:
            metrics.JOB_WAIT_S.labels(kind).observe((datetime.now(UTC) - job.enqueued_at).total_seconds())
        done = bool(super().perform_job(job, queue, execution))
        metrics.JOB_S.labels(kind).observe(time.monotonic() - begun_s)
        self._tell(kind, "ok" if done else "failed")
        return done

    def handle_work_horse_killed(self, job: Job, *how: Any) -> None:
        super().handle_work_horse_killed(job, *how)  # type: ignore[no-untyped-call]  # RQ gives it no types
        self._tell(_kind(job), "killed")

    def _tell(self, kind: str, result: str) -> None:
        """At once: a horse ends with its job, and what forks one must not hand on counts of its own."""
        metrics.JOBS.labels(kind, result).inc()
        with contextlib.suppress(RedisError):
            metrics.push(self.connection)

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        """How long a job is believed to run after its last heartbeat; RQ's own answer is a minute more."""
        return queue.LEASE_S


def _kind(job: Job) -> str:
    return str(job.func_name).rpartition(".")[2]


def require_worker() -> None:
    """For jobs: refuse to run in a worker of RQ that is not ours. Outside of any worker everything may be called."""
    if "RQ_JOB_ID" in os.environ and not Worker.in_charge:
        raise InvalidSettings(_REFUSAL.format(queue.WORKER_COMMAND))


REDIS_URL = _redis_url()
QUEUES = list(queue.QUEUES)

_refuse_other_commands()
