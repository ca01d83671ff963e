"""Which windows of a recording are still to come: a set in Redis, so that whoever renders the last one knows.

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

    def done(self, recording_id: str, window_key: str) -> bool:
        """A window is there; True if no other is expected any more."""
        key = _key(recording_id)
        with self._redis.pipeline() as pipe:
            pipe.srem(key, window_key)
            pipe.scard(key)
            pipe.get(f"{key}:total")
            _, left, total = pipe.execute()
        if total:
            self._tell(recording_id, int(left), int(total))
        return int(left) == 0

    def _tell(self, recording_id: str, left: int, total: int) -> None:
        self._progress(recording_id, MADE * (total - left) / max(total, 1))


def _key(recording_id: str) -> str:
    return f"{keys.INDEX_PREFIX}due:{recording_id}"
