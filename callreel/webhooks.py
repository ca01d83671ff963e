"""Webhooks: who is told which events, and what has been told: a fold of the journal's events and of delivery records.

What became of an event at an endpoint for good is a record, one create-only object under the next free number, as facts
are. What is owed is what the events say and the records do not, so nothing else has to be remembered: no loss of the
index, and no process that dies between sending and noting, takes an event away; the receiver may get it twice.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from . import keys
from .events import EVENT_TYPES, Event, fold_events
from .journal import Fact
from .settings import Settings
from .storage import Storage

SECRET_PREFIX = "whsec_"  # noqa: S105  # what secrets begin with
_SECRET_BYTES = (24, 64)  #: Standard Webhooks, "Signature scheme"

Outcome = Literal["delivered", "dead", "replay"]
Status = Literal["pending", "delivered", "dead"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An address that is told events. Its id is made of the address, so that it is the same in every process."""

    id: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What became of an event for good: it was taken, or given up; `replay` makes it owed again."""

    event: int  #: its sequence
    outcome: Outcome
    at_ms: int
    attempts: int = 0
    answer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event for one endpoint."""

    endpoint: Endpoint
    event: Event
    status: Status
    since_ms: int  #: from when on it has been owed
    record: Record | None = None  #: the last one

    @property
    def id(self) -> str:
        return f"{self.endpoint.id}-{self.event.id}"


def endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    urls = dict.fromkeys(_words(settings.webhook_urls))
    return tuple(Endpoint(id=hashlib.sha256(url.encode()).hexdigest()[:12], url=url) for url in urls)


def wanted(settings: Settings) -> frozenset[str]:
    """The types of events that endpoints are told."""
    return frozenset(_words(settings.webhook_events))


def secrets(settings: Settings) -> tuple[str, ...]:
    """Every one of them signs: two of them while receivers change from one to the other."""
    return tuple(_words(settings.webhook_secret))


def wrong(settings: Settings) -> Iterator[str]:
    """What about the settings cannot work or would do harm, in sentences."""
    for endpoint in endpoints(settings):
        if sentence := _wrong_url(endpoint.url, settings.webhook_allow_private):
            yield f"CALLREEL_WEBHOOK_URLS: {re.sub('//[^/@]*@', '//…@', endpoint.url)[:200]} {sentence}"
    if endpoints(settings) and not secrets(settings):
        yield "CALLREEL_WEBHOOK_URLS needs CALLREEL_WEBHOOK_SECRET, by which receivers know us; " + _MAKE_ONE
    for number, secret in enumerate(secrets(settings), 1):
        if not _is_secret(secret):
            least, most = _SECRET_BYTES
            yield (
                f"CALLREEL_WEBHOOK_SECRET: number {number} is not {SECRET_PREFIX} and {least} to {most} bytes in "
                f"base64; {_MAKE_ONE}"
            )
    for event_type in sorted(wanted(settings) - set(EVENT_TYPES)):
        yield f"CALLREEL_WEBHOOK_EVENTS: there is no event {event_type}; there are {', '.join(EVENT_TYPES)}"


_MAKE_ONE = "`echo whsec_$(openssl rand -base64 32)` makes one"


def _words(text: str) -> list[str]:
    """Separated by commas or white space."""
    return re.split(r"[\s,]+", text.strip(" \t\n,")) if text.strip(" \t\n,") else []


def _wrong_url(url: str, allow_private: bool) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port
        named = bool((parts.hostname or "").encode("idna"))
    except ValueError as error:  # UnicodeError is one
        return f"is no address ({error})"
    if parts.scheme not in ("https", "http") or not named:
        return "is no address; write https://host/path"
    if parts.scheme == "http" and not allow_private:
        return (
            "is not https, and what is sent holds addresses that let anybody watch; "
            "for receivers in your own network set CALLREEL_WEBHOOK_ALLOW_PRIVATE=true"
        )
    if "@" in parts.netloc or parts.fragment or not url.isascii() or not url.isprintable():
        return "must have neither user name nor fragment, and be ASCII"
    return ""


def _is_secret(text: str) -> bool:
    try:
        key = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        return False
    return text.startswith(SECRET_PREFIX) and _SECRET_BYTES[0] <= len(key) <= _SECRET_BYTES[1]


