"""The door for chunks: token and headers, then the body, then `ingest.store`, then the answer.

An ASGI application of its own, for it is called far more often than everything else together. What can be refused
without the body is refused without it. 201 and 200 mean stored for good.
"""

from __future__ import annotations

import asyncio
import time

from starlette.types import Receive, Scope, Send

from callreel.control import now_ms
from callreel.errors import CallreelError, ChunkConflict, ChunkTooLarge, LengthRequired, MalformedChunk, RequestTimeout
from callreel.failpoints import failpoint
from callreel.metrics import CHUNK_ACK_S, CHUNK_BYTES, CHUNKS, CLIENT_LAG_S, LATE_CHUNKS
from callreel.present import INFLIGHT_BYTES
from callreel.slots import Committed
from callreel.states import ACTIVE

from .auth import UPLOADERS, check_may, check_path
from .bodies import SILENCE_S, Body, Memory
from .forms import OVERHEAD_BYTES, ChunkForm
from .headers import ChunkFacts, RawChunk
from .remembered import Remembered
from .shell import Shell
from .store import ChunkStore, Incoming

#: How long an admission is believed: some chunks of a track, which come every second or two. It only spares bad chunks
#: their bodies; the slot's script decides, every time.
_ADMITTED_S = 10.0


class ClientGone(Exception):
    """The client went away before its body was whole. Nobody is there to be told."""


class ChunkDoor:
    """`POST …/chunks`, raw or as a form."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._memory = Memory(shell.settings.inflight_bytes)
        INFLIGHT_BYTES.set_function(lambda: self._memory.held_bytes)  # looked up when it is told, not by every chunk
        self._admitted: Remembered[tuple[str, str, str], tuple[str, float]] = Remembered()
        self._store = ChunkStore(shell)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun_s = time.monotonic()
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        params = scope["path_params"]
        caller = self._shell.auth.bearer(headers.get(b"authorization", ""))
        check_path(params)
        check_may(caller, params, UPLOADERS)
        sent, size_bytes = self._open(headers)
        participant_id = "" if caller.role == "service" else caller.participant_id
        place = (params["recordingId"], params["trackId"], participant_id)
        owner = await self._admit(*place)
        self._shell.disk.check()
        await self._memory.room()
        body = Body(self._memory, self._shell.disk.folder, self._shell.pools.uploads)
        try:
            await _receive(receive, sent, body, size_bytes)
            facts, sha256 = sent.close()
            incoming = Incoming(
                recording_id=place[0],
                track_id=place[1],
                owner=owner,
                participant_id=participant_id,
                facts=facts,
                sha256=sha256,
                mime_type=sent.mime_type,
            )
            new, here = await self._shell.pools.uploads.run(self._store, incoming, body)
        except ClientGone:
            return
        finally:
            body.discard()
        failpoint("ack.answer")
        await _answer(send, facts, new, here)
        _count(facts, size_bytes if new else 0, here, time.monotonic() - begun_s)

    def _open(self, headers: dict[bytes, str]) -> tuple[RawChunk | ChunkForm, int]:
        """What can be known without the body. Raises `LengthRequired`, `MalformedChunk`, `ChunkTooLarge`."""
        content_type = headers.get(b"content-type", "")
        form = content_type.partition(";")[0].strip().lower() == "multipart/form-data"
        limit = self._shell.settings.chunk_bytes
        length = headers.get(b"content-length", "")
        if not length.isdigit():
            raise LengthRequired("Send Content-Length; a chunk's size is known before it is sent.")
        size_bytes = int(length)
        if size_bytes == 0:
            raise MalformedChunk("A chunk has at least one byte; an empty Blob is left out, and gets no number.")
        if size_bytes > limit + (OVERHEAD_BYTES if form else 0):
            raise ChunkTooLarge(f"A chunk may have {limit} bytes; this body has {size_bytes}.", limit=limit)
        return ChunkForm(content_type, limit) if form else RawChunk(headers), size_bytes

    async def _admit(self, recording_id: str, track_id: str, participant_id: str) -> str:
        """The track's owner. Raises what `callreel.slots.Slots.admit` raises."""
        key = (recording_id, track_id, participant_id)
        known = self._admitted.get(key)
        if known is not None and known[1] > time.monotonic():
            return known[0]
        owner = await self._shell.pools.uploads.run(self._shell.slots.admit, *key)
        self._admitted.put(key, (owner, time.monotonic() + _ADMITTED_S))
        return owner


_STORED, _DUPLICATE = CHUNKS.labels("stored", ""), CHUNKS.labels("duplicate", "")


def _count(facts: ChunkFacts, stored_bytes: int, here: Committed, took_s: float) -> None:
    """A chunk that was acknowledged; no bytes: it was here already."""
    CHUNK_ACK_S.observe(took_s)
    if not stored_bytes:
        _DUPLICATE.inc()
        return
    _STORED.inc()
    CHUNK_BYTES.inc(stored_bytes)
    if here.status not in ACTIVE:
        LATE_CHUNKS.inc()
    if facts.at_ms is not None and facts.offset_ms is not None:
        CLIENT_LAG_S.observe(max(0.0, (now_ms() - facts.at_ms - facts.offset_ms) / 1000))


def count_refused(error: CallreelError) -> None:
    """A chunk that was not taken."""
    CHUNKS.labels("conflict" if isinstance(error, ChunkConflict) else "rejected", error.code).inc()


async def _receive(receive: Receive, sent: RawChunk | ChunkForm, body: Body, size_bytes: int) -> None:
    """Read the whole body. Raises `ClientGone`, `RequestTimeout`, and what the sender's format refuses."""
    loop = asyncio.get_running_loop()
    received_bytes, looked_s = 0, loop.time()
    try:
        async with asyncio.timeout(SILENCE_S) as silence:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                piece = message.get("body", b"")
                received_bytes += len(piece)
                if received_bytes > size_bytes:
                    raise ChunkTooLarge(f"The body is longer than its Content-Length {size_bytes}.", limit=size_bytes)
                if found := sent.feed(piece):
                    await body.add(found)
                if not message.get("more_body", False):
                    break
                if (now_s := loop.time()) > looked_s + 1:  # by the second is often enough, and a timer has its price
                    silence.reschedule(now_s + SILENCE_S)
                    looked_s = now_s
    except TimeoutError as error:
        raise RequestTimeout(f"Nothing came for {SILENCE_S} s; send the chunk again.") from error
    if received_bytes < size_bytes:
        raise MalformedChunk(f"The body ended after {received_bytes} of {size_bytes} bytes.")


async def _answer(send: Send, facts: ChunkFacts, new: bool, here: Committed) -> None:
    holes = ",".join(f"[{first},{last}]" for first, last in here.missing)
    body = (
        f'{{"success":true,"data":{{"seg":{facts.seg},"seq":{facts.seq},"duplicate":{"false" if new else "true"},'
        f'"next":{here.next},"missing":[{holes}],"serverTimeMs":{now_ms()}}}}}'
    ).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": 201 if new else 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
