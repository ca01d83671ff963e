"""`callreel up`: everything on one machine, with one command, and nothing of it left when that ends.

The processes are the same as in any deployment, started by their public command lines; this file only says which.
"""

from __future__ import annotations

import http.client
import os
import shlex
import socket
import ssl
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .checks import start_settings, start_storage
from .embedded import index_command, wait_for_index
from .errors import InvalidSettings, Unavailable
from .folder import DataFolder
from .queue import WORKER_COMMAND
from .supervisor import Program, Supervisor
from .tokens import make_token

INGEST_PROCESSES = 2  #: one takes uploads while the other hashes; and none of them may rely on being alone

_READY_WITHIN_S = 60.0  #: a cold disk reads PyAV and numpy in ten
_ASK_S = 0.2
_DEMO_TOKEN_S = 24 * 3600  #: the printed link works for a day; the next start prints another

_ANY = {"": "localhost", "0.0.0.0": "localhost", "::": "localhost"}  # noqa: S104  # what a link says for "everywhere"
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the command line asked for."""

    folder: DataFolder
    host: str = "127.0.0.1"
    port: int = 3000
    workers: int = 1
    tls_cert: Path | None = None
    tls_key: Path | None = None
    verbose: bool = False

    @property
    def scheme(self) -> str:
        return "https" if self.tls_cert else "http"


def run(choices: Choices) -> None:
    """Start everything, and return when a signal has ended it. Raises `InvalidSettings`, `Unavailable`."""
    folder = choices.folder
    if bool(choices.tls_cert) != bool(choices.tls_key):
        raise InvalidSettings("TLS needs both: --tls-cert and --tls-key.")
    folder.make()
    folder.make_secret()
    with folder.locked():
        embedded = "CALLREEL_REDIS_URL" not in os.environ
        env = folder.environment()
        env["CALLREEL_JWT_SECRET"] = folder.secret()
        env.setdefault("CALLREEL_PARTICIPANTS_WATCH", "true")  # who called may watch what came of it
        env.setdefault("CALLREEL_ACCESS_LOG", str(folder.path / "access.log"))
        env.setdefault("CALLREEL_LOG_LEVEL", "info" if choices.verbose else "warning")
        env["PYTHONUNBUFFERED"] = "1"
        os.environ.update(env)
        start_storage(start_settings())  # what cannot work is said once, here, and not by six processes
        folder.write_environment(env)
        sockets = listen(choices.host, choices.port)
        supervisor = Supervisor()
        supervisor.listen()
        try:
            if embedded:
                supervisor.add(Program(name="index", argv=index_command(folder.index), env=env, last=True))
            try:
                wait_for_index(env["CALLREEL_REDIS_URL"], still=supervisor.tick)
            except Unavailable as error:
                raise Unavailable(
                    f"{error.detail} {folder.index / 'index.log'} says why." if embedded else error.detail
                ) from error
            for program in programs(choices, env, sockets):
                supervisor.add(program)
            port = sockets[0].getsockname()[1]
            wait_until_ready(choices, port, supervisor)
            if not supervisor.stopping:
                supervisor.settled = True
                print(greeting(choices, port, env["CALLREEL_JWT_SECRET"]), flush=True)
            supervisor.run()
        finally:
            supervisor.stop()
            for sock in sockets:
                sock.close()


def programs(choices: Choices, env: Mapping[str, str], sockets: list[socket.socket]) -> list[Program]:
    """Everything but the index server, as command lines."""
    # -P: a folder `workers` or `ingest` in which somebody types `callreel up` is not ours
    python = [sys.executable, "-P", "-m"]
    level = "info" if choices.verbose else "warning"
    tls = ["--ssl-certfile", str(choices.tls_cert), "--ssl-keyfile", str(choices.tls_key)] if choices.tls_cert else []
    found = [
        Program(
            name=f"ingest {n}",
            argv=[
                *python,
                *("uvicorn", "ingest.app:create_app", "--factory", "--fd", str(sock.fileno())),
                *("--loop", "uvloop", "--http", "ingest.uncopied:Uncopied", "--log-level", level, "--no-access-log"),
                "--no-proxy-headers",  # nobody looks at what they would set
                # Chunks come every few seconds: a connection that is closed in between costs a handshake each time.
                *("--timeout-keep-alive", "30"),
                *("--timeout-graceful-shutdown", "2"),
                *("--ws-max-size", "262144"),  # a frame is read before its sender is known
                *tls,
            ],
            env=env,
            fds=(sock.fileno(),),
        )
        for n, sock in enumerate(sockets, 1)
    ]
    quiet = ["--verbose"] if choices.verbose else ["--quiet"]
    worker = [*python, "rq.cli", *WORKER_COMMAND.split()[1:], *quiet]
    found += [Program(name=f"worker {n}", argv=worker, env=env) for n in range(1, choices.workers + 1)]
    if env.get("CALLREEL_WEBHOOK_URLS"):  # no webhook waits until a window is rendered
        found.append(Program(name="deliver", argv=[*worker, "deliver"], env=env))
    found.append(Program(name="sweep", argv=[*python, "callreel.cli", "sweep"], env=env))
    return found


def listen(host: str, port: int) -> list[socket.socket]:
    """A listening socket for each ingest process, all on one port. Raises `InvalidSettings`.

    On Linux each has its own (SO_REUSEPORT), for of several processes on one socket the first to wake takes all
    connections of a burst. They are opened here and stay open: while a process is started again, its callers wait.
    """
    spread = sys.platform == "linux"
    sockets: list[socket.socket] = []
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(
            family, socket.SOCK_STREAM
        ) as probe:  # SO_REUSEPORT would share the port of another Callreel
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            address = (address[0], probe.getsockname()[1], *address[2:])
        for _ in range(INGEST_PROCESSES if spread else 1):
            sock = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Connections inherit it. uvicorn takes a socket it is handed for a Unix one and does not set it itself;
            # then an answer's body, a second write, waits 40 ms for the acknowledgement of its headers.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if spread:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(address)
            sock.listen(2048)
    except OSError as error:
        for sock in sockets:
            sock.close()
        raise InvalidSettings(
            f"Cannot listen on {host}, port {port}: {error.strerror}. Choose another --port."
        ) from error
    return sockets if spread else sockets * INGEST_PROCESSES


def wait_until_ready(choices: Choices, port: int, supervisor: Supervisor) -> None:
    """Return once `/readyz` says so, or a signal came. Raises `Unavailable`."""
    begun = asked = time.monotonic()
    while not supervisor.stopping:
        supervisor.tick(0.1)  # shorter when something is printed
        if time.monotonic() - asked < _ASK_S:
            continue
        if _answers(choices, port):
            return
        asked = time.monotonic()
        if asked - begun > _READY_WITHIN_S:
            raise Unavailable(f"The server was not ready within {_READY_WITHIN_S:.0f} s.")


def _answers(choices: Choices, port: int) -> bool:
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(choices.host, choices.host)  # noqa: S104  # compared, not listened on
    if choices.tls_cert:
        # our own server on our own machine, by an address that its certificate need not name
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(host, port, timeout=2, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def greeting(choices: Choices, port: int, secret: str) -> str:
    """What is printed when everything is ready."""
    shown = _ANY.get(choices.host, choices.host)
    token = make_token(secret, call="demo", role="host", sub="host", ttl_s=_DEMO_TOKEN_S)
    rq = shlex.quote(str(Path(sys.executable).with_name("rq")))
    env_file = shlex.quote(str(choices.folder.env_file))
    link = f"{choices.scheme}://{_address(shown, port)}/#call=demo&token={token}"
    # Webhooks are left to the workers of this command: they alone know where those go and how they are signed.
    worker = f"(set -a; . {env_file}; exec {rq} {WORKER_COMMAND.removeprefix('rq ')} render export)"
    lines = [
        f"callreel: ready on {choices.scheme}://{_address(choices.host, port)}",
        f"callreel: a demo call, one window per person: {link}",
        f"callreel: one more worker: {worker}",
    ]
    if choices.scheme == "http" and choices.host not in _LOOPBACK:
        lines.append(
            "callreel: browsers give camera and microphone to pages on this machine or on https only; "
            "for others use --tls-cert and --tls-key, or a proxy that speaks TLS"
        )
    return "\n".join(lines)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
