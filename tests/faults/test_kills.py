"""kill -9 at moments that nobody chose: what was acknowledged is there, to the last byte."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import httpx
import pytest

from callreel import rebuild
from callreel.control import Control
from callreel.index import Index, connect
from callreel.storage.local import LocalStorage
from tests.ingest.desk import CALL, bearer, chunk_headers, media

from .forks import House, port
from .oracle import Acked, assert_rebuilds_to_itself, assert_sound
from .roles import ingest

PEOPLE = 6


class Caller:
    """Uploads one chunk after the other, each until it is acknowledged, as the browser's outbox does."""

    def __init__(self, url: str, recording_id: str, number: int, seed: int, acked: Acked) -> None:
        self._url = f"{url}/video-calls/{CALL}/recording/{recording_id}/tracks/cam/chunks"
        self._recording_id, self._seg, self._acked = recording_id, number, acked
        self._dice = random.Random(f"{seed} {number}")

    def upload(self, enough: threading.Event) -> None:
        with httpx.Client(timeout=20) as client:
            for seq in range(1_000_000):
                if enough.is_set():
                    return
                # most chunks are collected in memory, some go through a temporary file
                size_bytes = self._dice.choice([300, 40_000, 250_000, 1_300_000])
                content = media(self._seg, seq, size_bytes)
                self._until_acknowledged(client, seq, content)
                self._acked[self._recording_id, "cam", self._seg, seq] = content

    def _until_acknowledged(self, client: httpx.Client, seq: int, content: bytes) -> None:
        headers = {**bearer(), **chunk_headers(self._seg, seq, content)}
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = client.post(self._url, content=content, headers=headers)
                if answer.is_success:
                    return
                assert answer.json()["retryable"], answer.text
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.mark.parametrize("kills", [15, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.timeout(900)
def test_ingest_processes_killed_at_any_moment_lose_nothing_they_acknowledged(
    redis_url: str, data_dir: Path, kills: int
) -> None:
    seed = int(os.environ.get("CALLREEL_SEED") or random.randrange(10**6))
    dice, acked = random.Random(seed), Acked()
    house, storage, index = House(redis_url, data_dir), LocalStorage(data_dir), Index(connect(redis_url))
    rebuild.ensure(index, storage)
    control = Control(storage, index)
    recording_id = control.start(CALL, "host", {}).recording_id
    control.put_track(recording_id, "cam", "alice", "Alice", "camera", "av", "")
    enough = threading.Event()
    with port() as (listener, client), ThreadPoolExecutor(PEOPLE) as threads, contextlib.ExitStack() as servers:

        def serve() -> ForkServerProcess:
            return servers.enter_context(house.forked(ingest, listener))

        alive = [serve(), serve()]
        callers = [Caller(str(client.base_url), recording_id, number, seed, acked) for number in range(PEOPLE)]
        uploads = [threads.submit(caller.upload, enough) for caller in callers]
        try:
            for _ in range(kills):
                before = len(acked)
                while len(acked) == before and not any(upload.done() for upload in uploads):
                    time.sleep(0.002)  # somebody must be at work, or nothing is tried
                time.sleep(dice.uniform(0, 0.06))
                victim = alive.pop(dice.randrange(2))
                victim.kill()
                victim.join()
                alive.append(serve())
        finally:
            enough.set()
        for upload in uploads:
            upload.result()
    print(f"seed {seed}: {kills} kills, {len(acked)} chunks acknowledged, {sum(map(len, acked.values())) / 1e6:.0f} MB")
    assert len(acked) > kills
    assert_sound(redis_url, data_dir, acked)
    assert_rebuilds_to_itself(redis_url, data_dir)
    assert_sound(redis_url, data_dir, acked)
    index.redis.close()
