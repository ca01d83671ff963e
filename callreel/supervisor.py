"""Keeps processes running: starts them, prints what they say, starts them again, and ends all of them together.

One thread and one loop, for two reasons: children are tied to the thread that started them (see `lifeline`), and a
fork in a process of many threads is a trap.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import IO

from .errors import Unavailable
from .lifeline import tied

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_STEADY_S = 60.0  #: who has run for so long is started again without a pause

_ASK_AGAIN_S = 2.5  #: a second SIGTERM tells an RQ worker to drop its job, which another will take
_INSIST_S = 5.0  #: and then the process group is killed

_LONGEST_LINE = 65536  #: a child that never ends its line shall not fill our memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What is to be kept running."""

    name: str
    argv: list[str]
    env: Mapping[str, str]
    fds: tuple[int, ...] = ()  #: sockets it inherits
    last: bool = False  #: ended only when all others have gone


@dataclass(slots=True)
class _Child:
    program: Program
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    pause_s: float = 0.0
    due_s: float = 0.0
    rest: bytes = b""


@dataclass(slots=True)
class Supervisor:
    """`add` programs, `run` until a signal, `stop`. Raises `Unavailable` where one dies before all are ready."""

    say: Callable[[str], None] = field(default=lambda line: print(line, file=sys.stderr, flush=True))
    settled: bool = False  #: from now on a child that dies is started again
    _children: list[_Child] = field(default_factory=list)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _stopping: bool = False

    def listen(self) -> None:
        """From now on SIGINT, SIGTERM and SIGHUP end `run`."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: setattr(self, "_stopping", True))

    @property
    def stopping(self) -> bool:
        return self._stopping

    def add(self, program: Program) -> None:
        child = _Child(program)
        self._children.append(child)
        self._start(child)

    def tick(self, timeout_s: float = 0.2) -> None:
        """Print what was said, and look after who has died."""
        for key, _ in self._selector.select(timeout_s):
            self._read(key.data)
        for child in self._children:
            if child.process is None:
                if time.monotonic() >= child.due_s and not self._stopping:
                    self._start(child)
            elif child.process.poll() is not None:
                self._bury(child)

    def run(self) -> None:
        while not self._stopping:
            self.tick()

    def stop(self) -> None:
        """End everything, politely, then firmly; the ones that others need come last."""
        self._stopping = True
        for last in (False, True):
            self._end([child for child in self._children if child.process and child.program.last == last])

    def _end(self, children: Iterable[_Child]) -> None:
        waiting = [child for child in children if child.process]
        begun = time.monotonic()
        asked = 0
        while waiting:
            elapsed_s = time.monotonic() - begun
            if elapsed_s >= _INSIST_S:
                self._signal(waiting, signal.SIGKILL)
            elif asked == 0 or (asked == 1 and elapsed_s >= _ASK_AGAIN_S):
                self._signal(waiting, signal.SIGTERM)
                asked += 1
            self.tick(0.05)
            waiting = [child for child in waiting if child.process]

    def _signal(self, children: Iterable[_Child], number: signal.Signals) -> None:
        for child in children:
            if child.process and child.process.poll() is None:
                if number == signal.SIGKILL:
                    os.killpg(child.process.pid, number)
                else:
                    child.process.send_signal(number)

    def _start(self, child: _Child) -> None:
        program = child.program
        child.process = subprocess.Popen(
            program.argv,
            env=dict(program.env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            pass_fds=program.fds,
            start_new_session=True,  # Ctrl-C in a terminal is for us alone
            preexec_fn=tied(),  # safe: there is only one thread
        )
        child.started_s = time.monotonic()
        output = _output(child.process)
        os.set_blocking(output.fileno(), False)
        self._selector.register(output, selectors.EVENT_READ, child)

    def _read(self, child: _Child) -> None:
        assert child.process
        data = _output(child.process).read(_LONGEST_LINE)
        if data == b"":  # closed; whether it is dead, poll() knows
            self._selector.unregister(_output(child.process))
        *lines, child.rest = (child.rest + (data or b"")).split(b"\n")
        if len(child.rest) > _LONGEST_LINE:
            lines, child.rest = [*lines, child.rest], b""
        for line in lines:
            self.say(f"[{child.program.name}] {line.decode(errors='replace')}")

    def _bury(self, child: _Child) -> None:
        process = child.process
        assert process
        output = _output(process)
        if output.fileno() in self._selector.get_map():
            self._read(child)
        if output.fileno() in self._selector.get_map():
            self._selector.unregister(output)
        if child.rest:
            self.say(f"[{child.program.name}] {child.rest.decode(errors='replace')}")
        output.close()
        child.process, child.rest = None, b""
        if self._stopping:
            return
        how = f"ended with {process.returncode}" if process.returncode >= 0 else f"was killed by {-process.returncode}"
        if not self.settled:
            raise Unavailable(f"{child.program.name} {how} before everything was ready.")
        steady = time.monotonic() - child.started_s > _STEADY_S
        child.pause_s = _FIRST_PAUSE_S if steady else min(max(_FIRST_PAUSE_S, 2 * child.pause_s), _LONGEST_PAUSE_S)
        child.due_s = time.monotonic() + child.pause_s
        self.say(f"[{child.program.name}] {how}; starting it again in {child.pause_s:g} s")


def _output(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdout
    return process.stdout
