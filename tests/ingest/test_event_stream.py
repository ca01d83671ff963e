"""Events as Server-Sent Events: a snapshot, what happens, and coming back."""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

import ingest.events

from .desk import CALL, Desk, application, bearer, said


class Stream:
    """Frames of an event stream, read by a thread."""

    def __init__(self, answer: httpx.Response) -> None:
        self._frames: queue.Queue[tuple[str, Any]] = queue.Queue()
        self._thread = threading.Thread(target=self._read, args=(answer,), daemon=True)
        self._thread.start()

    def next(self, timeout_s: float = 5) -> tuple[str, Any]:
        """(id, data); data is None for a comment."""
        return self._frames.get(timeout=timeout_s)

    def types(self, count: int) -> list[str]:
        return [self.next()[1]["type"] for _ in range(count)]

    def silent(self, seconds: float) -> bool:
        try:
            self._frames.get(timeout=seconds)
        except queue.Empty:
            return True
        return False

    def _read(self, answer: httpx.Response) -> None:
        event_id, data = "", None
        with contextlib.suppress(httpx.HTTPError):
            for line in answer.iter_lines():
                if line.startswith("id: "):
                    event_id = line[4:]
                elif line.startswith("data: "):
                    data = json.loads(line[6:])
                elif line == "":
                    self._frames.put((event_id, data))
                    event_id, data = "", None


@contextlib.contextmanager
def following(desk: Desk, last_event_id: str = "", call: str = CALL, **headers: str) -> Iterator[Stream]:
    sent = {**bearer("participant", "watcher", call=call), **headers}
    if last_event_id:
        sent["Last-Event-ID"] = last_event_id
    with (
        httpx.Client(base_url=desk.client.base_url, timeout=httpx.Timeout(20, read=60)) as client,
        client.stream("GET", f"/video-calls/{call}/events", headers=sent) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        yield Stream(answer)
        # the reading thread holds the socket open as long as it waits
        answer.extensions["network_stream"].get_extra_info("socket").shutdown(socket.SHUT_RDWR)


def test_a_call_that_was_never_recorded_begins_with_nothing(desk: Desk) -> None:
    with following(desk) as stream:
        assert stream.next() == ("", {"type": "snapshot", "data": None})
        desk.start()
        _, event = stream.next()
        assert event["type"] == "recordingstarted"


def test_a_recording_is_told_step_by_step(desk: Desk) -> None:
    with following(desk) as stream:
        stream.next()
        recording_id = desk.begun()
        said(desk.chunk(recording_id, 0), 201)
        desk.stop()
        said(desk.complete(recording_id, [{"seg": 0, "chunks": 1, "bytes": 100}]), 200)
        done = {"complete": True, "gaps": [], "build": "b", "artifacts": []}
        desk.write(recording_id, ("drained", {}), ("completed", done), ("updated", done))
        events = [stream.next() for _ in range(7)]
    assert [event["type"] for _, event in events] == [
        *("recordingstarted", "participantjoined", "trackstarted", "recordingstopped", "trackcompleted"),
        *("recordingcompleted", "recordingupdated"),
    ]
    assert [event["sequence"] for _, event in events] == list(range(1, 8))
    assert [event_id for event_id, _ in events] == [event["id"] for _, event in events]
    for _, event in events:
        assert set(event) == {"id", "type", "timestamp", "sequence", "data"}
        assert (event["data"]["recordingId"], event["data"]["roomId"]) == (recording_id, CALL)
    whole = events[3][1]["data"]
    assert (whole["status"], whole["participants"][0]["tracks"][0]["trackId"]) == ("stopping", "cam")
    assert (events[1][1]["data"]["participantId"], events[2][1]["data"]["trackId"]) == ("alice", "cam")
    assert events[5][1]["data"]["status"] == "completed"


def test_who_comes_late_gets_a_snapshot_and_what_follows(desk: Desk) -> None:
    recording_id = desk.begun()
    with following(desk) as stream:
        event_id, snapshot = stream.next()
        assert (snapshot["type"], snapshot["data"]["recordingId"]) == ("snapshot", recording_id)
        assert event_id == f"evt_{recording_id}_3"
        desk.stop()
        assert stream.next()[1]["sequence"] == 4


def test_who_comes_back_gets_what_was_missed_and_no_snapshot(desk: Desk) -> None:
    recording_id = desk.begun()
    with following(desk) as stream:
        last, _ = stream.next()
    desk.stop()
    with following(desk, last) as stream:
        assert stream.types(1) == ["recordingstopped"]
        second = desk.start()
        event_id, event = stream.next()
        assert (event["type"], event["data"]["recordingId"]) == ("recordingstarted", second)
        assert stream.silent(0.3)
    with following(desk, f"evt_{recording_id}_1") as stream:
        assert stream.types(4) == ["participantjoined", "trackstarted", "recordingstopped", "recordingstarted"]
    with following(desk, event_id) as stream:
        assert stream.silent(0.3)


def test_an_earlier_recording_is_still_told_of_when_another_runs(desk: Desk) -> None:
    first = desk.begun()
    desk.stop()
    desk.start()
    with following(desk) as stream:
        stream.next()
        done = {"complete": True, "gaps": [], "build": "b", "artifacts": []}
        desk.write(first, ("drained", {}), ("completed", done))
        _, event = stream.next()
        assert (event["type"], event["data"]["recordingId"]) == ("recordingcompleted", first)


def test_an_id_of_somebody_else_begins_with_a_snapshot(desk: Desk) -> None:
    desk.start()
    for strange in ("evt_rec_other_1732259000123_1", "nonsense", "evt_rec_c1_1732259000123_99999999999"):
        with following(desk, strange) as stream:
            assert stream.types(1) == ["snapshot"]


def test_calls_do_not_hear_each_other(desk: Desk) -> None:
    with following(desk, call="c2") as stream:
        stream.next()
        desk.start()
        assert stream.silent(0.3)


def test_every_process_hears_it(desk: Desk, redis_url: str, data_dir: Path) -> None:
    with application(redis_url, data_dir) as other, following(other) as stream:
        stream.next()
        desk.start()
        assert stream.types(1) == ["recordingstarted"]


def test_silence_is_filled_with_heartbeats(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ingest.events.HEARTBEAT_S == 15
    monkeypatch.setattr(ingest.events, "HEARTBEAT_S", 0.2)
    with following(desk) as stream:
        stream.next()
        assert stream.next(1) == ("", None)
        assert stream.next(1) == ("", None)


def test_events_go_on_when_redis_has_forgotten_everything(desk: Desk, redis_url: str) -> None:
    with following(desk) as stream:
        stream.next()
        recording_id = desk.begun()
        assert stream.types(3) == ["recordingstarted", "participantjoined", "trackstarted"]
        with Redis.from_url(redis_url) as client:
            client.flushall()
            client.client_kill_filter(_type="pubsub")
        desk.stop()
        _, event = stream.next()
        assert (event["type"], event["sequence"]) == ("recordingstopped", 4)
        assert event["data"]["recordingId"] == recording_id