# ── from when on ─────────────────────────────────────────────────────────────────────────────────────────────────────
def subscribe(storage: Storage, settings: Settings, at_ms: int) -> None:
    """Note which events endpoints are told from now on; what was noted earlier stays. So that an address that is new is
    not told the history of all recordings. For every process that takes facts in, before it does."""
    for endpoint in endpoints(settings):
        known = subscriptions(storage, endpoint)
        for event_type in wanted(settings) - known.keys():
            body = json.dumps({"url": endpoint.url, "atMs": at_ms}).encode()
            storage.put_if_absent(keys.subscription(endpoint.id, event_type), body)


def subscriptions(storage: Storage, endpoint: Endpoint) -> dict[str, int]:
    """Type of event → from when on the endpoint is told."""
    return {
        entry.key.rsplit("/", 1)[1].removesuffix(".json"): int(json.loads(storage.get(entry.key))["atMs"])
        for entry in storage.list(keys.subscriptions_prefix(endpoint.id))
    }


# ── what has been told ───────────────────────────────────────────────────────────────────────────────────────────────
def read(storage: Storage, endpoint_id: str, recording_id: str) -> list[Record]:
    """The records of a recording at an endpoint, in order."""
    prefix = keys.deliveries_prefix(endpoint_id, recording_id)
    return [_decode(json.loads(storage.get(entry.key))) for entry in storage.list(prefix)]


def look(
    storage: Storage, settings: Settings, endpoint: Endpoint, recording_id: str, facts: Sequence[Fact]
) -> tuple[list[Record], list[Delivery]]:
    """The records of a recording at an endpoint, and what they and these facts make of its events."""
    records = read(storage, endpoint.id, recording_id)
    since, types = subscriptions(storage, endpoint), wanted(settings)
    return records, fold_deliveries(endpoint, fold_events(recording_id, facts), records, since, types)


def replay(storage: Storage, delivery: Delivery, at_ms: int) -> None:
    """Owe it again, if it is not owed."""
    recording_id = delivery.event.state.recording_id
    while True:
        records = read(storage, delivery.endpoint.id, recording_id)
        last = next((record for record in reversed(records) if record.event == delivery.event.sequence), None)
        if last is None or last.outcome == "replay":
            return
        record = Record(event=delivery.event.sequence, outcome="replay", at_ms=at_ms)
        if append(storage, delivery.endpoint.id, recording_id, records, record):
            return


def append(storage: Storage, endpoint_id: str, recording_id: str, known: Sequence[Record], record: Record) -> bool:
    """Write the next record; False where somebody else wrote one meanwhile: read again. Durable when it returns."""
    body: dict[str, Any] = {
        "v": 1,
        "event": record.event,
        "outcome": record.outcome,
        "atMs": record.at_ms,
        "attempts": record.attempts,
        "answer": record.answer,
    }
    key = keys.delivery_record(endpoint_id, recording_id, len(known) + 1)
    return storage.put_if_absent(key, json.dumps(body, sort_keys=True, ensure_ascii=False).encode())


def _decode(value: dict[str, Any]) -> Record:
    return Record(
        event=value["event"],
        outcome=value["outcome"],
        at_ms=value["atMs"],
        attempts=value["attempts"],
        answer=value["answer"],
    )


def fold_deliveries(
    endpoint: Endpoint,
    events: Iterable[Event],
    records: Iterable[Record],
    since: Mapping[str, int],
    types: frozenset[str],
) -> list[Delivery]:
    """Everything of a recording that an endpoint was told or is owed, in order; `since` are its subscriptions."""
    last = {record.event: record for record in records}
    found = []
    for event in events:
        record = last.get(event.sequence)
        subscribed = event.type in types and event.at_ms >= since.get(event.type, event.at_ms + 1)
        if record is None and not subscribed:
            continue
        status: Status = "pending" if record is None or record.outcome == "replay" else record.outcome
        since_ms = event.at_ms if record is None else record.at_ms
        found.append(Delivery(endpoint=endpoint, event=event, status=status, since_ms=since_ms, record=record))
    return found
