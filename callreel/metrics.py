"""What is counted, and how the counts of all processes come together: in one hash of Redis, by adding.

Every process counts for itself, with the Prometheus client, and now and then adds what is new to the hash. Whoever is
asked for `/metrics` reads the hash, so that it makes no difference which process that is, that two of them share a
port, that workers are forked for each job, or live on another machine. Counts of the last seconds of a process that is
killed are lost; those of a lost Redis begin at 0 again, which Prometheus knows how to read. Ids are no labels.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from redis import Redis

from . import keys

PUSH_S = 2.0  #: how often a process that goes on adds what is new

REGISTRY = CollectorRegistry()

_SHORT_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_LONG_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
_TRIES = (1, 2, 3, 5, 8)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(f"callreel_{name}", text, labels, registry=REGISTRY)


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(f"callreel_{name}", text, labels, buckets=buckets, registry=REGISTRY)


# ── ingest ───────────────────────────────────────────────────────────────────────────────────────────────────────────
CHUNKS = _counter("chunks", "Chunks: stored, duplicate, conflict or rejected; reason is the code.", "result", "reason")
CHUNK_BYTES = _counter("chunk_bytes", "Bytes of chunks that were stored.")
CHUNK_ACK_S = _histogram("chunk_ack_seconds", "From a chunk's headers to its acknowledgement.", _SHORT_S)
CHUNK_FSYNC_S = _histogram("chunk_fsync_seconds", "How long chunks waited to be durable objects.", _SHORT_S)
CLIENT_LAG_S = _histogram("client_lag_seconds", "From a chunk's recording to its acknowledgement.", _LONG_S)
LATE_CHUNKS = _counter("late_chunks", "Chunks that were stored after stop.")
REQUESTS = _counter("http_requests", "Answers, without those to chunks.", "route", "method", "status")
REQUEST_S = _histogram("http_request_duration_seconds", "Until an answer began, without chunks.", _SHORT_S, "route")
REFUSALS = _counter("http_refusals", "Refusals by their code.", "code")
AUTH_FAILURES = _counter("auth_failures", "Refusals because of who asked; kind is the code.", "kind")
LOOP_LAG_S = _histogram("event_loop_lag_seconds", "How late an ingest process came to what was due.", _SHORT_S)

# ── recordings ───────────────────────────────────────────────────────────────────────────────────────────────────────
TRANSITIONS = _counter("recording_transitions", "Steps of recordings, from state to state.", "from", "to", "cause")
GAPS = _counter("gaps", "Gaps of recordings when they were completed.", "reason")
GAP_S = _counter("gap_seconds", "How long these gaps are together.", "reason")
REBUILDS = _counter("redis_rebuilds", "Times the index was made anew.")

# ── jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
JOBS = _counter("jobs", "Jobs that ended: ok, failed, or killed with their process.", "kind", "result")
JOB_S = _histogram("job_seconds", "How long jobs took.", _LONG_S, "kind")
WINDOWS = _counter("windows", "Windows that were rendered, by the speed of their encoder.", "speed")
JOB_ATTEMPTS = _histogram("job_attempts", "How often work was begun until it came to its end.", _TRIES, "kind")
JOB_WAIT_S = _histogram("job_wait_seconds", "How long jobs waited in their queue.", _LONG_S, "kind")
DELETIONS = _counter("deletions", "Deletions that were tried: deleted, waiting, or failed.", "result")
WEBHOOKS = _counter("webhook_deliveries", "Attempts at webhooks: delivered, retry, or dead.", "event", "result")

# ── storage ──────────────────────────────────────────────────────────────────────────────────────────────────────────
STORAGE = _counter("storage_operations", "Operations: ok, taken, or the error's code.", "backend", "op", "result")
STORAGE_S = _histogram("storage_operation_seconds", "How long operations took.", _SHORT_S, "backend", "op")
INTEGRITY = _counter("integrity_failures", "Reads of chunks that are not what was uploaded.")

_told: dict[str, float] = {}  #: sample → what of it this process has added so far; a fork has its parent's
_telling = threading.Lock()


def push(redis: Redis) -> None:
    """Add what is new since the last time. Raises `RedisError`, then it is added the next time."""
    with _telling:
        now = list(_samples())
        moved = {series for series, name, value in now if value != _told.get(name)}
        if not moved:
            return
        with redis.pipeline() as pipe:
            for series, name, value in now:
                if series in moved:  # all of a histogram, or one would lack the buckets into which nothing fell
                    pipe.hincrbyfloat(keys.METRICS, name, value - _told.get(name, 0))
            pipe.execute()
        _told.update({name: value for _, name, value in now})


def totals(redis: Redis) -> dict[str, float]:
    """Sample → sum over all processes. Raises `RedisError`."""
    return {str(name): float(value) for name, value in redis.hgetall(keys.METRICS).items()}


def text_of(counts: Mapping[str, float], looked_up: Iterable[Metric]) -> bytes:
    """What Prometheus reads (text format 0.0.4): counts of all processes, and what was looked up just now."""
    registry = CollectorRegistry()
    registry.register(_Together(counts, looked_up))
    return generate_latest(registry)


class _Together(Collector):
    def __init__(self, counts: Mapping[str, float], looked_up: Iterable[Metric]) -> None:
        self._counts = counts
        self._looked_up = looked_up

    def collect(self) -> Iterator[Metric]:
        told: dict[str, list[tuple[dict[str, str], float]]] = {}
        for sample, value in self._counts.items():
            name, _, labels_json = sample.partition(" ")
            told.setdefault(name, []).append((json.loads(labels_json), value))
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
        for known in REGISTRY.collect():
            metric = Metric(known.name, known.documentation, known.type)
            for ending in endings[known.type]:
                for labels, value in sorted(told.get(known.name + ending, ()), key=_in_order):
                    metric.add_sample(known.name + ending, labels, value)
            yield metric
        yield from self._looked_up


def _in_order(sample: tuple[dict[str, str], float]) -> tuple[list[tuple[str, str]], float]:
    """Of a histogram its buckets by their edges, as the format asks."""
    labels = sample[0]
    return sorted(item for item in labels.items() if item[0] != "le"), float(labels.get("le", 0))


def _samples() -> Iterator[tuple[str, str, float]]:
    """Series that a sample belongs to, the sample, its value."""
    for metric in REGISTRY.collect():
        for sample in metric.samples:
            if not sample.name.endswith("_created"):
                labels = {name: label for name, label in sample.labels.items() if name != "le"}
                name = f"{sample.name} {json.dumps(sample.labels, sort_keys=True)}"
                yield f"{metric.name} {json.dumps(labels, sort_keys=True)}", name, sample.value
