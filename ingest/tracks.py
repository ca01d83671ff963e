"""Tracks of a recording: announce, ask what is there, say that all was sent."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from callreel import keys, wire
from callreel.control import now_ms
from callreel.errors import Forbidden, InvalidOption
from callreel.states import ACTIVE
from callreel.tokens import Caller

from .auth import HOSTS
from .bodies import read_json
from .shell import Shell, success

_LABEL = 200  #: characters; what is longer fits on no tile
_SEGMENTS = 1000  #: recorder runs of one track; their `complete` fits a JSON body
#: Largest numbers of a `complete`: those that a chunk can have, and an integer that every client holds exactly.
_LARGEST = {"seg": 999_999, "chunks": 1_000_000, "bytes": 2**53}


class TrackCalls:
    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._run = shell.pools.control.run

    async def put(self, request: Request, caller: Caller) -> Response:
        body = await read_json(request)
        recording_id, track_id = request.path_params["recordingId"], request.path_params["trackId"]
        owner = _owner(caller, body)
        label = _text(body, "label")
        settings = self._shell.settings

        def put() -> bool:
            self._shell.refuse_sealed(self._shell.journals.state(recording_id))
            source, kind = _text(body, "source"), _text(body, "kind")
            _, new = self._shell.control.put_track(recording_id, track_id, owner, caller.name, source, kind, label)
            return new

        new = await self._run(put)
        limits = {
            "chunkBytes": settings.chunk_bytes,
            "trackBytes": settings.track_bytes,
            "recordingBytes": settings.recording_bytes,
            "seqAhead": settings.seq_ahead,
        }
        return success({"trackId": track_id, "limits": limits, "serverTimeMs": now_ms()}, 201 if new else 200)

    async def have(self, request: Request, caller: Caller) -> Response:
        recording_id, track_id = request.path_params["recordingId"], request.path_params["trackId"]

        def have() -> wire.Json:
            self._shell.track(recording_id, track_id, caller, HOSTS)
            return {"segments": wire.segments(self._shell.index.have(recording_id, [track_id])[track_id])}

        return success(await self._run(have))

    async def uploads(self, request: Request, caller: Caller) -> Response:
        recording_id = request.path_params["recordingId"]

        def uploads() -> wire.Json:
            state = self._shell.state(recording_id)
            mine = [t for t in state.tracks() if caller.role in HOSTS or t.participant_id == caller.participant_id]
            have = self._shell.index.have(recording_id, [track.track_id for track in mine])
            return {"tracks": [wire.uploads(track, have[track.track_id]) for track in mine]}

        return success(await self._run(uploads))

    async def complete(self, request: Request, caller: Caller) -> Response:
        body = await read_json(request)
        recording_id, track_id = request.path_params["recordingId"], request.path_params["trackId"]
        segments = _segments(body)
        reason = _text(body, "reason")

        def complete() -> list[wire.Json]:
            self._shell.track(recording_id, track_id, caller)
            state = self._shell.control.complete_track(recording_id, track_id, segments, reason)
            if state.status not in ACTIVE:
                self._shell.hint(lambda: self._shell.jobs.advance(recording_id))
            have = self._shell.index.have(recording_id, [track_id])[track_id]
            return wire.missing(have.missing((item["seg"], item["chunks"]) for item in segments))

        missing = await self._run(complete)
        return success({"trackId": track_id, "missing": missing}, 202 if missing else 200)


def _owner(caller: Caller, body: dict[str, Any]) -> str:
    """Who the track belongs to. Raises `InvalidId`, `InvalidOption`, `Forbidden`."""
    named = body.get("participantId")
    if caller.role == "service":
        if named is None:
            raise InvalidOption("A service says whose track it is.", field="participantId")
        return keys.check_id(named, "participantId")
    own = keys.check_id(caller.participant_id, "the token's participant")
    if named not in (None, own):
        raise Forbidden(f"This token uploads for {own} only; leave participantId out.", field="participantId")
    return own


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > _LABEL:
        raise InvalidOption(f"{name} must be a text of at most {_LABEL} characters.", field=name)
    return value


def _segments(body: dict[str, Any]) -> list[dict[str, int]]:
    """Raises `InvalidOption`."""
    items = body.get("segments")
    if not isinstance(items, list):
        raise InvalidOption("segments must be a list of {seg, chunks, bytes}.", field="segments")
    if len(items) > _SEGMENTS:
        detail = f"segments may have {_SEGMENTS} entries; these are {len(items)}."
        raise InvalidOption(detail, field="segments", limit=_SEGMENTS)
    found: dict[int, dict[str, int]] = {}
    for item in items:
        if not isinstance(item, dict):
            raise InvalidOption("segments must be a list of {seg, chunks, bytes}.", field="segments")
        for name, largest in _LARGEST.items():
            value = item.get(name)
            if type(value) is not int or not 0 <= value <= largest:  # in Python a bool is an int, in JSON it is not
                detail = f"segments: {name} must be a whole number up to {largest}; got {str(value)[:40]!r}."
                raise InvalidOption(detail, field="segments", limit=largest)
        found[item["seg"]] = {name: item[name] for name in _LARGEST}
    return [found[seg] for seg in sorted(found)]
