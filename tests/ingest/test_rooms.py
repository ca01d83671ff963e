"""A call as a whole: closed, reopened, who is there, who was removed; and what clients tell about their tracks."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from callreel import facts, keys, rebuild, rooms
from callreel.control import Control
from callreel.queue import Queue
from callreel.settings import Settings
from tests.kit.build import NoObserver
from workers.sweep import Sweeper

from .desk import CALL, Desk, application, bearer, media, refused, said

START = f"/video-calls/{CALL}/recording/start"
CLOSE = f"/video-calls/{CALL}/close"
PEOPLE = f"/video-calls/{CALL}/participants"


def close(desk: Desk) -> Any:
    return said(desk.client.post(CLOSE, headers=desk.as_who), 200)


def remove(desk: Desk, participant_id: str) -> Any:
    return said(desk.client.delete(f"{PEOPLE}/{participant_id}", headers=desk.as_who), 200)


# ── close ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_closing_stops_what_runs_and_starts_are_refused_until_it_is_opened_again(desk: Desk) -> None:
    recording_id = desk.begun()
    closed = close(desk)
    assert closed["closed"] is True
    assert close(desk) == closed
    one = said(desk.get(desk.url(recording_id)), 200)
    assert (one["status"], one["endReason"]) == ("stopping", "closed")
    assert desk.jobs.advanced == [recording_id]
    refused(desk.client.post(START, headers=desk.as_who), 409, "call_closed")
    for _ in range(2):
        opened = said(desk.client.delete(CLOSE, headers=desk.as_who), 200)
        assert opened == {"roomId": CALL, "closed": False, "closedAt": None}
    desk.start()


def test_a_paused_recording_is_stopped_too_and_a_call_without_one_can_be_closed(desk: Desk) -> None:
    close(desk)
    said(desk.client.delete(CLOSE, headers=desk.as_who), 200)
    recording_id = desk.start()
    said(desk.client.post(f"/video-calls/{CALL}/recording/pause", headers=desk.as_who), 200)
    close(desk)
    assert said(desk.get(desk.url(recording_id)), 200)["endReason"] == "closed"


def test_a_call_stays_closed_for_every_process_and_after_a_flush(desk: Desk, redis_url: str, data_dir: Path) -> None:
    close(desk)
    with Redis.from_url(redis_url) as client:
        client.flushall()
    with application(redis_url, data_dir) as other:
        refused(other.client.post(START, headers=desk.as_who), 409, "call_closed")
    said(desk.client.post("/video-calls/another/recording/start", headers=bearer(call="another")), 201)


def test_of_closing_and_starting_at_once_nothing_is_left_running(desk: Desk) -> None:
    for _ in range(15):
        with ThreadPoolExecutor(4) as threads:
            starts = [threads.submit(desk.client.post, START, headers=desk.as_who) for _ in range(2)]
            closing = threads.submit(close, desk)
            assert all(start.result().status_code in (201, 409) for start in starts)
            closing.result()
        assert desk.get(f"/video-calls/{CALL}/recording").status_code == 404
        said(desk.client.delete(CLOSE, headers=desk.as_who), 200)


def test_event_streams_end_when_all_is_told_of_a_closed_call(desk: Desk) -> None:
    recording_id = desk.begun()
    events = f"/video-calls/{CALL}/events"
    with desk.client.stream("GET", events, headers=desk.as_who) as answer:
        lines = (line for line in answer.iter_lines() if line.startswith("data:"))
        assert json.loads(next(lines)[5:])["type"] == "snapshot"
        close(desk)
        assert json.loads(next(lines)[5:])["type"] == "recordingstopped"
        desk.write(recording_id, ("drained", {}), ("failed", {"code": "no_media", "message": "Nothing."}))
        assert [json.loads(line[5:])["type"] for line in lines] == ["recordingfailed"]  # and then it ends
    with desk.client.stream("GET", events, headers=desk.as_who) as answer:
        assert answer.read().count(b"snapshot") == 1
    said(desk.client.delete(CLOSE, headers=desk.as_who), 200)
    with desk.client.stream("GET", events, headers=desk.as_who) as answer:
        lines = (line for line in answer.iter_lines() if line.startswith("data:"))
        next(lines)
        desk.start()
        assert json.loads(next(lines)[5:])["type"] == "recordingstarted"


@pytest.mark.parametrize("decision", ["close", "remove"])
def test_what_a_process_decided_that_died_then_is_carried_out_by_the_sweeper(
    desk: Desk, redis_url: str, decision: str
) -> None:
    recording_id = desk.begun()
    draft = ("closed", {}) if decision == "close" else ("participant_removed", {"participantId": "alice"})
    rooms.append(desk.storage, CALL, lambda room: draft, 1_732_259_000_000)
    assert desk.chunk(recording_id).status_code == 201
    Sweeper(settings=Settings(), storage=desk.storage, index=desk.index, queue=Queue(redis_url)).tick()
    if decision == "close":
        assert said(desk.get(desk.url(recording_id)), 200)["endReason"] == "closed"
    else:
        refused(desk.chunk(recording_id, 1), 403, "participant_removed")


# ── participants ─────────────────────────────────────────────────────────────────────────────────────────────────────
def test_who_is_there_is_told_with_tracks_and_health(desk: Desk) -> None:
    assert said(desk.get(PEOPLE), 200) == {"items": [], "nextCursor": None}
    recording_id = desk.begun()
    said(desk.track(recording_id, "mic", source="microphone", kind="audio"), 201)
    said(desk.chunk(recording_id, 1), 201)
    desk.as_who = bearer(sub="bob", name="Bob")
    said(desk.track(recording_id, "bob-cam"), 201)
    said(desk.complete(recording_id, [], "bob-cam"), 200)  # and left
    desk.as_who = bearer()
    told = [
        {"id": "h1", "type": "health", "atMs": 1_732_259_000_000, "data": {"pendingBytes": 10}},
        {"id": "h2", "type": "health", "atMs": 1_732_259_009_000, "data": {"pendingBytes": 77_000, "dropped": 3}},
        {"id": "m1", "type": "muted", "atMs": 1_732_259_010_000},
    ]
    said(tell(desk, recording_id, told), 200)
    (alice,) = said(desk.get(PEOPLE), 200)["items"]
    assert (alice["participantId"], alice["pendingBytes"]) == ("alice", 77_000)
    cam, mic = alice["tracks"]
    assert (cam["trackId"], cam["bytes"], cam["missing"]) == ("cam", 100, 1)
    assert cam["health"]["data"] == {"pendingBytes": 77_000, "dropped": 3}
    assert mic["health"] is None
    assert alice["since"] >= said(desk.get(desk.url(recording_id)), 200)["startedAt"]


def test_of_who_was_removed_nothing_more_is_taken_and_what_is_there_stays(
    desk: Desk, redis_url: str, data_dir: Path
) -> None:
    recording_id = desk.begun()
    first = media(0, 0)
    said(desk.chunk(recording_id, 0, first), 201)
    desk.as_who = bearer(sub="bob")
    said(desk.track(recording_id, "bob-cam"), 201)
    desk.as_who = bearer()
    with application(redis_url, data_dir) as other:  # a second process
        said(other.chunk(recording_id, 1), 201)
        removed = remove(desk, "alice")
        assert remove(desk, "alice") == removed
        for one in (desk, other):
            refused(one.chunk(recording_id, 2), 403, "participant_removed")
            refused(one.chunk(recording_id, 0, first), 403, "participant_removed")
            refused(one.track(recording_id), 403, "participant_removed")
            refused(one.track(recording_id, "another"), 403, "participant_removed")
            refused(tell(one, recording_id, []), 403, "participant_removed")
        with Redis.from_url(redis_url) as client:
            client.flushall()
        assert rebuild.ensure(desk.index, desk.storage)
        for one in (desk, other):
            refused(one.chunk(recording_id, 2), 403, "participant_removed")
    service = desk.client.put(
        desk.url(recording_id, "/tracks/by-service"),
        json={"source": "camera", "kind": "av", "participantId": "alice"},
        headers=bearer("service"),
    )
    refused(service, 403, "participant_removed")
    assert [who["participantId"] for who in said(desk.get(PEOPLE), 200)["items"]] == ["bob"]
    one = said(desk.get(desk.url(recording_id)), 200)
    assert {who["participantId"]: who["tracks"][0]["bytes"] for who in one["participants"]} == {"alice": 200, "bob": 0}
    assert rebuild.check(desk.index, desk.storage) == []
    desk.as_who = bearer(sub="bob")
    said(desk.chunk(recording_id, 0, track_id="bob-cam"), 201)


def test_who_was_removed_is_so_in_the_next_recording_and_in_the_last_one(desk: Desk) -> None:
    earlier = desk.begun()
    desk.stop()
    remove(desk, "alice")
    refused(desk.chunk(earlier), 403, "participant_removed")  # late chunks are chunks
    later = desk.start()
    refused(desk.track(later), 403, "participant_removed")
    desk.as_who = bearer(sub="bob")
    said(desk.track(later, "bob-cam"), 201)


# ── facts ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def tell(desk: Desk, recording_id: str, told: Any, track_id: str = "cam") -> Any:
    url = desk.url(recording_id, f"/tracks/{track_id}/facts")
    return desk.client.post(url, json={"facts": told}, headers=desk.as_who)


def fact(fact_id: str, **more: Any) -> dict[str, Any]:
    return {"id": fact_id, "type": "muted", "atMs": 1_732_259_000_000, **more}


def test_facts_are_kept_once_each_in_order_of_the_clients_clock(desk: Desk) -> None:
    recording_id = desk.begun()
    later, earlier = fact("b", atMs=1_732_259_009_000, type="unmuted"), fact("a", data={"by": "user"})
    assert said(tell(desk, recording_id, [later, earlier]), 200) == {"trackId": "cam", "facts": 2, "new": 2}
    assert said(tell(desk, recording_id, [earlier, fact("b"), fact("c")]), 200)["new"] == 1
    track = Control(desk.storage, NoObserver()).state(recording_id).tracks()[0]
    kept = facts.read(desk.storage, recording_id, track)
    assert [(one.id, one.type, one.data) for one in kept] == [
        ("a", "muted", {"by": "user"}),
        ("c", "muted", {}),
        ("b", "unmuted", {}),
    ]
    assert [one.id for one in facts.read(desk.storage, recording_id, track, "unmuted")] == ["b"]
    assert json.loads((desk.get(desk.url(recording_id))).text)["data"]["status"] == "recording"
    assert len(list(desk.storage.list(keys.journal_prefix(recording_id)))) == 2  # none of it is in the journal


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"type": "sleeping"}, "type"),
        ({"type": None}, "type"),
        ({"atMs": -1}, "atMs"),
        ({"atMs": True}, "atMs"),
        ({"atMs": 10**15}, "atMs"),
        ({"data": []}, "data"),
        ({"data": {"long": "x" * 5000}}, "data"),
    ],
)
def test_a_fact_that_does_not_fit_is_named_and_none_is_kept(desk: Desk, wrong: dict[str, Any], field: str) -> None:
    recording_id = desk.begun()
    problem = refused(tell(desk, recording_id, [fact("good"), fact("bad", **wrong)]), 422, "invalid_option")
    assert problem["field"] == field
    assert list(desk.storage.list(keys.track_facts_prefix(recording_id, "alice", "cam"))) == []


def test_facts_are_bounded_in_number(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    recording_id = desk.begun()
    many = [fact(f"f{number}") for number in range(facts.OF_REQUEST + 1)]
    assert refused(tell(desk, recording_id, many), 422, "invalid_option")["limit"] == 100
    monkeypatch.setattr(facts, "OF_TRACK", 3)
    said(tell(desk, recording_id, many[:3]), 200)
    assert refused(tell(desk, recording_id, many[3:4]), 422, "invalid_option")["limit"] == 3
    said(tell(desk, recording_id, many[:3]), 200)
    refused(tell(desk, recording_id, [fact("a b")]), 400, "invalid_id")
    refused(tell(desk, recording_id, "muted"), 422, "invalid_option")


def test_facts_are_for_the_tracks_owner(desk: Desk) -> None:
    recording_id = desk.begun()
    refused(tell(desk, recording_id, [], "unknown"), 404, "unknown_track")
    desk.as_who = bearer("host", sub="bob")
    refused(tell(desk, recording_id, [fact("a")]), 403, "not_your_track")
    desk.as_who = bearer("service", sub="backend")
    said(tell(desk, recording_id, [fact("a")]), 200)


# ── start, said twice ────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_start_with_the_same_key_is_the_same_recording(desk: Desk, redis_url: str) -> None:
    keyed = {**desk.as_who, "Idempotency-Key": "order-7"}
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda _: desk.client.post(START, headers=keyed), range(6)))
    first = said(answers[0], 201)
    assert [said(answer, 201) for answer in answers] == [first] * 6
    refused(desk.client.post(START, headers=desk.as_who), 409, "recording_active")
    desk.stop()
    with Redis.from_url(redis_url) as client:
        client.flushall()
    assert said(desk.client.post(START, headers=keyed), 201) == first
    another = said(desk.client.post(START, headers={**desk.as_who, "Idempotency-Key": '"order-8"'}), 201)
    assert another["recordingId"] != first["recordingId"]
    elsewhere = {**bearer(call="another"), "Idempotency-Key": "order-7"}
    assert said(desk.client.post("/video-calls/another/recording/start", headers=elsewhere), 201) != first


def test_a_key_that_is_too_long_is_refused(desk: Desk) -> None:
    answer = desk.client.post(START, headers={**desk.as_who, "Idempotency-Key": "x" * 201})
    assert refused(answer, 422, "invalid_option")["limit"] == 200


def test_a_room_without_facts_is_open_to_everybody(desk: Desk) -> None:
    assert rooms.read(desk.storage, CALL) == rooms.Room()
