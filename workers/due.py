"""What of a recording is still to come, windows as a rule: a set in Redis, so that whoever makes the last one knows.

A hint only. Where it is lost, the sweeper's tick finds what is there and what is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from redis import Redis

from callreel import keys

_TTL_S = 86400
MADE = 0.95  #: of the progress; joining and storing is the last twentieth


class Due:
    def __init__(self, redis: Redis, progress: Callable[[str, float], None]) -> None:
        self._redis = redis
        self._progress = progress  #: (recording, fraction)

    def expect(self, recording_id: str, missing: Sequence[str], total: int) -> None:
        """These windows of `total` are to come."""
        key = _key(recording_id)
        with self._redis.pipeline() as pipe:
            pipe.delete(key, f"{key}:total")
            if missing:
                pipe.sadd(key, *missing)
                pipe.expire(key, _TTL_S)
            pipe.set(f"{key}:total", total, ex=_TTL_S)
            pipe.execute()
        self._tell(recording_id, len(missing), total)

    def also(self, recording_id: str, missing: Sequence[str], total: int) -> None:
        """These are to come too; `total` is how many there are in all."""
        key = _key(recording_id)
        with self._redis.pipeline() as pipe:
            if missing:
                pipe.sadd(key, *missing)
                pipe.expire(key, _TTL_S)
            pipe.set(f"{key}:total", total, ex=_TTL_S)
            pipe.execute()

    def done(self, recording_id: str, what: str) -> bool:
        """It is there; True if nothing else is expected any more."""
        key = _key(recording_id)
        with self._redis.pipeline() as pipe:
            pipe.srem(key, what)
            pipe.scard(key)
            pipe.get(f"{key}:total")
            _, left, total = pipe.execute()
        if total:
            self._tell(recording_id, int(left), int(total))
        return int(left) == 0

    def _tell(self, recording_id: str, left: int, total: int) -> None:
        self._progress(recording_id, MADE * max(0, total - left) / max(total, 1))


def _key(recording_id: str) -> str:
    return f"{keys.INDEX_PREFIX}due:{recording_id}"
