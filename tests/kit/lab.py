"""A page that uses the library as any page would, and a way to the server on which things happen.

Page and server share an origin: the lab gives out the page and passes everything else on, unless a fault says
otherwise.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Page, Playwright

from .browser import FLAGS, WEB_CLIENT, until

_KIT = Path(__file__).parent
_TYPES = {".html": "text/html", ".js": "text/javascript"}
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}

#: What is to happen to a request: a status to answer instead of the server, "cut" within the body, "mute" the answer.
Fault = int | str | None


@dataclass
class Lab:
    """Where the page is, and what shall go wrong on the way."""

    url: str
    upstream: str
    #: method, path and `Chunk` header of a request → what happens to it
    fault: Callable[[str, str, str], Fault] = lambda method, path, chunk: None
    policy: str = ""  #: the page's Content-Security-Policy
    faults: list[tuple[str, str, Fault]] = field(default_factory=list)  #: what did go wrong


@contextlib.contextmanager
def lab(upstream: str, library: str = "") -> Iterator[Lab]:
    """The page before a server. `library`: another origin that the library is loaded from."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            file = {"/": _KIT / "lab.html", "/lab.js": _KIT / "lab.js"}.get(path)
            if path.startswith("/client/"):
                file = WEB_CLIENT / "src" / path.removeprefix("/client/")
            if file is None:
                self._pass_on()
                return
            body = file.read_bytes()
            if library and path == "/lab.js":
                body = body.replace(b'"/client/', f'"{library}/client/'.encode())
            self.send_response(200)
            self.send_header("Content-Type", _TYPES[file.suffix])
            self.send_header("Content-Length", str(len(body)))
            if found.policy and path == "/":
                self.send_header("Content-Security-Policy", found.policy)
            self.end_headers()
            self.wfile.write(body)

        def do_PUT(self) -> None:
            self._pass_on()

        def do_POST(self) -> None:
            self._pass_on()

        def _pass_on(self) -> None:
            fault = found.fault(self.command, urlsplit(self.path).path, self.headers.get("Chunk", ""))
            if fault is not None:
                found.faults.append((self.command, self.path, fault))
            length = int(self.headers.get("Content-Length") or 0)
            if fault == "cut":
                self.rfile.read(length // 2)
                self._hang_up()
                return
            body = self.rfile.read(length)
            if isinstance(fault, int):
                self._answer(fault, body=b"{}" if fault >= 500 else _refusal(fault))
                return
            try:
                self._forward(body, mute=fault == "mute")
            except OSError:
                self.close_connection = True

        def _forward(self, body: bytes, mute: bool) -> None:
            target = urlsplit(found.upstream)
            with contextlib.closing(http.client.HTTPConnection(target.netloc, timeout=60)) as server:
                kept = {k: v for k, v in self.headers.items() if k.lower() not in _HOP | {"host"}}
                try:
                    server.request(self.command, self.path, body or None, kept)
                    answer = server.getresponse()
                except OSError:
                    self._answer(502, b"{}")
                    return
                if mute:
                    answer.read()
                    self._hang_up()
                    return
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in _HOP:
                        self.send_header(name, value)
                if answer.getheader("Content-Type", "").startswith("text/event-stream"):
                    self.send_header("Connection", "close")
                    self.end_headers()
                    while piece := answer.read1(65536):
                        self.wfile.write(piece)
                        self.wfile.flush()
                    self.close_connection = True
                    return
                content = answer.read()
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        def _hang_up(self) -> None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/problem+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def handle(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                super().handle()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        found = Lab(f"http://127.0.0.1:{server.server_address[1]}", upstream)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


def _refusal(status: int) -> bytes:
    return f'{{"success": false, "code": "chunk_too_large", "status": {status}, "retryable": false}}'.encode()


def open_lab(context: BrowserContext, url: str) -> Page:
    page = context.new_page()
    page.goto(url)
    until(lambda: page.title() == "ready", 30, "the library")
    return page


@dataclass
class Killable:
    """A Chromium that may be killed like a power cut would."""

    process: subprocess.Popen[bytes]
    context: BrowserContext

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(20)


@contextlib.contextmanager
def killables(playwright: Playwright, chromium: str, profile: Path) -> Iterator[Callable[[], Killable]]:
    """Chromium on a profile that is kept, as often as one is asked for, one after the other."""
    told = profile / "DevToolsActivePort"
    options = [f"--user-data-dir={profile}", "--headless=new", "--remote-debugging-port=0", "about:blank"]
    started: list[subprocess.Popen[bytes]] = []

    def launch() -> Killable:
        told.unlink(missing_ok=True)
        process = subprocess.Popen(
            [chromium, *FLAGS, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        started.append(process)
        until(lambda: told.is_file() and told.read_text().count("\n") >= 1, 60, "Chromium")
        browser = playwright.chromium.connect_over_cdp(f"http://127.0.0.1:{told.read_text().split()[0]}")
        return Killable(process, browser.contexts[0])

    try:
        yield launch
    finally:
        for process in started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)
