"""What is owed is told: signed, in order, again and again until it is taken, and never to our own network."""

from __future__ import annotations

import base64
import itertools
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from standardwebhooks import Webhook, WebhookVerificationError

from callreel import gauges, keys, rebuild, webhooks
from callreel.control import Control, now_ms
from callreel.index import Index, connect
from callreel.journal import Draft
from callreel.owed import Owed, Teller, ask
from callreel.settings import Settings, load_settings
from callreel.storage.local import LocalStorage
from tests.kit.receiver import Receiver, Reply, Sent, receiving
from workers.deliver import Postman, deliver
from workers.post import Answer

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER_SECRET = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()
FILM = {
    "name": "composition.mp4",
    "kind": "composition",
    "status": "ready",
    "mime_type": "video/mp4",
    "size_bytes": 1,
    "duration_ms": 1,
    "sha256": "0" * 64,
}
DONE = {"complete": True, "gaps": [], "build": "b", "artifacts": [FILM]}
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


@dataclass
class World:
    """Storage, index and clock of a Callreel whose worker and sweeper are this test; the network is real."""

    storage: LocalStorage
    index: Index
    settings: Settings
    now_ms: int = field(default_factory=now_ms)
    jobs: list[tuple[str, str]] = field(default_factory=list)
    sent: Any = None  #: stands for the network where a test needs another one

    def __post_init__(self) -> None:
        rebuild.rebuild(self.index, self.storage)
        webhooks.subscribe(self.storage, self.settings, self.now_ms)

    @property
    def control(self) -> Control:
        return Control(self.storage, Teller(index=self.index, settings=self.settings, jobs=self), lambda: self.now_ms)

    @property
    def owed(self) -> Owed:
        return Owed(self.index.redis)

    def deliver(self, recording_id: str, endpoint_id: str) -> bool:
        """A job is asked for."""
        self.jobs.append((recording_id, endpoint_id))
        return True

    def work(self) -> None:
        """All jobs that were asked for, each once."""
        jobs, self.jobs = dict.fromkeys(self.jobs), []
        man = Postman(
            storage=self.storage,
            settings=self.settings,
            index=self.index,
            owed=self.owed,
            clock_ms=lambda: self.now_ms,
            post=self.sent,
        )
        for recording_id, endpoint_id in jobs:
            deliver(man, recording_id, endpoint_id)

    def tick(self, later_ms: int = 0) -> None:
        """The sweeper looks, and workers work."""
        self.now_ms += later_ms
        ask(self.owed, self.settings, self, self.now_ms)
        self.work()

    def write(self, recording_id: str, *drafts: Draft) -> None:
        for draft in drafts:
            self.control.append(recording_id, lambda _, draft=draft: draft)  # type: ignore[misc]  # mypy cannot type a lambda with a default

    def recorded(self, call: str) -> str:
        """A recording from start to film: four events by default."""
        recording_id = self.control.start(call, "host", {}).recording_id
        self.control.stop(call)
        self.write(recording_id, ("drained", {}), ("completed", DONE))
        return recording_id

    def endpoint(self, number: int = 0) -> str:
        return webhooks.endpoints(self.settings)[number].id

    def outcomes(self, recording_id: str, number: int = 0) -> list[tuple[int, str]]:
        found = webhooks.read(self.storage, self.endpoint(number), recording_id)
        return [(record.event, record.outcome) for record in found]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def world(redis_url: str, data_dir: Path, *urls: str, **more: Any) -> World:
    chosen = {
        "jwt_secret": "a key for tests, longer than thirty-two",
        "webhook_secret": SECRET,
        "webhook_allow_private": True,
        **more,
    }
    settings = load_settings(webhook_urls=",".join(urls), **chosen)
    assert list(webhooks.wrong(settings)) == []
    return World(LocalStorage(data_dir, fsync=False), Index(connect(redis_url)), settings)


