"""Signalling for the call page: relays JSON between the open windows of one call, whichever process they reached.

One participant, one window: a second window with the same token hears `seat-taken`, and asks `invite` for a token of
its own. What the windows say to each other is not looked at; who says it is taken from the token.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from callreel import keys
from callreel.errors import CallreelError, Forbidden, InvalidRequest, Unauthorized
from callreel.settings import Settings
from callreel.tokens import Caller, make_token

from .auth import Auth
from .bodies import read_json
from .errors import count
from .shell import success
from .sockets import close, first_of

_HELLO_WITHIN_S = 10.0  #: a browser sends its token at once; who does not is no browser
_FRAME_CHARS = 64 * 1024  #: a session description with many candidates has some 10 kB
_SEAT_S = 15  #: a seat outlives the process that held it by this much
_SEAT_REFRESH_S = 5.0
_INVITED_FOR_S = 24 * 3600
_LONGEST_NAME = 100

# Close codes of our own; 4000 to 4999 are left to applications (RFC 6455, 7.4.2).
_CLOSE_UNAUTHORIZED, _CLOSE_SEAT_TAKEN, _CLOSE_UNAVAILABLE, _CLOSE_TOO_LARGE = 4401, 4409, 1013, 1009


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One window in a call."""

    call_id: str
    caller: Caller
    window: str  #: random, kept by the window over a reload
    connection: str

    @property
    def key(self) -> str:
        return keys.signal_seat(self.call_id, self.caller.participant_id)

    @property
    def value(self) -> str:
        return f"{self.window} {self.connection}"

    @property
    def who(self) -> dict[str, str]:
        caller = self.caller
        return {"id": caller.participant_id, "name": caller.name, "role": caller.role, "connection": self.connection}


class Signal:
    """The two calls of the call page. One a process."""

    def __init__(self, settings: Settings) -> None:
        self._secret = settings.jwt_secret
        self._auth = Auth(settings.jwt_secret)
        self._redis = redis.asyncio.Redis.from_url(settings.redis_url, protocol=2, decode_responses=True)

    async def close(self) -> None:
        await self._redis.aclose()

    async def invite(self, request: Request, caller: Caller) -> Response:
        """A token for one more participant. The host's to give."""
        name = await _name(request)
        participant_id = f"guest-{secrets.token_hex(4)}"
        ttl_s = min(_INVITED_FOR_S, caller.expires_s - time.time())  # nobody gives what he has not
        call_id = request.path_params["callId"]
        guest = make_token(self._secret, call=call_id, role="participant", sub=participant_id, name=name, ttl_s=ttl_s)
        return success({"token": guest, "participantId": participant_id, "name": name}, 201)

    async def connect(self, socket: WebSocket) -> None:
        await socket.accept()
        try:
            seat = await self._hello(socket)
            if not await self._sit(seat):
                await socket.send_json({"type": "seat-taken"})
                await socket.close(_CLOSE_SEAT_TAKEN, "another window speaks for this participant")
                return
            try:
                await self._relay(socket, seat)
            finally:
                await self._leave(seat)
        except CallreelError as error:
            count(error)
            await close(socket, _CLOSE_UNAUTHORIZED, error.code)
        except RedisError:
            await close(socket, _CLOSE_UNAVAILABLE, "unavailable")
        except WebSocketDisconnect:
            pass  # a window was closed: what windows do

    async def _hello(self, socket: WebSocket) -> Seat:
        """The first frame. Raises `Unauthorized`, `Forbidden`, `InvalidId`."""
        call_id = keys.check_id(socket.path_params["callId"], "callId")
        try:
            async with asyncio.timeout(_HELLO_WITHIN_S):
                hello = json.loads(await socket.receive_text())
            token, window = str(hello["token"]), keys.check_id(hello["window"], "window")
        except (TimeoutError, ValueError, KeyError, TypeError) as error:
            raise Unauthorized("The first frame must be {token, window}.") from error
        caller = self._auth.caller(token)
        if not caller.may_enter(call_id):
            raise Forbidden("The token is for another call.")
        return Seat(call_id=call_id, caller=caller, window=window, connection=secrets.token_hex(8))

    async def _sit(self, seat: Seat) -> bool:
        """Whether this window may speak for its participant; the same window again takes over from itself."""
        if await self._redis.set(seat.key, seat.value, nx=True, ex=_SEAT_S):
            return True
        holder = str(await self._redis.get(seat.key) or "")
        if holder and holder.split(" ")[0] != seat.window:
            return False
        await self._redis.set(seat.key, seat.value, ex=_SEAT_S)
        return True

    async def _leave(self, seat: Seat) -> None:
        """Suppressed: the seat expires by itself, and the others see the media end."""
        with contextlib.suppress(RedisError):
            if await self._redis.get(seat.key) == seat.value:
                await self._redis.delete(seat.key)
            await self._say(seat, {"type": "left"})

    async def _relay(self, socket: WebSocket, seat: Seat) -> None:
        async with self._redis.pubsub() as channel:
            await channel.subscribe(keys.signal_channel(seat.call_id))
            await socket.send_json({"type": "welcome", "from": seat.who})
            await self._say(seat, {"type": "joined"})
            await first_of(self._speak(socket, seat), self._hear(socket, seat, channel), self._stay(seat))

    async def _speak(self, socket: WebSocket, seat: Seat) -> None:
        while True:
            text = await socket.receive_text()
            if len(text) > _FRAME_CHARS:
                await socket.close(_CLOSE_TOO_LARGE, "frame too large")
                return
            try:
                frame = json.loads(text)
                said = {"type": "message", "to": frame.get("to"), "data": frame.get("data")}
            except (ValueError, AttributeError):
                continue  # not ours; the next one may be
            await self._say(seat, said)

    async def _hear(self, socket: WebSocket, seat: Seat, channel: redis.asyncio.client.PubSub) -> None:
        async for message in channel.listen():
            if message["type"] != "message":
                continue
            said = json.loads(message["data"])
            if said["from"]["connection"] == seat.connection:
                continue
            if said.get("to") in (None, seat.caller.participant_id):
                await socket.send_text(message["data"])

    async def _stay(self, seat: Seat) -> None:
        """Keep the seat, until the same window has taken it by another connection."""
        while True:
            await asyncio.sleep(_SEAT_REFRESH_S)
            if await self._redis.get(seat.key) not in (seat.value, None):
                return
            await self._redis.set(seat.key, seat.value, ex=_SEAT_S)

    async def _say(self, seat: Seat, said: dict[str, Any]) -> None:
        await self._redis.publish(keys.signal_channel(seat.call_id), json.dumps({**said, "from": seat.who}))


async def _name(request: Request) -> str:
    """The name in the body, if there is one. Raises `InvalidRequest`."""
    name = (await read_json(request)).get("name", "")
    if not isinstance(name, str) or len(name) > _LONGEST_NAME:
        raise InvalidRequest(f"name must be a text of at most {_LONGEST_NAME} characters.")
    return name.strip()
