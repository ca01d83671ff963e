"""Events: what the world is told, as a fold of the journal.

An event's `sequence` counts per recording without holes, and its id is made of it, so that an event that is told
twice, or after the index was lost, is the same event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from .journal import Fact, apply, fold, forget
from .model import Recording
from .states import ACTIVE, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    id: str
    type: str
    at_ms: int
    sequence: int
    data: dict[str, Any]  #: what is particular to this event; ids of recording and room are added on the wire
    state: Recording  #: as it was right after


Told = list[tuple[str, dict[str, Any]]]


def _plain(event_type: str) -> Callable[[Recording, Fact], Told]:
    return lambda before, fact: [(event_type, {})]


def _track_added(before: Recording, fact: Fact) -> Told:
    who = {"participantId": fact.data["participantId"], "name": fact.data["name"]}
    what = {"trackId": fact.data["trackId"], "source": fact.data["source"], "kind": fact.data["kind"]}
    # who has completed every track has left, and comes back with a new one
    there = any(
        p.participant_id == who["participantId"] and not all(track.complete for track in p.tracks)
        for p in before.participants
    )
    return [*([] if there else [("participantjoined", who)]), ("trackstarted", {**who, **what})]


def _track_completed(before: Recording, fact: Fact) -> Told:
    track = before.track(fact.data["trackId"])
    if track is None or track.complete:
        return []
    owner = next(p for p in before.participants if p.participant_id == track.participant_id)
    who = {"participantId": owner.participant_id, "name": owner.name}
    told: Told = [("trackcompleted", {**who, "trackId": track.track_id})]
    # after stop everybody completes; that is the end of the recording, not somebody leaving
    if before.status in ACTIVE and all(t.complete or t.track_id == track.track_id for t in owner.tracks):
        told.append(("participantleft", who))
    return told


#: fact → the events it is told as. A new event is one line here and one in `docs/protocol.md`.
EVENTS: dict[str, Callable[[Recording, Fact], Told]] = {
    "started": _plain("recordingstarted"),
    "paused": _plain("recordingpaused"),
    "resumed": _plain("recordingresumed"),
    "stopped": _plain("recordingstopped"),
    "completed": _plain("recordingcompleted"),
    "failed": _plain("recordingfailed"),
    "deleted": _plain("recordingdeleted"),
    "updated": _plain("recordingupdated"),
    "track_added": _track_added,
    "track_completed": _track_completed,
}

#: events whose data is the whole recording
WHOLE = frozenset({"recordingstopped", "recordingcompleted", "recordingfailed", "recordingupdated"})

#: event → the fact behind it
FACT_BEHIND: dict[str, str] = {
    "recordingstarted": "started",
    "recordingpaused": "paused",
    "recordingresumed": "resumed",
    "recordingstopped": "stopped",
    "recordingcompleted": "completed",
    "recordingfailed": "failed",
    "recordingdeleted": "deleted",
    "recordingupdated": "updated",
    "participantjoined": "track_added",
    "participantleft": "track_completed",
    "trackstarted": "track_added",
    "trackcompleted": "track_completed",
}

EVENT_TYPES = tuple(FACT_BEHIND)


def fold_events(recording_id: str, facts: Iterable[Fact]) -> list[Event]:
    """All events of a recording so far, in order; of a deleted one without names and all that describes it."""
    events: list[Event] = []
    state: Recording | None = None
    for fact in facts:
        before = state
        state = fold(recording_id, [fact]) if state is None else apply(state, fact)
        told = EVENTS.get(fact.type)
        for event_type, data in told(before or state, fact) if told else []:
            sequence = len(events) + 1
            event_id = f"evt_{recording_id}_{sequence}"
            events.append(
                Event(id=event_id, type=event_type, at_ms=fact.at_ms, sequence=sequence, data=data, state=state)
            )
    if state is not None and state.status in (Status.DELETING, Status.DELETED):
        return [replace(event, data=_nameless(event.data), state=forget(event.state)) for event in events]
    return events


def _nameless(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name != "name"}
