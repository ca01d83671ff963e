"""A recording as the contract's JSON. Pure; the only place where our names become the wire's."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from . import consent
from .events import WHOLE, Event
from .facts import TrackFact
from .have import TrackHave
from .model import Artifact, Composition, Participant, Recording, Track
from .rooms import Room
from .states import Status

Json = dict[str, Any]
Sign = Callable[[str], str | None]  #: name of a file → address that works without a token

_NOTHING = TrackHave()


def instant(at_ms: int | None) -> str | None:
    """RFC 3339, UTC, milliseconds."""
    if at_ms is None:
        return None
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def text(value: Json) -> str:
    """As it goes over the wire."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def short(recording: Recording, status: str | None = None) -> Json:
    """What start, stop and their like answer."""
    answer: Json = {
        "recordingId": recording.recording_id,
        "roomId": recording.call_id,
        "startedAt": instant(recording.started_ms),
        "status": status or str(recording.status),
    }
    if recording.stopped_ms is not None:
        answer["stoppedAt"] = instant(recording.stopped_ms)
    return answer


def begun(recording: Recording) -> Json:
    """What start answers; said again with the same key it is the same, however far the recording has come by then."""
    answer = short(recording, Status.RECORDING)
    answer.pop("stoppedAt", None)
    return answer


def room(call_id: str, room: Room) -> Json:
    """Whether a call is closed, and since when."""
    return {"roomId": call_id, "closed": room.closed_ms is not None, "closedAt": instant(room.closed_ms)}


def present(state: Recording, have: Mapping[str, TrackHave], health: Mapping[str, TrackFact | None]) -> list[Json]:
    """Who is there: everybody with a track whose client has not said yet that all of it was sent."""
    found = []
    for who in state.participants:
        tracks = [track for track in who.tracks if not track.complete]
        if not tracks or who.participant_id in state.removed:
            continue
        told = [fact for track in tracks if (fact := health[track.track_id]) is not None]
        pending = [fact.data["pendingBytes"] for fact in told if type(fact.data.get("pendingBytes")) is int]
        found.append(
            {
                "participantId": who.participant_id,
                "name": who.name,
                "since": instant(min(track.announced_ms for track in tracks)),
                "pendingBytes": sum(pending) if pending else None,
                "tracks": [
                    {**_track(track, have.get(track.track_id, _NOTHING)), "health": _health(health[track.track_id])}
                    for track in tracks
                ],
            }
        )
    return found


def _health(fact: TrackFact | None) -> Json | None:
    return None if fact is None else {"at": instant(fact.received_ms), "data": fact.data}


def recording(state: Recording, have: Mapping[str, TrackHave], progress: float, sign: Sign) -> Json:
    """The whole recording."""
    return {
        "recordingId": state.recording_id,
        "roomId": state.call_id,
        "status": str(state.status),
        "startedAt": instant(state.started_ms),
        "stoppedAt": instant(state.stopped_ms),
        "startedBy": state.started_by,
        "endReason": state.end_reason,
        "durationMs": state.duration_ms,
        "metadata": state.options.metadata,
        "complete": state.complete,
        "gaps": list(state.gaps),
        "sync": list(state.sync),
        "progress": _progress(state, progress),
        "layout": state.layout,
        "preset": state.options.preset,
        "outputs": list(state.options.outputs),
        "participants": [_participant(state, who, have) for who in state.participants],
        "artifacts": [artifact(item, sign) for item in state.artifacts],
        "error": {"code": state.error_code, "message": state.error_message} if state.error_code else None,
    }


def event(told: Event, whole: Callable[[Recording], Json]) -> Json:
    """One event; `whole` makes the recording's JSON where the event carries all of it."""
    state = told.state
    data = whole(state) if told.type in WHOLE else {"recordingId": state.recording_id, "roomId": state.call_id}
    return {
        "id": told.id,
        "type": told.type,
        "timestamp": instant(told.at_ms),
        "sequence": told.sequence,
        "data": {**data, **told.data},
    }


def artifact(item: Artifact, sign: Sign) -> Json:
    return {
        "name": item.name,
        "kind": item.kind,
        "status": item.status,
        "mimeType": item.mime_type,
        "bytes": item.size_bytes,
        "durationMs": item.duration_ms,
        "sha256": item.sha256,
        "url": sign(item.name) if item.status == "ready" else None,
        **({"error": item.error} if item.error else {}),
        **({"steppedDownMs": item.stepped_down_ms} if item.stepped_down_ms else {}),
    }


def composition(state: Recording, asked: Composition, sign: Sign) -> Json:
    """One more film of a recording: what was asked for, and its file."""
    made = next(item for item in state.artifacts if item.name == asked.file)
    return {
        "recordingId": state.recording_id,
        "name": asked.name,
        "requestedAt": instant(asked.asked_ms),
        "layout": asked.layout,
        "preset": asked.preset,
        "output": {name: value for name, value in asked.output.items() if name != "name"},
        "fromMs": asked.from_ms,
        "toMs": asked.to_ms,
        "participants": None if asked.participants is None else list(asked.participants),
        "tracks": None if asked.tracks is None else list(asked.tracks),
        "slices": list(asked.slices),
        "full": asked.full,
        "leftOut": list(asked.left_out),
        "artifact": artifact(made, sign),
    }


def missing(found: list[tuple[int, list[tuple[int, int]]]]) -> list[Json]:
    """Holes of a track: `[{seg, chunks: [[from, to]]}]`, as gaps say it."""
    return [{"seg": seg, "chunks": [list(hole) for hole in holes]} for seg, holes in found]


def uploads(track: Track, have: TrackHave) -> Json:
    return {
        "participantId": track.participant_id,
        "trackId": track.track_id,
        "complete": track.complete,
        "segments": segments(have),
    }


def segments(have: TrackHave) -> list[Json]:
    return [
        {"seg": s.seg, "have": [list(r) for r in s.have], "next": s.next, "bytes": s.size_bytes} for s in have.segments
    ]


def expected(track: Track) -> list[tuple[int, int]]:
    """(seg, chunks) that the client declared."""
    return [(segment.seg, segment.expected_chunks or 0) for segment in track.segments]


def _participant(state: Recording, who: Participant, have: Mapping[str, TrackHave]) -> Json:
    answer, unused = consent.answer(state, who.participant_id), consent.withheld(state)
    return {
        "participantId": who.participant_id,
        "name": who.name,
        "consent": {"agreed": answer[0], "at": instant(answer[1])} if answer else None,
        "tracks": [
            {**_track(track, have.get(track.track_id, _NOTHING)), "withheld": track.track_id in unused}
            for track in who.tracks
        ],
    }


def _track(track: Track, have: TrackHave) -> Json:
    return {
        "trackId": track.track_id,
        "source": track.source,
        "kind": track.kind,
        "label": track.label,
        "mimeType": have.mime_type or None,
        "segments": len(have.segments),
        "bytes": have.size_bytes,
        "missing": sum(to - start + 1 for _, holes in have.missing(expected(track)) for start, to in holes),
        "complete": track.complete,
    }


def _progress(state: Recording, told: float) -> float:
    if state.status in (Status.COMPLETED, Status.FAILED):
        return 1
    return round(min(max(told, 0.0), 0.99), 4)  # 1 means that the film is there
