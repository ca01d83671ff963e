"""Bodies of requests: in memory as little as possible, on disk only what is a whole chunk.

A chunk of up to 1 MiB is collected and handed on in one piece; what is larger, or comes when memory is short, goes into
a temporary file as it comes. Nothing has a name that anybody could take for a chunk before all of it is there.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import time
import uuid
from pathlib import Path
from typing import Any

from starlette.requests import Request

from callreel.errors import BodyTooLarge, InsufficientStorage, InvalidRequest, RequestTimeout, Unavailable
from callreel.failpoints import failpoint
from callreel.storage.local import refused

from .threads import Pool

_COLLECT_BYTES = 1024 * 1024  #: of one chunk in memory; most chunks are smaller, and a thread hop per MiB is cheap

#: Silence after which a body is given up. TCP itself gives up later; a phone that changes its network is back sooner.
SILENCE_S = 30

_PATIENCE_S = 5  #: how long a chunk waits for memory before it hears 503: a disk that is only busy is back by then

_JSON_BYTES = 64 * 1024  #: metadata may have 16 KiB; a thousand segments of a `complete` fit too


class Memory:
    """Bytes of bodies that this process holds at the moment."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0

    @property
    def short(self) -> bool:
        return self.held_bytes > self.limit_bytes

    def take(self, size_bytes: int) -> None:
        self.held_bytes += size_bytes

    def give(self, size_bytes: int) -> None:
        self.held_bytes -= size_bytes

    async def room(self) -> None:
        """Wait until there is some. Raises `Unavailable`."""
        deadline = time.monotonic() + _PATIENCE_S
        while self.short:
            if time.monotonic() > deadline:
                raise Unavailable("This process holds as many bytes as it may; try again.", retryAfterS=1)
            await asyncio.sleep(0.01)  # rare, and a hundred looks a second cost nothing beside what is being written


class Disk:
    """Where bodies lie while they come. Refuses them before it is full: what is being processed needs room too."""

    def __init__(self, folder: Path, floor_bytes: int) -> None:
        self.folder = folder
        self._floor_bytes = floor_bytes
        self._free_bytes = 0
        self._looked_s = float("-inf")

    def check(self) -> None:
        """Raises `InsufficientStorage`, `Unavailable`."""
        if time.monotonic() - self._looked_s > 1:  # a second's uploads are less than any sensible floor
            try:
                self._free_bytes = shutil.disk_usage(self.folder).free
            except OSError as error:
                raise refused("to be looked at", error) from error
            self._looked_s = time.monotonic()
        if self._free_bytes < self._floor_bytes:
            raise InsufficientStorage(
                f"The storage has {self._free_bytes} bytes left; {self._floor_bytes} are kept free.",
                retryAfterS=30,
            )


class Body:
    """One chunk on its way in: `add` and `discard` on the loop, `finish` where blocking is allowed."""

    def __init__(self, memory: Memory, folder: Path, pool: Pool) -> None:
        self.size_bytes = 0
        self.head = b""  #: the first bytes, for whoever wants to know what it is
        self._memory = memory
        self._folder = folder
        self._pool = pool
        self._parts: list[bytes] = []
        self._held_bytes = 0
        self._file: Path | None = None
        self._sha256 = hashlib.sha256()

    async def add(self, piece: bytes) -> None:
        if len(self.head) < 64:
            self.head = (self.head + piece[:64])[:64]
        self.size_bytes += len(piece)
        self._parts.append(piece)
        self._held_bytes += len(piece)
        self._memory.take(len(piece))
        if self._held_bytes >= _COLLECT_BYTES or (self._memory.short and self._held_bytes):
            await self._pool.run(self._spill)
            self._release()

    def finish(self) -> tuple[str, bytes | Path]:
        """Digest and content of all that came; a path is a file that may be taken away.

        Raises `InsufficientStorage`, `Unavailable`.
        """
        if self._file is None:
            content = b"".join(self._parts)
            return hashlib.sha256(content).hexdigest(), content
        self._spill()
        return self._sha256.hexdigest(), self._file

    def discard(self) -> None:
        """Forget everything. May be called twice."""
        self._release()
        if self._file is not None:
            self._file.unlink(missing_ok=True)

    def _spill(self) -> None:
        """Raises `InsufficientStorage`, `Unavailable`."""
        self._file = self._file or self._folder / uuid.uuid4().hex
        try:
            failpoint("body.spill")
            self._append(self._file)
        except OSError as error:
            raise refused("the chunk", error) from error
        self._parts = []

    def _append(self, file: Path) -> None:
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            for part in self._parts:
                self._sha256.update(part)
                view = memoryview(part)
                while view:
                    view = view[os.write(fd, view) :]
        finally:
            os.close(fd)

    def _release(self) -> None:
        self._memory.give(self._held_bytes)
        self._held_bytes = 0
        self._parts = []


async def read_json(request: Request) -> dict[str, Any]:
    """A JSON object, or {} for an empty body. Raises `InvalidRequest`, `BodyTooLarge`, `RequestTimeout`."""
    content = b""
    try:
        async with asyncio.timeout(SILENCE_S):
            async for piece in request.stream():
                content += piece
                if len(content) > _JSON_BYTES:
                    raise BodyTooLarge(f"The body may have {_JSON_BYTES} bytes.", limit=_JSON_BYTES)
    except TimeoutError as error:
        raise RequestTimeout("The body did not come to its end.") from error
    if not content.strip():
        return {}
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"The body is no JSON: {error}.") from error
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object.")
    return value
