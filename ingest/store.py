"""Storing one chunk: everything that blocks, in one thread from the digest to the index.

Slot first, then the object, then the index. So of two with different bytes only one makes an object, and whatever dies
in between leaves something that the same client's next try completes.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

from callreel import keys
from callreel.control import now_ms
from callreel.errors import DigestMismatch, ObjectMissing, PermanentError, RecordingDeleted, UnsupportedMedia
from callreel.failpoints import failpoint
from callreel.metrics import CHUNK_FSYNC_S
from callreel.model import Chunk
from callreel.slots import Committed, Conflict, Reserved
from callreel.sniff import may_be_media
from callreel.states import ACTIVE, Status
from callreel.storage.local import copied

from .bodies import Body
from .headers import ChunkFacts
from .remembered import Remembered
from .shell import Shell

#: What is being finished waits for chunks; what is finished is brought up to date by whoever looks after late ones.
_UNDER_WAY = {Status.STOPPING, Status.PROCESSING}
#: What a window's encoder wants behind its end, and what a chunk is delivered behind its media.
_BEHIND_MS = 200
#: A reservation without an object is given up after this. Between the two lies one write to the disk: a process that
#: needs longer for it is dead.
_STALE_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A chunk that wants to be stored, as its sender tells of it."""

    recording_id: str
    track_id: str
    owner: str
    participant_id: str  #: who sends; '' for a service
    facts: ChunkFacts
    sha256: str | None  #: what the bytes should have
    mime_type: str


class ChunkStore:
    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._described: Remembered[tuple[str, str, int], bool] = Remembered()
        self._windows: Remembered[tuple[str, str], int] = Remembered()  #: (recording, track) → windows it has passed

    def __call__(self, incoming: Incoming, body: Body) -> tuple[bool, Committed]:
        """Store a chunk; True if it was new. Raises whatever there is to refuse."""
        sha256, content = body.finish()
        if incoming.sha256 not in (None, sha256):
            raise DigestMismatch(f"{incoming.sha256} was announced, the {body.size_bytes} bytes have {sha256}.")
        if incoming.facts.seq == 0 and not may_be_media(body.head):
            raise UnsupportedMedia("A segment begins like WebM, MP4 or Ogg; these bytes begin like none of them.")
        failpoint("ack.received")
        reserved = self._reserve(incoming, _chunk(incoming, sha256, body.size_bytes))
        failpoint("ack.reserved")
        key, new = keys.chunk(incoming.recording_id, reserved.chunk), False
        if not reserved.stored:
            self._describe(incoming, reserved.chunk, content)
            failpoint("ack.described")
            begun_s = time.monotonic()
            new = self._shell.storage.put_if_absent(key, content)
            CHUNK_FSYNC_S.observe(time.monotonic() - begun_s)
        failpoint("ack.stored")
        try:
            here = self._shell.slots.commit(incoming.recording_id, reserved.chunk, incoming.mime_type)
        except PermanentError as error:  # deleted meanwhile, or the index was lost and somebody else came first
            if new:
                self._shell.storage.delete(key)  # nobody was told that it is stored
            if isinstance(error, RecordingDeleted):
                self._forget(incoming, reserved.chunk)
            raise
        failpoint("ack.committed")
        if here.status in _UNDER_WAY or (here.status in ACTIVE and self._ends_window(incoming, reserved.chunk)):
            self._shell.hint(lambda: self._shell.jobs.advance(incoming.recording_id))
        return new, here

    def _reserve(self, incoming: Incoming, chunk: Chunk) -> Reserved:
        slots, recording_id = self._shell.slots, incoming.recording_id
        try:
            return slots.reserve(recording_id, chunk, incoming.participant_id)
        except Conflict as conflict:
            if conflict.reserved is None or conflict.age_ms < _STALE_MS:
                raise
            if self._is_stored(keys.chunk(recording_id, conflict.reserved)):
                slots.commit(recording_id, conflict.reserved, incoming.mime_type)
                raise
            slots.release(recording_id, conflict.reserved)
            failpoint("ack.released")
            # Should that process come back, store its object and die, there are two: what was received first counts.
            first_ms = min(chunk.received_ms, conflict.reserved.received_ms - 1)
            return slots.reserve(recording_id, replace(chunk, received_ms=first_ms), incoming.participant_id)

    def _ends_window(self, incoming: Incoming, chunk: Chunk) -> bool:
        """Does the track pass the end of another window with this chunk? Told once by each process; a pause makes it
        early, which costs a look."""
        settings = self._shell.settings
        if settings.render != "rolling":
            return False
        told = chunk.at_ms is not None and chunk.offset_ms is not None
        at_ms = (chunk.at_ms or 0) + (chunk.offset_ms or 0) if told else chunk.received_ms
        window = (at_ms - keys.started_ms(incoming.recording_id) - _BEHIND_MS) // settings.window_ms
        track = (incoming.recording_id, incoming.track_id)
        if window <= (self._windows.get(track) or 0):
            return False
        self._windows.put(track, window)
        return True

    def _is_stored(self, key: str) -> bool:
        try:
            self._shell.storage.get(key, 0, 1)
        except ObjectMissing:
            return False
        return True

    def _forget(self, incoming: Incoming, chunk: Chunk) -> None:
        """Take back what was stored about a segment of a recording that was deleted meanwhile."""
        place = (incoming.recording_id, chunk.participant_id, chunk.track_id, chunk.seg)
        for key in (keys.segment_facts(*place), keys.segment_head(*place)):
            self._shell.storage.delete(key)

    def _describe(self, incoming: Incoming, chunk: Chunk, content: bytes | Path) -> None:
        """What a segment cannot be read without, stored before its first chunk: its media type, its head twice."""
        place = (incoming.recording_id, chunk.participant_id, chunk.track_id, chunk.seg)
        storage, known = self._shell.storage, (incoming.recording_id, chunk.track_id, chunk.seg)
        if self._described.get(known) is None:
            facts = json.dumps({"mimeType": incoming.mime_type}).encode()
            storage.put_if_absent(keys.segment_facts(*place), facts)
            self._described.put(known, True)
        if chunk.seq == 0:
            if isinstance(content, Path):
                content = copied(content, content.with_name(uuid.uuid4().hex))
            storage.put_if_absent(keys.segment_head(*place), content)


def _chunk(incoming: Incoming, sha256: str, size_bytes: int) -> Chunk:
    facts = incoming.facts
    return Chunk(
        participant_id=incoming.owner,
        track_id=incoming.track_id,
        seg=facts.seg,
        seq=facts.seq,
        received_ms=now_ms(),
        start_ms=facts.start_ms,
        at_ms=facts.at_ms,
        offset_ms=facts.offset_ms,
        err_ms=facts.err_ms,
        sha256=sha256,
        size_bytes=size_bytes,
    )
