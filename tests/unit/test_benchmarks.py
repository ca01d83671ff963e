"""What the benchmarks measure with: the load generator counts what was answered, verdicts say what the figures say."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from benchmarks import footage, generator
from benchmarks.measure import cpu_of, table, verdict


class _Server(threading.Thread):
    """Answers every request whose body has come, with what it was told to."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(daemon=True)
        self._answer = answer
        self.pause_s = 0.0  #: before each answer
        self.bodies: list[bytes] = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.start()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        # the generator leaves when its time is over, in the middle of what it does
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as file:
            while line := file.readline():
                assert line.startswith(b"PUT ")
                headers = dict(line.strip().lower().split(b": ") for line in iter(file.readline, b"\r\n"))
                body = file.read(size := int(headers[b"content-length"]))
                if len(body) < size:
                    return
                self.bodies.append(body)
                time.sleep(self.pause_s)
                connection.sendall(self._answer)


@pytest.fixture
def answer() -> bytes:
    return b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def server(answer: bytes) -> Iterator[_Server]:
    server = _Server(answer)
    yield server
    server.socket.shutdown(socket.SHUT_RDWR)
    server.socket.close()


def _target(server: _Server, body: bytes) -> generator.Target:
    head = f"PUT /%(connection)d/%(number)d HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
    return generator.Target(host="127.0.0.1", port=server.socket.getsockname()[1], head=head.encode(), body=body)


def test_every_answered_request_is_counted_and_every_body_arrives_whole(server: _Server) -> None:
    body = bytes(range(256)) * 2000
    tally = generator.run(_target(server, body), connections=3, processes=1, warm_s=0, seconds=0.3)
    assert 0 < tally.requests <= len(server.bodies)
    assert set(server.bodies) <= {body}


def test_a_paced_load_sends_what_is_due_and_counts_the_wait_from_then(server: _Server) -> None:
    server.pause_s = 0.05
    waited_ms = paced(server)
    assert len(waited_ms) == 9  # three each; those of the warming are not among them
    assert min(waited_ms) >= 50
    server.pause_s = 0.3
    # too slow for one every 0.2 s: the third one was due 0.2 s before it could be sent, and that counts
    assert max(paced(server)) >= 500


def paced(server: _Server) -> list[float]:
    """Three connections, a request each 0.2 s, those of 0.6 s counted."""
    return generator.pace(
        _target(server, b"x" * 1000), connections=3, processes=1, warm_s=0.2, seconds=0.6, every_s=0.2
    )


@pytest.mark.parametrize("answer", [b"HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n"])
def test_a_refusal_ends_the_run(server: _Server) -> None:
    with pytest.raises(RuntimeError, match="503"):
        generator.run(_target(server, b"x"), connections=1, processes=1, warm_s=0, seconds=5)


def test_uploads_are_under_way_together(server: _Server) -> None:
    seen: list[int] = []
    answers = list(generator.hold_all(_target(server, b"x" * 1000), 5, 2, lambda: seen.append(len(server.bodies))))
    assert seen == [0]
    assert answers == [b"201"] * 5


def test_verdicts_know_which_way_is_better() -> None:
    assert [verdict(r, 1.2, 1.08) for r in (1.0, 1.1, 1.3)] == ["aim reached", "enough", "MISSED"]
    assert [verdict(r, 2, 3, more_is_better=True) for r in (3.5, 2.5, 1.5)] == ["aim reached", "enough", "MISSED"]


def test_processor_time_is_counted() -> None:
    assert cpu_of(lambda: sum(range(3_000_000))) > 0.01


def test_tables_are_aligned() -> None:
    lines = table(("a", "b"), [["long name", "1"], ["x", "1000"]]).splitlines()
    assert len({len(line) for line in lines}) == 1


def test_pictures_move_and_are_noisy() -> None:
    picture = footage._Picture(np.random.default_rng(1))
    first, second = picture.at(0.0), picture.at(0.5)
    assert first.shape == (footage.HEIGHT_PX * 3 // 2, footage.WIDTH_PX)
    assert float(np.mean(first != second)) > 0.3
