"""The chunks' side of the index: a slot (track, seg, seq) belongs to the bytes that were reserved there first.

Two questions a chunk: `reserve` before its object is made visible, `commit` behind it. Both may be asked again. Whoever
reserves with the same bytes gets the same facts, so the same storage name: a retry cannot make a second object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import redis

from . import errors, keys
from .control import now_ms
from .have import Range
from .index import IndexLost, ask, script
from .lanes import Lanes
from .model import Chunk
from .states import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a chunk must keep to, as the settings say."""

    late_ms: int
    track_bytes: int
    recording_bytes: int
    seq_ahead: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """A chunk may be stored under these facts; or is stored already."""

    chunk: Chunk
    stored: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """What is here of a segment once a chunk is registered."""

    status: Status  #: of the recording
    next: int
    missing: tuple[Range, ...]


class Conflict(errors.ChunkConflict):
    """Other bytes are stored under this number."""

    def __init__(self, chunk: Chunk, *, reserved: Chunk | None = None, age_ms: int = 0) -> None:
        where = f"seg {chunk.seg}, seq {chunk.seq} of track {chunk.track_id}"
        super().__init__(f"{where} has other bytes; those stay. A new recorder run is a new seg.")
        self.reserved = reserved  #: whose bytes were reserved, and are not registered as stored
        self.age_ms = age_ms


