"""One POST to an address that somebody else chose: never into our own network, never for long, never for much."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import workers.post
from tests.kit.receiver import Receiver, receiving
from workers.post import is_public, post


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def resolving(*addresses: str) -> Callable[[str, int], list[Any]]:
    """A name server that says these, whatever it is asked."""

    def resolve(host: str, port: int) -> list[Any]:
        return [found for address in addresses for found in socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)]

    return resolve


PRIVATE = (
    "127.0.0.1 127.8.9.10 0.0.0.0 10.1.2.3 172.16.0.1 192.168.1.1 100.64.0.1 169.254.169.254 192.0.0.192 198.18.0.1 "
    "224.0.0.1 240.0.0.1 255.255.255.255 168.63.129.16 100.100.100.200 :: ::1 fe80::1 fc00::1 fd00:ec2::254 fec0::1 "
    "ff02::1 2001:db8::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 2002:7f00:1:: 2002:a00:1::"
)
PUBLIC = "1.1.1.1 93.184.215.14 2606:4700:4700::1111 ::ffff:1.1.1.1 64:ff9b::101:101"
THIS_MACHINE = "127.0.0.1 [::1] [::ffff:127.0.0.1] localhost 2130706433 0x7f000001 127.1 0 169.254.169.254"


@pytest.mark.parametrize("address", PRIVATE.split())
def test_addresses_that_are_not_the_internets_own(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC.split())
def test_addresses_that_are(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", THIS_MACHINE.split())
def test_no_way_to_write_it_leads_to_this_machine(receiver: Receiver, host: str) -> None:
    port = receiver.url.rsplit(":", 1)[1]
    answer = post(f"http://{host}:{port}", {}, b"{}")
    assert answer.status is None
    assert "not public" in answer.error
    assert "CALLREEL_WEBHOOK_ALLOW_PRIVATE" in answer.error
    assert receiver.all == []


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.7", "169.254.169.254", "::1"])
def test_a_name_that_resolves_to_a_private_address_is_refused(receiver: Receiver, address: str) -> None:
    url = receiver.url.replace("127.0.0.1", "receiver.example")
    answer = post(url, {}, b"{}", resolve=resolving(address))
    assert (answer.status, address in answer.error) == (None, True)
    assert receiver.all == []


def test_a_name_is_resolved_once_and_means_what_it_meant_when_it_was_looked_at(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = iter(["93.184.215.14", "127.0.0.1"])
    asked: list[str] = []
    connected: list[Any] = []

    def rebinding(host: str, port: int) -> list[Any]:
        asked.append(host)
        return socket.getaddrinfo(next(said), port, type=socket.SOCK_STREAM)

    class Unreachable(socket.socket):
        def connect(self, place: Any) -> None:
            connected.append(place)
            raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "socket", Unreachable)
    url = receiver.url.replace("127.0.0.1", "receiver.example")
    assert post(url, {}, b"{}", resolve=rebinding).status is None
    assert asked == ["receiver.example"]
    assert [place[0] for place in connected] == ["93.184.215.14"]
    assert receiver.all == []


def test_of_several_addresses_only_the_public_ones_are_tried(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    port = int(receiver.url.split(":")[2].split("/")[0])
    # as if this machine's own address were a public one
    monkeypatch.setattr(workers.post, "is_public", lambda address: address == "127.0.0.1")
    answer = post(f"http://receiver.example:{port}/hook", {}, b"{}", resolve=resolving("10.0.0.7", "127.0.0.1"))
    assert answer.status == 204
    assert receiver.all[0].headers["host"] == f"receiver.example:{port}"


def test_a_redirect_is_an_answer_and_leads_nowhere(receiver: Receiver) -> None:
    receiver.reply = lambda sent: (302, {"Location": "http://127.0.0.1:1/"})
    answer = post(receiver.url, {}, b"{}", allow_private=True)
    assert (answer.status, len(receiver.all)) == (302, 1)


def test_what_is_sent_comes_as_it_is(receiver: Receiver) -> None:
    answer = post(f"{receiver.url}?tenant=7", {"webhook-id": "evt_1"}, b'{"a":1}', allow_private=True)
    assert answer.status == 204
    (sent,) = receiver.all
    assert (sent.path, sent.body, sent.headers["webhook-id"]) == ("/hook?tenant=7", b'{"a":1}', "evt_1")


@pytest.mark.parametrize(
    ("said", "least_s", "most_s"),
    [("7", 7, 7), ("never", 0, 0), ("-3", 0, 0), ("Thu, 01 Jan 2099 00:00:00 GMT", 1e9, 1e11)],
)
def test_when_to_come_again_is_understood(receiver: Receiver, said: str, least_s: float, most_s: float) -> None:
    receiver.reply = lambda sent: (503, {"Retry-After": said})
    assert least_s <= post(receiver.url, {}, b"{}", allow_private=True).retry_after_s <= most_s


def talking(talk: Callable[[socket.socket], None]) -> tuple[str, socket.socket]:
    """A receiver that is none: address, and its listening socket."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            with listener.accept()[0] as connection:
                talk(connection)
        except OSError:
            return  # the other end has gone, or the test has

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/", listener


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nX: "])
def test_who_answers_slowly_or_not_at_all_is_cut_off(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr(workers.post, "ATTEMPT_S", 0.6)
    over = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(said)
        while not over.wait(0.05):
            if said:
                connection.sendall(b"x")

    url, listener = talking(drip)
    with listener:
        answer = post(url, {}, b"{}", allow_private=True)
        over.set()
    assert (answer.status, answer.error) == (None, "no answer within 0.6 s")


def test_of_an_endless_answer_only_the_beginning_is_read() -> None:
    taken = 0

    def flood(connection: socket.socket) -> None:
        nonlocal taken
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            taken += connection.send(b"x" * 65536)

    url, listener = talking(flood)
    with listener:
        assert post(url, {}, b"{}", allow_private=True).status == 200
    assert taken < 64 * 1024**2


@pytest.mark.parametrize("said", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n"])
def test_what_is_no_answer_is_told_as_such(said: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(said)

    url, listener = talking(talk)
    with listener:
        answer = post(url, {}, b"{}", allow_private=True)
    assert answer.status is None
    assert answer.error


def test_nobody_there_is_told_as_such() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    answer = post(f"http://127.0.0.1:{port}/", {}, b"{}", allow_private=True)
    assert (answer.status, "refused" in answer.error) == (None, True)
    assert post("http://a..b/", {}, b"{}", allow_private=True).status is None


def test_a_certificate_has_to_be_that_of_the_name(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "1",
                "-subj",
                "/CN=receiver.example",
            ),
            *("-addext", "subjectAltName=DNS:receiver.example", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    named: list[str | None] = []
    server.sni_callback = lambda _socket, name, _context: named.append(name)

    def serve(connection: socket.socket) -> None:
        with server.wrap_socket(connection, server_side=True) as secure:
            said = b""
            while not said.endswith(b"{}"):  # who answers before all was said may close before it was heard
                piece = secure.recv(65536)
                if not piece:
                    return
                said += piece
            secure.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    trusting = ssl.create_default_context(cafile=str(certificate))
    for host, context, status in (
        ("receiver.example", trusting, 204),
        ("another.example", trusting, None),
        ("receiver.example", None, None),
    ):
        _, listener = talking(serve)
        with listener:
            port = listener.getsockname()[1]
            answer = post(
                f"https://{host}:{port}/",
                {},
                b"{}",
                allow_private=True,
                resolve=resolving("127.0.0.1"),
                context=context,
            )
        assert answer.status == status, answer
        assert status is not None or "certificate" in answer.error.lower()
    assert named == ["receiver.example", "another.example", "receiver.example"]
