"""Start, stop, and what is known of a call's recordings."""

from __future__ import annotations

from collections.abc import Collection

from starlette.requests import Request
from starlette.responses import Response

from callreel import abilities, journal, wire
from callreel.errors import InvalidOption, UnknownRecording
from callreel.model import Recording
from callreel.states import Status
from callreel.tokens import Caller

from .bodies import read_json
from .shell import Shell, success

_PAGE = 20  #: recordings of a list where nobody says how many
_LONGEST_PAGE = 100
_LONGEST_KEY = 200


KEPT = frozenset(Status) - {Status.DELETED}  #: what lists tell of


class ControlCalls:
    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._run = shell.pools.control.run

    async def start(self, request: Request, caller: Caller) -> Response:
        options = await read_json(request)
        key = _idempotency_key(request.headers.get("idempotency-key", ""))

        def start(call_id: str) -> Recording:
            encoders = abilities.told(self._shell.index.redis)
            return self._shell.control.start(call_id, caller.subject, options, encoders, key)

        return success(wire.begun(await self._run(start, request.path_params["callId"])), 201)

    async def stop(self, request: Request, caller: Caller) -> Response:
        def stop(call_id: str) -> Recording:
            stopped = self._shell.control.stop(call_id)
            self._shell.hint(lambda: self._shell.jobs.advance(stopped.recording_id))
            return stopped

        stopped = await self._run(stop, request.path_params["callId"])
        # Asked again the answer is the same again, however far the recording has come by then.
        return success(wire.short(stopped, Status.STOPPING), 202)

    async def pause(self, request: Request, caller: Caller) -> Response:
        paused = await self._run(self._shell.control.pause, request.path_params["callId"])
        return success(wire.short(paused))

    async def resume(self, request: Request, caller: Caller) -> Response:
        resumed = await self._run(self._shell.control.resume, request.path_params["callId"])
        return success(wire.short(resumed))

    async def layout(self, request: Request, caller: Caller) -> Response:
        body = await read_json(request)
        if odd := [name for name in body if name != "layout"]:
            raise InvalidOption(f"There is no {odd[0]!r:.60} here; known is layout.", field=odd[0])
        call_id = request.path_params["callId"]
        changed = await self._run(self._shell.control.change_layout, call_id, body.get("layout"))
        return success({**wire.short(changed), "layout": changed.layout})

    async def delete(self, request: Request, caller: Caller) -> Response:
        def delete(recording_id: str) -> Recording:
            state = self._shell.control.delete(recording_id)
            self._shell.hint(lambda: self._shell.jobs.delete(recording_id))
            return state

        return success(wire.short(await self._run(delete, request.path_params["recordingId"])), 202)

    async def active(self, request: Request, caller: Caller) -> Response:
        def describe(call_id: str) -> wire.Json:
            return self._shell.describe(self._shell.control.active(call_id), caller)

        return success(await self._run(describe, request.path_params["callId"]))

    async def one(self, request: Request, caller: Caller) -> Response:
        def describe(recording_id: str) -> wire.Json:
            state = self._shell.journals.state(recording_id)
            if state.status == Status.DELETED:
                raise UnknownRecording(f"Recording {recording_id} was deleted.")
            return self._shell.describe(state, caller)

        return success(await self._run(describe, request.path_params["recordingId"]))

    async def many(self, request: Request, caller: Caller) -> Response:
        limit = limit_of(request.query_params.get("limit"))
        cursor = request.query_params.get("cursor")

        def page(call_id: str) -> wire.Json:
            ids = behind(list(reversed(self._shell.control.ids_of(call_id))), cursor)
            return self._page(ids, limit, caller, KEPT)

        return success(await self._run(page, request.path_params["callId"]))

    async def all_recordings(self, request: Request, caller: Caller) -> Response:
        """Of every call."""
        limit = limit_of(request.query_params.get("limit"))
        cursor, status = request.query_params.get("cursor"), request.query_params.get("status")
        if status is not None and status not in KEPT:
            raise InvalidOption(f"status must be one of {', '.join(sorted(KEPT))}.", field="status")

        def page() -> wire.Json:
            index = self._shell.index
            ids = behind(index.recording_ids(), cursor)
            if status is None:
                return self._page(ids, limit, caller, KEPT)
            return self._page(index.of_status(ids, Status(status)), limit, caller, {Status(status)})

        return success(await self._run(page))

    def _page(self, newest_first: list[str], limit: int, caller: Caller, statuses: Collection[Status]) -> wire.Json:
        items: list[Recording] = []
        for recording_id in newest_first:
            facts = self._shell.journals.facts(recording_id)
            if not facts:  # a start is between slot and first fact, or died there: nobody was told of it
                continue
            state = journal.fold(recording_id, facts)
            if state.status in statuses:
                items.append(state)
            if len(items) > limit:
                break
        more = items[limit - 1].recording_id if len(items) > limit else None
        return {"items": [self._shell.describe(state, caller) for state in items[:limit]], "nextCursor": more}


def _idempotency_key(text: str) -> str:
    """The header of the draft (draft-ietf-httpapi-idempotency-key-header), quoted or not. Raises `InvalidOption`."""
    if len(text) > _LONGEST_KEY or not text.isprintable() or not text.isascii():
        detail = f"Idempotency-Key must be at most {_LONGEST_KEY} printable characters of ASCII."
        raise InvalidOption(detail, field="Idempotency-Key", limit=_LONGEST_KEY)
    return text


def behind(newest_first: list[str], cursor: str | None) -> list[str]:
    """What of a list comes behind the one that the cursor names. Raises `InvalidOption`."""
    if cursor is None:
        return newest_first
    if cursor not in newest_first:
        raise InvalidOption("cursor is not one that this list gave out.", field="cursor")
    return newest_first[newest_first.index(cursor) + 1 :]


def limit_of(text: str | None) -> int:
    if text is None:
        return _PAGE
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _LONGEST_PAGE:
        raise InvalidOption(f"limit must be a number from 1 to {_LONGEST_PAGE}; got {text[:40]!r}.", field="limit")
    return int(text)
