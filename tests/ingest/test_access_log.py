"""The access log: who did what to which recording, when, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from callreel import tokens
from callreel.errors import InvalidSettings
from ingest.access import ACTIONS, AccessLog
from tests.ingest.desk import CALL, SECRET, Desk, application, bearer, refused, said
from tests.ingest.test_files import FILM, finished
from tests.ingest.test_matrix import DOORS


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


@pytest.fixture
def desk(redis_url: str, data_dir: Path, log: Path) -> Iterator[Desk]:
    with application(redis_url, data_dir, access_log=str(log)) as desk:
        yield desk


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_start_and_stop_are_written_down(desk: Desk, log: Path) -> None:
    recording_id = desk.start()
    desk.stop()
    started, stopped = lines(log)
    assert abs(datetime.fromisoformat(started.pop("at")) - datetime.now(UTC)) < timedelta(minutes=1)
    request_id = started.pop("requestId")
    assert started == {
        "action": "start",
        "result": "ok",
        "status": 201,
        "by": "token",
        "sub": "alice",
        "role": "host",
        "callId": CALL,
        "recordingId": recording_id,
        "method": "POST",
    }
    assert (stopped["action"], stopped["recordingId"], stopped["status"]) == ("stop", recording_id, 202)
    assert stopped["requestId"] != request_id


def test_refusals_are_written_down_with_who_was_refused(desk: Desk, log: Path) -> None:
    recording_id = desk.start()
    url = f"/video-calls/{CALL}/recording/start"
    refused(desk.client.post(url, headers=bearer()), 409, "recording_active")
    refused(desk.client.post(url, headers=bearer("viewer", "eve")), 403, "forbidden")
    refused(desk.client.post(url, headers=bearer(call="another")), 403, "forbidden")
    refused(desk.client.post(url, headers={"Authorization": "Bearer x"}), 401, "unauthorized")
    refused(desk.client.put(url, headers=bearer()), 405, "method_not_allowed")
    active, role, call, nobody = lines(log)[1:]
    assert (active["result"], active["code"], active["recordingId"]) == ("refused", "recording_active", recording_id)
    assert (role["code"], role["sub"], role["role"], role["callId"]) == ("forbidden", "eve", "viewer", CALL)
    assert (call["code"], call["sub"], call["callId"]) == ("forbidden", "alice", CALL)
    assert nobody["code"] == "unauthorized"
    assert not {"sub", "role", "by"} & nobody.keys()


def test_views_and_downloads_are_told_apart_by_token_and_by_signature(desk: Desk, log: Path) -> None:
    recording_id = desk.start()
    address = tokens.sign_file(SECRET, CALL, recording_id, "composition.mp4")
    desk.client.get(address)
    desk.client.get(f"{address}&download")
    desk.client.get(desk.url(recording_id, "/files/tracks/alice/cam.webm"), headers=bearer("viewer", "eve"))
    by_signature, download, by_token = lines(log)[1:]
    assert (by_signature["action"], by_signature["by"], by_signature["code"]) == ("view", "signature", "unknown_file")
    assert (by_signature["recordingId"], by_signature["file"]) == (recording_id, "composition.mp4")
    assert download["action"] == "download"
    assert (by_token["by"], by_token["sub"], by_token["file"]) == ("token", "eve", "tracks/alice/cam.webm")
    signature = address.rpartition("=")[2]
    assert signature not in log.read_text()


def test_a_file_that_is_handed_out_has_its_line_before_it_has_a_byte(desk: Desk, log: Path) -> None:
    recording_id = finished(desk)
    with desk.client.stream("GET", desk.url(recording_id, "/files/composition.mp4"), headers=bearer()) as answer:
        assert (lines(log)[-1]["action"], lines(log)[-1]["status"]) == ("view", 200)
        assert answer.read() == FILM
    desk.get(desk.url(recording_id, "/files/composition.mp4"), Range="bytes=2-")
    assert lines(log)[-1]["status"] == 206


def test_what_breaks_is_written_down_too(desk: Desk, log: Path, data_dir: Path) -> None:
    recording_id = desk.start()
    (data_dir / "recordings" / recording_id / "journal" / "00000002.json").write_text("{}")
    refused(desk.client.post(f"/video-calls/{CALL}/recording/stop", headers=bearer()), 500, "internal_error")
    assert (lines(log)[-1]["result"], lines(log)[-1]["code"]) == ("failed", "internal_error")


def test_a_request_keeps_the_id_it_came_with(desk: Desk, log: Path) -> None:
    desk.as_who["X-Request-Id"] = "from-the-proxy.1"
    desk.start()
    assert lines(log)[-1]["requestId"] == "from-the-proxy.1"
    desk.as_who["X-Request-Id"] = '{"evil": "x"}'
    desk.stop()
    assert "evil" not in log.read_text()


def test_uploads_and_reading_of_states_are_not_in_it(desk: Desk, log: Path) -> None:
    recording_id = desk.begun()
    said(desk.chunk(recording_id), 201)
    said(desk.get(desk.url(recording_id)), 200)
    assert [line["action"] for line in lines(log)] == ["start"]


def test_a_log_that_was_moved_away_begins_anew(desk: Desk, log: Path) -> None:
    desk.start()
    log.rename(log.with_suffix(".1"))
    desk.stop()
    assert [line["action"] for line in lines(log)] == ["stop"]


def test_to_standard_output_and_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    AccessLog("stdout", fsync=True).write({"action": "start", "sub": "Jürgen"})
    assert json.loads(capsys.readouterr().out) == {"action": "start", "sub": "Jürgen"}
    assert not AccessLog("off", fsync=True).is_on


def test_a_log_that_cannot_be_written_is_refused_at_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="CALLREEL_ACCESS_LOG"):
        AccessLog(str(tmp_path / "nowhere" / "access.log"), fsync=True)


def test_what_is_not_written_down_is_known() -> None:
    """A new route is written down, or stands here: it must be one of the two by somebody's decision."""
    silent = {"time", "live", "ready", "metrics", "description", "home", "invite"}
    silent |= {"participants", "events", "active", "one", "many", "all_recordings", "compositions"}  # reading states
    silent |= {"webhooks", "all_webhooks", "replay", "replay_any"}  # deliveries, of recordings somebody may read anyway
    silent |= {"chunk", "have", "put", "complete", "uploads", "tell"}  # uploading
    assert {door.name for door in DOORS.values()} - ACTIONS.keys() == silent
