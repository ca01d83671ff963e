"""Events of a call over a WebSocket: the same messages as `events` sends as a stream, one frame each.

A browser holds six HTTP/1.1 connections to a server, and a stream takes one of them from the uploads; a WebSocket does
not. It can send no header, so its first frame says who asks: `{token, after?}`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import dataclass
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from callreel import wire
from callreel.errors import CallreelError, InternalError, InvalidRequest, RequestTimeout, Unauthorized
from callreel.present import WEBSOCKETS
from callreel.tokens import Caller

from .auth import EVERYBODY, check_may, check_path
from .errors import count, document
from .events import HEARTBEAT, EventCalls
from .shell import Shell
from .sockets import close, first_of

log = logging.getLogger(__name__)

FIRST_FRAME_S = 10.0  #: a client sends its token at once
TAKEN_WITHIN_S = 30.0  #: who has not taken a frame for two heartbeats is gone, or will never keep up
_FIRST_FRAME_CHARS = 16 * 1024  #: a token has some hundred characters

# Close codes (RFC 6455, 7.4): a refusal is 4000 + its HTTP status, from the range that is left to applications.
_REFUSED = 4000
_ALL_TOLD, _RESTART, _TOO_SLOW = 1000, 1012, 1013


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The first frame."""

    caller: Caller
    after: str  #: id of the last event that was seen; empty for a snapshot


class EventSocket:
    def __init__(self, shell: Shell, events: EventCalls) -> None:
        self._shell = shell
        self._events = events

    async def connect(self, socket: WebSocket) -> None:
        await socket.accept()
        try:
            hello = await self._hello(socket)
            told = self._events.follow(socket.path_params["callId"], hello.caller, hello.after)
            with WEBSOCKETS.track_inprogress():
                await first_of(_tell(socket, told), _listen(socket))
            if self._shell.closing.is_set():
                await close(socket, _RESTART, "the server ends")
            else:
                await close(socket, _ALL_TOLD, "the call was closed")
        except WebSocketDisconnect:
            pass  # a page was closed: what pages do
        except TimeoutError:
            await _quickly(close(socket, _TOO_SLOW, "too slow"))
        except CallreelError as error:
            await _quickly(_refuse(socket, error))
        except Exception:
            log.exception("events: a socket is closed")
            await _quickly(_refuse(socket, InternalError("Something broke on our side; the log has the details.")))

    async def _hello(self, socket: WebSocket) -> Hello:
        """Raises `InvalidRequest`, `RequestTimeout`, and what a request with this token would be refused with."""
        try:
            async with asyncio.timeout(FIRST_FRAME_S):
                text = await socket.receive_text()
        except TimeoutError as error:
            raise RequestTimeout(f"The first frame did not come within {FIRST_FRAME_S:g} s.") from error
        except KeyError as error:
            raise InvalidRequest("The first frame must be text: {token, after?}.") from error
        try:
            said = json.loads(text) if len(text) <= _FIRST_FRAME_CHARS else None
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict) or not isinstance(after := said.get("after") or "", str):
            raise InvalidRequest("The first frame must be a JSON object: {token, after?}.")
        if not isinstance(token := said.get("token"), str):
            raise Unauthorized("The first frame must carry the token: {token, after?}.")
        caller = self._shell.auth.caller(token)
        check_path(socket.path_params)
        check_may(caller, socket.path_params, EVERYBODY)
        return Hello(caller=caller, after=after)


async def _tell(socket: WebSocket, told: AsyncGenerator[list[wire.Json]]) -> None:
    """Raises `TimeoutError` where a frame is not taken."""
    async with contextlib.aclosing(told):
        async for messages in told:
            for message in messages or [HEARTBEAT]:  # the first one at once, so that the client knows that it is in
                async with asyncio.timeout(TAKEN_WITHIN_S):
                    await socket.send_text(wire.text(message))


async def _listen(socket: WebSocket) -> None:
    """Until the other end goes; what it says behind the first frame is not looked at."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
    raise WebSocketDisconnect


async def _refuse(socket: WebSocket, error: CallreelError) -> None:
    """The problem document as the last frame, for a close carries no more than a code and 123 bytes."""
    count(error)
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):
        await socket.send_text(wire.text(document(error)))
    await close(socket, _REFUSED + error.status, error.code)


async def _quickly(ending: Coroutine[Any, Any, None]) -> None:
    """A last word to somebody who may not be listening."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(ending, 1)
