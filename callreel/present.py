"""What processes hold at this moment, and how it comes together: each tells now and then, in one hash of Redis.

Counts are added and stay (`callreel.metrics`); what is held goes with its process. So each has a field of its own
there, and whoever has not told for a while holds nothing any more.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from redis import Redis

from . import keys
from .metrics import PUSH_S

_GONE_S = 5 * PUSH_S  #: a process that has not told for so long was killed

_REGISTRY = CollectorRegistry()
INFLIGHT_BYTES = Gauge(
    "callreel_inflight_chunk_bytes", "Bytes of chunks on their way in that are held in memory.", registry=_REGISTRY
)
WEBSOCKETS = Gauge("callreel_websockets", "WebSockets that are told events.", registry=_REGISTRY)


class Presence:
    """This process among the others."""

    def __init__(self, redis: Redis) -> None:
        """`redis` decodes its answers."""
        self._redis = redis
        self._token = uuid.uuid4().hex

    def tell(self) -> None:
        """Raises `RedisError`, then it is told the next time."""
        held = {metric.name: metric.samples[0].value for metric in _REGISTRY.collect()}
        self._redis.hset(keys.PRESENT, self._token, json.dumps([_now_s(self._redis), held]))

    def leave(self) -> None:
        """Raises `RedisError`, then what this process held counts for some seconds more."""
        self._redis.hdel(keys.PRESENT, self._token)


def together(redis: Redis) -> Iterator[Metric]:
    """The sums over all processes. Raises `RedisError`."""
    now_s = _now_s(redis)
    told = {token: json.loads(text) for token, text in redis.hgetall(keys.PRESENT).items()}
    gone = [token for token, (at_s, _) in told.items() if now_s - at_s > _GONE_S]
    if gone:
        redis.hdel(keys.PRESENT, *gone)
    for metric in _REGISTRY.collect():
        held = sum(held.get(metric.name, 0) for token, (_, held) in told.items() if token not in gone)
        yield GaugeMetricFamily(metric.name, metric.documentation, held)


def _now_s(redis: Redis) -> int:
    """The clock of Redis: those of the processes' machines need not agree."""
    return int(redis.time()[0])
