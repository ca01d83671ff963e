"""Alive and ready: real reasons, in time, also where what is asked never answers."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis import Redis

from callreel import keys
from callreel.embedded import index_command, index_url, wait_for_index
from ingest.probes import PATIENCE_S
from tests.ingest.desk import Desk, application, refused, said


@contextmanager
def own_index(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An index server that may be stopped in the middle of a word."""
    folder.mkdir()
    process = subprocess.Popen(index_command(folder))
    try:
        wait_for_index(index_url(folder))
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait()


def reasons(desk: Desk) -> dict[str, Any]:
    """check → why it is not ready."""
    problem = refused(desk.client.get("/readyz"), 503, "unavailable")
    return {reason["check"]: reason for reason in problem["reasons"]}


def until_ready(desk: Desk, timeout_s: float = 30) -> Any:
    deadline = time.monotonic() + timeout_s
    while (answer := desk.client.get("/readyz")).status_code != 200:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.1)
    return said(answer, 200)


def test_ready_and_nobody_there_to_work(desk: Desk) -> None:
    assert said(desk.client.get("/livez"), 200) == {"status": "live"}
    found = until_ready(desk)
    assert found["status"] == "ready"
    assert ["worker" in found["warnings"][0], "sweeper" in found["warnings"][1]] == [True, True]


def test_with_worker_and_sweeper_there_is_nothing_to_warn_of(desk: Desk) -> None:
    desk.index.redis.sadd("rq:workers", "rq:worker:one", "rq:worker:dead")
    desk.index.redis.hset("rq:worker:one", "state", "idle")
    desk.index.redis.set(keys.SWEEP_LEASE, "somebody")
    time.sleep(0.3)
    assert until_ready(desk)["warnings"] == []


def test_an_index_that_is_made_anew(desk: Desk) -> None:
    until_ready(desk)
    desk.index.redis.set(keys.INDEX_LOCK, "somebody is at it", ex=60)
    desk.index.redis.delete(keys.EPOCH)
    time.sleep(0.3)
    assert "made anew" in reasons(desk)["index"]["detail"]
    desk.index.redis.delete(keys.INDEX_LOCK)
    until_ready(desk)


def test_an_index_that_takes_no_writes(tmp_path: Path, data_dir: Path) -> None:
    with own_index(tmp_path / "index"), application(index_url(tmp_path / "index"), data_dir) as desk:
        until_ready(desk)
        with Redis.from_url(index_url(tmp_path / "index")) as redis:
            redis.config_set("maxmemory", 1)
            time.sleep(0.3)
            assert "no writes" in reasons(desk)["index"]["detail"]
            redis.config_set("maxmemory", 0)
        until_ready(desk)


def test_an_index_that_hangs_is_told_in_time_and_one_that_is_gone_too(tmp_path: Path, data_dir: Path) -> None:
    with own_index(tmp_path / "index") as server, application(index_url(tmp_path / "index"), data_dir) as desk:
        until_ready(desk)
        server.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        for path in ("/readyz", "/livez", "/readyz"):
            begun_s = time.monotonic()
            answer = desk.client.get(path)
            assert time.monotonic() - begun_s < PATIENCE_S + 3  # the machine may be busy; a hang lasts for ever
            assert answer.status_code == (200 if path == "/livez" else 503)
        assert set(reasons(desk)) == {"index"}
        server.send_signal(signal.SIGCONT)
        until_ready(desk)
        server.terminate()
        server.wait()
        time.sleep(0.3)  # an answer is good for a quarter of a second
        assert "index" in reasons(desk)


def test_a_storage_that_takes_no_files(desk: Desk, data_dir: Path) -> None:
    until_ready(desk)
    (data_dir / "tmp").rename(data_dir / "gone")
    time.sleep(0.3)
    found = reasons(desk)
    assert set(found) == {"storage"}
    assert str(data_dir) not in found["storage"]["detail"]
    (data_dir / "gone").rename(data_dir / "tmp")
    until_ready(desk)


def test_looking_leaves_nothing_behind(desk: Desk, data_dir: Path) -> None:
    until_ready(desk)
    assert os.listdir(data_dir / "tmp") == []
