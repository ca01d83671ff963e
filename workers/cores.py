"""Which processor cores a window's ffmpeg runs on: as many as it has threads, and none that another window has.

ffmpeg gives every decoder, its filters and its encoder a thread of their own, whatever it is told about threads. On
all cores at once these get into the way of the next worker's: two windows side by side were no faster than one after
the other, on a core each they are twice as fast. So a worker is a core's worth of work, and one for each core is right.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_LOOK_S = 0.05  #: five ticks of the kernel's count; a window takes a hundred times as long


@contextlib.contextmanager
def taken(count: int, among: str = "callreel") -> Iterator[frozenset[int]]:
    """So many cores for as long as the block lasts, the idlest first; empty where any will do, or all are taken.

    `among` names who shares the cores; tests have a world of their own.
    """
    allowed = _allowed()
    if not 0 < count < len(allowed):
        yield frozenset()
        return
    with contextlib.ExitStack() as held:
        found: set[int] = set()
        for core in _idlest_first(allowed):
            lock = held.enter_context(socket.socket(socket.AF_UNIX))
            # An abstract name (unix(7)) has one holder, leaves no file, and is free again however its holder ended.
            with contextlib.suppress(OSError):
                lock.bind(f"\0{among}-core-{os.getuid()}-{core}")
                found.add(core)
            if len(found) == count:
                yield frozenset(found)
                return
    yield frozenset()  # more workers than cores: the kernel shares better than a queue before one of them


def _allowed() -> set[int]:
    return os.sched_getaffinity(0) if sys.platform == "linux" else set()


def _idlest_first(cores: set[int]) -> list[int]:
    """Others may be busy on them, and whoever is in another container holds no lock that we could see."""
    before = _busy()
    time.sleep(_LOOK_S)
    now = _busy()
    return sorted(cores, key=lambda core: (now.get(core, 0) - before.get(core, 0), core))


def _busy() -> dict[int, int]:
    """Ticks that each core has worked since the machine started (proc(5), /proc/stat)."""
    found: dict[int, int] = {}
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/stat").read_text().splitlines():
            name, *ticks = line.split()
            if name.startswith("cpu") and name != "cpu":
                found[int(name[3:])] = (
                    sum(map(int, ticks)) - int(ticks[3]) - int(ticks[4])
                )  # idle, and waiting for disks
    return found
