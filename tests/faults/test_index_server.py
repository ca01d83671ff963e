"""The index server is killed in the middle of a call, remembers all, some or nothing of it, and nothing is lost."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from callreel import rebuild
from callreel.control import Control
from callreel.embedded import index_command, index_url, wait_for_index
from callreel.index import Index, connect
from callreel.lifeline import tied
from callreel.storage.local import LocalStorage
from tests.ingest.desk import CALL

from .forks import House, port
from .oracle import Acked, assert_rebuilds_to_itself, assert_sound
from .roles import finish, ingest
from .test_kills import Caller

PEOPLE, KILLS = 3, 3


@contextlib.contextmanager
def index_server(folder: Path, *, remembers: bool) -> Iterator[subprocess.Popen[bytes]]:
    kept = "yes" if remembers else "no"
    process = subprocess.Popen([*index_command(folder), "--appendonly", kept], preexec_fn=tied())
    try:
        wait_for_index(index_url(folder))
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("remembers", [True, False], ids=["append-only file", "no memory"])
def test_an_index_server_killed_in_the_middle_of_a_call_costs_time_alone(
    data_dir: Path, tmp_path: Path, remembers: bool
) -> None:
    acked, enough, url = Acked(), threading.Event(), index_url(tmp_path)
    storage, house = LocalStorage(data_dir, fsync=False), House(url, data_dir)
    with contextlib.ExitStack() as all_of_it:
        servers = all_of_it.enter_context(contextlib.ExitStack())
        servers.enter_context(index_server(tmp_path, remembers=remembers))
        index = Index(connect(url))
        rebuild.ensure(index, storage)
        control = Control(storage, index)
        recording_id = control.start(CALL, "host", {}).recording_id
        control.put_track(recording_id, "cam", "alice", "Alice", "camera", "av", "")
        listener, client = all_of_it.enter_context(port())
        threads = all_of_it.enter_context(ThreadPoolExecutor(PEOPLE))
        all_of_it.enter_context(house.forked(ingest, listener))
        callers = [Caller(str(client.base_url), recording_id, number, 1, acked) for number in range(PEOPLE)]
        uploads = [threads.submit(caller.upload, enough) for caller in callers]
        try:
            for number in range(KILLS + 1):
                before = len(acked)
                while len(acked) < before + 2 * PEOPLE and not any(upload.done() for upload in uploads):
                    time.sleep(0.01)
                if number < KILLS:
                    servers.close()
                    servers.enter_context(index_server(tmp_path, remembers=remembers))
        finally:
            enough.set()
        for upload in uploads:
            upload.result()
        rebuild.ensure(index, storage)
        assert_sound(url, data_dir, acked)
        assert_rebuilds_to_itself(url, data_dir)
        control.stop(CALL)
        assert house.ended(finish) == 0  # no film, for these bytes are none; but an end, and one only
        assert_sound(url, data_dir, acked)
        index.redis.close()
