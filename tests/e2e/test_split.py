"""Process by process, with the lines of `docs/operations.md`: index, two ingest processes, sweeper, two workers.

The folder, the ports and where the certificate lies are put in; all else stands on the page as it is run here.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import itertools
import os
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from callreel.tokens import make_token
from tests.e2e.test_smoke import smoke
from tests.kit.call_generator import generate_call
from tests.kit.detect import examine
from tests.kit.replay import Server, replay
from tests.plain import Processes, bare_environment, blocks, free_port, is_ready, processes
from tests.stack import descendants

_PAGE, _SPLIT, _FRONT = "operations.md", "Process by process", "In front of it"
CALL = generate_call(seed=2, count=2, length_ms=6000)


@dataclass
class Split:
    """A deployment of plain processes."""

    processes: Processes
    env: dict[str, str]
    ports: list[int]  #: of the ingest processes
    changed: dict[str, str]  #: what stands on the page → what is put in

    def token(self, role: str, call: str, sub: str, name: str = "") -> str:
        return make_token(self.env["CALLREEL_JWT_SECRET"], call=call, role=role, sub=sub, name=name)

    @property
    def workers(self) -> list[str]:
        return [name for name in self.processes.started if name.startswith("rq")]


@contextlib.contextmanager
def deployed(folder: Path) -> Iterator[Split]:
    settings, lines = blocks(_PAGE, "sh", _SPLIT)
    ports = [free_port() for _ in range(3)]
    changed = {
        "/srv/callreel": str(folder / "callreel"),
        **dict(zip(("6379", "3001", "3002"), map(str, ports), strict=True)),
    }
    for old, new in changed.items():
        settings, lines = settings.replace(old, new), lines.replace(old, new)
    told = subprocess.run(
        ["bash", "-euc", f"{settings}\nenv -0"],
        env=bare_environment(folder),
        capture_output=True,
        text=True,
        check=True,
    )
    env = dict(pair.split("=", 1) for pair in told.stdout.split("\0") if pair)
    with processes(folder) as started:
        for number, line in enumerate(lines.strip().splitlines()):
            started.start(f"{line.split()[0]}-{number}", line, env)
        started.wait_for(lambda: all(is_ready(f"http://127.0.0.1:{port}") for port in ports[1:]))
        yield Split(processes=started, env=env, ports=ports[1:], changed=changed)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Split]:
    with deployed(tmp_path_factory.mktemp("split")) as split:
        yield split


def test_the_lines_of_the_page_are_the_processes_that_were_asked_for(split: Split) -> None:
    names = [name.split("-")[0] for name in split.processes.started]
    assert names == ["redis", "uvicorn", "uvicorn", "callreel", "rq", "rq"]


NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is missing; scripts/test installs it where it may")


@dataclass
class Front:
    """nginx before the two, as the page has it."""

    url: str
    port: int
    certificate: Path
    log: Path

    @property
    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.certificate)


@pytest.fixture(scope="module")
def front(split: Split, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    assert NGINX
    folder = tmp_path_factory.mktemp("nginx")
    folder.chmod(0o755)
    key, certificate = folder / "privkey.pem", folder / "fullchain.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    port, log = free_port(), folder / "callreel.log"
    (page,) = blocks(_PAGE, "nginx", _FRONT)
    put_in = {
        **{name: split.changed[name] for name in ("3001", "3002")},
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "callreel.example": "localhost",
        "/etc/callreel": str(folder),
        "/var/log/nginx/callreel.log": str(log),
    }
    for old, new in put_in.items():
        assert old in page
        page = page.replace(old, new)
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "scgi", "uwsgi")
    )
    user = "user root;" if os.getuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder}/pid; error_log stderr; events {{}} http {{ {temporary}\n{page}\n}}"
    )
    with processes(folder) as started:
        started.start("nginx", [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf")], os.environ)
        started.wait_for(lambda: _listens(port))
        yield Front(url=f"https://localhost:{port}", port=port, certificate=certificate, log=log)
        assert started.end(within_s=10) == {"nginx": 0}


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@pytest.mark.skipif(NGINX is not None, reason="done through nginx")
def test_smoke_makes_a_film(split: Split) -> None:
    done = smoke(f"http://127.0.0.1:{split.ports[0]}", split.token("service", "*", "smoke"))
    assert done.returncode == 0, done.stderr


@needs_nginx
def test_smoke_through_the_proxy_uses_both_ingest_processes(
    split: Split, front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(front.certificate))
    done = smoke(front.url, split.token("service", "*", "smoke"))
    assert done.returncode == 0, done.stderr
    assert "with both people in picture and sound" in done.stdout
    served = [line.split() for line in front.log.read_text().splitlines()]
    uploads = {words[-1] for words in served if words[2] == "POST" and words[3].endswith("/chunks")}
    assert uploads == {f"127.0.0.1:{port}" for port in split.ports}
    # and it clears up behind itself
    recordings = Path(split.env["CALLREEL_STORAGE"].removeprefix("file://")) / "recordings"
    split.processes.wait_for(lambda: not list(recordings.glob("rec_smoke-*/chunks/**/*")))


@needs_nginx
def test_the_proxy_hands_a_chunk_on_as_it_comes(split: Split, front: Front) -> None:
    headers = {"Authorization": f"Bearer {split.token('host', 'proxy', 'ann')}"}
    with httpx.Client(base_url=front.url, verify=front.tls, headers=headers) as client:
        path = "/video-calls/proxy/recording"
        recording_id = client.post(f"{path}/start").json()["data"]["recordingId"]
        track = f"{path}/{recording_id}/tracks/camera"
        client.put(track, json={"source": "camera", "kind": "video"}).raise_for_status()
    tmp = Path(split.env["CALLREEL_STORAGE"].removeprefix("file://")) / "tmp"
    before = set(tmp.iterdir())
    connection = http.client.HTTPSConnection("localhost", front.port, context=front.tls, timeout=30)
    with contextlib.closing(connection):
        connection.putrequest("POST", f"{track}/chunks")
        said = {"Content-Type": "video/webm", "Content-Length": str(8 << 20), "Chunk": "seg=0, seq=0, start=1"}
        said["Content-Digest"] = "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"
        for name, value in (headers | said).items():
            connection.putheader(name, value)
        connection.endheaders()
        connection.send(b"\x1a\x45\xdf\xa3" + bytes(4 << 20))
        # half of the body is on its way, and the server behind the proxy has begun to write it down
        split.processes.wait_for(lambda: bool(set(tmp.iterdir()) - before), timeout_s=30)


@needs_nginx
def test_events_pass_the_proxy_at_once_and_tokens_stay_out_of_its_log(split: Split, front: Front) -> None:
    token = split.token("host", "proxy", "ann")
    url = f"{front.url}/video-calls/proxy/events?token={token}"
    with httpx.stream("GET", url, verify=front.tls, timeout=20) as answer:
        first = next(line for line in answer.iter_lines() if line.startswith("data:"))
    assert '"snapshot"' in first
    split.processes.wait_for(lambda: "/video-calls/proxy/events" in front.log.read_text(), timeout_s=30)
    assert token not in front.log.read_text()


class Both(httpx.AsyncHTTPTransport):
    """Asks the ingest processes in turns."""

    def __init__(self, ports: list[int]) -> None:
        super().__init__()
        self._ports = itertools.cycle(ports)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(port=next(self._ports))
        return await super().handle_async_request(request)


def record_and_kill(split: Split, folder: Path, *, rendering: bool) -> None:
    """A call over both ingest processes becomes a whole film although a worker is killed; then all of it ends."""
    victim = split.processes.started[split.workers[0]]

    def wait_until_busy() -> None:  # a worker's job runs in its child
        split.processes.wait_for(lambda: len(descendants(victim.pid)) > 1)

    async def kill() -> None:
        if rendering:
            await asyncio.to_thread(wait_until_busy)
        victim.send_signal(signal.SIGKILL)
        await asyncio.to_thread(victim.wait)

    async def record() -> Path:
        async with httpx.AsyncClient(timeout=30, trust_env=False, transport=Both(split.ports)) as client:
            server = Server("http://127.0.0.1", split.token, "split", client)
            done = await replay(server, CALL, before_stop=None if rendering else kill)
            if rendering:
                await kill()
            state = await server.finished(done.recording_id, 120)
            assert state["status"] == "completed", state
            film = folder / "film.mp4"
            film.write_bytes(await server.file(done.recording_id, "composition.mp4"))
            return film

    findings, _ = examine(asyncio.run(record()), CALL)
    for name, person in findings.items():
        assert person.seen[0] == person.seen[1] > 0, name
        assert person.heard[0] == person.heard[1] > 0, name
    codes = split.processes.end(within_s=10)
    assert codes.pop(split.workers[0]) == -signal.SIGKILL
    # uvicorn, having shut down as it should, ends of the signal it was sent
    assert set(codes.values()) <= {0, -signal.SIGTERM}, codes


def test_a_call_becomes_a_film_although_a_worker_is_killed_while_it_runs(split: Split, tmp_path: Path) -> None:
    """Last of those that share a deployment: nothing of it is left."""
    record_and_kill(split, tmp_path, rendering=False)


@pytest.mark.slow  # 20 s until the job of a killed worker comes again
def test_a_call_becomes_a_film_although_a_worker_is_killed_while_it_renders(tmp_path: Path) -> None:
    with deployed(tmp_path) as split:
        record_and_kill(split, tmp_path, rendering=True)
