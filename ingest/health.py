"""Whether this process lives, and whether it can do its work: the index answers, the disk has room."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import Response

from callreel.errors import Unavailable

from .shell import Shell, success


class HealthCalls:
    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    async def live(self, request: Request) -> Response:
        """The loop turns, or nobody would answer."""
        return success({"status": "live"})

    async def ready(self, request: Request) -> Response:
        if self._shell.closing.is_set():
            raise Unavailable("This process is ending.")
        if not await self._shell.pools.control.run(self._shell.index.ready):
            raise Unavailable("The index is being made anew from the storage.", retryAfterS=1)
        self._shell.disk.check()
        return success({"status": "ready"})

    async def time(self, request: Request) -> Response:
        """The clock probe: as little as possible between reading the clock and sending it."""
        answer = success({"serverTimeMs": round(time.time_ns() / 1e6, 3)})
        answer.headers["Access-Control-Allow-Origin"] = "*"
        answer.headers["Timing-Allow-Origin"] = "*"
        return answer
