"""Decisions about a call as a whole: close it, open it again, remove somebody. First the call's own fact, then those of
the recordings it concerns; whoever comes by later (a start, the sweeper) makes up for a crash in between.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import rooms
from .control import Control
from .errors import UnknownRecording
from .journal import Draft
from .model import Recording
from .rooms import Room
from .states import ACTIVE


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls of the contract that concern no single recording."""

    control: Control
    late_ms: int  #: for so long after stop a recording takes chunks

    def close(self, call_id: str) -> tuple[Room, Recording | None]:
        """No more recordings; what runs is stopped, and handed back. Said again it changes nothing."""

        def decide(room: Room) -> Draft | None:
            return ("closed", {}) if room.closed_ms is None else None

        room = rooms.append(self.control.storage, call_id, decide, self.control.clock_ms())
        latest = self.control.latest(call_id)
        if latest is None or latest.status not in ACTIVE:
            return room, None
        return room, self.control.obey(latest, room)

    def reopen(self, call_id: str) -> Room:
        """Recordings may be started again."""

        def decide(room: Room) -> Draft | None:
            return None if room.closed_ms is None else ("opened", {})

        return rooms.append(self.control.storage, call_id, decide, self.control.clock_ms())

    def remove(self, call_id: str, participant_id: str) -> Room:
        """From now on nothing is taken of this participant, in this recording, earlier and later ones."""

        def decide(room: Room) -> Draft | None:
            known = participant_id in room.removed
            return None if known else ("participant_removed", {"participantId": participant_id})

        room = rooms.append(self.control.storage, call_id, decide, self.control.clock_ms())
        for recording_id in reversed(self.control.ids_of(call_id)):
            try:
                state = self.control.state(recording_id)
            except UnknownRecording:  # its start is under way, and will look at the room behind its first fact
                continue
            if state.stopped_ms is not None and self.control.clock_ms() > state.stopped_ms + self.late_ms:
                break  # sealed, as are all before it
            self.control.obey(state, room)
        return room
