"""A call as a whole: closed or open, who is in it, who was removed; and what clients tell about their tracks."""

from __future__ import annotations

from redis import RedisError
from starlette.requests import Request
from starlette.responses import Response

from callreel import consent, facts, wire
from callreel.control import now_ms
from callreel.errors import NoActiveRecording, Unavailable
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

        answers = [fact for fact in told if fact.type == "consent"]

        def tell() -> int:
            # nothing ends the right to say no: not that the recording is sealed, nor that one was removed from it
            find = self._shell.track if answers and answers == told else self._shell.open_track
            track = find(recording_id, track_id, caller)
            for fact in answers:
                self._consent(recording_id, track_id, fact)
            return facts.put(self._shell.storage, recording_id, track, told)

        new = await self._shell.pools.control.run(tell)
        return success({"trackId": track_id, "facts": len(told), "new": new})

    def _consent(self, recording_id: str, track_id: str, fact: facts.TrackFact) -> None:
        """Note it, and have what is made of the recording made anew where that changes it. Raises `Unavailable`."""
        agreed = fact.data.get("agreed", True)
        control, jobs = self._shell.control, self._shell.jobs
        state = consent.say(control, recording_id, track_id, fact.id, at_ms=fact.at_ms, agreed=agreed)
        if all(word.agreed for word in state.words):
            return
        try:
            jobs.advance(recording_id)
        except RedisError as error:  # no hint: of a finished recording nobody would find out
            raise Unavailable("What you said is noted, but not carried out; say it again.") from error
