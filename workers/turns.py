"""Who may do what how often: one `advance` of a recording at a time, and an end to trying what always fails.

Hints in Redis, all of which expire. Where they are lost, work is done twice or tried once more, and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from redis import Redis

from callreel import keys
from callreel.failpoints import failpoint
from callreel.metrics import JOB_ATTEMPTS
from callreel.pace import Pace, decode, encode
from callreel.queue import LEASE_S
from callreel.streams import Piece

#: After so long an `advance` may have died, and another one begins beside it: harmless, and rarely needed.
_TURN_S = LEASE_S
#: A failure is forgotten after a day.
_TRIES_S = 86400


class Turns:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def advance(self, recording_id: str) -> Iterator[None]:
        """Yields once for every time the recording has to be looked at; not at all while somebody else does."""
        dirty, turn = _key("dirty", recording_id), _key("turn", recording_id)
        self._redis.set(dirty, 1, ex=_TRIES_S)
        # whoever finds the turn taken has said so before, and the holder looks again behind giving it back
        while self._redis.exists(dirty) and self._redis.set(turn, 1, nx=True, ex=_TURN_S):
            try:
                while self._redis.delete(dirty):
                    self._redis.expire(turn, _TURN_S)
                    failpoint("advance.turn")
                    yield
            finally:
                self._redis.delete(turn)

    def rolled(self, recording_id: str) -> int:
        """How many windows from the first on were there at the last look at a running recording."""
        return int(self._redis.get(_key("rolled", recording_id)) or 0)

    def set_rolled(self, recording_id: str, count: int) -> None:
        self._redis.set(_key("rolled", recording_id), count, ex=_TRIES_S)

    def looked(self, recording_id: str) -> int:
        """How many windows from the first on were due at the last look at a running recording."""
        return int(self._redis.get(_key("looked", recording_id)) or 0)

    def set_looked(self, recording_id: str, count: int) -> None:
        self._redis.set(_key("looked", recording_id), count, ex=_TRIES_S)

    def shown_next(self, recording_id: str) -> list[Piece] | None:
        """The segments that a live stream shows next, in order, as soon as they are rendered; None: nobody knows."""
        told = self._redis.get(_key("shown", recording_id))
        return None if told is None else [Piece(**each) for each in json.loads(told)]

    def set_shown_next(self, recording_id: str, pieces: list[Piece]) -> None:
        self._redis.set(_key("shown", recording_id), json.dumps([asdict(piece) for piece in pieces]), ex=_TRIES_S)

    def pace(self, recording_id: str) -> Pace:
        """How a recording is rendered while it runs."""
        found = self._redis.hget(keys.PACES, recording_id) or ""
        return decode(found if isinstance(found, str) else found.decode())

    def set_pace(self, recording_id: str, pace: Pace | None) -> None:
        """None: it does not run any more."""
        if pace is None:
            self._redis.hdel(keys.PACES, recording_id)
        else:
            self._redis.hset(keys.PACES, recording_id, encode(pace))

    @contextmanager
    def trying(self, job: str, *args: str) -> Iterator[int]:
        """How often this very work was begun and not ended, this time included. Counted at the beginning, for who is
        killed at it cannot count."""
        key = _key("tries", job, *args)
        tries = int(self._redis.incr(key))
        self._redis.expire(key, _TRIES_S)
        failpoint("job.begun")
        yield tries
        failpoint("job.done")
        JOB_ATTEMPTS.labels(job).observe(tries)
        self._redis.delete(key)


def _key(kind: str, *names: str) -> str:
    return f"{keys.INDEX_PREFIX}{kind}:{':'.join(names)}"
