"""A receiver of webhooks: keeps what it is sent, and answers as it is told."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, dict[str, str]]


@dataclass
class Sent:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    url: str
    reply: Callable[[Sent], Reply] = lambda _: (204, {})
    all: list[Sent] = field(default_factory=list)  #: everything that came
    taken: list[Sent] = field(default_factory=list)  #: what was answered with 2xx

    def sequences(self, recording_id: str) -> list[int]:
        """Of the recording's events that were taken, in the order in which they came."""
        return [sent.event["sequence"] for sent in self.taken if sent.event["data"]["recordingId"] == recording_id]

    def types(self) -> list[str]:
        return [sent.event["type"] for sent in self.taken]


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    """One on a free port of this machine, served by threads."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            sent = Sent(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            receiver.all.append(sent)
            status, headers = receiver.reply(sent)
            if 200 <= status < 300:
                receiver.taken.append(sent)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Tests look at what came, not at lines."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver = Receiver(f"http://127.0.0.1:{server.server_address[1]}/hook")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
