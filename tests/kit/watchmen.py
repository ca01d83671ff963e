"""Who touches what must not be touched: a file that tells who opened it, and a port that tells who called."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_IN_ACCESS, _IN_OPEN = 0x1, 0x20  # inotify(7)
_EVENT = struct.Struct("iIII")


@dataclass(frozen=True, slots=True)
class Canaries:
    """A file and an address that hostile bytes may name."""

    path: Path
    url: str
    _inotify: int
    _listener: socket.socket

    def touched(self) -> list[str]:
        """What happened since the last time of asking."""
        found = []
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._inotify, 65536)
            found += ["the file was opened"] * (len(data) // _EVENT.size)
        with contextlib.suppress(BlockingIOError):
            while True:
                self._listener.accept()[0].close()
                found.append("the port was called")
        return found


@contextlib.contextmanager
def canaries(folder: Path) -> Iterator[Canaries]:
    path = folder / "canary.ts"
    path.write_bytes(b"nobody may read this\n" * 50)
    libc = ctypes.CDLL(None, use_errno=True)
    inotify = libc.inotify_init1(os.O_NONBLOCK)
    assert inotify >= 0, os.strerror(ctypes.get_errno())
    try:
        assert libc.inotify_add_watch(inotify, os.fsencode(path), _IN_ACCESS | _IN_OPEN) >= 0
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            yield Canaries(path, f"http://127.0.0.1:{listener.getsockname()[1]}/canary.ts", inotify, listener)
    finally:
        os.close(inotify)
