"""Processes started by plain command lines, as an operator or a container does, and ended by a signal."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from callreel.embedded import index_command
from tests.stack import ROOT, descendants


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def bare_environment(folder: Path) -> dict[str, str]:
    """Nothing of ours but the programs: this installation's own first, and an index server by its usual name."""
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    with contextlib.suppress(FileExistsError):
        (programs / "redis-server").symlink_to(index_command(folder)[0])
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CALLREEL_")}
    path = f"{programs}:{Path(sys.executable).parent}:{kept['PATH']}"
    return kept | {"PATH": path, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


@dataclass
class Processes:
    """What was started: name → process."""

    folder: Path  #: where their output goes, and the folder they begin in
    started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, line: str | list[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """A shell's line, or a program with its arguments."""
        argv = ["bash", "-c", f"exec {line}"] if isinstance(line, str) else line
        with open(self.folder / f"{name}.log", "wb") as log:
            self.started[name] = subprocess.Popen(
                argv, env=dict(env), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        return self.started[name]

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def end(self, *, within_s: float) -> dict[str, int]:
        """SIGTERM to whoever lives, to the index server when the others have gone; exit codes of all.

        Raises where one does not end, or leaves somebody behind.
        """
        pids = {pid for process in self.started.values() for pid in descendants(process.pid)}
        codes: dict[str, int] = {}
        for last in (False, True):
            group = {name: process for name, process in self.started.items() if name.startswith("redis") == last}
            for process in group.values():
                process.send_signal(signal.SIGTERM)
            deadline = time.monotonic() + within_s
            codes |= {name: process.wait(max(0.1, deadline - time.monotonic())) for name, process in group.items()}
        left = {pid: line for pid in pids for pid, line in descendants(pid).items()}
        assert not left, f"left behind: {left}"
        return codes

    def wait_for(self, what: Callable[[], bool], timeout_s: float = 60) -> None:
        deadline = time.monotonic() + timeout_s
        while not what():
            dead = {name: process.poll() for name, process in self.started.items() if process.poll() not in (None, -9)}
            told = "\n".join(f"--- {name}\n{self.said(name)[-2000:]}" for name in self.started)
            assert not dead, f"ended: {dead}\n{told}"
            assert time.monotonic() < deadline, f"not within {timeout_s} s\n{told}"
            time.sleep(0.1)


@contextlib.contextmanager
def processes(folder: Path) -> Iterator[Processes]:
    """Whatever the block starts, gone behind it."""
    found = Processes(folder)
    try:
        yield found
    finally:
        for process in found.started.values():
            for pid in descendants(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=10).status_code == 200
    except httpx.TransportError:
        return False


def blocks(page: str, language: str, heading: str = "") -> list[str]:
    """What stands in a page's code blocks of a language, below one heading or anywhere."""
    text = (ROOT / "docs" / page).read_text()
    if heading:
        _, found, rest = text.partition(f"\n## {heading}\n")
        assert found, f"{page} has no heading {heading!r}"
        text = re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
