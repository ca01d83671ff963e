"""What webhooks were told and are owed, and having it told again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from callreel.owed import Owed
from callreel.webhooks import endpoints
from tests.kit.receiver import Receiver, receiving
from tests.workers.test_deliver import SECRET
from workers.deliver import Postman, deliver

from .desk import CALL, Desk, application, bearer, refused, said


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def desk(redis_url: str, data_dir: Path, receiver: Receiver) -> Iterator[Desk]:
    chosen = {"webhook_urls": f"{receiver.url}?key=secret", "webhook_secret": SECRET, "webhook_allow_private": True}
    with application(redis_url, data_dir, **chosen) as desk:
        desk.as_who = bearer("service", "backend", call="*")
        yield desk


def work(desk: Desk) -> None:
    """What was asked for, as a worker does it."""
    jobs, desk.jobs.delivered = dict.fromkeys(desk.jobs.delivered), []
    man = Postman(storage=desk.storage, settings=desk.settings, index=desk.index, owed=Owed(desk.index.redis))
    for recording_id, endpoint_id in jobs:
        deliver(man, recording_id, endpoint_id)


def listed(desk: Desk, url: str = f"/video-calls/{CALL}/webhooks") -> list[Any]:
    items = said(desk.get(url), 200)["items"]
    assert isinstance(items, list)
    return items


def test_what_happens_is_asked_for_at_once_and_listed_with_what_came_of_it(desk: Desk, receiver: Receiver) -> None:
    receiver.reply = lambda sent: (200 if sent.event["type"] == "recordingstarted" else 503, {})
    recording_id = desk.start()
    said(desk.track(recording_id, participantId="ada"), 201)
    desk.stop()
    (endpoint,) = endpoints(desk.settings)
    assert set(desk.jobs.delivered) == {(recording_id, endpoint.id)}
    assert [(item["status"], item["attempts"], item["lastAnswer"]) for item in listed(desk)] == [
        ("pending", 0, None)
    ] * 2
    work(desk)
    stopped, started = listed(desk)
    assert (started["type"], started["status"], started["attempts"]) == ("recordingstarted", "delivered", 1)
    assert (started["lastAnswer"], started["nextAttemptAt"]) == ("HTTP 200", None)
    assert (stopped["type"], stopped["status"], stopped["lastAnswer"]) == ("recordingstopped", "pending", "HTTP 503")
    assert stopped["nextAttemptAt"] > stopped["lastAttemptAt"]
    assert stopped["endpoint"] == receiver.url, "what stands in a query is the receiver's secret"
    assert (stopped["recordingId"], stopped["roomId"]) == (recording_id, CALL)
    assert stopped["eventId"] == receiver.all[-1].headers["webhook-id"]


def test_a_dead_letter_is_told_again_when_asked_for(desk: Desk, receiver: Receiver) -> None:
    receiver.reply = lambda sent: (410, {})
    desk.start()
    work(desk)
    (dead,) = listed(desk, f"/video-calls/{CALL}/webhooks?status=dead")
    receiver.reply = lambda sent: (204, {})
    replay = f"/video-calls/{CALL}/webhooks/{dead['id']}/replay"
    answer = said(desk.client.post(replay, headers=desk.as_who), 202)
    assert (answer["id"], answer["status"]) == (dead["id"], "pending")
    assert said(desk.client.post(replay, headers=desk.as_who), 202)["status"] == "pending"
    work(desk)
    assert [sent.headers["webhook-id"] for sent in receiver.all] == [dead["eventId"]] * 2
    assert [item["status"] for item in listed(desk, "/webhooks")] == ["delivered"]
    said(desk.client.post(f"/webhooks/{dead['id']}/replay", headers=desk.as_who), 202)
    work(desk)
    assert len(receiver.taken) == 2, "what was taken can be told again too"


def test_a_replay_of_what_is_pending_tries_at_once(desk: Desk, receiver: Receiver) -> None:
    receiver.reply = lambda sent: (503, {"Retry-After": "3600"})
    desk.start()
    work(desk)
    receiver.reply = lambda sent: (204, {})
    (pending,) = listed(desk)
    said(desk.client.post(f"/webhooks/{pending['id']}/replay", headers=desk.as_who), 202)
    work(desk)
    assert [item["status"] for item in listed(desk)] == ["delivered"]


def test_lists_go_on_where_they_ended_and_hold_whole_recordings(desk: Desk) -> None:
    for call in ("a", "b", "c"):
        desk.start(call)
        desk.stop(call)
    first = said(desk.get("/webhooks?limit=3"), 200)
    assert [item["roomId"] for item in first["items"]] == ["c", "c", "b", "b"]
    rest = said(desk.get(f"/webhooks?limit=3&cursor={first['nextCursor']}"), 200)
    assert ([item["roomId"] for item in rest["items"]], rest["nextCursor"]) == (["a", "a"], None)
    refused(desk.get("/webhooks?cursor=none"), 422, "invalid_option")
    refused(desk.get("/webhooks?limit=0"), 422, "invalid_option")
    refused(desk.get("/webhooks?status=lost"), 422, "invalid_option")


def test_what_was_never_owed_cannot_be_told(desk: Desk) -> None:
    recording_id = desk.start()
    (item,) = listed(desk)
    for other in (f"{item['id'][:-1]}9", f"{'0' * 12}-evt_{recording_id}_1"):
        refused(desk.client.post(f"/webhooks/{other}/replay", headers=desk.as_who), 404, "not_found")
    refused(desk.client.post(f"/video-calls/c2/webhooks/{item['id']}/replay", headers=desk.as_who), 404, "not_found")
    refused(desk.client.post("/webhooks/nonsense/replay", headers=desk.as_who), 400, "invalid_id")
    refused(desk.client.get("/webhooks", headers=bearer("service", "backend", call=CALL)), 403, "forbidden")


def test_facts_that_are_told_nobody_ask_for_nothing(desk: Desk) -> None:
    recording_id = desk.start()
    desk.jobs.delivered.clear()
    said(desk.track(recording_id, participantId="ada"), 201)
    assert desk.jobs.delivered == []
