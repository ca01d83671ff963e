"""What is noted of every request, around all of its way: ids for the log lines, counts, and a line in the
access log.

Chunks do not come by: they are far more than everything else together, and their door counts them itself.
"""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from callreel.metrics import REQUEST_S, REQUESTS

from .access import AccessLog, action_of, line_of
from .doors import route_of
from .threads import Pool

_GIVEN = re.compile(rb"[A-Za-z0-9_.-]{1,64}\Z")
_IDS = re.compile(r"/video-calls/([A-Za-z0-9_-]{1,64})(?:/recording/(rec_[A-Za-z0-9_-]{1,80}))?")


class Observed:
    def __init__(self, app: ASGIApp, access: AccessLog, pool: Pool) -> None:
        self._app = app
        self._access = access
        self._pool = pool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        request_id = noted(scope)
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(scope, send, self._write(scope, request_id))
        try:
            await self._app(scope, receive, answer.send)
        except Exception:  # becomes a 500 further out, where nobody knows the route any more
            if answer.status == 0:
                answer.count(500)
                await answer.note(500, {"code": "internal_error"})
            raise

    def _write(self, scope: Scope, request_id: str) -> Callable[[int, dict[str, Any]], Awaitable[None]] | None:
        if not self._access.is_on:
            return None

        async def write(status: int, said: dict[str, Any]) -> None:
            action = action_of(scope, route_of(scope))
            if action is not None and status != 405:  # with another method it is another question
                await self._pool.run(self._access.write, line_of(scope, action, status, said, request_id))

        return write


class _Answer:
    """An answer on its way out. What has a line in the access log is not said before that is written."""

    def __init__(self, scope: Scope, send: Send, note: Callable[[int, dict[str, Any]], Awaitable[None]] | None) -> None:
        self.status = 0
        self._scope = scope
        self._begun_s = time.monotonic()
        self._send = send
        self._note = note
        self._start: Message | None = None
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.count(self.status)
            if self._note is None:
                await self._send(message)
            elif any(name == b"content-type" and b"json" in value for name, value in message["headers"]):
                self._start = message
            else:
                await self.note(self.status, {})
                await self._send(message)
        elif self._start is not None:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self.note(self.status, _object(self._body))
                await self._send(self._start)
                await self._send({"type": "http.response.body", "body": self._body})
        else:
            await self._send(message)

    def count(self, status: int) -> None:
        route = route_of(self._scope) or "other"
        REQUESTS.labels(route, self._scope["method"] if route != "other" else "", str(status)).inc()
        REQUEST_S.labels(route).observe(time.monotonic() - self._begun_s)

    async def note(self, status: int, said: dict[str, Any]) -> None:
        if self._note is not None:
            await self._note(status, said)


def noted(scope: Scope) -> str:
    """The request's id, given or made; it and those of its path are in every log line from now on.

    All three, always: the context may be a copy of that of the connection's request before.
    """
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    request_id = given.decode() if _GIVEN.match(given) else f"{random.getrandbits(64):016x}"
    ids = _IDS.match(scope["path"])
    call_id, recording_id = ids.groups() if ids else (None, None)
    structlog.contextvars.bind_contextvars(request_id=request_id, call_id=call_id, recording_id=recording_id)
    return request_id


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
