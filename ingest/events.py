"""Events of a call, and Server-Sent Events as one way to carry them (HTML Standard, 9.2); `event_socket` is the other.

Folded from journals; Redis only says when to look. Whoever comes back names the last event it saw and gets what came
since; whoever comes anew gets a snapshot first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Iterator

import redis.asyncio
from redis import RedisError
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from callreel import keys, rooms, wire
from callreel.events import Event, fold_events
from callreel.states import FINAL, Status
from callreel.tokens import Caller

from .shell import Shell

log = logging.getLogger(__name__)

HEARTBEAT_S = 15.0  #: the contract's; proxies close what is silent for 30 to 60 s
HEARTBEAT: wire.Json = {"type": "heartbeat"}
_BLIND_S = 1.0  #: how often to look where Redis cannot wake us

_FOLLOWED = 8  #: recordings of a call, counted from the newest: the running one, and those whose films are being made

_EVENT_ID = re.compile(r"evt_(rec_[A-Za-z0-9_-]{1,64}_[0-9]{13,})_([0-9]{1,9})\Z")


class Wakes:
    """One subscription of a process, for everybody who follows a call."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._listening = False

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            client = redis.asyncio.Redis.from_url(self._url, protocol=2, decode_responses=True)
            try:
                async with client, client.pubsub(ignore_subscribe_messages=True) as channel:
                    await channel.psubscribe(f"{keys.WAKE_PREFIX}*")
                    self._listening = True
                    self._wake(*self._waiting)  # what was said while nobody listened
                    async for message in channel.listen():
                        self._wake(message["channel"].removeprefix(keys.WAKE_PREFIX))
            except (RedisError, OSError) as error:
                log.warning("events: nobody wakes us: %s", error)
            self._listening = False
            await asyncio.sleep(_BLIND_S)

    @contextlib.contextmanager
    def following(self, call_id: str) -> Iterator[asyncio.Event]:
        """What is set whenever something may have happened in a call, and when the server ends."""
        event = asyncio.Event()
        self._waiting[call_id].add(event)
        try:
            yield event
        finally:
            self._waiting[call_id].discard(event)
            if not self._waiting[call_id]:
                del self._waiting[call_id]

    @property
    def longest_wait_s(self) -> float:
        return HEARTBEAT_S if self._listening else _BLIND_S

    def wake_all(self) -> None:
        self._wake(*self._waiting)

    def _wake(self, *call_ids: str) -> None:
        for call_id in call_ids:
            for event in self._waiting.get(call_id, ()):
                event.set()


class EventCalls:
    def __init__(self, shell: Shell, wakes: Wakes) -> None:
        self._shell = shell
        self._wakes = wakes

    async def events(self, request: Request, caller: Caller) -> Response:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # the latter: nginx, pass it on at once
        kind = "text/event-stream"
        if request.method == "HEAD":
            return Response(None, 200, headers, media_type=kind)
        told = self.follow(request.path_params["callId"], caller, request.headers.get("last-event-id", ""))
        return StreamingResponse(_stream(told), 200, headers, kind)

    async def follow(self, call_id: str, caller: Caller, last_event_id: str) -> AsyncGenerator[list[wire.Json]]:
        """What is to be told, until the server ends, or the call was closed and all is told: at once what comes first,
        which may be nothing; then what happens, or `HEARTBEAT`. Whoever takes it slowly is told later, and nothing
        piles up meanwhile."""
        run = self._shell.pools.control.run
        follower = Follower(self._shell, call_id, caller)
        with self._wakes.following(call_id) as woken:  # before the first look, so that nothing falls between
            yield await run(follower.begin, last_event_id)
            due_s = time.monotonic() + HEARTBEAT_S
            while not self._shell.closing.is_set() and not await run(follower.is_over):
                wait_s = min(self._wakes.longest_wait_s, max(0.0, due_s - time.monotonic()))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), wait_s)
                woken.clear()
                news = await run(follower.news)
                if news or time.monotonic() >= due_s:
                    yield news or [HEARTBEAT]
                    due_s = time.monotonic() + HEARTBEAT_S


class Follower:
    """How much of a call's events somebody has been told. Its methods block."""

    def __init__(self, shell: Shell, call_id: str, caller: Caller) -> None:
        self.call_id = call_id
        self._caller = caller
        self._shell = shell
        self._facts: dict[str, int] = {}  #: recording → facts looked at
        self._told: dict[str, int] = {}  #: recording → events told

    def begin(self, last_event_id: str) -> list[wire.Json]:
        """What comes first: a snapshot, or what happened since that event."""
        match = _EVENT_ID.match(last_event_id)
        if match is None or match[1] not in (ids := self._recordings()):
            return [self._snapshot()]
        last = self._events(match[1])[: int(match[2])]
        # Of the call's other recordings everything since that instant: twice is better than never, ids tell.
        since_ms = last[-1].at_ms if last else 0
        for recording_id in ids:
            events = self._events(recording_id)
            earlier = len(last) if recording_id == match[1] else sum(event.at_ms < since_ms for event in events)
            self._told[recording_id] = earlier
        return self.news()

    def news(self) -> list[wire.Json]:
        """Everything that was not told yet."""
        told = []
        for recording_id in self._recordings():
            if len(self._shell.journals.facts(recording_id)) == self._facts.get(recording_id):
                continue
            self._facts[recording_id] = len(self._shell.journals.facts(recording_id))
            events = self._events(recording_id)
            told += [self._told_as(event) for event in events[self._told.get(recording_id, 0) :]]
            self._told[recording_id] = len(events)
        return told

    def is_over(self) -> bool:
        """Was the call closed, and is everything told that will come of it?"""
        shell = self._shell
        if rooms.read(shell.storage, self.call_id).closed_ms is None:
            return False
        return all(
            shell.journals.state(recording_id).status in FINAL
            and self._told.get(recording_id) == len(self._events(recording_id))
            for recording_id in self._recordings()
        )

    def _snapshot(self) -> wire.Json:
        newest: wire.Json | None = None
        last_id = ""
        for recording_id in self._recordings():
            events = self._events(recording_id)
            self._told[recording_id] = len(events)
            state = self._shell.journals.state(recording_id)
            newest = self._shell.describe(state, self._caller) if state.status != Status.DELETED else None
            last_id = events[-1].id
        return {**({"id": last_id} if last_id else {}), "type": "snapshot", "data": newest}

    def _recordings(self) -> list[str]:
        """The newest recordings of the call that have begun, oldest first."""
        newest = self._shell.control.ids_of(self.call_id)[-_FOLLOWED:]
        return [recording_id for recording_id in newest if self._shell.journals.facts(recording_id)]

    def _events(self, recording_id: str) -> list[Event]:
        return fold_events(recording_id, self._shell.journals.facts(recording_id))

    def _told_as(self, event: Event) -> wire.Json:
        return wire.event(event, lambda state: self._shell.describe(state, self._caller))


async def _stream(told: AsyncIterator[list[wire.Json]]) -> AsyncIterator[str]:
    async for messages in told:
        for message in messages:
            yield _frame(message)


def _frame(message: wire.Json) -> str:
    """JSON has no raw line breaks, so one `data` line holds it. A heartbeat is a comment."""
    if message is HEARTBEAT:
        return ": heartbeat\n\n"
    head = f"id: {message['id']}\n" if "id" in message else ""
    return f"{head}data: {wire.text(message)}\n\n"