def test_what_happened_is_told_in_order_signed_and_once(receiver: Receiver, redis_url: str, data_dir: Path) -> None:
    here = world(redis_url, data_dir, receiver.url, public_url="https://callreel.example")
    recording_id = here.recorded("one")
    here.work()
    here.tick()
    here.tick(MINUTE_MS)
    assert receiver.types() == ["recordingstarted", "recordingstopped", "recordingcompleted"]
    assert [sent.event["sequence"] for sent in receiver.all] == [1, 2, 3]
    for sent in receiver.all:
        told = Webhook(SECRET).verify(sent.body, sent.headers)
        assert (told["id"], told["data"]["recordingId"]) == (sent.headers["webhook-id"], recording_id)
        assert sent.headers["content-type"] == "application/json"
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(sent.body + b" ", sent.headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(OTHER_SECRET).verify(sent.body, sent.headers)
    (artifact,) = receiver.all[-1].event["data"]["artifacts"]
    assert artifact["url"].startswith("https://callreel.example/video-calls/one/recording/")
    assert here.outcomes(recording_id) == [(1, "delivered"), (2, "delivered"), (3, "delivered")]
    assert here.owed.due(here.endpoint(), here.now_ms + HOUR_MS) == [], "nobody looks again"


def test_two_secrets_both_sign(receiver: Receiver, redis_url: str, data_dir: Path) -> None:
    here = world(redis_url, data_dir, receiver.url, webhook_secret=f"{SECRET}, {OTHER_SECRET}")
    here.control.start("one", "host", {})
    here.work()
    (sent,) = receiver.all
    for secret in (SECRET, OTHER_SECRET):
        Webhook(secret).verify(sent.body, sent.headers)


def test_only_what_is_wanted_is_told_and_only_from_when_on_it_was(
    receiver: Receiver, redis_url: str, data_dir: Path
) -> None:
    before = world(redis_url, data_dir)
    old = before.recorded("old")
    here = world(redis_url, data_dir, receiver.url, webhook_events="recordingcompleted, trackstarted")
    here.now_ms = before.now_ms + 1000
    webhooks.subscribe(here.storage, here.settings, here.now_ms)
    recording_id = here.control.start("one", "host", {}).recording_id
    here.control.put_track(recording_id, "cam", "ada", "Ada", "camera", "av", "")
    here.control.stop("one")
    here.write(recording_id, ("drained", {}), ("completed", DONE))
    here.work()
    here.tick()
    assert receiver.types() == ["trackstarted", "recordingcompleted"]
    assert here.outcomes(old) == []


def test_addresses_are_signed_anew_and_ids_stay(receiver: Receiver, redis_url: str, data_dir: Path) -> None:
    here = world(redis_url, data_dir, receiver.url, webhook_events="recordingcompleted")
    receiver.reply = lambda sent: (500, {}) if len(receiver.all) < 3 else (200, {})
    here.recorded("one")
    for _ in range(3):
        here.tick(MINUTE_MS)
    assert len({sent.headers["webhook-id"] for sent in receiver.all}) == 1
    assert len(receiver.all) == 3
    stamps = [int(sent.headers["webhook-timestamp"]) for sent in receiver.all]
    assert [b - a for a, b in itertools.pairwise(stamps)] == [60, 60]
    assert "url" in receiver.all[0].event["data"]["artifacts"][0]


@pytest.mark.parametrize("status", [301, 302, 408, 425, 429, 500, 502, 503])
def test_what_may_pass_is_tried_again_and_the_order_waits(
    receiver: Receiver, redis_url: str, data_dir: Path, status: int
) -> None:
    here = world(redis_url, data_dir, receiver.url)
    refusing = True
    elsewhere = receiver.url.replace("/hook", "/elsewhere")
    receiver.reply = lambda sent: (status, {"Location": elsewhere}) if refusing else (204, {})
    recording_id = here.recorded("one")
    here.tick()
    here.tick(1000)
    assert [sent.event["sequence"] for sent in receiver.all] == [1], "not again within seconds, and nothing before it"
    assert here.outcomes(recording_id) == []
    refusing = False
    here.tick(MINUTE_MS)
    assert receiver.sequences(recording_id) == [1, 2, 3]
    assert {sent.path for sent in receiver.all} == {"/hook"}, "redirects are not followed"


@pytest.mark.parametrize("status", [400, 401, 404, 410, 422])
def test_what_is_refused_for_good_is_given_up_and_the_order_goes_on(
    receiver: Receiver, redis_url: str, data_dir: Path, status: int
) -> None:
    here = world(redis_url, data_dir, receiver.url)
    receiver.reply = lambda sent: (status if sent.event["type"] == "recordingstopped" else 200, {})
    recording_id = here.recorded("one")
    here.tick()
    assert receiver.sequences(recording_id) == [1, 3]
    assert here.outcomes(recording_id) == [(1, "delivered"), (2, "dead"), (3, "delivered")]
    assert len(receiver.all) == 3


def test_a_receiver_that_asks_for_time_is_given_it(receiver: Receiver, redis_url: str, data_dir: Path) -> None:
    here = world(redis_url, data_dir, receiver.url, webhook_events="recordingstarted")
    receiver.reply = lambda sent: (429, {"Retry-After": "1800"}) if len(receiver.all) == 1 else (204, {})
    here.control.start("one", "host", {})
    here.tick()
    for _ in range(29):
        here.tick(MINUTE_MS)
    assert len(receiver.all) == 1
    here.tick(MINUTE_MS)
    assert receiver.types() == ["recordingstarted"]


def test_how_long_the_oldest_waits_is_told(receiver: Receiver, redis_url: str, data_dir: Path) -> None:
    now = world(redis_url, data_dir, receiver.url, webhook_events="recordingstarted")
    past_ms = now.now_ms - 2 * HOUR_MS
    here = World(LocalStorage(data_dir / "past", fsync=False), now.index, now.settings, now_ms=past_ms)
    here.index.redis.set(keys.EPOCH, 1)

    def oldest_s() -> float:
        found = gauges.gauges(here.index, data_dir, [here.endpoint()])
        (metric,) = (each for each in found if each.name == "callreel_webhook_oldest_pending_seconds")
        return metric.samples[0].value

    assert oldest_s() == 0
    receiver.reply = lambda sent: (500, {})
    for call in ("one", "two"):
        here.control.start(call, "host", {})
        here.tick()
        here.now_ms += HOUR_MS
    assert 2 * 3600 <= oldest_s() < 2.5 * 3600
    receiver.reply = lambda sent: (204, {})
    here.tick()
    assert oldest_s() == 0


def test_after_three_days_it_is_given_up_and_not_before(redis_url: str, data_dir: Path) -> None:
    here = world(redis_url, data_dir, "http://127.0.0.1:9/hook", webhook_events="recordingstarted")
    attempts: list[int] = []

    def sent(url: str, headers: dict[str, str], body: bytes) -> Answer:
        attempts.append(here.now_ms)
        return Answer(status=500)

    here.sent = sent
    recording_id = here.control.start("one", "host", {}).recording_id
    began_ms = here.now_ms
    while not here.outcomes(recording_id):
        here.tick(5 * MINUTE_MS)
        assert here.now_ms < began_ms + 73 * HOUR_MS
    assert here.now_ms - began_ms >= 72 * HOUR_MS
    assert here.outcomes(recording_id) == [(1, "dead")]
    pauses = [b - a for a, b in itertools.pairwise(attempts)]
    assert max(pauses) <= 15 * MINUTE_MS
    assert len(attempts) < 900


def test_a_receiver_that_was_away_for_six_hours_gets_everything_within_a_quarter_of_an_hour(
    receiver: Receiver, redis_url: str, data_dir: Path
) -> None:
    here = world(redis_url, data_dir, receiver.url)
    away = True
    attempts = 0
    real = Postman(storage=here.storage, settings=here.settings, index=here.index, owed=here.owed)

    def sent(url: str, headers: dict[str, str], body: bytes) -> Answer:
        nonlocal attempts
        attempts += 1
        return Answer(error="connection refused") if away else real.send(url, headers, body)

    here.sent = sent
    began_ms = here.now_ms
    recordings: list[str] = []
    while here.now_ms < began_ms + 6 * HOUR_MS:
        if len(recordings) < 36 and here.now_ms >= began_ms + len(recordings) * 10 * MINUTE_MS:
            recordings.append(here.recorded(f"call-{len(recordings)}"))
            here.jobs.clear()  # hints are lost; the sweeper is the promise
        here.tick(30_000)
    assert attempts < 200, "who does not answer is asked rarely, however much is owed"
    assert receiver.all == []
    away = False
    returned_ms = here.now_ms
    while any(receiver.sequences(recording_id) != [1, 2, 3] for recording_id in recordings):
        here.tick(10_000)
        assert here.now_ms < returned_ms + 15 * MINUTE_MS, "everything within a quarter of an hour"
    assert len(receiver.all) == 3 * len(recordings)


def test_neither_a_recording_nor_an_endpoint_that_is_refused_blocks_another(
    receiver: Receiver, redis_url: str, data_dir: Path
) -> None:
    with receiving() as broken:
        here = world(redis_url, data_dir, broken.url, receiver.url)
        poison = here.recorded("poison")

        def reply(sent: Sent) -> Reply:
            return (500 if sent.event["data"]["recordingId"] == poison else 204, {})

        broken.reply = reply
        here.tick()
        healthy = here.recorded("healthy")
        here.tick()
    assert broken.sequences(poison) == []
    assert broken.sequences(healthy) == [1, 2, 3]
    assert receiver.sequences(poison) == receiver.sequences(healthy) == [1, 2, 3]


def test_an_endpoint_that_does_not_answer_rests_and_the_others_do_not_wait(
    receiver: Receiver, redis_url: str, data_dir: Path
) -> None:
    here = world(redis_url, data_dir, "http://192.0.2.1/hook", receiver.url)
    asked: list[str] = []
    real = Postman(storage=here.storage, settings=here.settings, index=here.index, owed=here.owed)

    def sent(url: str, headers: dict[str, str], body: bytes) -> Answer:
        asked.append(url)
        return real.send(url, headers, body) if url == receiver.url else Answer(error="no answer within 15 s")

    here.sent = sent
    recordings = [here.recorded(f"call-{number}") for number in range(5)]
    here.tick()
    here.tick(1000)
    assert asked.count("http://192.0.2.1/hook") == 1, "one attempt tells, the other recordings do not try"
    assert all(receiver.sequences(recording_id) == [1, 2, 3] for recording_id in recordings)


def test_a_flush_at_any_moment_loses_nothing_and_tells_nothing_taken_again(
    receiver: Receiver, redis_url: str, data_dir: Path
) -> None:
    here = world(redis_url, data_dir, receiver.url)
    refusing = True
    receiver.reply = lambda sent: (503 if refusing and sent.event["sequence"] > 1 else 204, {})
    recording_id = here.recorded("one")
    here.tick()
    assert receiver.sequences(recording_id) == [1]
    with Redis.from_url(redis_url) as client:
        client.flushall()
    here.jobs.clear()
    refusing = False
    assert rebuild.ensure(here.index, here.storage)
    here.tick()
    assert receiver.sequences(recording_id) == [1, 2, 3]
    with Redis.from_url(redis_url) as client:
        client.flushall()
    assert rebuild.ensure(here.index, here.storage)
    here.tick()
    here.tick(MINUTE_MS)
    assert receiver.sequences(recording_id) == [1, 2, 3]


def test_who_dies_between_sending_and_noting_sends_again_with_the_same_id(
    receiver: Receiver, redis_url: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = world(redis_url, data_dir, receiver.url)
    recording_id = here.recorded("one")

    class Killed(BaseException):
        pass

    def dies(*_: object) -> bool:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(webhooks, "append", dies)
        with pytest.raises(Killed):
            here.work()
    here.tick()
    assert receiver.sequences(recording_id) == [1, 1, 2, 3]
    assert receiver.all[0].headers["webhook-id"] == receiver.all[1].headers["webhook-id"]


def test_two_workers_at_once_tell_in_order_and_write_each_outcome_once(
    receiver: Receiver, redis_url: str, data_dir: Path
) -> None:
    here = world(redis_url, data_dir, receiver.url)
    recording_id = here.recorded("one")
    man = Postman(storage=here.storage, settings=here.settings, index=here.index, owed=here.owed)
    threads = [threading.Thread(target=deliver, args=(man, recording_id, here.endpoint())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(dict.fromkeys(receiver.sequences(recording_id))) == [1, 2, 3]
    outcomes = here.outcomes(recording_id)
    assert list(dict.fromkeys(outcomes)) == [(1, "delivered"), (2, "delivered"), (3, "delivered")]


def test_a_fact_noted_while_a_job_runs_is_not_forgotten(receiver: Receiver, redis_url: str, data_dir: Path) -> None:
    here = world(redis_url, data_dir, receiver.url)
    recording_id = here.control.start("one", "host", {}).recording_id
    here.tick()
    here.control.stop("one")
    here.jobs.clear()
    here.owed.spread([here.endpoint()], here.now_ms)
    here.owed.later(here.endpoint(), recording_id, 1, None)  # a job that read the journal before the stop
    here.tick()
    assert receiver.types() == ["recordingstarted", "recordingstopped"]


def test_of_a_deleted_recording_everything_is_told_and_no_address_handed_out(
    receiver: Receiver, redis_url: str, data_dir: Path
) -> None:
    here = world(redis_url, data_dir, receiver.url, webhook_events="recordingcompleted,recordingdeleted")
    recording_id = here.recorded("one")
    here.write(recording_id, ("delete_requested", {}), ("deleted", {}))
    here.tick()
    assert receiver.types() == ["recordingcompleted", "recordingdeleted"]
    assert receiver.all[0].event["data"]["artifacts"] == []


def test_an_endpoint_that_was_removed_costs_nothing(receiver: Receiver, redis_url: str, data_dir: Path) -> None:
    here = world(redis_url, data_dir, receiver.url)
    here.jobs.append((here.recorded("one"), "0" * 12))
    here.work()
    assert len(receiver.taken) == 3


def test_what_is_stored_of_a_delivery_holds_no_secret(receiver: Receiver, redis_url: str, data_dir: Path) -> None:
    here = world(redis_url, data_dir, receiver.url)
    here.recorded("one")
    here.work()
    texts = [path.read_text() for path in (data_dir / "webhooks").rglob("*.json")]
    assert texts
    assert not any("signature" in text or "whsec" in text for text in texts)
    assert {json.loads(text).get("outcome") for text in texts} == {"delivered", None}
