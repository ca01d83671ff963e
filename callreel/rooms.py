"""What was decided about a call as a whole: whether it is closed, and who was removed from it.

Facts like those of a recording: create-only objects under the next free number, folded. A recording takes over what
concerns it by facts of its own (`callreel.calls`), so that its journal alone tells who may upload.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from . import journal, keys
from .errors import Unavailable
from .failpoints import failpoint
from .journal import Draft, Fact
from .storage import Storage

#: So many who decide about one call at once are more than there can be.
_ATTEMPTS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A call as its facts tell it; without facts it is open to everybody."""

    closed_ms: int | None = None
    removed: dict[str, int] = field(default_factory=dict)  #: participant → when
    sequence: int = 0  #: how many facts there are


def read(storage: Storage, call_id: str) -> Room:
    """What holds for a call now."""
    room = Room()
    for entry in storage.list(keys.room_prefix(call_id)):
        room = _apply(room, journal.decode(room.sequence + 1, storage.get(entry.key)))
    return room


def append(storage: Storage, call_id: str, decide: Callable[[Room], Draft | None], at_ms: int) -> Room:
    """Append the fact that `decide` makes of what holds now; None where it holds already. Durable when it returns."""
    for _ in range(_ATTEMPTS):
        room = read(storage, call_id)
        draft = decide(room)
        if draft is None:
            return room
        fact = Fact(sequence=room.sequence + 1, type=draft[0], at_ms=at_ms, data=draft[1])
        if storage.put_if_absent(keys.room_fact(call_id, fact.sequence), journal.encode(fact)):
            failpoint("room.written")
            return _apply(room, fact)
    raise Unavailable(f"Others decided about call {call_id} {_ATTEMPTS} times in a row; try again.")


def _apply(room: Room, fact: Fact) -> Room:
    room = replace(room, sequence=fact.sequence)
    if fact.type == "closed":
        return replace(room, closed_ms=fact.at_ms)
    if fact.type == "opened":
        return replace(room, closed_ms=None)
    if fact.type == "participant_removed":
        return replace(room, removed={**room.removed, fact.data["participantId"]: fact.at_ms})
    return room
