"""Every failure that Callreel can tell somebody about, as one tree.

    CallreelError
    ├── PermanentError      saying it again will fail again
    └── TransientError      worth another try, later

A class is one row: `code` is stable and part of the wire contract, `status` a hint for whoever speaks HTTP, the
docstring is the title. What was expected, what came and what to do belong into `detail`, which the raiser writes.
"""

from __future__ import annotations

from typing import Any, ClassVar


class CallreelError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str = "", **extra: Any) -> None:
        self.detail = detail or self.title
        self.extra = extra  #: further members of the problem document, JSON values only
        super().__init__(self.detail)

    @property
    def title(self) -> str:
        return (type(self).__doc__ or "").strip().splitlines()[0].rstrip(".")


class PermanentError(CallreelError):
    """The request cannot succeed as it is."""

    status = 400
    code = "invalid_request"


class TransientError(CallreelError):
    """It did not work this time."""

    status = 503
    code = "unavailable"
    retryable = True


class InternalError(TransientError):
    """The server failed."""

    code, status = "internal_error", 500


# 400 ─ the request itself
class InvalidRequest(PermanentError):
    """The request cannot be understood."""


class InvalidId(PermanentError):
    """An id has characters or a length that ids do not have."""

    code = "invalid_id"


class MalformedChunk(PermanentError):
    """The chunk does not say what it is."""

    code = "malformed_chunk"


class DigestMismatch(PermanentError):
    """The bytes are not those that the digest names."""

    code, retryable = "digest_mismatch", True


# 401, 403 ─ who asks
class Unauthorized(PermanentError):
    """No valid token came with the request."""

    code, status = "unauthorized", 401


class Forbidden(PermanentError):
    """The token does not allow this."""

    code, status = "forbidden", 403


class NotYourTrack(PermanentError):
    """The track belongs to another participant."""

    code, status = "not_your_track", 403


class ParticipantRemoved(PermanentError):
    """The participant was removed from the call."""

    code, status = "participant_removed", 403


# 404 to 410 ─ what is asked for
class NotFound(PermanentError):
    """There is nothing at this address."""

    code, status = "not_found", 404


class UnknownRecording(PermanentError):
    """There is no such recording."""

    code, status = "unknown_recording", 404


class UnknownTrack(PermanentError):
    """The track was not announced."""

    code, status = "unknown_track", 404


class UnknownFile(PermanentError):
    """The recording has no such file, or not yet."""

    code, status = "unknown_file", 404


class NoActiveRecording(PermanentError):
    """Nothing is being recorded in this call."""

    code, status = "no_active_recording", 404


class MethodNotAllowed(PermanentError):
    """The address does not know this method."""

    code, status = "method_not_allowed", 405


class RequestTimeout(TransientError):
    """The body stopped coming."""

    code, status = "request_timeout", 408


class RecordingDeleted(PermanentError):
    """The recording was deleted."""

    code, status = "recording_deleted", 410


# 409 ─ the state of things
class RecordingActive(PermanentError):
    """The call is being recorded already."""

    code, status = "recording_active", 409


class InvalidState(PermanentError):
    """The recording's state does not allow this step."""

    code, status = "invalid_state", 409


class CallClosed(PermanentError):
    """The call was closed."""

    code, status = "call_closed", 409


class ChunkConflict(PermanentError):
    """Other bytes are stored under this number."""

    code, status = "chunk_conflict", 409


class SequenceTooFar(PermanentError):
    """The number is too far ahead of what is there."""

    code, status = "sequence_too_far", 409


class RecordingSealed(PermanentError):
    """The recording takes no more chunks."""

    code, status = "recording_sealed", 409


# 411 to 429 ─ sizes, formats, options, rates
class LengthRequired(PermanentError):
    """The length of the body must be declared."""

    code, status = "length_required", 411


class ChunkTooLarge(PermanentError):
    """The chunk is larger than a chunk may be."""

    code, status = "chunk_too_large", 413


class BodyTooLarge(PermanentError):
    """The body is larger than this call takes."""

    code, status = "body_too_large", 413


class TrackTooLarge(PermanentError):
    """The track is larger than a track may be."""

    code, status = "track_too_large", 413


class RecordingTooLarge(PermanentError):
    """The recording is larger than a recording may be."""

    code, status = "recording_too_large", 413


class UnsupportedMedia(PermanentError):
    """The bytes are no media that Callreel records."""

    code, status = "unsupported_media", 415


class RangeNotSatisfiable(PermanentError):
    """The range asked for lies outside of the file."""

    code, status = "range_not_satisfiable", 416


class InvalidOption(PermanentError):
    """An option has a value that does not fit."""

    code, status = "invalid_option", 422


class RateLimited(TransientError):
    """Too many requests."""

    code, status = "rate_limited", 429


# 503, 507 ─ the server's own troubles
class Unavailable(TransientError):
    """The server cannot take this right now."""


class InsufficientStorage(TransientError):
    """The storage is full, or nearly."""

    code, status = "insufficient_storage", 507


# never over HTTP: start-up and media
class StorageUnsupported(PermanentError):
    """Recordings cannot be stored at such an address."""

    code, status = "storage_unsupported", 500


class InvalidSettings(PermanentError):
    """A setting has a value that cannot work."""

    code, status = "invalid_settings", 500


class ObjectMissing(PermanentError):
    """The storage has no object of this key."""

    code, status = "object_missing", 500


class MediaUnreadable(PermanentError):
    """The media cannot be decoded."""

    code, status = "media_unreadable", 500


class NoMedia(PermanentError):
    """Nothing was recorded."""

    code, status = "no_media", 500


class RenderFailed(TransientError):
    """ffmpeg did not deliver."""

    code, status = "render_failed", 500


class NoFilm(PermanentError):
    """No film came of a synthetic call, or not the one it should be."""

    code, status = "no_film", 500


class Fenced(PermanentError):
    """Somebody else has taken this work over."""

    code, status = "fenced", 500


def error_classes() -> list[type[CallreelError]]:
    """Every class of the tree, leaves and branches, for documentation and tests."""
    found: list[type[CallreelError]] = []
    todo: list[type[CallreelError]] = [CallreelError]
    while todo:
        cls = todo.pop()
        found.append(cls)
        todo.extend(cls.__subclasses__())
    return found
