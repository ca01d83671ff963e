"""What every route takes and answers, by the name of its endpoint: one row each, for `/openapi.json`.

Refusals that follow from the kind of route (no token, an id that is none, a body that is no JSON) are not said here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from callreel import errors
from callreel.errors import CallreelError
from callreel.states import Status

from .schemas import (
    BOOL,
    ID,
    INSTANT,
    MISSING,
    RECORDING_ID,
    SEGMENTS,
    TEXT,
    Schema,
    many,
    nullable,
    obj,
    one_of,
    ref,
    whole,
)

Refusals = tuple[type[CallreelError], ...]


@dataclass(frozen=True, slots=True)
class Operation:
    tag: str
    summary: str
    answers: Mapping[int, Schema | str]  #: status → schema of `data`, or the media type where it is no JSON
    refusals: Refusals = ()
    body: Schema | None = None
    body_needed: bool = False
    query: Mapping[str, Schema] = field(default_factory=dict)
    headers: Mapping[str, Schema] = field(default_factory=dict)


_STEP, _RECORDING, _ROOM = ref("Step"), ref("Recording"), ref("Room")

#: What every write to the journal can meet.
_WRITE: Refusals = (errors.InsufficientStorage,)
_GONE: Refusals = (errors.RecordingDeleted,)
_OWN: Refusals = (*_GONE, errors.UnknownTrack, errors.NotYourTrack)
_UPLOAD: Refusals = (*_OWN, errors.ParticipantRemoved, errors.RecordingSealed, *_WRITE)
_CHUNK: Refusals = (
    *_UPLOAD,
    *(errors.MalformedChunk, errors.DigestMismatch, errors.ChunkConflict, errors.SequenceTooFar),
    *(errors.LengthRequired, errors.ChunkTooLarge, errors.TrackTooLarge, errors.RecordingTooLarge),
    *(errors.UnsupportedMedia, errors.RequestTimeout, errors.RateLimited),
)
_STARTED: Refusals = (errors.NoActiveRecording, errors.InvalidState, *_WRITE)

_LIMITS = obj({"chunkBytes": whole(), "trackBytes": whole(), "recordingBytes": whole(), "seqAhead": whole()})
_UPLOADS = many(obj({"participantId": ID, "trackId": ID, "complete": BOOL, "segments": SEGMENTS}))
_TOLD = obj({"trackId": ID, "missing": MISSING})

_DELIVERIES = obj({"items": many(ref("Delivery")), "nextCursor": nullable(RECORDING_ID)})
_DELIVERIES_PAGE = {"status": one_of("pending", "delivered", "dead"), "cursor": TEXT, "limit": whole(1, 100)}

OPERATIONS: dict[str, Operation] = {
    # ── control ──────────────────────────────────────────────────────────────────────────────────────────────────────
    "start": Operation(
        "Control",
        "Start a recording",
        {201: _STEP},
        (errors.RecordingActive, errors.CallClosed, errors.InvalidOption, *_WRITE),
        body=ref("StartOptions"),
        headers={"Idempotency-Key": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"}},
    ),
    "stop": Operation("Control", "Stop the recording", {202: _STEP}, _STARTED),
    "pause": Operation("Control", "Pause the recording", {200: _STEP}, _STARTED),
    "resume": Operation("Control", "Go on recording", {200: _STEP}, _STARTED),
    "layout": Operation(
        "Control",
        "Change the layout of what runs, from this moment on",
        {
            200: obj(
                {
                    "recordingId": RECORDING_ID,
                    "roomId": ID,
                    "startedAt": INSTANT,
                    "status": one_of(Status.RECORDING, Status.PAUSED),
                    "layout": ref("Layout"),
                }
            )
        },
        (errors.NoActiveRecording, errors.InvalidOption, *_WRITE),
        body=obj({"layout": ref("Layout")}, additionalProperties=False),
        body_needed=True,
    ),
    "active": Operation(
        "Control", "The recording that is running or paused", {200: _RECORDING}, (errors.NoActiveRecording,)
    ),
    "many": Operation(
        "Control",
        "The call's recordings, newest first",
        {200: ref("Recordings")},
        (errors.InvalidOption,),
        query={"cursor": TEXT, "limit": whole(1, 100)},
    ),
    "all_recordings": Operation(
        "Control",
        "The recordings of all calls, newest first",
        {200: ref("Recordings")},
        (errors.InvalidOption,),
        query={
            "status": one_of(*(each for each in Status if each is not Status.DELETED)),
            "cursor": TEXT,
            "limit": whole(1, 100),
        },
    ),
    "one": Operation("Control", "A recording", {200: _RECORDING}),
    "delete": Operation("Control", "Delete a recording for good", {202: _STEP}, (*_GONE, errors.InvalidState, *_WRITE)),
    "compose": Operation(
        "Compositions",
        "Ask for another film of a recording",
        {202: ref("Composition")},
        (*_GONE, errors.InvalidState, errors.InvalidOption, *_WRITE),
        body=ref("CompositionBody"),
        body_needed=True,
    ),
    "compositions": Operation(
        "Compositions",
        "The films that were asked for",
        {200: obj({"items": many(ref("Composition")), "nextCursor": nullable(TEXT)})},
        _GONE,
    ),
    "discard": Operation(
        "Compositions",
        "Take such a film back",
        {200: obj({"recordingId": RECORDING_ID, "name": ID})},
        (*_GONE, errors.UnknownFile, *_WRITE),
    ),
    "close": Operation("Control", "Close the call", {200: _ROOM}, _WRITE),
    "reopen": Operation("Control", "Open a closed call again", {200: _ROOM}, _WRITE),
    "participants": Operation(
        "Control", "Who is there", {200: obj({"items": many(ref("Present")), "nextCursor": nullable(TEXT)})}
    ),
    "remove": Operation(
        "Control",
        "Remove a participant: later uploads are refused",
        {200: obj({"roomId": ID, "participantId": ID, "removedAt": INSTANT})},
        _WRITE,
    ),
    "events": Operation(
        "Control",
        "The call's events as Server-Sent Events; by WebSocket at the same address",
        {200: "text/event-stream"},
        headers={"Last-Event-ID": TEXT},
    ),
    "webhooks": Operation(
        "Webhooks",
        "What webhooks were told of the call or are owed",
        {200: _DELIVERIES},
        (errors.InvalidOption,),
        query=_DELIVERIES_PAGE,
    ),
    "all_webhooks": Operation(
        "Webhooks",
        "What webhooks were told or are owed, of all calls",
        {200: _DELIVERIES},
        (errors.InvalidOption,),
        query=_DELIVERIES_PAGE,
    ),
    "replay": Operation("Webhooks", "Tell it again", {202: ref("Delivery")}, _WRITE),
    "replay_any": Operation("Webhooks", "Tell it again, whatever the call", {202: ref("Delivery")}, _WRITE),
    # ── upload ───────────────────────────────────────────────────────────────────────────────────────────────────────
    "put": Operation(
        "Upload",
        "Announce a track",
        {
            200: obj({"trackId": ID, "limits": _LIMITS, "serverTimeMs": whole()}),
            201: obj({"trackId": ID, "limits": _LIMITS, "serverTimeMs": whole()}),
        },
        (errors.InvalidOption, errors.CallClosed, *_UPLOAD),
        body=ref("TrackBody"),
        body_needed=True,
    ),
    "chunk": Operation(
        "Upload",
        "Store a chunk; 201 and 200 mean stored for good",
        {200: ref("Stored"), 201: ref("Stored")},
        _CHUNK,
        headers={
            "Chunk": {"type": "string", "description": "`seg=0, seq=17, start=…, at=…, offset=…, err=…` (RFC 9651)"},
            "Content-Digest": {"type": "string", "description": "`sha-256=:<base64>:` (RFC 9530)"},
        },
    ),
    "have": Operation("Upload", "What is here of a track", {200: obj({"segments": SEGMENTS})}, _OWN),
    "uploads": Operation("Upload", "What is here of every track", {200: obj({"tracks": _UPLOADS})}, _GONE),
    "complete": Operation(
        "Upload",
        "Say that all of a track was sent; 202 with what is missing",
        {200: _TOLD, 202: _TOLD},
        (errors.InvalidOption, *_UPLOAD),
        body=ref("CompleteBody"),
        body_needed=True,
    ),
    "tell": Operation(
        "Upload",
        "Tell facts of a track: muted, consent, health and their like",
        {200: obj({"trackId": ID, "facts": whole(), "new": whole()})},
        (errors.InvalidOption, *_UPLOAD),
        body=ref("FactsBody"),
        body_needed=True,
    ),
    "time": Operation("Upload", "The clock probe", {200: obj({"serverTimeMs": {"type": "number"}})}),
    # ── media ────────────────────────────────────────────────────────────────────────────────────────────────────────
    "file": Operation(
        "Media",
        "A file of a recording, or ranges of it; by token or by a signed address",
        {200: "*/*", 206: "*/*", 304: ""},
        (*_GONE, errors.UnknownFile, errors.RangeNotSatisfiable),
        query={"download": TEXT, "expires": TEXT, "signature": TEXT},
        headers={"Range": TEXT, "If-None-Match": TEXT, "If-Range": TEXT},
    ),
    # ── operations ───────────────────────────────────────────────────────────────────────────────────────────────────
    "live": Operation("Operations", "The process answers", {200: obj({"status": {"const": "live"}})}),
    "ready": Operation(
        "Operations",
        "The process can do its work, or why not",
        {200: obj({"status": {"const": "ready"}, "warnings": many(TEXT)})},
        (errors.Unavailable,),
    ),
    "metrics": Operation("Operations", "What is counted, for Prometheus", {200: "text/plain"}),
    "description": Operation("Operations", "This description", {200: "application/json"}),
    # ── the call page ────────────────────────────────────────────────────────────────────────────────────────────────
    "home": Operation("Call page", "The call page", {200: "text/html"}),
    "invite": Operation(
        "Call page",
        "A token for one more participant; no part of the contract",
        {201: obj({"token": TEXT, "participantId": ID, "name": TEXT})},
        body=obj({}, {"name": {"type": "string", "maxLength": 100}}),
    ),
}

#: Parameters of paths.
PATH: dict[str, Schema] = {
    "callId": ID,
    "recordingId": RECORDING_ID,
    "trackId": ID,
    "participantId": ID,
    "name": TEXT,
    "deliveryId": TEXT,
    "composition": ID,
}
