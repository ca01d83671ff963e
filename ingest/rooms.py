"""A call as a whole: closed or open, who is in it, who was removed; and what clients tell about their tracks."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from callreel import facts, wire
from callreel.control import now_ms
from callreel.errors import NoActiveRecording
from callreel.tokens import Caller

from .bodies import read_json
from .shell import Shell, success


class RoomCalls:
    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._run = shell.pools.control.run

    async def close(self, request: Request, caller: Caller) -> Response:
        call_id = request.path_params["callId"]

        def close() -> wire.Json:
            room, stopped = self._shell.calls.close(call_id)
            if stopped is not None:
                self._shell.hint(lambda: self._shell.jobs.advance(stopped.recording_id))
            self._shell.index.wake(call_id)  # whoever follows the events has something to learn, also if nothing ran
            return wire.room(call_id, room)

        return success(await self._run(close))

    async def reopen(self, request: Request, caller: Caller) -> Response:
        call_id = request.path_params["callId"]
        return success(wire.room(call_id, await self._run(self._shell.calls.reopen, call_id)))

    async def remove(self, request: Request, caller: Caller) -> Response:
        call_id, participant_id = request.path_params["callId"], request.path_params["participantId"]
        room = await self._run(self._shell.calls.remove, call_id, participant_id)
        removed = wire.instant(room.removed[participant_id])
        return success({"roomId": call_id, "participantId": participant_id, "removedAt": removed})

    async def participants(self, request: Request, caller: Caller) -> Response:
        def participants(call_id: str) -> list[wire.Json]:
            try:
                state = self._shell.control.active(call_id)
            except NoActiveRecording:
                return []
            tracks = [track for track in state.tracks() if not track.complete]
            have = self._shell.index.have(state.recording_id, [track.track_id for track in tracks])
            storage = self._shell.storage
            health = {t.track_id: facts.latest(storage, state.recording_id, t, "health") for t in tracks}
            return wire.present(state, have, health)

        return success({"items": await self._run(participants, request.path_params["callId"]), "nextCursor": None})


class FactCalls:
    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    async def tell(self, request: Request, caller: Caller) -> Response:
        body = await read_json(request)
        recording_id, track_id = request.path_params["recordingId"], request.path_params["trackId"]
        told = facts.checked(body.get("facts"), now_ms())

        def tell() -> int:
            track = self._shell.open_track(recording_id, track_id, caller)
            return facts.put(self._shell.storage, recording_id, track, told)

        new = await self._shell.pools.control.run(tell)
        return success({"trackId": track_id, "facts": len(told), "new": new})
