"""Control facts of a recording, and what follows from them.

A fact is one create-only object under the next free sequence number. So the storage itself is the compare-and-set:
of two who write at once one wins, the other reads again, thinks again, and writes behind it. State, events and
what is owed to webhooks are folds of the facts; nothing of it is stored twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from . import editions, keys
from .errors import RecordingDeleted, Unavailable, UnknownRecording
from .failpoints import failpoint
from .model import PREVIEWS, Artifact, Composition, Options, Participant, Recording, Segment, Track, Word
from .states import Status, after
from .storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something that happened to a recording, in the server's time."""

    sequence: int
    type: str
    at_ms: int
    data: dict[str, Any]


#: How often an append may lose against others before something must be wrong: more than anybody's browsers at once.
_ATTEMPTS = 200

Draft = tuple[str, dict[str, Any]]  #: type and data of a fact that has no number yet


def encode(fact: Fact) -> bytes:
    body = {"v": 1, "type": fact.type, "atMs": fact.at_ms, "data": fact.data}
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def decode(sequence: int, body: bytes) -> Fact:
    value = json.loads(body)
    return Fact(sequence=sequence, type=value["type"], at_ms=value["atMs"], data=value["data"])


def read(storage: Storage, recording_id: str, after_sequence: int = 0) -> list[Fact]:
    """The facts behind `after_sequence`, in order, up to the first hole. Empty where there is no such recording."""
    facts: list[Fact] = []
    for entry in storage.list(keys.journal_prefix(recording_id)):
        sequence = int(entry.key.rsplit("/", 1)[1].removesuffix(".json"))
        if sequence <= after_sequence:
            continue
        if sequence != after_sequence + len(facts) + 1:
            break
        facts.append(decode(sequence, storage.get(entry.key)))
    return facts


def append(
    storage: Storage,
    recording_id: str,
    decide: Callable[[Recording], Draft | None],
    *,
    at_ms: int,
) -> tuple[Recording, Fact | None]:
    """Append the fact that `decide` makes of the present state; None means that nothing has to be said.

    `decide` is asked again after every lost race, and its refusals pass through. Durable when it returns.
    Raises `UnknownRecording`, `InvalidState`, `Unavailable`.
    """
    facts = read(storage, recording_id)
    state = fold(recording_id, facts)
    for _ in range(_ATTEMPTS):
        draft = decide(state)
        if draft is None:
            return state, None
        # never before the fact it follows: clocks of two machines differ, and a span must not end before it begins
        at_ms = max(at_ms, facts[-1].at_ms)
        fact = Fact(sequence=state.sequence + 1, type=draft[0], at_ms=at_ms, data=draft[1])
        changed = apply(state, fact)  # refuses what the state forbids, before anything is written
        failpoint("journal.decided")
        if storage.put_if_absent(keys.journal_fact(recording_id, fact.sequence), encode(fact)):
            failpoint("journal.written")
            return changed, fact
        for fact in read(storage, recording_id, state.sequence):
            facts.append(fact)
            state = apply(state, fact)
    raise Unavailable(f"The journal of {recording_id} was written to by others {_ATTEMPTS} times in a row; try again.")


def fold(recording_id: str, facts: Iterable[Fact]) -> Recording:
    """The recording as its facts tell it; segments are empty, they come from the chunks. Raises `UnknownRecording`."""
    state: Recording | None = None
    for fact in facts:
        state = _start(recording_id, fact) if state is None else apply(state, fact)
    if state is None:
        raise UnknownRecording(f"There is no recording {recording_id}.")
    return state


def _start(recording_id: str, fact: Fact) -> Recording:
    if fact.type != "started":
        raise UnknownRecording(f"The journal of {recording_id} begins with '{fact.type}' instead of 'started'.")
    data = fact.data
    return Recording(
        recording_id=recording_id,
        call_id=data["callId"],
        status=Status.RECORDING,
        started_ms=fact.at_ms,
        started_by=data["startedBy"],
        options=Options(
            layout=data["layout"],
            preset=data["preset"],
            outputs=tuple(data["outputs"]),
            max_duration_s=data["maxDurationS"],
            metadata=data["metadata"],
        ),
        removed=frozenset(data.get("removed", ())),
        sequence=fact.sequence,
    )


