"""When what is owed to webhooks is tried: hints in Redis, all of which may be lost. What is owed, the storage knows.

Per endpoint the recordings that may owe it something stand in order of when to look. An endpoint that does not answer
at all rests, for longer each time, and is then asked by one recording; what it answers to one concerns no other.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import redis
from redis import RedisError

from . import keys, webhooks
from .events import FACT_BEHIND
from .index import Index, script
from .journal import Fact
from .model import Recording
from .settings import Settings

log = logging.getLogger(__name__)

_FIRST_PAUSE_MS = 5_000
_LONGEST_PAUSE_MS = 10 * 60_000  #: so whoever was away is told everything within a quarter of an hour
_CLAIM_MS = 30_000  #: longer than an attempt takes
_AT_ONCE = 50  #: recordings asked for in one look
_KEPT_S = 7 * 86400


class Jobs(Protocol):
    def deliver(self, recording_id: str, endpoint_id: str) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """The attempts at the event that comes next, so far all in vain."""

    event: int
    attempts: int
    at_ms: int
    answer: str
    next_ms: int


def pause_ms(failures: int, chance: float) -> int:
    """How long to wait behind so many failures in a row; `chance` from 0 to 1 spreads those who fail together."""
    longest = min(_LONGEST_PAUSE_MS, _FIRST_PAUSE_MS * 2 ** min(failures - 1, 20))
    return int(longest * (0.5 + chance / 2))


class Owed:
    def __init__(self, client: redis.Redis) -> None:
        """`client` decodes answers, as the index's does."""
        self._redis = client
        self._told = script(client, "told")

    def spread(self, endpoint_ids: Iterable[str], now_ms: int) -> None:
        """Of recordings to which something happened nobody knows yet what they owe: look at them now."""
        ids: list[str] = self._redis.srandmember(keys.INDEX_TELLING, 1000)  # type: ignore[assignment]  # redis-py's type is that of both its clients
        if not ids:
            return
        with self._redis.pipeline() as pipe:
            for endpoint_id in endpoint_ids:
                pipe.zadd(keys.index_owed(endpoint_id), dict.fromkeys(ids, now_ms))
            pipe.srem(keys.INDEX_TELLING, *ids)
            pipe.execute()

    def due(self, endpoint_id: str, now_ms: int) -> list[str]:
        """Recordings to look at now; none while the endpoint rests, one where it has to show that it is back."""
        failures, until_ms = self._rest(endpoint_id)
        if now_ms < until_ms:
            return []
        found: list[str] = self._redis.zrangebyscore(
            keys.index_owed(endpoint_id), 0, now_ms, start=0, num=1 if failures else _AT_ONCE
        )  # type: ignore[assignment]  # as above
        return found

    def later(self, endpoint_id: str, recording_id: str, sequence: int, at_ms: int | None) -> None:
        """Look again then, or, None, not at all; unless more than `sequence` facts have been noted meanwhile."""
        names = [keys.index_recording(recording_id), keys.index_owed(endpoint_id)]
        self._told(keys=names, args=[recording_id, sequence, "" if at_ms is None else at_ms])
        if at_ms is None:
            self._redis.zrem(keys.deliveries_waiting(endpoint_id), recording_id)

    def now(self, endpoint_id: str, recording_id: str, now_ms: int) -> None:
        """Look at once, whatever the last attempts came to."""
        self.forget(endpoint_id, recording_id)
        self._redis.zadd(keys.index_owed(endpoint_id), {recording_id: now_ms})

    # ── attempts ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def tried(self, endpoint_id: str, recording_id: str) -> Tried | None:
        found: dict[str, str] = self._redis.hgetall(keys.delivery_tried(endpoint_id, recording_id))  # type: ignore[assignment]  # as above
        if not found:
            return None
        numbers = {name: int(found[name]) for name in ("event", "attempts", "at_ms", "next_ms")}
        return Tried(**numbers, answer=found["answer"])

    def failed(self, endpoint_id: str, recording_id: str, tried: Tried, since_ms: int) -> None:
        """`since_ms`: since when the event is owed."""
        name = keys.delivery_tried(endpoint_id, recording_id)
        fields: dict[Any, Any] = asdict(tried)
        with self._redis.pipeline() as pipe:
            pipe.hset(name, mapping=fields)
            pipe.expire(name, _KEPT_S)
            pipe.zadd(keys.deliveries_waiting(endpoint_id), {recording_id: since_ms})
            pipe.execute()

    def forget(self, endpoint_id: str, recording_id: str) -> None:
        self._redis.delete(keys.delivery_tried(endpoint_id, recording_id))
        self._redis.zrem(keys.deliveries_waiting(endpoint_id), recording_id)

    def oldest_ms(self, endpoint_id: str) -> int | None:
        """Since when the oldest event is owed that was not taken so far; None where there is none."""
        found: list[tuple[str, float]] = self._redis.zrange(keys.deliveries_waiting(endpoint_id), 0, 0, withscores=True)  # type: ignore[assignment]  # as above
        return int(found[0][1]) if found else None

    # ── an endpoint that does not answer ─────────────────────────────────────────────────────────────────────────────
    def rests(self, endpoint_id: str, now_ms: int) -> bool:
        """Whether it is to be left alone; who hears no and finds that it had failed is the one that tries."""
        failures, until_ms = self._rest(endpoint_id)
        if now_ms < until_ms:
            return True
        if failures:
            self._redis.hset(keys.endpoint_rest(endpoint_id), "until_ms", now_ms + _CLAIM_MS)
        return False

    def away(self, endpoint_id: str, now_ms: int, chance: float) -> None:
        failures = self._rest(endpoint_id)[0] + 1
        until_ms = now_ms + pause_ms(failures, chance)
        name = keys.endpoint_rest(endpoint_id)
        self._redis.hset(name, mapping={"failures": failures, "until_ms": until_ms})
        self._redis.expire(name, _KEPT_S)

    def back(self, endpoint_id: str) -> None:
        self._redis.delete(keys.endpoint_rest(endpoint_id))

    def _rest(self, endpoint_id: str) -> tuple[int, int]:
        found: list[str | None] = self._redis.hmget(keys.endpoint_rest(endpoint_id), "failures", "until_ms")  # type: ignore[assignment]  # as above
        return int(found[0] or 0), int(found[1] or 0)


def ask(owed: Owed, settings: Settings, jobs: Jobs, now_ms: int) -> None:
    """Ask for every delivery that is due; for the sweeper. Raises `RedisError`."""
    ids = [endpoint.id for endpoint in webhooks.endpoints(settings)]
    if not ids:
        return  # who stands in the set is looked at once somebody wants to be told
    owed.spread(ids, now_ms)
    for endpoint_id in ids:
        for recording_id in owed.due(endpoint_id, now_ms):
            jobs.deliver(recording_id, endpoint_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Teller:
    """Notes facts in the index, and asks at once for the deliveries they owe. An `Observer`."""

    index: Index
    settings: Settings
    jobs: Jobs

    def noted(self, recording: Recording, fact: Fact | None) -> None:
        self.index.noted(recording, fact)
        if recording.recording_id in self.index.owed:
            return  # the index does not answer, so there is nobody to ask
        if fact is None or fact.type not in {FACT_BEHIND[each] for each in webhooks.wanted(self.settings)}:
            return
        for endpoint in webhooks.endpoints(self.settings):
            try:
                self.jobs.deliver(recording.recording_id, endpoint.id)
            except RedisError as error:
                log.warning("webhooks: a hint is lost: %s", error)
