"""Start, stop and what is told of a call's recordings."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from callreel import abilities, journal, keys, rebuild
from callreel.events import fold_events

from .desk import CALL, Desk, application, bearer, refused, said

START = f"/video-calls/{CALL}/recording/start"
STOP = f"/video-calls/{CALL}/recording/stop"


def test_a_recording_is_started_seen_and_stopped(desk: Desk) -> None:
    started = said(desk.client.post(START, headers=desk.as_who), 201)
    assert re.fullmatch(rf"rec_{CALL}_\d{{13}}", started["recordingId"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", started["startedAt"])
    assert started == {**started, "roomId": CALL, "status": "recording"}

    running = said(desk.get(f"/video-calls/{CALL}/recording"), 200)
    assert running["recordingId"] == started["recordingId"]

    stopped = said(desk.client.post(STOP, headers=desk.as_who), 202)
    assert stopped["status"] == "stopping"
    assert stopped["stoppedAt"] >= started["startedAt"]
    assert said(desk.client.post(STOP, headers=desk.as_who), 202) == stopped
    assert desk.jobs.advanced

    refused(desk.get(f"/video-calls/{CALL}/recording"), 404, "no_active_recording")
    one = said(desk.get(desk.url(started["recordingId"])), 200)
    assert (one["status"], one["endReason"], one["stoppedAt"]) == ("stopping", "host", stopped["stoppedAt"])


def test_stop_gives_the_same_answer_when_the_film_is_done(desk: Desk) -> None:
    recording_id = desk.begun()
    stopped = desk.stop()
    done = {"complete": True, "gaps": [], "build": "b", "artifacts": []}
    desk.write(recording_id, ("drained", {}), ("completed", done))
    assert desk.stop() == stopped
    assert said(desk.get(desk.url(recording_id)), 200)["progress"] == 1


def test_the_whole_recording_has_every_member_of_the_contract(desk: Desk) -> None:
    recording_id = desk.start(metadata={"topic": "Räder"}, preset="480p", maxDurationS=60)
    said(desk.track(recording_id), 201)
    said(desk.chunk(recording_id, 0), 201)
    said(desk.chunk(recording_id, 2), 201)
    one = said(desk.get(desk.url(recording_id)), 200)
    assert set(one) == {
        *("recordingId", "roomId", "status", "startedAt", "stoppedAt", "startedBy", "endReason", "durationMs"),
        *("metadata", "complete", "gaps", "progress", "layout", "preset", "outputs", "participants", "artifacts"),
        *("sync", "error"),
    }
    assert (one["metadata"], one["preset"], one["startedBy"]) == ({"topic": "Räder"}, "480p", "alice")
    [who] = one["participants"]
    assert (who["participantId"], who["name"]) == ("alice", "alice")
    [track] = who["tracks"]
    assert {"trackId", "source", "kind", "mimeType", "segments", "bytes", "missing"} <= set(track)
    assert (track["segments"], track["bytes"], track["missing"]) == (1, 200, 1)
    assert track["mimeType"] == 'video/webm;codecs="vp9,opus"'


def test_a_running_recording_blocks_another_and_is_named(desk: Desk) -> None:
    recording_id = desk.start()
    problem = refused(desk.client.post(START, headers=desk.as_who), 409, "recording_active")
    assert problem["recordingId"] == recording_id
    desk.stop()
    assert desk.start() != recording_id


def test_of_many_starts_at_once_one_wins(desk: Desk) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: desk.client.post(START, headers=desk.as_who), range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    winner = next(answer.json()["data"]["recordingId"] for answer in answers if answer.status_code == 201)
    assert {a.json()["recordingId"] for a in answers if a.status_code == 409} == {winner}


def test_a_recording_is_paused_and_resumed(desk: Desk) -> None:
    pause, resume = f"/video-calls/{CALL}/recording/pause", f"/video-calls/{CALL}/recording/resume"
    refused(desk.client.post(pause, headers=desk.as_who), 404, "no_active_recording")
    recording_id = desk.start()
    refused(desk.client.post(resume, headers=desk.as_who), 409, "invalid_state")
    paused = said(desk.client.post(pause, headers=desk.as_who), 200)
    assert (paused["recordingId"], paused["status"]) == (recording_id, "paused")
    refused(desk.client.post(pause, headers=desk.as_who), 409, "invalid_state")
    assert said(desk.get(f"/video-calls/{CALL}/recording"), 200)["status"] == "paused"
    refused(desk.client.post(START, headers=desk.as_who), 409, "recording_active")
    said(desk.track(recording_id), 201)  # who joins during a pause may announce what comes
    assert said(desk.client.post(resume, headers=desk.as_who), 200)["status"] == "recording"
    events = fold_events(recording_id, journal.read(desk.storage, recording_id))
    assert [event.type for event in events if event.type.startswith("rec")] == [
        "recordingstarted",
        "recordingpaused",
        "recordingresumed",
    ]
    desk.stop()
    refused(desk.client.post(resume, headers=desk.as_who), 404, "no_active_recording")


@pytest.mark.parametrize(
    "layout", ["speaker", {"regions": [{"name": "all", "x": 0, "y": 0, "width": 100, "height": 50.5,
                                        "source": {"participantId": "ada", "source": "screen"}}]}]
)  # fmt: skip
def test_a_recording_tells_the_layout_that_was_asked_for(desk: Desk, layout: object) -> None:
    told = said(desk.get(desk.url(desk.start(layout=layout))), 200)
    assert told["layout"] == layout


def test_many_stops_at_once_get_one_answer(desk: Desk) -> None:
    desk.start()
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: desk.client.post(STOP, headers=desk.as_who).text, range(8)))
    assert len(set(answers)) == 1


def test_stop_with_nothing_to_stop(desk: Desk) -> None:
    refused(desk.client.post(STOP, headers=desk.as_who), 404, "no_active_recording")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"layout": "pile"}, "layout"),
        (
            {
                "layout": {
                    "regions": [{"name": "a", "x": 60, "y": 0, "width": 50, "height": 9, "source": {"speaker": 1}}]
                }
            },
            "layout.regions[0].width",
        ),
        ({"preset": "8k"}, "preset"),
        ({"maxDurationS": 0}, "maxDurationS"),
        ({"maxDurationS": "60"}, "maxDurationS"),
        ({"metadata": "text"}, "metadata"),
        ({"metadata": {"long": "x" * 17000}}, "metadata"),
        ({"outputs": [{"name": "x", "container": "avi"}]}, "outputs[0].container"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_options_that_do_not_fit_are_named(desk: Desk, options: dict[str, object], field: str) -> None:
    problem = refused(desk.client.post(START, json=options, headers=desk.as_who), 422, "invalid_option")
    assert problem["field"] == field


@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b"\xff", b"[" * 60000])
def test_a_body_that_is_no_object_is_refused(desk: Desk, body: bytes) -> None:
    refused(desk.client.post(START, content=body, headers=desk.as_who), 400, "invalid_request")


def test_a_body_that_is_too_long_is_refused(desk: Desk) -> None:
    problem = refused(desk.client.post(START, content=b" " * 70000, headers=desk.as_who), 413, "body_too_large")
    assert problem["limit"] == 65536


@pytest.mark.parametrize("call", ["a.b", "a%20b", "x" * 65, "%C3%A4", "a:b"])
def test_ids_of_other_characters_are_refused(desk: Desk, call: str) -> None:
    answer = desk.client.post(f"/video-calls/{call}/recording/start", headers=bearer(call="*"))
    refused(answer, 400, "invalid_id")


def test_unknown_recordings_are_unknown(desk: Desk) -> None:
    refused(desk.get(desk.url(f"rec_{CALL}_1732259000123")), 404, "unknown_recording")
    refused(desk.get(desk.url("rec_other_1732259000123")), 404, "unknown_recording")
    refused(desk.get(desk.url("something")), 400, "invalid_id")


def test_the_list_is_paged_newest_first(desk: Desk) -> None:
    ids = []
    for _ in range(5):
        ids.append(desk.start())
        desk.stop()
    seen, cursor = [], ""
    while True:
        page = said(desk.get(f"/video-calls/{CALL}/recordings?limit=2{cursor}"), 200)
        seen += [item["recordingId"] for item in page["items"]]
        if page["nextCursor"] is None:
            break
        assert len(page["items"]) == 2
        cursor = f"&cursor={page['nextCursor']}"
    assert seen == ids[::-1]


def test_a_start_that_died_before_its_first_fact_does_not_hide_the_others(desk: Desk) -> None:
    recording_id = desk.start()
    desk.stop()
    slot = {"recordingId": f"rec_{CALL}_9999999999999", "atMs": 9999999999999, "data": {}}
    desk.storage.put_if_absent(keys.call_slot(CALL, 1), json.dumps(slot).encode())
    page = said(desk.get(f"/video-calls/{CALL}/recordings"), 200)
    assert [item["recordingId"] for item in page["items"]] == [recording_id]


def test_a_service_sees_the_recordings_of_all_calls(desk: Desk) -> None:
    ids = []
    for call in ("one", "two", "one", "three", "two"):
        desk.as_who = bearer(call=call)
        ids.append(desk.start(call))
        desk.stop(call)
    running = desk.start("two")
    desk.as_who = bearer("service", "backend", call="*")

    def pages(query: str) -> list[str]:
        seen, cursor = [], ""
        while True:
            page = said(desk.get(f"/recordings?limit=2{query}{cursor}"), 200)
            seen += [item["recordingId"] for item in page["items"]]
            if page["nextCursor"] is None:
                return seen
            cursor = f"&cursor={page['nextCursor']}"

    def newest_first(*found: str) -> list[str]:
        return sorted(found, key=lambda each: (int(each.rsplit("_", 1)[1]), each), reverse=True)

    assert pages("") == newest_first(running, *ids)
    assert pages("&status=stopping") == newest_first(*ids)
    assert pages("&status=recording") == [running]
    assert pages("&status=failed") == []
    first = said(desk.get("/recordings?limit=2"), 200)
    named = first["nextCursor"]
    desk.client.delete(desk.url(named, call=named.split("_")[1]), headers=desk.as_who)
    desk.write(named, ("deleted", {}))
    newest = desk.start("four")  # and one that came meanwhile
    rest = said(desk.get(f"/recordings?cursor={named}"), 200)["items"]
    assert [item["recordingId"] for item in rest] == newest_first(running, *ids)[2:]
    left = [each for each in newest_first(newest, running, *ids) if each != named]
    assert pages("") == left
    assert rebuild.rebuild(desk.index, desk.storage, force=True)
    assert pages("") == left
    refused(desk.get("/recordings?status=deleted"), 422, "invalid_option")
    refused(desk.get("/recordings?cursor=rec_c1_1732259000123"), 422, "invalid_option")


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "cursor=rec_c1_1732259000123"])
def test_pages_that_cannot_be(desk: Desk, query: str) -> None:
    refused(desk.get(f"/video-calls/{CALL}/recordings?{query}"), 422, "invalid_option")


def test_addresses_that_are_none(desk: Desk) -> None:
    refused(desk.get("/nowhere"), 404, "not_found")
    refused(desk.client.put(START, headers=desk.as_who), 405, "method_not_allowed")


def test_state_is_told_without_the_index(desk: Desk, data_dir: Path) -> None:
    recording_id = desk.begun()
    said(desk.chunk(recording_id, 0), 201)
    with application("redis://127.0.0.1:1/0", data_dir) as alone:
        one = said(alone.get(desk.url(recording_id)), 200)
        assert one["participants"][0]["tracks"][0]["bytes"] == 100
        refused(alone.get("/readyz"), 503, "unavailable")
        refused(alone.chunk(recording_id, 1), 503, "unavailable")
        stopped = said(alone.client.post(STOP, headers=desk.as_who), 202)
    assert stopped["recordingId"] == recording_id
    said(desk.get("/livez"), 200)


def test_a_codec_that_no_worker_can_encode_is_refused_at_start(desk: Desk) -> None:
    asked = {"outputs": [{"name": "a", "container": "mp4"}, {"name": "b", "container": "webm"}]}
    abilities.tell(desk.index.redis, {"h264", "aac", "opus", "pcm"})
    answer = desk.client.post(START, json=asked, headers=desk.as_who)
    assert refused(answer, 422, "invalid_option")["field"] == "outputs[1].videoCodec"
    refused(desk.get(f"/video-calls/{CALL}/recording"), 404, "no_active_recording")
    abilities.tell(desk.index.redis, {"vp8"})
    started = said(desk.client.post(START, json=asked, headers=desk.as_who), 201)
    one = said(desk.get(desk.url(started["recordingId"])), 200)
    assert one["outputs"] == [
        {"name": "a", "container": "mp4", "videoCodec": "h264", "audioCodec": "aac"},
        {"name": "b", "container": "webm", "videoCodec": "vp8", "audioCodec": "opus"},
    ]
