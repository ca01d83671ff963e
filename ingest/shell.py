"""What every endpoint of one process works with, put together once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from redis import RedisError
from starlette.responses import Response

from callreel import wire
from callreel.calls import Calls
from callreel.control import Control, now_ms, refuse_removed
from callreel.describe import address, describe
from callreel.errors import NotYourTrack, RecordingSealed, UnknownTrack
from callreel.index import Index
from callreel.journal import refuse_deleted
from callreel.model import Recording, Track
from callreel.settings import Settings
from callreel.slots import Slots
from callreel.storage import Storage
from callreel.tokens import Caller

from .auth import SERVICES, Auth, Roles, watchers
from .bodies import Disk
from .journals import Journals
from .threads import Pools

log = logging.getLogger(__name__)


class Jobs(Protocol):
    """Work that can be asked for. Asking is a hint and may be lost: the sweeper finds what is due."""

    def advance(self, recording_id: str) -> bool:
        """Look what is to be done for a recording."""

    def delete(self, recording_id: str) -> bool:
        """Remove all there is of a recording that is being deleted."""

    def export(self, recording_id: str, participant_id: str, track_id: str) -> bool:
        """Make one playable file of a track."""

    def deliver(self, recording_id: str, endpoint_id: str) -> bool:
        """Tell an endpoint what it is owed of a recording."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    settings: Settings
    auth: Auth
    storage: Storage
    index: Index
    slots: Slots
    jobs: Jobs
    control: Control
    calls: Calls
    journals: Journals
    disk: Disk
    pools: Pools = field(default_factory=Pools)
    index_lost: asyncio.Event = field(default_factory=asyncio.Event)  #: somebody noticed
    closing: asyncio.Event = field(default_factory=asyncio.Event)  #: the server ends: let go of what waits

    def hint(self, ask: Callable[[], object]) -> None:
        """Ask for a job; never fails."""
        try:
            ask()
        except RedisError as error:
            log.warning("queue: a hint is lost: %s", error)

    def describe(self, state: Recording, caller: Caller) -> wire.Json:
        """The whole recording, as the contract says it; from the storage alone where the index cannot help."""
        return describe(state, self.index, self.storage, self.signing(state, caller))

    def signing(self, state: Recording, caller: Caller) -> wire.Sign:
        """A signed address is a right to watch, so only who has that right is given one."""
        watches = caller.role in watchers(self.settings)
        return lambda name: self.address(state, name) if watches else None

    def state(self, recording_id: str) -> Recording:
        """A recording as its journal tells it. Raises `UnknownRecording`, `RecordingDeleted`."""
        state = self.journals.state(recording_id)
        refuse_deleted(state)
        return state

    def track(self, recording_id: str, track_id: str, caller: Caller, roles: Roles = SERVICES) -> Track:
        """A track of the caller's own, or anybody's for these roles.

        Raises `UnknownRecording`, `RecordingDeleted`, `UnknownTrack`, `NotYourTrack`.
        """
        track = self.state(recording_id).track(track_id)
        if track is None:
            raise UnknownTrack(f"There is no track {track_id}; announce it first, with PUT.")
        if caller.role not in roles and track.participant_id != caller.participant_id:
            raise NotYourTrack(f"Track {track_id} belongs to another participant.")
        return track

    def open_track(self, recording_id: str, track_id: str, caller: Caller) -> Track:
        """A track that still takes something. Raises as `track` does, `RecordingSealed`, `ParticipantRemoved`."""
        track, state = self.track(recording_id, track_id, caller), self.state(recording_id)
        self.refuse_sealed(state)
        refuse_removed(state, track.participant_id)
        return track

    def refuse_sealed(self, state: Recording) -> None:
        """Raises `RecordingDeleted`, `RecordingSealed`."""
        refuse_deleted(state)
        late_s = self.settings.late_s
        if state.stopped_ms is not None and now_ms() > state.stopped_ms + late_s * 1000:
            raise RecordingSealed(f"Chunks are taken for {late_s:g} s after stop.")

    def address(self, state: Recording, name: str) -> str:
        """A file's signed address."""
        return address(self.settings, state, name)


def success(data: Any, status: int = 200) -> Response:
    body = wire.text({"success": True, "data": data})
    return Response(body, status, {"Cache-Control": "no-store"}, media_type="application/json")
