"""A chunk is acknowledged or it is not: an ingest process dies at every step, or its disk fails there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from callreel import failpoints, keys, rebuild
from callreel.control import Control
from callreel.failpoints import POINTS
from callreel.index import Index, connect
from callreel.slots import Limits, Slots
from callreel.storage.local import LocalStorage
from tests.ingest.desk import CALL, application, bearer, chunk_headers, litter, media, refused, said, stored
from tests.ingest.test_index import some_chunk

from .forks import KILLED, House, port
from .oracle import Acked, assert_rebuilds_to_itself, assert_sound
from .roles import ingest

STEPS = [name for name in POINTS if name.startswith(("ack.", "body.", "storage."))]
LARGE = 1_200_000  #: more than is collected in memory

#: (point, hit). The first chunk of a segment makes three objects, and the third of them is the chunk.
DEATHS = [(name, 1) for name in STEPS] + [(name, 3) for name in STEPS if name.startswith("storage.")]


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm("")


def test_an_ingest_process_that_dies_at_any_step_loses_nothing_it_acknowledged(redis_url: str, data_dir: Path) -> None:
    house, acked = House(redis_url, data_dir), Acked()
    index = Index(connect(redis_url))
    storage = LocalStorage(data_dir, fsync=False)
    rebuild.ensure(index, storage)
    control = Control(storage, index)
    recording_id = control.start(CALL, "host", {}).recording_id
    control.put_track(recording_id, "cam", "alice", "Alice", "camera", "av", "")
    limits = Limits(late_ms=1000, track_bytes=10**9, recording_bytes=10**9, seq_ahead=4096)
    long_ago = Slots(index.redis, limits, clock_ms=lambda: time.time_ns() // 1_000_000 - 120_000)

    with port() as (listener, client):
        for seg, (name, hit) in enumerate(DEATHS):
            content = media(seg, 0, LARGE if name == "body.spill" or seg % 4 == 3 else 500)

            def post(seg: int = seg, content: bytes = content) -> httpx.Response:
                url = f"/video-calls/{CALL}/recording/{recording_id}/tracks/cam/chunks"
                return client.post(url, content=content, headers={**bearer(), **chunk_headers(seg, 0, content)})

            if name == "ack.released":  # somebody else reserved the slot long ago, and died
                long_ago.reserve(recording_id, replace(some_chunk(), seg=seg), "alice")
            with house.forked(ingest, listener, failpoints=f"{name}:{hit}:exit") as server:
                with pytest.raises(httpx.TransportError):
                    post()
                server.join(30)
                assert server.exitcode == KILLED, f"nobody came by {name} for the {hit}. time"
            with house.forked(ingest, listener):
                assert post().status_code in (200, 201), name
                acked[recording_id, "cam", seg, 0] = content
                assert post().status_code == 200, name
            assert_sound(redis_url, data_dir, acked)
    assert_rebuilds_to_itself(redis_url, data_dir)
    index.redis.close()


DISK = [name for name in STEPS if name.startswith(("body.", "storage."))]


@pytest.mark.parametrize(
    ("number", "status", "code"), [("ENOSPC", 507, "insufficient_storage"), ("EIO", 503, "unavailable")]
)
def test_a_disk_that_refuses_is_said_so_and_nothing_is_half_stored(
    redis_url: str, data_dir: Path, number: str, status: int, code: str
) -> None:
    acked = Acked()
    with application(redis_url, data_dir, fsync="always") as desk:
        recording_id = desk.begun()
        for seg, (name, hit) in enumerate((name, hit) for name in DISK for hit in (1, 2, 3)):
            large = name == "body.spill" or seg % 2
            content = media(seg, 0, 3 * LARGE if large else 500)
            failpoints.arm(f"{name}:{hit}:raise={number}")
            answer = desk.chunk(recording_id, 0, content, seg=seg)
            struck = failpoints._hits[name] >= hit
            failpoints.arm("")
            if struck:
                refused(answer, status, code)
            else:
                said(answer, 201)
            assert litter(data_dir) == [], f"{name}:{hit}"
            assert stored(desk, recording_id).get((seg, 0), content) == content
            assert desk.chunk(recording_id, 0, content, seg=seg).status_code in (200, 201)
            acked[recording_id, "cam", seg, 0] = content
        assert_sound(redis_url, data_dir, acked)
        assert set(stored(desk, recording_id)) == {(seg, seq) for _, _, seg, seq in acked}
        assert len(list((data_dir / keys.segments_prefix(recording_id)).rglob("head"))) == len(acked)
    assert_rebuilds_to_itself(redis_url, data_dir)
