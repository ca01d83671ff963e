"""Hostile bytes read in a process of its own: whatever they do to a library, the job goes on and can tell what was.

Forked and not started anew, so it costs some milliseconds. The child has limits, and dies with its parent.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from callreel.errors import CallreelError, MediaUnreadable, RenderFailed
from callreel.lifeline import die_with

#: Addresses on top of what the parent has: numbers of four million packets, and what a demuxer keeps of them.
_ADDRESS_BYTES = 4 * 1024**3
_PIECE_BYTES = 1 << 20
_NOT_MEDIA = 3  #: the child's exit code

log = structlog.get_logger(__name__)


def apart(work: Callable[[], bytes], *, timeout_s: float) -> bytes:
    """What `work` returns. Raises `MediaUnreadable` where it breaks, or does not come to an end in time, and
    `RenderFailed` where not the media were the reason."""
    reading, writing = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _be_child(work, writing, parent, timeout_s)
    os.close(writing)
    deadline = time.monotonic() + timeout_s
    parts = []
    ended = False
    try:
        while not ended and select.select([reading], [], [], max(0.0, deadline - time.monotonic()))[0]:
            piece = os.read(reading, _PIECE_BYTES)
            parts.append(piece)
            ended = not piece
    finally:
        os.close(reading)
        if not ended:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if not ended:
        raise MediaUnreadable(f"reading it took more than {timeout_s:.0f} s")
    if code == _NOT_MEDIA:
        raise RenderFailed("what was to be read could not be fetched; the log says why")
    if code != 0:
        raise MediaUnreadable(f"reading it ended with {code}" + (" (killed)" if code < 0 else ""))
    return b"".join(parts)


def _be_child(work: Callable[[], bytes], writing: int, parent: int, timeout_s: float) -> None:
    """Never returns."""
    code = 1
    try:
        die_with(parent)
        _limit(resource.RLIMIT_CPU, int(timeout_s) + 1)
        _limit(resource.RLIMIT_CORE, 0)
        if sys.platform.startswith("linux"):
            _limit(resource.RLIMIT_AS, _addresses() + _ADDRESS_BYTES)
        with open(writing, "wb") as pipe:
            pipe.write(work())
        code = 0
    except (CallreelError, OSError):  # the storage's
        log.exception("reading apart")
        code = _NOT_MEDIA
    finally:
        os._exit(code)  # nothing of the parent's is cleaned up twice, whatever was raised


def _limit(what: int, value: int) -> None:
    """Lower a limit; what is lower already stays."""
    _, hard = resource.getrlimit(what)
    least = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (least, least))


def _addresses() -> int:
    """Bytes of addresses that this process has (proc(5), statm)."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
