"""Threads for what blocks, in pools that cannot starve each other: uploads, control, files, probes.

All of `callreel` is synchronous, for a disk is; a request comes here once, does all its blocking, and goes back.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Pool:
    def __init__(self, name: str, size: int) -> None:
        self.executor = ThreadPoolExecutor(size, thread_name_prefix=name)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        # in the caller's context, so that a thread's log lines have the request's ids
        call = functools.partial(contextvars.copy_context().run, function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self.executor, call)

    def close(self) -> None:
        self.executor.shutdown(wait=True)


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