class Slots:
    """One a process, used from any thread."""

    def __init__(self, client: redis.Redis, limits: Limits, *, clock_ms: Callable[[], int] = now_ms) -> None:
        self._lanes = Lanes(client)
        self.limits = limits
        self.clock_ms = clock_ms
        self._reserve, self._commit, self._release = (script(client, n) for n in ("reserve", "commit", "release"))

    def admit(self, recording_id: str, track_id: str, participant_id: str) -> str:
        """The owner of a track that takes chunks; `participant_id` is '' for a service. Raises as `reserve` does."""
        names = _names(recording_id, track_id, 0)
        args: list[str | int] = [self.clock_ms(), self.limits.late_ms, participant_id, track_id, ""]
        answer: list[str] = ask(lambda: self._lanes.ask(self._reserve, names, args))
        if answer[0] != "ok":
            self._refuse(answer, recording_id)
        return answer[1]

    def reserve(self, recording_id: str, chunk: Chunk, participant_id: str) -> Reserved:
        """The slot of a chunk, for these bytes alone.

        Raises `Unavailable`, `IndexLost`, `UnknownRecording`, `UnknownTrack`, `NotYourTrack`, `ParticipantRemoved`,
        `RecordingDeleted`, `RecordingSealed`, `Conflict`, `TrackTooLarge`, `RecordingTooLarge`, `SequenceTooFar`.
        """
        limits = self.limits
        names = _names(recording_id, chunk.track_id, chunk.seg)
        args: list[str | int] = [self.clock_ms(), limits.late_ms, participant_id, chunk.track_id]
        args += [chunk.seq, chunk.seg, chunk.sha256]
        args += [facts(chunk), chunk.size_bytes, limits.track_bytes, limits.recording_bytes, limits.seq_ahead]
        answer: list[str] = ask(lambda: self._lanes.ask(self._reserve, names, args))
        if answer[0] not in ("ok", "stored"):
            self._refuse(answer, recording_id, chunk)
        _, owner, known, _ = answer
        if known != facts(chunk) or owner != chunk.participant_id:
            chunk = _as_reserved(chunk, owner, chunk.sha256, known)
        return Reserved(chunk=chunk, stored=answer[0] == "stored")

    def commit(self, recording_id: str, chunk: Chunk, mime_type: str) -> Committed:
        """The chunk is stored: register it. Raises `Unavailable`, `IndexLost`, `Conflict`, `RecordingDeleted`."""
        names = [*_names(recording_id, chunk.track_id, chunk.seg), keys.INDEX_OPEN]
        args: list[str | int] = [self.clock_ms(), recording_id, chunk.seg, chunk.seq, chunk.sha256]
        args += [facts(chunk), chunk.size_bytes, mime_type]
        answer = ask(lambda: self._lanes.ask(self._commit, names, args))
        if answer[0] != "ok":
            self._refuse(answer, recording_id, chunk)
        edges = [int(edge) for edge in answer[3:]]
        holes = tuple(zip(edges[::2], edges[1::2], strict=True))
        return Committed(status=Status(answer[1]), next=int(answer[2]), missing=holes)

    def release(self, recording_id: str, chunk: Chunk) -> None:
        """Give up a reservation whose bytes never came. Raises `Unavailable`."""
        slots = keys.index_slots(recording_id, chunk.track_id, chunk.seg)
        ask(lambda: self._release(keys=[slots], args=[chunk.seq, chunk.sha256]))

    def _refuse(self, answer: list[str], recording_id: str, chunk: Chunk | None = None) -> NoReturn:
        """Raise what a script's answer says."""
        limits = self.limits
        match answer:
            case ["no_epoch"]:
                raise IndexLost
            case ["unknown_recording"]:
                raise errors.UnknownRecording(f"There is no recording {recording_id}.")
            case ["unknown_track"]:
                raise errors.UnknownTrack("Announce the track first, with PUT …/tracks/{trackId}.")
            case ["not_your_track"]:
                raise errors.NotYourTrack("The track belongs to another participant.")
            case ["participant_removed", owner]:
                raise errors.ParticipantRemoved(f"Participant {owner} was removed from the call.")
            case ["recording_deleted"]:
                raise errors.RecordingDeleted(f"Recording {recording_id} was deleted.")
            case ["recording_sealed"]:
                raise errors.RecordingSealed(f"Chunks are taken for {limits.late_ms // 1000} s after stop.")
            case ["track_too_large"]:
                detail = f"A track may have {limits.track_bytes} bytes; with this chunk it would have more."
                raise errors.TrackTooLarge(detail, limit=limits.track_bytes)
            case ["recording_too_large"]:
                detail = f"A recording may have {limits.recording_bytes} bytes; with this chunk it would have more."
                raise errors.RecordingTooLarge(detail, limit=limits.recording_bytes)
            case ["sequence_too_far", what, behind_highest]:
                detail = f"{what} must be below {int(behind_highest) + limits.seq_ahead} by what is here so far."
                raise errors.SequenceTooFar(detail, limit=limits.seq_ahead)
            case ["chunk_conflict", "r", owner, sha256, known, age_ms] if chunk:
                raise Conflict(chunk, reserved=_as_reserved(chunk, owner, sha256, known), age_ms=int(age_ms))
            case ["chunk_conflict", *_] if chunk:
                raise Conflict(chunk)
        raise RuntimeError(f"the index answered {answer!r}")


def facts(chunk: Chunk) -> str:
    """What a slot keeps of its chunk, beside the digest."""
    numbers = (chunk.received_ms, chunk.start_ms, chunk.at_ms, chunk.offset_ms, chunk.err_ms, chunk.size_bytes)
    return "|".join("x" if number is None else str(number) for number in numbers)


def _as_reserved(chunk: Chunk, owner: str, sha256: str, known: str) -> Chunk:
    """The chunk of the same slot that `known` tells of."""
    received_ms, start_ms, *rest, size = known.split("|")
    at_ms, offset_ms, err_ms = (None if text == "x" else int(text) for text in rest)
    return Chunk(
        participant_id=owner,
        track_id=chunk.track_id,
        seg=chunk.seg,
        seq=chunk.seq,
        received_ms=int(received_ms),
        start_ms=int(start_ms),
        at_ms=at_ms,
        offset_ms=offset_ms,
        err_ms=err_ms,
        sha256=sha256,
        size_bytes=int(size),
    )


def _names(recording_id: str, track_id: str, seg: int) -> list[str]:
    return [
        keys.EPOCH,
        keys.index_recording(recording_id),
        keys.index_track(recording_id, track_id),
        keys.index_slots(recording_id, track_id, seg),
    ]
