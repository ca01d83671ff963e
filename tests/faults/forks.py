"""Processes of Callreel, forked from one that has everything loaded: a start takes milliseconds, and any may be killed.

Each runs what its command line runs, with settings and failpoints of its own; how it ended is its exit code.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import httpx

from tests.ingest.desk import SECRET

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["pytest", "httptools", "uvicorn", "uvloop", "tests.faults.forks", "tests.faults.roles"])

KILLED = -int(signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class House:
    """Where the processes of one test live."""

    redis_url: str
    folder: Path
    fsync: str = "always"
    more: Mapping[str, str] = field(default_factory=dict)  #: other settings

    def environment(self, failpoints: str = "") -> dict[str, str]:
        values = {
            "jwt_secret": SECRET,
            "redis_url": self.redis_url,
            "storage": f"file://{self.folder}",
            "fsync": self.fsync,
            "chunk_bytes": str(4 << 20),
            "min_free_bytes": str(4 << 20),
            "drain_s": "0",
            "delete_grace_s": "0",
            "log_level": "error",
            "failpoints": failpoints,
            **self.more,
        }
        return {f"CALLREEL_{name.upper()}": value for name, value in values.items()}

    @contextlib.contextmanager
    def forked(self, role: Callable[..., None], *args: Any, failpoints: str = "") -> Iterator[ForkServerProcess]:
        """A process that plays a role; killed at the end of the block if it still lives."""
        process = _FORKS.Process(target=_play, args=(self.environment(failpoints), role, args), daemon=True)
        process.start()
        try:
            yield process
        finally:
            process.kill()
            process.join()

    def ended(self, role: Callable[..., None], *args: Any, failpoints: str = "") -> int:
        """Let a process play a role to its end; its exit code."""
        with self.forked(role, *args, failpoints=failpoints) as process:
            process.join(120)
            assert process.exitcode is not None, f"{role.__name__} has not ended"
            return process.exitcode


def _play(environment: dict[str, str], role: Callable[..., None], args: tuple[Any, ...]) -> None:
    for name in [name for name in os.environ if name.startswith("CALLREEL_")]:
        del os.environ[name]
    os.environ.update(environment)
    logging.getLogger().handlers.clear()
    role(*args)


@contextlib.contextmanager
def port() -> Iterator[tuple[socket.socket, httpx.Client]]:
    """A listening socket that outlives the servers on it, and somebody who talks to whichever is there."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        # no connection is kept: it would be one to a server that is gone
        with httpx.Client(base_url=url, timeout=60, limits=httpx.Limits(max_keepalive_connections=0)) as client:
            yield listener, client
