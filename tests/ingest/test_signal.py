"""Signalling of the call page: seats, invitations, and words that reach every window, whichever process it is at."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest
from redis import Redis
from starlette.applications import Starlette
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from callreel import keys
from callreel.errors import CallreelError
from callreel.settings import Settings
from callreel.tokens import check_token, make_token
from ingest.errors import on_callreel_error
from ingest.signal import Signal

SECRET = "of these tests alone, long enough to sign with"
PATH = "/video-calls/room/signal"


@contextlib.contextmanager
def process(redis_url: str) -> Iterator[TestClient]:
    signal = Signal(Settings(jwt_secret=SECRET, redis_url=redis_url))

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await signal.close()

    handlers = {CallreelError: on_callreel_error}
    with TestClient(Starlette(routes=signal.routes(), lifespan=lifespan, exception_handlers=handlers)) as client:
        yield client


@pytest.fixture
def client(redis_url: str) -> Iterator[TestClient]:
    with process(redis_url) as client:
        yield client


def token(role: str, sub: str, *, call: str = "room", name: str = "", ttl_s: float = 60) -> str:
    return make_token(SECRET, call=call, role=role, sub=sub, name=name, ttl_s=ttl_s)


@contextlib.contextmanager
def window(client: TestClient, who: str, window_id: str, *, name: str = "") -> Iterator[WebSocketTestSession]:
    """A window that has sat down."""
    with client.websocket_connect(PATH) as socket:
        socket.send_json({"token": token("participant", who, name=name), "window": window_id})
        assert socket.receive_json()["type"] == "welcome"
        yield socket


def refused_with(client: TestClient, hello: object) -> tuple[int, str]:
    with client.websocket_connect(PATH) as socket:
        socket.send_json(hello)
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()
    return closed.value.code, closed.value.reason


def test_words_reach_windows_at_another_process_and_say_who_spoke(redis_url: str) -> None:
    with (
        process(redis_url) as here,
        process(redis_url) as there,
        window(here, "ada", "w1", name="Ada") as ada,
        window(there, "grace", "w2") as grace,
    ):
        assert ada.receive_json()["from"]["id"] == "grace"  # joined
        ada.send_json({"data": {"kind": "hello"}})
        heard = grace.receive_json()
        assert heard["data"] == {"kind": "hello"}
        assert (heard["from"]["id"], heard["from"]["name"], heard["from"]["role"]) == ("ada", "Ada", "participant")


def test_what_is_meant_for_one_reaches_only_that_one(client: TestClient) -> None:
    with window(client, "ada", "w1") as ada, window(client, "bob", "w2") as bob, window(client, "cy", "w3") as cy:
        for socket, joins in ((ada, 2), (bob, 1)):
            assert [socket.receive_json()["type"] for _ in range(joins)] == ["joined"] * joins
        cy.send_json({"to": "bob", "data": 1})
        cy.send_json({"data": 2})
        assert bob.receive_json()["data"] == 1
        assert ada.receive_json()["data"] == 2


def test_a_second_window_of_the_same_participant_hears_that_the_seat_is_taken(client: TestClient) -> None:
    with window(client, "ada", "w1"), client.websocket_connect(PATH) as second:
        second.send_json({"token": token("participant", "ada"), "window": "w2"})
        assert second.receive_json() == {"type": "seat-taken"}
        with pytest.raises(WebSocketDisconnect) as closed:
            second.receive_json()
        assert closed.value.code == 4409


def test_the_same_window_takes_over_from_itself_and_its_seat_stays(client: TestClient, redis_url: str) -> None:
    with window(client, "grace", "w9") as grace:
        with window(client, "ada", "w1"):
            joined = grace.receive_json()["from"]["connection"]
            with window(client, "ada", "w1"):
                again = grace.receive_json()["from"]["connection"]
                assert again != joined
                with Redis.from_url(redis_url, decode_responses=True) as redis:
                    assert redis.get(keys.signal_seat("room", "ada")) == f"w1 {again}"
        assert {grace.receive_json()["type"] for _ in range(2)} == {"left"}


def test_a_seat_is_free_once_its_window_was_closed(client: TestClient) -> None:
    for window_id in ("w1", "w2"):
        with window(client, "ada", window_id):
            pass


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
def test_who_does_not_say_who_they_are_is_turned_away(client: TestClient, hello: object, code: str) -> None:
    assert refused_with(client, hello) == (4401, code)


def test_a_frame_that_is_too_large_ends_the_connection_and_garbage_does_not(client: TestClient) -> None:
    with window(client, "ada", "w1") as ada, window(client, "bob", "w2") as bob:
        ada.receive_json()
        ada.send_text("no json")
        ada.send_text("[1]")
        ada.send_json({"data": "after"})
        assert bob.receive_json()["data"] == "after"
        ada.send_text("x" * 70_000)
        with pytest.raises(WebSocketDisconnect) as closed:
            ada.receive_json()
        assert closed.value.code == 1009


def invite(client: TestClient, bearer: str, **json: object) -> tuple[int, dict[str, object]]:
    answer = client.post("/video-calls/room/invite", headers={"Authorization": f"Bearer {bearer}"}, json=json)
    return answer.status_code, answer.json()


def test_the_host_invites_a_participant_whose_token_ends_no_later(client: TestClient) -> None:
    host = token("host", "host", ttl_s=100)
    status, answer = invite(client, host, name=" Grace ")
    assert status == 201
    data = answer["data"]
    assert isinstance(data, dict)
    guest = check_token(SECRET, data["token"])
    assert (guest.role, guest.call, guest.name) == ("participant", "room", "Grace")
    assert guest.participant_id == data["participantId"]
    assert guest.expires_s <= check_token(SECRET, host).expires_s + 1
    assert invite(client, host)[1]["data"] != data


@pytest.mark.parametrize("role", ["participant", "viewer"])
def test_guests_do_not_invite(client: TestClient, role: str) -> None:
    status, answer = invite(client, token(role, "ada"))
    assert (status, answer["code"]) == (403, "forbidden")


def test_an_invitation_is_for_ones_own_call_and_a_name_is_a_text(client: TestClient) -> None:
    assert invite(client, token("host", "host", call="other"))[1]["code"] == "forbidden"
    assert invite(client, token("host", "host"), name=7)[1]["code"] == "invalid_request"
    assert invite(client, "nobody")[1]["code"] == "unauthorized"
