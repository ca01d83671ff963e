"""Killed while they work: a worker that renders, and the sweeper that leads. What they did is done again, and once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from callreel import journal, keys, rebuild
from callreel.index import Index, connect
from callreel.queue import WORKER_COMMAND, Queue
from callreel.repository import load
from callreel.states import FINAL, Status
from callreel.storage.local import LocalStorage
from tests.kit.build import build_recording
from tests.kit.call_generator import generate_call
from tests.stack import ROOT, descendants

from .forks import House
from .oracle import assert_no_process, assert_sound

#: How long until another attempt, by the contract and by what we aim at: lost after 20 s of silence at the latest.
_MUST_S, _AIM_S = 75, 20
_LEASE = f"{keys.INDEX_PREFIX}sweep:lease"

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(redis_url: str, data_dir: Path) -> Iterator[Start]:
    """Starts a command of Callreel, which is over when the test is."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        environment = os.environ | House(redis_url, data_dir, fsync="never").environment()
        started.append(subprocess.Popen([sys.executable, "-m", *arguments], env=environment, cwd=ROOT))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def until(condition: Callable[[], object], timeout_s: float, what: str) -> float:
    """Wait for something; how long it took, in seconds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout_s, f"{what} has not come within {timeout_s} s"
        time.sleep(0.01)
    return time.monotonic() - began


def tree_of(worker: subprocess.Popen[bytes]) -> tuple[int, int] | None:
    """The work-horse of a worker and its ffmpeg, once both are there."""
    below = {pid: line for pid, line in descendants(worker.pid).items() if pid != worker.pid}
    ffmpegs = [pid for pid, line in below.items() if "ffmpeg" in line.split(" ")[0]]
    horses = [pid for pid in below if pid not in ffmpegs]
    return (horses[0], ffmpegs[0]) if horses and ffmpegs else None


def seen(worker: subprocess.Popen[bytes]) -> tuple[int, int]:
    """The same, waited for."""
    until(lambda: tree_of(worker), 60, "an attempt")
    found = tree_of(worker)
    assert found, "it was over at once"
    return found


def is_alive(pid: int) -> bool:
    return pid in descendants(pid)


def test_killed_workers_leave_no_process_and_their_window_is_rendered_again_and_once(
    redis_url: str, data_dir: Path, start: Start
) -> None:
    recording_id = build_recording(
        data_dir, generate_call(seed=4, count=1, length_ms=6000), options={"preset": "1080p"}
    )
    storage, index = LocalStorage(data_dir), Index(connect(redis_url))
    rebuild.ensure(index, storage)
    worker = ("rq.cli", *WORKER_COMMAND.split()[1:], "--quiet")
    first = start(*worker)
    Queue(redis_url).advance(recording_id)
    sweeper = start("callreel.cli", "sweep")
    until(lambda: index.redis.get(_LEASE), 60, "a sweeper")
    leads = index.redis.get(_LEASE)
    start("callreel.cli", "sweep")

    horse, ffmpeg = seen(first)
    os.kill(horse, signal.SIGKILL)  # the worker lives, and tries again at once
    until(lambda: not is_alive(ffmpeg), 2, "the end of an ffmpeg whose work-horse was killed")

    horse, ffmpeg = seen(first)
    sweeper.kill()
    first.kill()  # its children are tied to it
    gone_s = until(lambda: not is_alive(horse) and not is_alive(ffmpeg), 2, "the end of a killed worker's children")
    second = start(*worker)
    again_s = gone_s + until(lambda: tree_of(second), _MUST_S, "another worker's attempt")
    assert index.redis.get(_LEASE) not in (None, leads), "no other sweeper leads"
    print(f"second attempt after {again_s:.1f} s (aim {_AIM_S}); no process of the first after {gone_s * 1000:.0f} ms")

    until(lambda: load(storage, recording_id).status in FINAL, 120, "the film")
    until(lambda: all(a.status == "ready" for a in load(storage, recording_id).artifacts), 60, "the tracks")
    assert load(storage, recording_id).status is Status.COMPLETED
    types = [fact.type for fact in journal.read(storage, recording_id)]
    assert types.count("completed") + types.count("updated") == 1
    assert len(list(storage.list(keys.windows_prefix(recording_id)))) == 1
    failed = [each for queue in Queue(redis_url)._queues.values() for each in queue.failed_job_registry.get_job_ids()]
    assert failed == [], "work that was done in the end is no failure"
    assert_no_process(str(data_dir))
    assert_sound(redis_url, data_dir, {})
    index.redis.close()
