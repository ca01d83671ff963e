"""Whether this process lives, and whether it can do its work: the index takes words, the disk takes bytes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable

from redis import RedisError
from starlette.requests import Request
from starlette.responses import Response

from callreel import gauges, keys
from callreel.errors import CallreelError, InsufficientStorage, Unavailable
from callreel.index import Index, ask, connect
from callreel.storage.local import LocalStorage, refused

from .probes import PATIENCE_S, Probe
from .shell import Shell, success

_PROBE_S = 60  #: how long what was written into the index to see whether it can be stays there


class HealthCalls:
    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        # a client of its own, that waits less: the others' patience is for uploads
        self._index = Index(connect(shell.settings.redis_url, timeout_s=PATIENCE_S / 2, attempts=1))
        #: what must be, each asked at once; an answer is what should be looked at all the same
        self._checks: dict[str, Callable[[], Awaitable[list[str]]]] = {
            "process": self._process,
            "index": Probe(shell.pools.probes, self._look_at_index),
            "storage": Probe(shell.pools.probes, self._look_at_storage),
        }

    async def live(self, request: Request) -> Response:
        """The loop turns, or nobody would answer."""
        return success({"status": "live"})

    async def ready(self, request: Request) -> Response:
        told = await asyncio.gather(*(check() for check in self._checks.values()), return_exceptions=True)
        reasons, warnings = [], []
        for name, answer in zip(self._checks, told, strict=True):
            if isinstance(answer, list):
                warnings += answer
            else:
                reasons.append({"check": name, **_reason(answer)})
        if reasons:
            detail = " ".join(reason["detail"] for reason in reasons)
            raise Unavailable(detail, retryAfterS=1, reasons=reasons, warnings=warnings)
        return success({"status": "ready", "warnings": warnings})

    async def time(self, request: Request) -> Response:
        """The clock probe: as little as possible between reading the clock and sending it."""
        answer = success({"serverTimeMs": round(time.time_ns() / 1e6, 3)})
        answer.headers["Access-Control-Allow-Origin"] = "*"
        answer.headers["Timing-Allow-Origin"] = "*"
        return answer

    async def _process(self) -> list[str]:
        if self._shell.closing.is_set():
            raise Unavailable("This process is ending.")
        return []

    def _look_at_index(self) -> list[str]:
        redis = self._index.redis
        if not self._index.ready():
            raise Unavailable("The index is being made anew from the storage.")
        try:
            redis.set(keys.PROBE, 1, ex=_PROBE_S)
        except RedisError as error:  # full, a replica, unable to append to its file
            raise Unavailable(f"The index takes no writes ({type(error).__name__}).") from error
        there = ask(lambda: gauges.staff(redis))
        return [
            sentence
            for sentence, lacking in (
                ("No worker is alive: recordings are taken, films are not made.", not any(there.workers.values())),
                ("No sweeper leads: deadlines pass unnoticed. Start `callreel sweep`.", not there.sweeper),
            )
            if lacking
        ]

    def _look_at_storage(self) -> list[str]:
        self._shell.disk.check()
        storage = self._shell.storage
        if isinstance(storage, LocalStorage):
            path = storage.new_temporary()
            try:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))
                path.unlink()
            except OSError as error:
                raise refused("a new file", error) from error
        return []


def _reason(error: BaseException) -> dict[str, str]:
    """Why a check failed, for whoever asks without a token: no paths, no addresses."""
    if isinstance(error, InsufficientStorage | Unavailable):
        return {"code": error.code, "detail": error.detail}
    if isinstance(error, TimeoutError):
        return {"code": Unavailable.code, "detail": f"It does not answer within {PATIENCE_S:g} s."}
    if isinstance(error, CallreelError | Exception):
        return {"code": Unavailable.code, "detail": f"It cannot be looked at ({type(error).__name__})."}
    raise error
