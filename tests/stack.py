"""All of Callreel as a person starts it, on a data folder of its own and a free port."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from callreel.folder import DataFolder
from callreel.tokens import make_token

ROOT = Path(__file__).parents[1]


@dataclass
class Stack:
    """A running `callreel up`."""

    data: Path
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)  #: everything it and its children printed
    _ready: threading.Event = field(default_factory=threading.Event)
    _listener: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def url(self) -> str:
        return self._found(r"ready on (\S+)")

    @property
    def demo_link(self) -> str:
        return self._found(r"(https?://\S+#call=\S+)")

    @property
    def redis_url(self) -> str:
        return DataFolder(self.data).environment({})["CALLREEL_REDIS_URL"]

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def token(self, role: str, call: str = "*", sub: str = "tester", name: str = "") -> str:
        return make_token(DataFolder(self.data).secret({}), call=call, role=role, sub=sub, name=name)

    def headers(self, role: str, call: str = "*", sub: str = "tester") -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(role, call, sub)}"}

    def children(self) -> dict[int, str]:
        """Every living process below it: pid → command line."""
        return {pid: line for pid, line in descendants(self.process.pid).items() if pid != self.process.pid}

    def started(self) -> dict[int, str]:
        """Those of them that it started itself: a worker has a child of its own for each job, which comes and goes."""
        parents = _parents()
        return {pid: line for pid, line in self.children().items() if parents.get(pid) == self.process.pid}

    def wait_until_ready(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not self._ready.wait(0.05):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"callreel up is not ready, {self.process.poll()=}:\n{self.output}")

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.wait(timeout_s=20)
        finally:
            self.process.kill()

    def wait(self, timeout_s: float) -> int:
        """Its exit code, once it has ended and all it said is in `lines`."""
        code = self.process.wait(timeout_s)
        self._listener.join(timeout_s)
        return code

    def _found(self, pattern: str) -> str:
        match = re.search(pattern, self.output)
        assert match, self.output
        return match[1]

    def _listen(self) -> None:
        assert self.process.stdout
        with self.process.stdout as said:
            for line in said:
                self.lines.append(line.rstrip("\n"))
                if "callreel: one more worker:" in line:  # the last of the lines that are always there
                    self._ready.set()


def start(data: Path, *options: str, env: dict[str, str] | None = None, python: str = sys.executable) -> Stack:
    """Start `callreel up`, without waiting for it."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CALLREEL_")}
    process = subprocess.Popen(
        [python, "-P", "-m", "callreel.cli", "up", "--data", str(data), "--port", "0", *options],
        env=inherited | {"PYTHONPATH": str(ROOT)} | (env or {}),
        cwd=data.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return Stack(data, process)


@contextlib.contextmanager
def running(
    data: Path, *options: str, env: dict[str, str] | None = None, python: str = sys.executable
) -> Iterator[Stack]:
    """`callreel up` for as long as the block lasts, ready."""
    stack = start(data, *options, env=env, python=python)
    try:
        stack.wait_until_ready(60)
        yield stack
    finally:
        stack.stop()


def descendants(pid: int) -> dict[int, str]:
    """A process and everything below it that lives: pid → command line."""
    parents = _parents()
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return {each: _command_line(each) for each in found if each in parents}


def _parents() -> dict[int, int]:
    """Of everything that lives."""
    found: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = stat.read_text().rsplit(")", 1)[1].split()[:2]
            if state not in "ZX":
                found[int(stat.parent.name)] = int(parent)
    return found


def _command_line(pid: int) -> str:
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""
