"""The servers that take uploads, each started as its own documentation has it, two processes each, and ended again."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks.generator import Target
from tests.stack import Stack, descendants, running

CHUNK_BYTES = 250_000
_HERE = Path(__file__).parent
_HOST = "127.0.0.1"
#: A segment begins like media or is refused; the rest is as incompressible as media.
_EBML = b"\x1a\x45\xdf\xa3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that can be loaded."""

    pid: int  #: it and everything below it is the server
    target: Callable[[int], Target]  #: bytes of a chunk → what to send; called before every round
    litter: Callable[[], None] = field(default=lambda: None)  #: empties what a round has stored

    def processes(self) -> dict[int, str]:
        return descendants(self.pid)

    def cpu_s(self) -> float:
        """Processor time of all its processes so far."""
        total = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")


def body_of(size_bytes: int) -> bytes:
    return _EBML + os.urandom(size_bytes - len(_EBML))


@contextlib.contextmanager
def callreel(folder: Path, *, fsync: bool, people: int, in_a_call: int) -> Iterator[Running]:
    """`callreel up`: two ingest processes, the embedded index, the sweeper, and a worker that has nothing to do.

    Each of the people has a camera, and each connection is one of them.
    """
    data = folder / f"callreel-{'fsync' if fsync else 'plain'}"
    data.mkdir()
    # what is measured is taking chunks in; the others make no film while they do
    env = {"CALLREEL_FSYNC": "always" if fsync else "never", "CALLREEL_RENDER": "after-stop"}
    with running(data, env=env) as stack:
        own = [
            seat
            for call in range(-(-people // in_a_call))
            for seat in _seats(stack, f"bench{call}", min(in_a_call, people - call * in_a_call))
        ]
        segments = itertools.count()

        def empty() -> None:
            for recording in (data / "recordings").iterdir():
                _empty(recording / "chunks")

        yield Running(
            pid=stack.process.pid,
            target=lambda size: _chunks(stack.url, tuple(own), next(segments), size),
            litter=empty,
        )


def _seats(stack: Stack, call: str, people: int) -> Iterator[dict[bytes, bytes]]:
    """Path and token of everybody's camera in a call that is being recorded."""
    path = f"/video-calls/{call}/recording"
    with httpx.Client(base_url=stack.url, timeout=60) as client:
        started = client.post(f"{path}/start", headers=stack.headers("host", call)).raise_for_status().json()
        for number in range(people):
            name = f"person{number}"
            headers = stack.headers("participant", call, name)
            track = f"{path}/{started['data']['recordingId']}/tracks/{name}-camera"
            client.put(track, json={"source": "camera", "kind": "video"}, headers=headers).raise_for_status()
            yield {b"track": track.encode(), b"authorization": headers["Authorization"].encode()}


def _chunks(url: str, own: tuple[dict[bytes, bytes], ...], segment: int, size_bytes: int) -> Target:
    """The request that puts a chunk into the connection's own track, as our library sends it."""
    body = body_of(size_bytes)
    host, port = url.removeprefix("http://").split(":")
    now_ms = int(time.time() * 1000)
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    head = (
        f"POST %(track)s/chunks HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: %(authorization)s\r\n"
        f'Content-Type: video/webm;codecs="vp8,opus"\r\nContent-Length: {size_bytes}\r\n'
        f"Content-Digest: sha-256=:{digest}:\r\n"
        f"Chunk: seg={segment}, seq=%(number)d, start={now_ms}, at={now_ms + 2000}, offset=-37012, err=9\r\n\r\n"
    )
    return Target(host=host, port=int(port), head=head.encode(), body=body, own=own)


@contextlib.contextmanager
def tus(folder: Path) -> Iterator[Running]:
    """`@tus/server` with its file store; one request a chunk, which is the least a client of tus can do."""
    node = shutil.which("node")
    if not node or not shutil.which("npm"):
        raise SystemExit("Node.js and npm are missing. On Debian: apt-get install nodejs npm")
    if not (_HERE / "tus" / "node_modules" / ".package-lock.json").exists():
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=_HERE / "tus", check=True)
    store = folder / "tus"
    store.mkdir()
    process = subprocess.Popen(
        [node, str(_HERE / "tus" / "server.js"), str(store)],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    with _ended(process):
        assert process.stdout
        line = process.stdout.readline().split()
        if line[:1] != ["ready"]:
            raise RuntimeError(f"the tus server said {line}")
        port = int(line[1])

        def target(size_bytes: int) -> Target:
            head = (
                f"POST /files HTTP/1.1\r\nHost: {_HOST}:{port}\r\nTus-Resumable: 1.0.0\r\n"
                f"Upload-Length: {size_bytes}\r\nContent-Type: application/offset+octet-stream\r\n"
                f"Content-Length: {size_bytes}\r\n\r\n"
            )
            return Target(host=_HOST, port=port, head=head.encode(), body=body_of(size_bytes))

        yield Running(pid=process.pid, target=target, litter=lambda: _empty(store))


_NGINX = """
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    scgi_temp_path {folder}/scgi;
    uwsgi_temp_path {folder}/uwsgi;
    keepalive_requests 1000000;
    server {{
        listen {host}:{port} reuseport;
        root {folder}/store;
        location / {{ dav_methods PUT; create_full_put_path on; }}
    }}
}}
"""


@contextlib.contextmanager
def nginx(folder: Path) -> Iterator[Running]:
    """nginx and its WebDAV module: a file under a name, and nothing known of what is in it."""
    program = find_nginx()
    home = folder / "nginx"
    (home / "store").mkdir(parents=True)
    home.chmod(0o755)
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port = probe.getsockname()[1]
    config = _NGINX.format(folder=home, host=_HOST, port=port)
    if os.getuid() == 0:
        config = "user root;" + config  # whose folder this is
    (home / "nginx.conf").write_text(config)
    process = subprocess.Popen([program, "-p", str(home), "-c", str(home / "nginx.conf")], stdin=subprocess.DEVNULL)
    rounds = itertools.count()  # a name that is taken would be another kind of request
    with _ended(process):
        _wait_for(port, process)

        def target(size_bytes: int) -> Target:
            head = (
                f"PUT /{next(rounds)}/%(connection)d/%(number)d.webm HTTP/1.1\r\nHost: {_HOST}:{port}\r\n"
                f"Content-Length: {size_bytes}\r\n\r\n"
            )
            return Target(host=_HOST, port=port, head=head.encode(), body=body_of(size_bytes))

        yield Running(pid=process.pid, target=target, litter=lambda: _empty(home / "store"))


def find_nginx() -> str:
    """nginx with its WebDAV module; root installs it where it is missing."""
    path = os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin"
    if not shutil.which("nginx", path=path) and os.getuid() == 0 and shutil.which("apt-get"):
        env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], env=env, check=True)
        subprocess.run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "nginx-light"], env=env, check=True
        )
    found = shutil.which("nginx", path=path)
    if not found:
        raise SystemExit("nginx is missing. On Debian: apt-get install nginx-light")
    said = subprocess.run([found, "-V"], capture_output=True, text=True, check=True).stderr
    if "http_dav_module" not in said:
        raise SystemExit(f"{found} lacks its WebDAV module. On Debian: apt-get install nginx-light")
    return found


@contextlib.contextmanager
def _ended(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection((_HOST, port), 1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _empty(folder: Path) -> None:
    """Give back the room of all files below a folder, and keep the files.

    ext4 does not hand out inodes for a minute after they were deleted, and looks at each of them when it needs one:
    whoever came next would pay for what the one before has left.
    """
    for path in folder.rglob("*"):
        if path.is_file():
            os.truncate(path, 0)


def temporary(parent: Path | None) -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="callreel-benchmark-", dir=parent, ignore_cleanup_errors=True)
