"""Signalling of the call page: seats, invitations, and words that reach every window, whichever process it is at."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from callreel import keys
from callreel.tokens import check_token
from tests.ingest.desk import CALL, SECRET, Desk, application, bearer, refused, said, token

URL = f"/video-calls/{CALL}/invite"


class Window:
    """One end of the signalling."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def say(self, frame: object) -> None:
        self.socket.send(json.dumps(frame))

    def hear(self) -> Any:
        return json.loads(self.socket.recv(timeout=5))

    def closed_with(self) -> tuple[int, str]:
        with pytest.raises(ConnectionClosed) as closed:
            self.socket.recv(timeout=5)
        assert closed.value.rcvd
        return closed.value.rcvd.code, closed.value.rcvd.reason


@pytest.fixture
def desk(redis_url: str, tmp_path: Path) -> Iterator[Desk]:
    with application(redis_url, tmp_path) as desk:
        yield desk


@contextlib.contextmanager
def opened(desk: Desk) -> Iterator[Window]:
    """A window that has said nothing yet."""
    with connect(f"{desk.client.base_url}".replace("http", "ws").rstrip("/") + f"/video-calls/{CALL}/signal") as socket:
        yield Window(socket)


@contextlib.contextmanager
def window(desk: Desk, who: str, window_id: str, *, name: str = "") -> Iterator[Window]:
    """A window that has sat down."""
    with opened(desk) as window:
        window.say({"token": token("participant", who, name=name), "window": window_id})
        assert window.hear()["type"] == "welcome"
        yield window


def test_words_reach_windows_at_another_process_and_say_who_spoke(redis_url: str, tmp_path: Path) -> None:
    with (
        application(redis_url, tmp_path) as here,
        application(redis_url, tmp_path) as there,
        window(here, "ada", "w1", name="Ada") as ada,
        window(there, "grace", "w2"),
        window(there, "cy", "w3") as cy,
    ):
        assert [ada.hear()["from"]["id"] for _ in range(2)] == ["grace", "cy"]  # joined
        ada.say({"data": {"kind": "hello"}, "from": {"id": "mallory"}})
        heard = cy.hear()
        assert heard["data"] == {"kind": "hello"}
        assert (heard["from"]["id"], heard["from"]["name"], heard["from"]["role"]) == ("ada", "Ada", "participant")


def test_what_is_meant_for_one_reaches_only_that_one(desk: Desk) -> None:
    with window(desk, "ada", "w1") as ada, window(desk, "bob", "w2") as bob, window(desk, "cy", "w3") as cy:
        for listener, joins in ((ada, 2), (bob, 1)):
            assert [listener.hear()["type"] for _ in range(joins)] == ["joined"] * joins
        cy.say({"to": "bob", "data": 1})
        cy.say({"data": 2})
        assert bob.hear()["data"] == 1
        assert ada.hear()["data"] == 2


def test_a_second_window_of_the_same_participant_hears_that_the_seat_is_taken(desk: Desk) -> None:
    with window(desk, "ada", "w1"), opened(desk) as second:
        second.say({"token": token("participant", "ada"), "window": "w2"})
        assert second.hear() == {"type": "seat-taken"}
        assert second.closed_with()[0] == 4409


def test_the_same_window_takes_over_from_itself_and_its_seat_stays(desk: Desk, redis_url: str) -> None:
    with window(desk, "grace", "w9") as grace:
        with window(desk, "ada", "w1"):
            joined = grace.hear()["from"]["connection"]
            with window(desk, "ada", "w1"):
                again = grace.hear()["from"]["connection"]
                assert again != joined
                with Redis.from_url(redis_url, decode_responses=True) as redis:
                    assert redis.get(keys.signal_seat(CALL, "ada")) == f"w1 {again}"
        left = [grace.hear() for _ in range(2)]
        assert {frame["type"] for frame in left} == {"left"}
        assert {frame["from"]["connection"] for frame in left} == {joined, again}


def test_a_seat_is_free_once_its_window_was_closed(desk: Desk) -> None:
    with window(desk, "grace", "w9") as grace:
        for window_id in ("w1", "w2"):
            with window(desk, "ada", window_id):
                assert grace.hear()["type"] == "joined"
            assert grace.hear()["type"] == "left"


@pytest.mark.parametrize(
    ("hello", "code"),
    [
        ({"window": "w"}, "unauthorized"),
        ("hello", "unauthorized"),
        ({"token": "no.jwt.atall", "window": "w"}, "unauthorized"),
        ({"token": token("participant", "ada", ttl_s=-1), "window": "w"}, "unauthorized"),
        ({"token": token("participant", "ada", call="other"), "window": "w"}, "forbidden"),
        ({"token": token("participant", "ada"), "window": "not an id"}, "invalid_id"),
    ],
)
def test_who_does_not_say_who_they_are_is_turned_away(desk: Desk, hello: object, code: str) -> None:
    with opened(desk) as stranger:
        stranger.say(hello)
        assert stranger.closed_with() == (4401, code)


def test_a_frame_that_is_too_large_ends_the_connection_and_garbage_does_not(desk: Desk) -> None:
    with window(desk, "ada", "w1") as ada, window(desk, "bob", "w2") as bob:
        ada.hear()
        ada.socket.send("no json")
        ada.say([1])
        ada.say({"data": "after"})
        assert bob.hear()["data"] == "after"
        ada.socket.send("x" * 70_000)
        assert ada.closed_with()[0] == 1009


def test_the_host_invites_a_participant_whose_token_ends_no_later(desk: Desk) -> None:
    host = token("host", "host", ttl_s=100)
    headers = {"Authorization": f"Bearer {host}"}
    data = said(desk.client.post(URL, headers=headers, json={"name": " Grace "}), 201)
    guest = check_token(SECRET, data["token"])
    assert (guest.role, guest.call, guest.name) == ("participant", CALL, "Grace")
    assert guest.participant_id == data["participantId"]
    assert guest.expires_s <= check_token(SECRET, host).expires_s + 1
    assert said(desk.client.post(URL, headers=headers), 201)["participantId"] != data["participantId"]


@pytest.mark.parametrize("role", ["participant", "viewer"])
def test_guests_do_not_invite(desk: Desk, role: str) -> None:
    refused(desk.client.post(URL, headers=bearer(role)), 403, "forbidden")


def test_an_invitation_is_for_ones_own_call_and_a_name_is_a_text(desk: Desk) -> None:
    refused(desk.client.post(URL, headers=bearer("host", call="other")), 403, "forbidden")
    refused(desk.client.post(URL, headers=bearer("host"), json={"name": 7}), 400, "invalid_request")
    refused(desk.client.post(URL), 401, "unauthorized")
