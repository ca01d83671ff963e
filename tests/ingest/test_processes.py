"""Two real servers on one data folder and one index: races, sudden deaths, memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis
from rq import Queue as RqQueue
from rq.serializers import JSONSerializer

from callreel import journal, rebuild
from callreel.events import fold_events
from callreel.index import Index, connect
from callreel.repository import read_chunks
from callreel.storage import open_storage

from .desk import CALL, EBML, SECRET, bearer, chunk_headers, media, said

ROOT = Path(__file__).parents[2]


@dataclass
class Server:
    """One process of the web shell."""

    url: str
    process: subprocess.Popen[bytes]

    def resident_bytes(self) -> int:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024


@contextlib.contextmanager
def served(redis_url: str, folder: Path, count: int = 2, **settings: Any) -> Iterator[list[Server]]:
    values = {
        "jwt_secret": SECRET,
        "redis_url": redis_url,
        "storage": f"file://{folder}",
        "min_free_bytes": 64 * 1024**2,  # the least that is not refused at start
        **settings,
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CALLREEL_")}
    chosen = {f"CALLREEL_{name.upper()}": str(value) for name, value in values.items()}
    servers: list[Server] = []
    try:
        for _ in range(count):
            with socket.create_server(("127.0.0.1", 0)) as listener:
                port = listener.getsockname()[1]
                process = subprocess.Popen(
                    [
                        *(sys.executable, "-m", "uvicorn", "ingest.app:create_app", "--factory"),
                        *("--http", "ingest.uncopied:Uncopied"),
                        *("--fd", str(listener.fileno()), "--no-access-log", "--log-level", "warning"),
                        *("--timeout-keep-alive", "30"),  # as `callreel up` does it
                    ],
                    env=inherited | chosen | {"PYTHONPATH": str(ROOT)},
                    pass_fds=[listener.fileno()],
                )
            servers.append(Server(f"http://127.0.0.1:{port}", process))
        for server in servers:
            wait_until_ready(server.url)
        yield servers
    finally:
        for server in servers:
            server.process.send_signal(signal.SIGTERM)
        for server in servers:
            server.process.wait(timeout=20)


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError(f"{url} is not ready")


def talking(url: str) -> httpx.Client:
    """A client; one for many requests, for making one takes longer than they do."""
    return httpx.Client(base_url=url, timeout=20)


def begun(url: str) -> str:
    """The chunks' address of a track that was just announced."""
    with talking(url) as client:
        answer = client.post(f"/video-calls/{CALL}/recording/start", headers=bearer())
        path = f"/video-calls/{CALL}/recording/{said(answer, 201)['recordingId']}/tracks/cam"
        said(client.put(path, json={"source": "camera", "kind": "av"}, headers=bearer()), 201)
    return f"{path}/chunks"


def post_chunk(client: httpx.Client, path: str, seq: int, content: bytes) -> httpx.Response:
    return client.post(path, content=content, headers={**bearer(), **chunk_headers(0, seq, content)})


def recording_of(path: str) -> str:
    return path.split("/")[4]


def differences(redis_url: str, folder: Path) -> list[str]:
    """Where index and storage do not agree."""
    index = Index(connect(redis_url))
    try:
        return rebuild.check(index, open_storage(f"file://{folder}"))
    finally:
        index.redis.close()


def test_the_same_slot_raced_with_different_bytes(redis_url: str, data_dir: Path) -> None:
    rounds = 200
    with (
        served(redis_url, data_dir, fsync="never") as servers,
        talking(servers[0].url) as one,
        talking(servers[1].url) as other,
        ThreadPoolExecutor(2) as threads,
    ):
        path = begun(servers[0].url)
        outcomes = []
        for seq in range(rounds):
            contents = [EBML + f"{seq} of {who}".encode() * 50 for who in range(2)]
            posts = [
                threads.submit(post_chunk, client, path, seq, content)
                for client, content in zip((one, other) if seq % 2 else (other, one), contents, strict=True)
            ]
            statuses = [post.result().status_code for post in posts]
            assert sorted(statuses) == [201, 409], seq
            outcomes.append(contents[statuses.index(201)])
    storage = open_storage(f"file://{data_dir}")
    chunks = read_chunks(storage, recording_of(path))
    assert len(chunks) == rounds
    for chunk in chunks:
        [stored] = (data_dir / "recordings" / recording_of(path) / "chunks/alice/cam/000000").glob(f"{chunk.seq:06d}.*")
        assert stored.read_bytes() == outcomes[chunk.seq]
    assert differences(redis_url, data_dir) == []


def test_the_same_bytes_at_two_processes_make_one_object(redis_url: str, data_dir: Path) -> None:
    with (
        served(redis_url, data_dir, fsync="never") as servers,
        talking(servers[0].url) as one,
        talking(servers[1].url) as other,
        ThreadPoolExecutor(4) as threads,
    ):
        path = begun(servers[0].url)
        for seq in range(30):
            posts = [threads.submit(post_chunk, client, path, seq, media(0, seq)) for client in (one, other) * 2]
            answers = [post.result() for post in posts]
            assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
            assert {answer.json()["data"]["next"] for answer in answers} == {seq + 1}
    assert len(read_chunks(open_storage(f"file://{data_dir}"), recording_of(path))) == 30


