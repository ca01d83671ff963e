"""What webhooks were told, are owed, and were given up on: for who looks after receivers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import get_args
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from callreel import keys, webhooks, wire
from callreel.control import now_ms
from callreel.errors import InvalidId, InvalidOption, NotFound
from callreel.index import ask
from callreel.owed import Owed
from callreel.tokens import Caller
from callreel.webhooks import Delivery

from .control import behind, limit_of
from .shell import Shell, success

_ID = re.compile(r"([0-9a-f]{12})-evt_(rec_[A-Za-z0-9_-]{1,64}_[0-9]{13,15})_([0-9]{1,9})\Z")
_LOOKED_AT = 500  #: recordings of one answer; most of a long list may have nothing that is asked for


class WebhookCalls:
    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._owed = Owed(shell.index.redis)
        self._run = shell.pools.control.run

    async def webhooks(self, request: Request, caller: Caller) -> Response:
        """Those of a call."""

        def page(call_id: str) -> wire.Json:
            return self._page(list(reversed(self._shell.control.ids_of(call_id))), request)

        return success(await self._run(page, request.path_params["callId"]))

    async def all_webhooks(self, request: Request, caller: Caller) -> Response:
        return success(await self._run(lambda: self._page(self._shell.index.recording_ids(), request)))

    async def replay(self, request: Request, caller: Caller) -> Response:
        return success(await self._run(self._replay, request.path_params), 202)

    async def replay_any(self, request: Request, caller: Caller) -> Response:
        return success(await self._run(self._replay, request.path_params), 202)

    def _page(self, newest_first: list[str], request: Request) -> wire.Json:
        """Whole recordings, until there are enough: `nextCursor` is the last one that was looked at."""
        limit = limit_of(request.query_params.get("limit"))
        status = request.query_params.get("status")
        if status not in (None, *get_args(webhooks.Status)):
            raise InvalidOption(f"status must be one of {', '.join(get_args(webhooks.Status))}.", field="status")
        items: list[wire.Json] = []
        left = behind(newest_first, request.query_params.get("cursor"))
        for number, recording_id in enumerate(left, 1):
            found = reversed(list(self._deliveries(recording_id)))
            items += [self._told(each) for each in found if status in (None, each.status)]
            if len(items) >= limit or number == _LOOKED_AT:
                return {"items": items, "nextCursor": recording_id if number < len(left) else None}
        return {"items": items, "nextCursor": None}

    def _replay(self, params: dict[str, str]) -> wire.Json:
        match = _ID.match(params["deliveryId"])
        if match is None:
            raise InvalidId("deliveryId must be one that the list of webhooks gave out.", field="deliveryId")
        recording_id = match[2]
        if params.get("callId", keys.call_of(recording_id)) == keys.call_of(recording_id):
            for delivery in self._deliveries(recording_id):
                if delivery.id == params["deliveryId"]:
                    webhooks.replay(self._shell.storage, delivery, now_ms())
                    ask(lambda: self._owed.now(match[1], recording_id, now_ms()))
                    self._shell.hint(lambda: self._shell.jobs.deliver(recording_id, match[1]))
                    return self._told(next(each for each in self._deliveries(recording_id) if each.id == delivery.id))
        raise NotFound("No webhook of this id was ever owed, or its address is not among CALLREEL_WEBHOOK_URLS.")

    def _deliveries(self, recording_id: str) -> Iterator[Delivery]:
        facts = self._shell.journals.facts(recording_id)
        for endpoint in webhooks.endpoints(self._shell.settings):
            yield from webhooks.look(self._shell.storage, self._shell.settings, endpoint, recording_id, facts)[1]

    def _told(self, delivery: Delivery) -> wire.Json:
        event, record = delivery.event, delivery.record
        tried = ask(lambda: self._owed.tried(delivery.endpoint.id, event.state.recording_id))
        if tried is not None and (delivery.status != "pending" or tried.event != event.sequence):
            tried = None
        last = tried or (record if delivery.status != "pending" else None)
        return {
            "id": delivery.id,
            # a query may hold what the receiver keeps secret
            "endpoint": urlsplit(delivery.endpoint.url)._replace(query="").geturl(),
            "eventId": event.id,
            "type": event.type,
            "recordingId": event.state.recording_id,
            "roomId": event.state.call_id,
            "timestamp": wire.instant(event.at_ms),
            "status": delivery.status,
            "attempts": last.attempts if last else 0,
            "lastAnswer": last.answer if last else None,
            "lastAttemptAt": wire.instant(last.at_ms if last else None),
            "nextAttemptAt": wire.instant(tried.next_ms if tried else None),
        }
