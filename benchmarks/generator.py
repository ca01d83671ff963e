"""A load generator that costs as little as Python allows: requests made beforehand, raw sockets, one `epoll` a process.

It speaks just enough HTTP/1.1 to know that an answer is whole and says what it should.
"""

from __future__ import annotations

import heapq
import random
import re
import select
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from typing import Any

_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:\s*chunked", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to send what. Everything in it travels to the generator's processes."""

    host: str
    port: int
    head: bytes  #: of a request, with `%(connection)d` and `%(number)d` where they belong
    body: bytes
    expect: bytes = b"201"
    own: tuple[dict[bytes, bytes], ...] = ()  #: what else a connection puts into its head, by name

    def request(self, connection: int, number: int) -> list[memoryview]:
        own = self.own[connection] if self.own else {}
        head = self.head % {b"connection": connection, b"number": number, **own}
        return [memoryview(head), memoryview(self.body)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    requests: int  #: answered within the time that counts
    seconds: float

    @property
    def per_s(self) -> float:
        return self.requests / self.seconds


def run(target: Target, *, connections: int, processes: int, warm_s: float, seconds: float) -> Tally:
    """Keep so many connections busy, each with one request at a time; what is answered after `warm_s` counts."""
    answers = _in_processes(_drive, target, connections, processes, warm_s, seconds)
    return Tally(requests=sum(answers), seconds=seconds)


def pace(
    target: Target, *, connections: int, processes: int, warm_s: float, seconds: float, every_s: float
) -> list[float]:
    """Send a request on each connection every so often, whatever becomes of them; how long each answer took, ms.

    Counted from the instant at which the request was due: whoever is late because the one before was slow has waited.
    """
    answers = _in_processes(_paced, target, connections, processes, warm_s, seconds, every_s)
    return [ms for found in answers for ms in found]


def _in_processes(work: Callable[..., Any], target: Target, connections: int, processes: int, *how: float) -> list[Any]:
    context = get_context("spawn")  # a fork would copy whatever the caller has grown to
    barrier, answers = context.Barrier(processes), context.SimpleQueue()
    started = [
        context.Process(target=_process, args=(work, target, range(n, connections, processes), how, barrier, answers))
        for n in range(processes)
    ]
    for process in started:
        process.start()
    found = [answers.get() for _ in started]
    for process in started:
        process.join()
    if failures := [answer for answer in found if isinstance(answer, str)]:
        raise RuntimeError(failures[0])
    return found


def _process(
    work: Callable[..., Any],
    target: Target,
    numbers: range,
    how: tuple[float, ...],
    barrier: Barrier,
    answers: Any,
) -> None:
    try:
        connections = [_Connection(target, number) for number in numbers]
        barrier.wait(30)
        answers.put(work(connections, *how))
    except Exception as error:  # noqa: BLE001  # whatever it is, the other side must not wait for ever
        barrier.abort()
        answers.put(f"{type(error).__name__}: {error}")


def _drive(connections: list[_Connection], warm_s: float, seconds: float) -> int:
    poll = select.epoll()
    known = {connection.socket.fileno(): connection for connection in connections}
    for fd, connection in known.items():
        poll.register(fd, select.EPOLLIN)
        connection.begin(poll)
    now = time.monotonic()
    counting, end = now + warm_s, now + warm_s + seconds
    counted = 0
    while now < end:
        for fd, event in poll.poll(0.1):
            connection = known[fd]
            if event & select.EPOLLOUT:
                connection.send(poll)
            if event & ~select.EPOLLOUT and connection.is_answered():
                if time.monotonic() > counting:
                    counted += 1
                connection.begin(poll)
        now = time.monotonic()
    for connection in connections:
        connection.socket.close()
    return counted


def _paced(connections: list[_Connection], warm_s: float, seconds: float, every_s: float) -> list[float]:
    poll = select.epoll()
    known = {connection.socket.fileno(): connection for connection in connections}
    begun = time.monotonic()
    # people do not upload in step: everybody has an instant of the second
    due = {fd: begun + random.uniform(0, every_s) for fd in known}
    waiting = sorted(((at, fd) for fd, at in due.items()))  # who has nothing under way, soonest first
    for fd in known:
        poll.register(fd, select.EPOLLIN)
    counting, end = begun + warm_s, begun + warm_s + seconds
    found: list[float] = []
    while waiting or any(at < end for at in due.values()):
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, fd = heapq.heappop(waiting)
            known[fd].begin(poll)
        pause_s = max(0.0, waiting[0][0] - now) if waiting else 1.0
        for fd, event in poll.poll(pause_s):
            connection = known[fd]
            if event & select.EPOLLOUT:
                connection.send(poll)
            if event & ~select.EPOLLOUT and connection.is_answered():
                if counting <= due[fd] < end:
                    found.append(1000 * (time.monotonic() - due[fd]))
                due[fd] += every_s
                if due[fd] < end:
                    heapq.heappush(waiting, (due[fd], fd))
    for connection in connections:
        connection.socket.close()
    return found


class _Connection:
    def __init__(self, target: Target, number: int) -> None:
        self._target = target
        self._number = number
        self._sent = 0
        self._left: list[memoryview] = []
        self._waits = False
        self._answer = b""
        self.socket = socket.create_connection((target.host, target.port), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)

    def begin(self, poll: select.epoll) -> None:
        self._answer = b""
        self._left = self._target.request(self._number, self._sent)
        self._sent += 1
        self.send(poll)

    def send(self, poll: select.epoll) -> None:
        """As much as the socket takes; the rest when it takes more."""
        while self._left:
            try:
                count = self.socket.sendmsg(self._left)
            except BlockingIOError:
                break
            while self._left and count >= len(self._left[0]):
                count -= len(self._left.pop(0))
            if count:
                self._left[0] = self._left[0][count:]
        if self._waits != bool(self._left):
            self._waits = bool(self._left)
            poll.modify(self.socket.fileno(), select.EPOLLIN | (select.EPOLLOUT if self._waits else 0))

    def is_answered(self) -> bool:
        """Read what came; True once the answer is whole. Raises `RuntimeError` where it is another one."""
        piece = self.socket.recv(65536)
        if not piece:
            raise RuntimeError(f"the server closed the connection: {self._answer[:400]!r}")
        self._answer += piece
        head, found, body = self._answer.partition(b"\r\n\r\n")
        if not found:
            return False
        if head[9:12] != self._target.expect:
            raise RuntimeError(f"the server answered {self._answer[:600]!r}")
        if _CHUNKED.search(head):
            return body.endswith(b"0\r\n\r\n")
        length = _LENGTH.search(head)
        return len(body) >= (int(length[1]) if length else 0)


def hold_all(target: Target, count: int, tracks: int, between: Callable[[], None]) -> Iterator[bytes]:
    """`count` uploads into so many tracks, all under way at once: half of each body, then the rest.

    Yields their status codes.
    """
    half = len(target.body) // 2
    sockets = []
    for number in range(count):
        connection = socket.create_connection((target.host, target.port), 10)
        head, body = target.request(number % tracks, number // tracks)
        connection.sendall(head)
        connection.sendall(body[:half])
        sockets.append(connection)
    between()
    for connection in sockets:
        connection.sendall(target.body[half:])
    for connection in sockets:
        connection.settimeout(60)
        yield connection.recv(4096)[9:12]
        connection.close()