def apply(state: Recording, fact: Fact) -> Recording:
    """The state after one more fact. Raises `InvalidState`."""
    changed = replace(state, status=after(state.status, fact.type), before=state.status, sequence=fact.sequence)
    step = _STEPS.get(fact.type)
    return editions.followed(state, step(changed, fact), fact.at_ms) if step else changed


def _paused(state: Recording, fact: Fact) -> Recording:
    return replace(state, pauses=(*state.pauses, (fact.at_ms, None)))


def _resumed(state: Recording, fact: Fact) -> Recording:
    return replace(state, pauses=(*state.pauses[:-1], (state.pauses[-1][0], fact.at_ms)))


def _layout_changed(state: Recording, fact: Fact) -> Recording:
    return replace(state, layouts=(*state.layouts, (fact.at_ms, fact.data["layout"])))


def _stopped(state: Recording, fact: Fact) -> Recording:
    pauses = tuple((a, fact.at_ms if b is None else b) for a, b in state.pauses)
    return replace(state, stopped_ms=fact.at_ms, end_reason=fact.data["reason"], pauses=pauses)


def _participant_removed(state: Recording, fact: Fact) -> Recording:
    return replace(state, removed=state.removed | {fact.data["participantId"]})


def _track_added(state: Recording, fact: Fact) -> Recording:
    data = fact.data
    if state.track(data["trackId"]) is not None:
        return state
    track = Track(
        track_id=data["trackId"],
        participant_id=data["participantId"],
        source=data["source"],
        kind=data["kind"],
        label=data["label"],
        announced_ms=fact.at_ms,
    )
    known = [p for p in state.participants if p.participant_id == track.participant_id]
    if not known:
        newcomer = Participant(participant_id=track.participant_id, name=data["name"], tracks=(track,))
        return replace(state, participants=(*state.participants, newcomer))
    return _with_participant(state, replace(known[0], tracks=(*known[0].tracks, track)))


def _track_completed(state: Recording, fact: Fact) -> Recording:
    track = state.track(fact.data["trackId"])
    if track is None:
        return state
    segments = tuple(
        Segment(seg=item["seg"], mime_type="", chunks=(), expected_chunks=item["chunks"])
        for item in sorted(fact.data["segments"], key=lambda item: int(item["seg"]))
    )
    done = replace(track, complete=True, segments=segments)
    owner = next(p for p in state.participants if p.participant_id == track.participant_id)
    tracks = tuple(done if t.track_id == track.track_id else t for t in owner.tracks)
    return _with_participant(state, replace(owner, tracks=tracks))


def _consent(state: Recording, fact: Fact) -> Recording:
    data = fact.data
    track = state.track(data["trackId"])
    if track is None:
        return state
    word = Word(
        participant_id=track.participant_id,
        track_id=track.track_id,
        fact_id=data["id"],
        agreed=data["agreed"],
        at_ms=data["clientMs"],
        told_ms=fact.at_ms,
    )
    return replace(state, words=(*state.words, word))


def _completed(state: Recording, fact: Fact) -> Recording:
    data = fact.data
    # with its own films a recording tells anew what else is still there; with a composition that alone
    gone = () if "compositions" in data else ("track", *PREVIEWS)
    state = replace(
        state,
        artifacts=tuple(a for a in state.artifacts if a.kind not in gone),
        complete=data["complete"],
        gaps=tuple(data["gaps"]),
        sync=tuple(data.get("sync", ())),  # films from before it was told have none
        build=data["build"],
        made_of=state.made_of if "compositions" in data else data.get("madeOf", ""),
        ended_ms=fact.at_ms,
        error_code="",
        error_message="",
        hasty=state.hasty.union(data.get("hasty", ())),
        compositions=tuple(_made(each, data.get("compositions", {})) for each in state.compositions),
    )
    return _artifacts(state, fact)


