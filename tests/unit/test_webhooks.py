"""Webhooks as pure functions: what may be set, what is owed, what an answer means, when to come again."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from callreel import webhooks
from callreel.events import EVENT_TYPES, fold_events
from callreel.journal import Fact
from callreel.owed import Tried, pause_ms
from callreel.settings import load_settings
from callreel.webhooks import Endpoint, Record, fold_deliveries
from workers.deliver import RETRIED_FOR_MS, judge, plan_next
from workers.post import Answer

SECRET = "whsec_" + base64.b64encode(bytes(32)).decode()
GOOD = {"webhook_urls": "https://my-app.example/hook", "webhook_secret": SECRET}
HERE = Endpoint(id="0" * 12, url="https://my-app.example/hook")
RECORDING = "rec_c1_1732259000000"


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        GOOD,
        {**GOOD, "webhook_urls": " https://a.example/x?key=1 ,\n https://b.example:8443 "},
        {**GOOD, "webhook_secret": f"{SECRET} {SECRET[:-4]}AAA="},
        {**GOOD, "webhook_urls": "http://10.0.0.1/", "webhook_allow_private": True},
        {**GOOD, "webhook_events": ", ".join(EVENT_TYPES)},
    ],
)
def test_what_can_work_is_taken(chosen: dict[str, Any]) -> None:
    assert list(webhooks.wrong(load_settings(**chosen))) == []


@pytest.mark.parametrize(
    ("chosen", "name", "word"),
    [
        ({"webhook_urls": "ftp://a.example/"}, "URLS", "https://host/path"),
        ({"webhook_urls": "my-app.example"}, "URLS", "https://host/path"),
        ({"webhook_urls": "https://"}, "URLS", "https://host/path"),
        ({"webhook_urls": "https://a.example:port/"}, "URLS", "no address"),
        ({"webhook_urls": "http://a.example/"}, "URLS", "CALLREEL_WEBHOOK_ALLOW_PRIVATE"),
        ({"webhook_urls": "https://ann:hidden@a.example/"}, "URLS", "user name"),
        ({"webhook_urls": "https://a.example/#x"}, "URLS", "fragment"),
        ({"webhook_secret": ""}, "SECRET", "openssl rand"),
        ({"webhook_secret": "whsec_tooshort"}, "SECRET", "24 to 64 bytes"),
        ({"webhook_secret": SECRET.removeprefix("whsec_")}, "SECRET", "whsec_"),
        ({"webhook_secret": f"{SECRET},whsec_hidden!"}, "SECRET", "number 2"),
        ({"webhook_events": "recordingbegun"}, "EVENTS", "recordingstarted"),
    ],
)
def test_what_cannot_is_refused_in_a_sentence_without_secrets(chosen: dict[str, Any], name: str, word: str) -> None:
    (sentence,) = webhooks.wrong(load_settings(**{**GOOD, **chosen}))
    assert f"CALLREEL_WEBHOOK_{name}" in sentence
    assert word in sentence
    assert "hidden" not in sentence


def facts() -> list[Fact]:
    data: dict[str, Any] = {
        "callId": "c1",
        "startedBy": "host",
        "layout": "grid",
        "preset": "720p",
        "outputs": [],
        "maxDurationS": None,
        "metadata": {},
    }
    return [
        Fact(sequence=1, type="started", at_ms=1000, data=data),
        Fact(sequence=2, type="stopped", at_ms=2000, data={"reason": "host"}),
        Fact(sequence=3, type="drained", at_ms=2100, data={}),
        Fact(sequence=4, type="failed", at_ms=3000, data={"code": "no_media", "message": "Nothing."}),
    ]


def statuses(records: list[Record], since_ms: int = 0, types: frozenset[str] = frozenset(EVENT_TYPES)) -> Any:
    since = dict.fromkeys(EVENT_TYPES, since_ms)
    found = fold_deliveries(HERE, fold_events(RECORDING, facts()), records, since, types)
    return [(delivery.event.sequence, delivery.status, delivery.since_ms) for delivery in found]


def test_what_is_owed_is_what_events_say_and_records_do_not() -> None:
    assert statuses([]) == [(1, "pending", 1000), (2, "pending", 2000), (3, "pending", 3000)]
    assert statuses([], since_ms=2000) == [(2, "pending", 2000), (3, "pending", 3000)]
    assert statuses([], types=frozenset({"recordingfailed"})) == [(3, "pending", 3000)]
    taken = Record(event=1, outcome="delivered", at_ms=1500)
    dead = Record(event=2, outcome="dead", at_ms=2500)
    again = Record(event=2, outcome="replay", at_ms=9000)
    assert statuses([taken, dead]) == [(1, "delivered", 1500), (2, "dead", 2500), (3, "pending", 3000)]
    assert statuses([taken, dead, again])[1] == (2, "pending", 9000)
    assert statuses([taken], types=frozenset()) == [(1, "delivered", 1500)], "what was told stays told"


def test_an_endpoint_without_subscription_is_owed_nothing() -> None:
    assert fold_deliveries(HERE, fold_events(RECORDING, facts()), [], {}, frozenset(EVENT_TYPES)) == []


def test_the_first_that_is_owed_comes_next_and_waits_for_its_time() -> None:
    since = dict.fromkeys(EVENT_TYPES, 0)
    deliveries = fold_deliveries(HERE, fold_events(RECORDING, facts()), [], since, frozenset(EVENT_TYPES))
    tried = Tried(event=1, attempts=3, at_ms=0, answer="HTTP 500", next_ms=5000)
    assert plan_next(deliveries, None, 0) == (deliveries[0], None)
    assert plan_next(deliveries, tried, 4999) == (None, 5000)
    assert plan_next(deliveries, tried, 5000) == (deliveries[0], None)
    assert plan_next(deliveries[1:], tried, 0) == (deliveries[1], None), "what another event met does not concern it"
    assert plan_next([], tried, 0) == (None, None)


def test_every_status_means_one_of_three_things() -> None:
    outcomes = {status: judge(Answer(status=status), 0, 1, 1000, 0.5).outcome for status in range(100, 600)}
    assert {status for status, outcome in outcomes.items() if outcome == "delivered"} == set(range(200, 300))
    never = set(range(400, 500)) - {408, 425, 429}
    assert {status for status, outcome in outcomes.items() if outcome == "dead"} == never


def test_pauses_grow_to_ten_minutes_and_spread() -> None:
    longest = [pause_ms(failures, 1) for failures in range(1, 1000)]
    assert longest[:4] == [5000, 10_000, 20_000, 40_000]
    assert max(longest) == longest[-1] == 600_000
    assert pause_ms(9, 0) == 300_000


def test_what_a_receiver_asks_for_is_kept_within_a_day_and_three_days_end_it() -> None:
    assert judge(Answer(status=429, retry_after_s=1800), 0, 1, 0, 0).next_ms == 1_800_000
    assert judge(Answer(status=503, retry_after_s=1), 0, 1, 0, 1).next_ms == 5000
    assert judge(Answer(status=503, retry_after_s=1e9), 0, 1, 0, 0).next_ms == 86_400_000
    assert judge(Answer(error="refused"), 0, 9, RETRIED_FOR_MS - 1, 0).outcome is None
    assert judge(Answer(error="refused"), 0, 9, RETRIED_FOR_MS, 0).outcome == "dead"
