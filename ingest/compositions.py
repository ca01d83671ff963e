"""More films of a recording: asked for, listed, taken back."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from callreel import abilities, wire
from callreel.compositions import Compositions
from callreel.model import Composition, Recording
from callreel.tokens import Caller

from .bodies import read_json
from .shell import Shell, success


class CompositionCalls:
    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._run = shell.pools.control.run
        self._calls = Compositions(shell.control)

    async def compose(self, request: Request, caller: Caller) -> Response:
        asked = await read_json(request)

        def compose(recording_id: str) -> wire.Json:
            encoders = abilities.told(self._shell.index.redis)
            state, name = self._calls.add(recording_id, asked, encoders)
            self._shell.hint(lambda: self._shell.jobs.advance(recording_id))
            return self._told(state, next(each for each in state.compositions if each.name == name), caller)

        return success(await self._run(compose, request.path_params["recordingId"]), 202)

    async def compositions(self, request: Request, caller: Caller) -> Response:
        def listed(recording_id: str) -> wire.Json:
            state = self._shell.state(recording_id)
            return {"items": [self._told(state, each, caller) for each in state.compositions], "nextCursor": None}

        return success(await self._run(listed, request.path_params["recordingId"]))

    async def discard(self, request: Request, caller: Caller) -> Response:
        name = request.path_params["composition"]

        def discard(recording_id: str) -> None:
            self._calls.remove(recording_id, name)
            self._shell.hint(lambda: self._shell.jobs.advance(recording_id))

        recording_id = request.path_params["recordingId"]
        await self._run(discard, recording_id)
        return success({"recordingId": recording_id, "name": name})

    def _told(self, state: Recording, asked: Composition, caller: Caller) -> wire.Json:
        return wire.composition(state, asked, self._shell.signing(state, caller))