def _made(composition: Composition, made: dict[str, Any]) -> Composition:
    if composition.name not in made:
        return composition
    told = made[composition.name]
    return replace(composition, build=told["build"], made_of=told.get("madeOf", ""), left_out=tuple(told["leftOut"]))


def _composition_added(state: Recording, fact: Fact) -> Recording:
    asked = dict(fact.data["composition"])
    for name in ("participants", "tracks"):
        asked[name] = None if asked[name] is None else tuple(asked[name])
    added = Composition(**{**asked, "slices": tuple(asked["slices"])}, asked_ms=fact.at_ms)
    state = replace(
        state,
        compositions=(*state.compositions, added),
        discarded=state.discarded - {added.file},
        asked=fact.sequence,
    )
    return _with_artifact(state, fact.data["artifact"])


def _composition_removed(state: Recording, fact: Fact) -> Recording:
    gone = {each.file for each in state.compositions if each.name == fact.data["name"]}
    return replace(
        state,
        compositions=tuple(each for each in state.compositions if each.file not in gone),
        artifacts=tuple(each for each in state.artifacts if each.name not in gone),
        discarded=state.discarded | gone,
        asked=fact.sequence,
    )


def _dropped(state: Recording, fact: Fact) -> Recording:
    made_of = fact.data.get("madeOf", state.made_of)
    return replace(state, dropped=(*state.dropped, fact.data["list"]), made_of=made_of)


def _tidied(state: Recording, fact: Fact) -> Recording:
    return replace(state, tidied=fact.data["sequence"])


def _failed(state: Recording, fact: Fact) -> Recording:
    return replace(state, ended_ms=fact.at_ms, error_code=fact.data["code"], error_message=fact.data["message"])


def forget(state: Recording) -> Recording:
    """What is told of a recording that is to be deleted: nothing that names or describes anybody or anything in it."""
    return replace(
        state,
        started_by="",
        options=Options(),
        removed=frozenset(),
        words=(),
        dropped=(),
        layouts=(),
        participants=(),
        artifacts=(),
        compositions=(),
        discarded=frozenset(),
        held=(),
        outdated=(),
        gaps=(),
        sync=(),
        complete=False,
        build="",
        error_code="",
        error_message="",
    )


def _delete_requested(state: Recording, fact: Fact) -> Recording:
    return replace(forget(state), ended_ms=fact.at_ms)


def _artifact(state: Recording, fact: Fact) -> Recording:
    return _with_artifact(state, fact.data)


def _artifacts(state: Recording, fact: Fact) -> Recording:
    for item in fact.data["artifacts"]:
        state = _with_artifact(state, item)
    return state


def _with_participant(state: Recording, changed: Participant) -> Recording:
    same = changed.participant_id
    return replace(state, participants=tuple(changed if p.participant_id == same else p for p in state.participants))


def _with_artifact(state: Recording, item: dict[str, Any]) -> Recording:
    changed = Artifact(**item)
    rest = tuple(a for a in state.artifacts if a.name != changed.name)
    return replace(state, artifacts=tuple(sorted((*rest, changed), key=lambda a: a.name)))


_STEPS: dict[str, Callable[[Recording, Fact], Recording]] = {
    "paused": _paused,
    "resumed": _resumed,
    "layout_changed": _layout_changed,
    "stopped": _stopped,
    "participant_removed": _participant_removed,
    "track_added": _track_added,
    "track_completed": _track_completed,
    "consent": _consent,
    "completed": _completed,
    "updated": _completed,
    "failed": _failed,
    "dropped": _dropped,
    "tidied": _tidied,
    "artifact": _artifact,
    "artifacts": _artifacts,
    "composition_added": _composition_added,
    "composition_removed": _composition_removed,
    "delete_requested": _delete_requested,
}


def refuse_deleted(state: Recording) -> None:
    if state.status in (Status.DELETING, Status.DELETED):
        raise RecordingDeleted(f"Recording {state.recording_id} was deleted.")
