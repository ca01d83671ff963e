"""Threads for what blocks, in pools that cannot starve each other: uploads, control, files, probes.

All of `callreel` is synchronous, for a disk is; a request comes here once, does all its blocking, and goes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Pool:
    def __init__(self, name: str, size: int) -> None:
        self.executor = ThreadPoolExecutor(size, thread_name_prefix=name)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function returns or raises, from a thread. Cancelling gives up the answer, not the work."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        # in the caller's context, so that a thread's log lines have the request's ids
        call = functools.partial(contextvars.copy_context().run, function, *args, **kwargs)
        # not `run_in_executor`: tying two futures together costs a chunk as much as all that its door does
        self.executor.submit(_answered, loop, answer, call)
        return await answer

    def close(self) -> None:
        self.executor.shutdown(wait=True)


def _answered(loop: asyncio.AbstractEventLoop, answer: asyncio.Future[T], call: Callable[[], T]) -> None:
    """In the thread: do it, and say so on the loop."""
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001  # whatever it is, it is raised where it is waited for
        told = functools.partial(_tell, answer, asyncio.Future.set_exception, error)
    else:
        told = functools.partial(_tell, answer, asyncio.Future.set_result, result)
    with contextlib.suppress(RuntimeError):  # the loop ended meanwhile, and nobody waits
        loop.call_soon_threadsafe(told)


def _tell(answer: asyncio.Future[T], how: Callable[[asyncio.Future[T], Any], None], what: Any) -> None:
    if not answer.done():  # given up
        how(answer, what)


class Pools:
    def __init__(self) -> None:
        # fsync is waiting, not work: enough threads that a disk can merge what many chunks ask of it. Each of them may
        # hold a second copy of a chunk, so not more than enough.
        self.uploads = Pool("uploads", 16)
        self.control = Pool("control", 16)
        self.files = Pool("files", 16)
        self.probes = Pool("probes", 4)

    def close(self) -> None:
        for pool in (self.uploads, self.control, self.files, self.probes):
            pool.close()
