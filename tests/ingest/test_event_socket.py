"""Events over a WebSocket: the same as the stream, said to whoever's first frame is right."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

import ingest.event_socket
import ingest.events
from callreel.events import EVENT_TYPES

from .desk import CALL, Desk, application, said, token
from .test_event_stream import following
from .test_processes import served

DONE = {"complete": True, "gaps": [], "build": "b", "artifacts": []}
HEARTBEAT = {"type": "heartbeat"}


def address(base: object, call: str = CALL) -> str:
    return str(base).rstrip("/").replace("http", "ws", 1) + f"/video-calls/{call}/events"


def hear(ears: ClientConnection, timeout_s: float = 10) -> Any:
    return json.loads(ears.recv(timeout=timeout_s))


@contextlib.contextmanager
def listening(desk: Desk, after: str = "", role: str = "participant") -> Iterator[ClientConnection]:
    with connect(address(desk.client.base_url)) as ears:
        ears.send(json.dumps({"token": token(role, "watcher"), **({"after": after} if after else {})}))
        yield ears


def closed_with(ears: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as closed:
        ears.recv(timeout=10)
    assert closed.value.rcvd
    return closed.value.rcvd.code, closed.value.rcvd.reason


def assert_refused(ears: ClientConnection, status: int, code: str) -> None:
    problem = hear(ears)
    assert (problem["success"], problem["status"], problem["code"]) == (False, status, code)
    assert all(problem[name] for name in ("type", "title", "detail"))
    assert isinstance(problem["retryable"], bool)
    assert closed_with(ears) == (4000 + status, code)


def test_every_event_is_the_same_as_on_the_stream(desk: Desk) -> None:
    with listening(desk) as ears, following(desk) as stream:
        assert hear(ears) == stream.next()[1] == {"type": "snapshot", "data": None}
        recording_id = desk.begun()
        desk.write(recording_id, ("paused", {}), ("resumed", {}))
        said(desk.chunk(recording_id, 0), 201)
        said(desk.complete(recording_id, [{"seg": 0, "chunks": 1, "bytes": 100}]), 200)
        desk.stop()
        desk.write(recording_id, ("drained", {}), ("failed", {"code": "no_media", "message": "Nothing."}))
        desk.write(recording_id, ("updated", DONE))
        told: list[Any] = []
        streamed: list[Any] = []

        def hear_until(last: str) -> None:
            """On both, before more happens: a whole recording is told as it is when it is told."""
            while not told or told[-1]["type"] != last:
                told.append(hear(ears))
                streamed.append(stream.next())

        hear_until("recordingupdated")
        desk.write(recording_id, ("delete_requested", {}), ("deleted", {}))
        hear_until("recordingdeleted")
        other = desk.begun()
        desk.stop()
        desk.write(other, ("drained", {}), ("completed", DONE))
        hear_until("recordingcompleted")
    assert {event["type"] for event in told} == set(EVENT_TYPES)
    assert [event for _, event in streamed] == told
    assert [event_id for event_id, _ in streamed] == [event["id"] for event in told]


def test_who_names_the_last_event_gets_what_came_since(desk: Desk) -> None:
    recording_id = desk.begun()
    with listening(desk) as ears:
        snapshot = hear(ears)
    assert (snapshot["type"], snapshot["data"]["recordingId"]) == ("snapshot", recording_id)
    assert snapshot["id"] == f"evt_{recording_id}_3"
    with listening(desk, snapshot["id"]) as ears:
        assert hear(ears) == HEARTBEAT, "nothing came since, and the client hears that it is in"
        desk.stop()
        assert hear(ears)["type"] == "recordingstopped"
    with listening(desk, f"evt_{recording_id}_1") as ears:
        assert [hear(ears)["type"] for _ in range(3)] == ["participantjoined", "trackstarted", "recordingstopped"]


def test_a_snapshot_hands_out_addresses_to_who_may_watch(redis_url: str, data_dir: Path) -> None:
    with application(redis_url, data_dir, participants_watch=False) as desk:
        recording_id = desk.begun()
        desk.stop()
        film = {
            "name": "composition.mp4",
            "kind": "composition",
            "status": "ready",
            "mime_type": "video/mp4",
            "size_bytes": 1,
            "duration_ms": 1,
            "sha256": "0" * 64,
        }
        desk.write(recording_id, ("drained", {}), ("completed", {**DONE, "artifacts": [film]}))
        for role, watches in (("viewer", True), ("participant", False)):
            with listening(desk, role=role) as ears:
                assert bool(hear(ears)["data"]["artifacts"][0]["url"]) is watches


def test_silence_is_filled_with_heartbeats(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest.events, "HEARTBEAT_S", 0.2)
    with listening(desk) as ears:
        assert hear(ears)["type"] == "snapshot"
        assert [hear(ears), hear(ears)] == [HEARTBEAT, HEARTBEAT]


@pytest.mark.parametrize(
    ("frame", "status", "code"),
    [
        ("no json", 400, "invalid_request"),
        ("[" * 10_000, 400, "invalid_request"),
        ("[]", 400, "invalid_request"),
        (b"\x00", 400, "invalid_request"),
        (json.dumps({"token": token(), "after": 7}), 400, "invalid_request"),
        (json.dumps({"token": token(), "more": "x" * 20_000}), 400, "invalid_request"),
        ("{}", 401, "unauthorized"),
        (json.dumps({"token": 1}), 401, "unauthorized"),
        (json.dumps({"token": "no.to.ken"}), 401, "unauthorized"),
        (json.dumps({"token": token(ttl_s=-1)}), 401, "unauthorized"),
        (json.dumps({"token": token(call="another")}), 403, "forbidden"),
    ],
)
def test_a_first_frame_that_is_not_right_is_refused(desk: Desk, frame: str | bytes, status: int, code: str) -> None:
    with connect(address(desk.client.base_url)) as ears:
        ears.send(frame)
        assert_refused(ears, status, code)


def test_an_id_that_is_none_is_refused(desk: Desk) -> None:
    with connect(address(desk.client.base_url, "no%20id")) as ears:
        ears.send(json.dumps({"token": token(call="*")}))
        assert_refused(ears, 400, "invalid_id")


def test_who_says_nothing_is_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest.event_socket, "FIRST_FRAME_S", 0.1)
    with connect(address(desk.client.base_url)) as ears:
        assert_refused(ears, 408, "request_timeout")


def test_who_reads_nothing_is_let_go_and_costs_the_others_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest.event_socket, "TAKEN_WITHIN_S", 0.5)
    recording_id = desk.begun()
    desk.stop()
    desk.write(recording_id, ("drained", {}), ("completed", DONE))
    ended: list[BaseException] = []
    over = threading.Event()
    tell = ingest.event_socket._tell

    async def watched(*args: Any) -> None:
        try:
            await tell(*args)
        except BaseException as error:
            ended.append(error)
            over.set()
            raise

    monkeypatch.setattr(ingest.event_socket, "_tell", watched)
    plug = socket.create_connection((desk.client.base_url.host, desk.client.base_url.port or 80))
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with connect(address(desk.client.base_url), sock=plug, compression=None, max_queue=1) as deaf:
        deaf.send(json.dumps({"token": token()}))
        hear(deaf)
        with listening(desk) as ears:
            hear(ears)
            for seed in range(24):  # more than the buffers of a connection hold
                much = random.Random(seed).randbytes(500_000).hex()
                desk.write(recording_id, ("updated", {**DONE, "gaps": [{"detail": much}]}))
                assert hear(ears)["type"] == "recordingupdated"
        assert over.wait(20)
    assert isinstance(ended[0], TimeoutError)
    deadline = time.monotonic() + 20
    while desk.sockets() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert desk.sockets() == 0, "the server lets go of it as soon as its end of the line is gone"


def test_it_ends_when_the_server_ends(redis_url: str, data_dir: Path) -> None:
    with (
        served(redis_url, data_dir, 1, min_free_bytes=64 * 1024**2) as (running,),
        connect(address(running.url)) as ears,
    ):
        ears.send(json.dumps({"token": token()}))
        assert hear(ears)["type"] == "snapshot"
        running.process.send_signal(signal.SIGTERM)
        assert closed_with(ears)[0] == 1012
        assert running.process.wait(20) in (0, -signal.SIGTERM)