@pytest.mark.parametrize("rounds", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_fifty_stops_at_once_are_one_job_and_one_event(redis_url: str, data_dir: Path, rounds: int) -> None:
    storage = open_storage(f"file://{data_dir}")
    jobs, told = [], []
    with served(redis_url, data_dir, fsync="never") as servers, ThreadPoolExecutor(50) as threads:
        clients = [talking(server.url) for server in servers]
        queue = RqQueue("render", connection=Redis.from_url(redis_url), serializer=JSONSerializer)
        for number in range(rounds):
            call = f"call-{number}"
            path, headers = f"/video-calls/{call}/recording", bearer(call=call)
            recording_id = said(clients[0].post(f"{path}/start", headers=headers), 201)["recordingId"]
            stops = [threads.submit(clients[each % 2].post, f"{path}/stop", headers=headers) for each in range(50)]
            answers = [said(stop.result(), 202) for stop in stops]
            assert answers == [answers[0]] * 50
            jobs.append([job_id for job_id in queue.get_job_ids() if recording_id in job_id])
            told.append([e.type for e in fold_events(recording_id, journal.read(storage, recording_id))])
        for client in clients:
            client.close()
    print(f"50 stops at once, {rounds} rounds, two processes: jobs {set(map(len, jobs))}, events {told[0]}")
    assert [len(each) for each in jobs] == [1] * rounds
    assert told == [["recordingstarted", "recordingstopped"]] * rounds


def test_a_flush_between_uploads_costs_some_seconds_and_nothing_else(redis_url: str, data_dir: Path) -> None:
    with (
        served(redis_url, data_dir) as servers,
        talking(servers[0].url) as one,
        talking(servers[1].url) as other,
    ):
        path = begun(servers[0].url)
        for seq in range(40):
            if seq in (10, 25):
                with Redis.from_url(redis_url) as client:
                    client.flushall()
            deadline = time.monotonic() + 20
            while (answer := post_chunk((one, other)[seq % 2], path, seq, media(0, seq))).status_code == 503:
                assert answer.headers["retry-after"] == "1"
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert answer.json()["data"]["next"] == seq + 1
        assert differences(redis_url, data_dir) == []


def test_a_killed_server_leaves_no_part_of_a_chunk(redis_url: str, data_dir: Path) -> None:
    def content_of(seq: int) -> bytes:
        return media(0, seq, 40_000 + 150_000 * (seq % 12))

    kept: set[int] = set()
    path = ""
    for round_ in range(3):
        with (
            served(redis_url, data_dir, 1) as [server],
            talking(server.url) as client,
            ThreadPoolExecutor(8) as threads,
        ):
            path = path or begun(server.url)

            def post(seq: int, client: httpx.Client = client, path: str = path) -> None:
                with contextlib.suppress(httpx.HTTPError):
                    if post_chunk(client, path, seq, content_of(seq)).status_code == 201:
                        kept.add(seq)

            threads.map(post, range(round_ * 100, round_ * 100 + 60))
            time.sleep(0.2 + 0.15 * round_)
            server.process.kill()
    folder = data_dir / "recordings" / recording_of(path) / "chunks/alice/cam/000000"
    stored = {int(file.name.split(".")[0]): file.read_bytes() for file in folder.iterdir()}
    assert kept
    assert kept <= set(stored)
    assert all(stored[seq] == content_of(seq) for seq in stored)
    with served(redis_url, data_dir, 1) as [server], talking(server.url) as client:
        for seq in (*range(60), *range(100, 160), *range(200, 260)):  # what was not answered is sent again, and taken
            expected = (200,) if seq in kept else (200, 201)
            assert post_chunk(client, path, seq, content_of(seq)).status_code in expected
    assert differences(redis_url, data_dir) == []


@pytest.mark.parametrize("fsync", ["always", pytest.param("never", marks=pytest.mark.slow)])
def test_two_hundred_uploads_at_once_need_little_memory(redis_url: str, data_dir: Path, fsync: str) -> None:
    contents = [media(0, seq, 1_000_000) for seq in range(4)]
    headers = [{**bearer(), **chunk_headers(0, seq, contents[seq % 4])} for seq in range(400)]

    async def upload(url: str, path: str) -> list[int]:
        async with httpx.AsyncClient(
            base_url=url, limits=httpx.Limits(max_connections=200), timeout=httpx.Timeout(120)
        ) as client:

            async def post(seq: int) -> int:
                answer = await client.post(path, content=contents[seq % 4], headers=headers[seq])
                while answer.status_code == 503:
                    await asyncio.sleep(float(answer.headers["retry-after"]))
                    answer = await client.post(path, content=contents[seq % 4], headers=headers[seq])
                return answer.status_code

            return list(await asyncio.gather(*(post(seq) for seq in range(400))))

    with served(redis_url, data_dir, 1, fsync=fsync) as [server]:
        path = begun(server.url)
        idle_mb = server.resident_bytes() / 1e6
        assert asyncio.run(upload(server.url, path)) == [201] * 400
        peak_mb = server.resident_bytes() / 1e6
    print(f"200 uploads of 1 MB at once, fsync {fsync}: {idle_mb:.0f} MB before, {peak_mb:.0f} MB at most")
    assert peak_mb <= 300


def test_a_server_ends_at_once_though_somebody_listens(redis_url: str, data_dir: Path) -> None:
    with served(redis_url, data_dir, 1) as [server]:
        with httpx.stream("GET", f"{server.url}/video-calls/{CALL}/events", headers=bearer()) as answer:
            lines = answer.iter_lines()
            assert "snapshot" in next(lines)
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert list(lines) == [""]
        server.process.wait(timeout=10)
        assert time.monotonic() - began < 5
