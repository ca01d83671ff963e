"""Questions that may hang: asked by one thread at a time, waited for no longer than a caller's patience."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from .threads import Pool

T = TypeVar("T")

PATIENCE_S = 2.0  #: whoever asks for our health gives up after some seconds himself, and then knows nothing
_FRESH_S = 0.25  #: anybody may ask, and shall not be able to keep a disk busy with it


class Probe(Generic[T]):
    """A question and its latest answer. Who asks while it is being asked waits for the same answer."""

    def __init__(self, pool: Pool, look: Callable[[], T]) -> None:
        self._pool = pool
        self._look = look
        self._asked_s = 0.0
        self._asking: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        """Raises what the question raises, and `TimeoutError`."""
        since_s = time.monotonic() - self._asked_s
        if self._asking is None or (self._asking.done() and since_s > _FRESH_S):
            self._asking, self._asked_s, since_s = asyncio.create_task(self._pool.run(self._look)), time.monotonic(), 0
        return await asyncio.wait_for(asyncio.shield(self._asking), max(0.0, PATIENCE_S - since_s))
