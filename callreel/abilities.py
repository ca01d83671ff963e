"""What workers can encode, told by each while it lives, so that a recording is not begun that nobody can finish.

A hint in Redis, one key for each codec. Where nothing is told (no worker yet, an index that was lost) nothing is known,
and everything is accepted.
"""

from __future__ import annotations

from collections.abc import Iterable

from redis import Redis, RedisError
from redis.client import Pipeline

from . import keys
from .profiles import AUDIO_CODECS, VIDEO_CODECS

#: A worker that waits for work is heard every 45 s, one that works every 5 s.
TTL_S = 150


def tell(redis: Redis | Pipeline, codecs: Iterable[str]) -> None:
    """These codecs can be encoded, for now. Said at once: who hears half of it would refuse the other half."""
    if isinstance(redis, Pipeline):
        for codec in codecs:
            redis.set(keys.ability(codec), 1, ex=TTL_S)
        return
    with redis.pipeline() as pipe:
        tell(pipe, codecs)
        pipe.execute()


def told(redis: Redis) -> frozenset[str]:
    """The codecs that some worker can encode; none where none has told, or where the index does not answer."""
    codecs = [*VIDEO_CODECS, *AUDIO_CODECS]
    try:
        found = redis.mget([keys.ability(codec) for codec in codecs])
    except RedisError:
        return frozenset()
    return frozenset(codec for codec, value in zip(codecs, found, strict=True) if value is not None)
