"""Telling a receiver what it is owed: one recording, one endpoint, in order, each event until it is taken or given up.

Signed as Standard Webhooks say (https://www.standardwebhooks.com). An event keeps its id over all attempts; the body is
made anew for each, because addresses of files in it end after hours.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from standardwebhooks import Webhook

from callreel import __version__, journal, webhooks, wire
from callreel.control import now_ms
from callreel.describe import address, describe
from callreel.failpoints import failpoint
from callreel.index import Index
from callreel.metrics import WEBHOOKS
from callreel.model import Recording
from callreel.owed import Owed, Tried, pause_ms
from callreel.settings import Settings
from callreel.storage import Storage
from callreel.webhooks import Delivery, Endpoint, Outcome, Record

from .post import Answer, post

log = structlog.get_logger(__name__)

RETRIED_FOR_MS = 3 * 86400 * 1000  #: the contract's: then an event is given up
_LONGEST_WAIT_S = 86400  #: of what a receiver may ask for with `Retry-After`
_JOB_S = 60.0  #: a job sends no more behind this; the next one goes on
_AGAIN = frozenset({408, 425, 429})  #: the 4xx that mean "later", not "never"

Post = Callable[[str, dict[str, str], bytes], Answer]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means for the event: the end of it, or when to try again."""

    outcome: Outcome | None
    next_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Postman:
    """What a delivery works with."""

    storage: Storage
    settings: Settings
    index: Index
    owed: Owed
    clock_ms: Callable[[], int] = now_ms
    chance: Callable[[], float] = random.random
    post: Post | None = None  #: None: over the network

    def send(self, url: str, headers: dict[str, str], body: bytes) -> Answer:
        if self.post is not None:
            return self.post(url, headers, body)
        return post(url, headers, body, allow_private=self.settings.webhook_allow_private)


def plan_next(deliveries: Sequence[Delivery], tried: Tried | None, now: int) -> tuple[Delivery | None, int | None]:
    """The event to send now, or else when to look again; neither where nothing is owed."""
    first = next((delivery for delivery in deliveries if delivery.status == "pending"), None)
    if first is None:
        return None, None
    if tried is not None and tried.event == first.event.sequence and now < tried.next_ms:
        return None, tried.next_ms
    return first, None


def judge(answer: Answer, owed_since_ms: int, failures: int, now: int, chance: float) -> Verdict:
    """`failures` in a row, this one included."""
    status = answer.status
    if status is not None and 200 <= status < 300:
        return Verdict("delivered")
    if status is not None and 400 <= status < 500 and status not in _AGAIN:
        return Verdict("dead")
    if now - owed_since_ms >= RETRIED_FOR_MS:
        return Verdict("dead")
    asked_ms = int(min(answer.retry_after_s, _LONGEST_WAIT_S) * 1000)
    return Verdict(None, now + max(pause_ms(failures, chance), asked_ms))


def deliver(man: Postman, recording_id: str, endpoint_id: str) -> None:
    """Send what is due, in order, until something is not taken."""
    endpoint = next((each for each in webhooks.endpoints(man.settings) if each.id == endpoint_id), None)
    if endpoint is None or not man.settings.jwt_secret:
        # Removed since; or this worker was started without the settings of the rest, and another one will be asked.
        log.warning(
            "webhooks: CALLREEL_WEBHOOK_URLS here has no such endpoint, or no secret is set", endpoint=endpoint_id
        )
        return
    ends_s = time.monotonic() + _JOB_S
    while True:
        now = man.clock_ms()
        facts = journal.read(man.storage, recording_id)
        records, deliveries = webhooks.look(man.storage, man.settings, endpoint, recording_id, facts)
        tried = man.owed.tried(endpoint_id, recording_id)
        delivery, again_ms = plan_next(deliveries, tried, now)
        if delivery is None or time.monotonic() > ends_s or man.owed.rests(endpoint_id, now):
            man.owed.later(endpoint_id, recording_id, len(facts), now if delivery else again_ms)
            return
        failures = tried.attempts if tried and tried.event == delivery.event.sequence else 0
        failpoint("deliver.due")
        answer = _send(man, endpoint, delivery)
        failpoint("deliver.sent")
        _note(man, delivery, records, answer, failures + 1)


def _send(man: Postman, endpoint: Endpoint, delivery: Delivery) -> Answer:
    def whole(state: Recording) -> wire.Json:
        return describe(state, man.index, man.storage, lambda name: address(man.settings, state, name))

    event = delivery.event
    body = wire.text(wire.event(event, whole))
    at = datetime.fromtimestamp(man.clock_ms() // 1000, UTC)
    signatures = [Webhook(secret).sign(event.id, at, body) for secret in webhooks.secrets(man.settings)]
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"callreel/{__version__}",
        "webhook-id": event.id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
    return man.send(endpoint.url, headers, body.encode())


def _note(man: Postman, delivery: Delivery, records: Sequence[Record], answer: Answer, attempts: int) -> None:
    """Write down what came of it. Who was quicker has written it already: then the next look tells."""
    now, endpoint_id, recording_id = man.clock_ms(), delivery.endpoint.id, delivery.event.state.recording_id
    verdict = judge(answer, delivery.since_ms, attempts, now, man.chance())
    about = {"endpoint": endpoint_id, "event_id": delivery.event.id, "answer": str(answer), "attempts": attempts}
    WEBHOOKS.labels(delivery.event.type, verdict.outcome or "retry").inc()
    if answer.status is None:
        man.owed.away(endpoint_id, now, man.chance())
    else:
        man.owed.back(endpoint_id)
    sequence = delivery.event.sequence
    if verdict.outcome is None:
        log.warning("webhooks: not taken, trying again", **about)
        man.owed.failed(
            endpoint_id,
            recording_id,
            Tried(event=sequence, attempts=attempts, at_ms=now, answer=str(answer), next_ms=verdict.next_ms),
            delivery.since_ms,
        )
        return
    if verdict.outcome == "dead":
        log.error("webhooks: given up; it can be replayed", **about)
    record = Record(event=sequence, outcome=verdict.outcome, at_ms=now, attempts=attempts, answer=str(answer))
    webhooks.append(man.storage, endpoint_id, recording_id, records, record)
    failpoint("deliver.written")
    man.owed.forget(endpoint_id, recording_id)
