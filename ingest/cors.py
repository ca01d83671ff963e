"""Pages of other origins: Starlette's rules, and a refusal that looks like every other one."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from callreel.errors import InvalidRequest

from .errors import problem
from .remembered import Remembered


class Cors(CORSMiddleware):
    def __init__(self, app: ASGIApp, **rules: Any) -> None:
        super().__init__(app, **rules)
        self._added: Remembered[str | None, list[tuple[bytes, bytes]]] = Remembered(256)

    def preflight_response(self, request_headers: Headers) -> Response:
        answer = super().preflight_response(request_headers)
        if answer.status_code < 400:
            return answer
        # all that was decided, without what belonged to the text
        kept = {name: value for name, value in answer.headers.items() if name not in ("content-type", "content-length")}
        return problem(InvalidRequest(f"{bytes(answer.body).decode()}."), kept)

    async def simple_response(self, scope: Scope, receive: Receive, send: Send, request_headers: Headers) -> None:
        """What Starlette adds to an answer depends on nothing but the origin, so it is worked out once for each."""
        origin = request_headers.get("origin")

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = self._added.get(origin)
                if added is None:
                    added = await self._work_out(request_headers)
                    self._added.put(origin, added)
                new = {name for name, _ in added} - {b"vary"}  # of which there may be several
                message["headers"] = [*(each for each in message["headers"] if each[0].lower() not in new), *added]
            await send(message)

        await self.app(scope, receive, sending)

    async def _work_out(self, request_headers: Headers) -> list[tuple[bytes, bytes]]:
        async def drop(message: Message) -> None: ...

        bare: Message = {"type": "http.response.start", "headers": []}
        await self.send(bare, send=drop, request_headers=request_headers)
        return list(bare["headers"])
