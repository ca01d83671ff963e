"""The worker as a person starts it: by the literal command line of the contract."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis
from rq import Queue as RqQueue
from rq.serializers import JSONSerializer

from callreel import abilities, keys, metrics
from callreel.queue import WORKER_COMMAND
from workers.codecs import encodable

ROOT = Path(__file__).parents[2]
Start = Callable[..., "subprocess.Popen[bytes]"]


def command(line: str) -> list[str]:
    return [sys.executable, "-m", "rq.cli", *line.split()[1:]]


@pytest.fixture
def start_worker(redis_url: str, data_dir: Path) -> Iterator[Start]:
    started = []

    def start(*queues: str) -> subprocess.Popen[bytes]:
        env = os.environ | {"CALLREEL_REDIS_URL": redis_url, "CALLREEL_STORAGE": f"file://{data_dir}"}
        process = subprocess.Popen([*command(WORKER_COMMAND), "--quiet", *queues], env=env, cwd=ROOT)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture
def jobs(redis_url: str) -> RqQueue:
    return RqQueue("render", connection=Redis.from_url(redis_url), serializer=JSONSerializer)


def wait_for(folder: Path, pattern: str, count: int = 1, timeout_s: float = 30) -> list[Path]:
    deadline = time.monotonic() + timeout_s
    while len(found := sorted(folder.glob(pattern))) < count:
        assert time.monotonic() < deadline, f"no {count} {pattern} within {timeout_s} s, only {found}"
        time.sleep(0.02)
    return found


def pid_of(path: Path) -> int:
    return int(path.name.partition("-")[2])


@pytest.mark.parametrize(
    "line",
    [
        "rq worker -c workers.settings -w workers.settings.Worker",
        "rq worker -c workers.settings -S json",
        "rq worker -S json -w workers.settings.Worker",
        "rq worker -c workers.settings -S json -w workers.settings.Worker default",
    ],
)
def test_a_worker_started_otherwise_refuses_and_says_how(line: str, redis_url: str) -> None:
    env = os.environ | {"CALLREEL_REDIS_URL": redis_url}
    done = subprocess.run(command(line), env=env, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0
    assert WORKER_COMMAND in done.stderr


def test_a_job_refuses_to_run_in_any_other_worker(redis_url: str, jobs: RqQueue) -> None:
    job = jobs.enqueue("workers.jobs.advance", "rec_call-1_1732259000000")
    line = ["worker", "--burst", "--url", redis_url, "-S", "json", "render"]
    subprocess.run([sys.executable, "-m", "rq.cli", *line], cwd=ROOT, capture_output=True, timeout=60, check=True)
    failed = jobs.fetch_job(job.id)
    assert failed is not None
    assert failed.is_failed
    result = failed.latest_result()
    assert result is not None
    assert WORKER_COMMAND in (result.exc_string or "")


def test_a_worker_without_names_serves_all_queues_and_begins_a_job_at_once(
    start_worker: Start, redis_url: str, tmp_path: Path
) -> None:
    start_worker()
    connection = Redis.from_url(redis_url)
    for name in ("deliver", "render", "export"):
        folder = tmp_path / name
        folder.mkdir()
        asked_s = time.time()
        RqQueue(name, connection=connection, serializer=JSONSerializer).enqueue(
            "tests.workers.chores.note", str(folder)
        )
        noted = wait_for(folder, "noted")[0]
        began_within_s = float(noted.read_text()) - asked_s
        behind = int((folder / "nice").read_text()) - os.nice(0)
        assert behind == (0 if name == "deliver" else 5), "renders stand behind whoever takes chunks"
    assert began_within_s < 0.5  # of the last one, when the worker was up; milliseconds where nothing else runs


def test_a_worker_tells_what_it_can_encode_until_it_is_gone(start_worker: Start, redis_url: str) -> None:
    connection = Redis.from_url(redis_url)
    assert abilities.told(connection) == frozenset()
    start_worker()
    deadline = time.monotonic() + 30
    while not abilities.told(connection):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert abilities.told(connection) == encodable() >= {"h264", "vp8", "aac", "opus", "pcm"}
    assert 45 < int(connection.ttl(keys.ability("h264"))) <= abilities.TTL_S, "longer than it is silent"


def test_sigterm_lets_the_running_job_end(start_worker: Start, jobs: RqQueue, tmp_path: Path) -> None:
    worker = start_worker()
    jobs.enqueue("tests.workers.chores.nap", str(tmp_path), 1.5)
    wait_for(tmp_path, "begun-*")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=15) == 0
    assert list(tmp_path.glob("ended-*"))


def test_an_idle_worker_ends_at_once(start_worker: Start, jobs: RqQueue, tmp_path: Path) -> None:
    worker = start_worker()
    jobs.enqueue("tests.workers.chores.note", str(tmp_path))
    wait_for(tmp_path, "noted")
    time.sleep(0.2)
    began_s = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=15) == 0
    assert time.monotonic() - began_s < 10  # a busy machine takes seconds; one that waits for its queue, 45


def test_jobs_are_counted_by_how_they_ended(start_worker: Start, jobs: RqQueue, redis_url: str, tmp_path: Path) -> None:
    start_worker()
    jobs.enqueue("tests.workers.chores.note", str(tmp_path))
    jobs.enqueue("tests.workers.chores.note", str(tmp_path / "nowhere"))
    jobs.enqueue("tests.workers.chores.nap", str(tmp_path), 30)
    os.kill(pid_of(wait_for(tmp_path, "begun-*")[0]), signal.SIGKILL)
    redis = Redis.from_url(redis_url, decode_responses=True)

    def ended(kind: str, result: str) -> float:
        labels = f'{{"kind": "{kind}", "result": "{result}"}}'
        return metrics.totals(redis).get(f"callreel_jobs_total {labels}", 0)

    deadline = time.monotonic() + 60
    while not ended("nap", "killed"):
        assert time.monotonic() < deadline, metrics.totals(redis)
        time.sleep(0.1)
    assert (ended("note", "ok"), ended("note", "failed"), ended("nap", "killed")) == (1, 1, 1)
    assert metrics.totals(redis)['callreel_job_seconds_count {"kind": "note"}'] == 2
    assert metrics.totals(redis)['callreel_job_wait_seconds_count {"kind": "note"}'] == 2
