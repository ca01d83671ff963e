"""What is the case at this moment, looked up where it is known: in the index, in the queue, on the disk."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from redis import Redis, RedisError, ResponseError

from . import __version__, keys, pace, present
from .errors import Unavailable
from .index import Index
from .owed import Owed
from .queue import QUEUES
from .states import ACTIVE, FINAL, Status

_RQ = "rq:"  #: RQ's own keys, as `rq.keys` has them

#: The oldest job is served next, or stands behind those that were put in front: few, and soon done.
_IN_FRONT = 15

WORKER_STATES = ("busy", "idle")


@dataclass(frozen=True, slots=True)
class Staff:
    """Who is there to do the work."""

    workers: dict[str, int]  #: state → how many
    sweeper: bool  #: one leads


def staff(redis: Redis) -> Staff:
    """Raises `RedisError`. `redis` decodes its answers."""
    with redis.pipeline(transaction=False) as pipe:
        names = sorted(redis.smembers(f"{_RQ}workers"))
        for name in names:
            pipe.hget(name, "state")
        pipe.exists(keys.SWEEP_LEASE)
        *states, led = pipe.execute()
    # who was killed is still in the set, but what it said of itself has expired
    return Staff({state: states.count(state) for state in WORKER_STATES}, bool(led))


def gauges(index: Index, folder: Path, endpoint_ids: Iterable[str] = ()) -> Iterator[Metric]:
    """Everything that is not counted. Never fails: where Redis does not answer, that is what is told."""
    yield _gauge("build_info", "The version that answers.", {__version__: 1}, "version")
    disk = shutil.disk_usage(folder)
    yield _gauge("disk_free_bytes", "Room where recordings are stored.", disk.free)
    yield _gauge("disk_free_ratio", "Of all room there.", disk.free / disk.total)
    try:
        found = [
            *_recordings(index),
            *_queues(index.redis),
            *_staff(index.redis),
            *_webhooks(index.redis, endpoint_ids),
            *present.together(index.redis),
            *_persistence(index.redis),
        ]
    except (RedisError, Unavailable):
        found = []
    yield _gauge("redis_up", "1 where index and queue answer, and the index is filled.", float(bool(found)))
    yield from found


def _recordings(index: Index) -> Iterator[Metric]:
    begun_ms: dict[str, list[int]] = {str(status): [] for status in Status if status not in FINAL}
    asked_ms: list[int] = []
    running: list[str] = []
    for recording in index.open_recordings():
        if recording.status in ACTIVE:
            running.append(recording.recording_id)
        begun_ms.get(str(recording.status), []).append(recording.started_ms)
        if recording.status is Status.DELETING and recording.deleting_ms:
            asked_ms.append(recording.deleting_ms)
    counts = {state: len(found) for state, found in begun_ms.items()}
    ages_s = {state: time.time() - min(found) / 1000 for state, found in begun_ms.items() if found}
    told = index.redis.hmget(keys.PACES, running) if running else []
    paces = [pace.decode(str(text)) for text in told if text]
    steps = {step.name: sum(each.step == number for each in paces) for number, step in enumerate(pace.STEPS)}
    behind = max((each.behind for each in paces), default=0)
    yield _gauge("rolling_recordings", "Recordings that are rendered while they run, by their step.", steps, "step")
    yield _gauge("rolling_behind_windows", "Windows that the one furthest behind could have, and has not.", behind)
    yield _gauge("recordings", "Recordings that are not final.", counts, "state")
    yield _gauge("recording_oldest_seconds", "Since the start of the oldest of them.", ages_s, "state")
    yield _gauge("deletion_oldest_pending_seconds", "How long the oldest deletion takes already.", _age_s(asked_ms))


def _queues(redis: Redis) -> Iterator[Metric]:
    with redis.pipeline(transaction=False) as pipe:
        for name in QUEUES:
            pipe.llen(f"{_RQ}queue:{name}")
            pipe.lrange(f"{_RQ}queue:{name}", 0, _IN_FRONT)
        told = pipe.execute()
    waits_s = {}
    for name, jobs in zip(QUEUES, told[1::2], strict=True):
        since = [str(redis.hget(f"{_RQ}job:{job}", "enqueued_at") or "") for job in jobs]
        oldest = [datetime.fromisoformat(instant).timestamp() for instant in since if instant]
        waits_s[name] = time.time() - min(oldest) if oldest else 0.0
    yield _gauge("queue_jobs", "Jobs that wait.", dict(zip(QUEUES, told[::2], strict=True)), "queue")
    yield _gauge("job_queue_oldest_seconds", "How long the oldest of them waits.", waits_s, "queue")


def _staff(redis: Redis) -> Iterator[Metric]:
    there = staff(redis)
    yield _gauge("workers", "Workers that are alive.", there.workers, "state")
    yield _gauge("sweeper_leads", "1 where a sweeper looks after deadlines.", float(there.sweeper))


def _webhooks(redis: Redis, endpoint_ids: Iterable[str]) -> Iterator[Metric]:
    told = Owed(redis)
    since_ms = [at_ms for each in endpoint_ids if (at_ms := told.oldest_ms(each)) is not None]
    yield _gauge("webhook_oldest_pending_seconds", "How long the oldest webhook waits to be taken.", _age_s(since_ms))


def _persistence(redis: Redis) -> Iterator[Metric]:
    try:
        told = redis.info("persistence")
    except ResponseError:  # not every service that offers a Redis lets everybody ask
        return
    kept = bool(told.get("aof_enabled")) and told.get("aof_last_write_status") == "ok"
    yield _gauge("redis_aof_ok", "1 where Redis has an append-only file and its last write succeeded.", float(kept))


def _age_s(instants_ms: Sequence[int]) -> float:
    """How long ago the first of them was; 0 where there is none."""
    return max(0.0, time.time() - min(instants_ms) / 1000) if instants_ms else 0.0


def _gauge(name: str, text: str, values: float | Mapping[str, float], label: str = "") -> Metric:
    """One value, or one for each value of a label."""
    family = GaugeMetricFamily(f"callreel_{name}", text, labels=[label] if label else [])
    for of, value in values.items() if isinstance(values, Mapping) else [("", values)]:
        family.add_metric([of] if label else [], value)
    return family
