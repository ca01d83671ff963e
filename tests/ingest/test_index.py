"""The index: what a flush takes away comes again from the storage, and looks the same."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from callreel import have, keys, rebuild, slots
from callreel.control import Control
from callreel.embedded import start_index
from callreel.errors import ChunkConflict, Unavailable
from callreel.index import Index, IndexLost, connect
from callreel.model import Chunk, Participant, Track, ranges
from callreel.repository import load
from callreel.slots import Limits, Slots
from callreel.states import Status
from tests.kit.build import NoObserver

from .desk import CALL, EBML, Desk, application, media, refused, said

LIMITS = Limits(late_ms=1000, track_bytes=10**9, recording_bytes=10**9, seq_ahead=4096)


def dump(redis_url: str) -> dict[str, Any]:
    """Everything that the index keeps of recordings."""
    with Redis.from_url(redis_url, decode_responses=True) as client:
        found: dict[str, Any] = {}
        for name in client.scan_iter(f"{keys.INDEX_ENTRIES}*"):
            kind = client.type(name)
            read = {"hash": client.hgetall, "set": client.smembers, "string": client.get}
            found[name] = client.zrange(name, 0, -1) if kind == "zset" else read[kind](name)
    for name, fields in found.items():
        if ":slots:" in name:  # when a slot was taken is not kept in the storage
            found[name] = {seq: slot.rsplit(" ", 1)[0] for seq, slot in fields.items()}
        if name.startswith(keys.index_recording("")):
            fields.pop("lastChunkMs", None)  # to the millisecond when it was registered, or received
    return found


def busy(desk: Desk) -> str:
    """A recording with holes, late chunks and two tracks."""
    recording_id = desk.begun()
    said(desk.track(recording_id, "mic"), 201)
    for seg, seq in [(0, 0), (0, 1), (0, 4), (1, 2), (0, 9), (0, 3)]:
        said(desk.chunk(recording_id, seq, seg=seg), 201)
    said(desk.chunk(recording_id, 0, track_id="mic"), 201)
    desk.stop()
    said(desk.chunk(recording_id, 2), 201)
    return recording_id


def test_a_flushed_index_comes_again_as_it_was(desk: Desk, redis_url: str) -> None:
    busy(desk)
    desk.start()
    before = dump(redis_url)
    with Redis.from_url(redis_url) as client:
        client.flushall()
    deadline = time.monotonic() + 10
    while not rebuild.ensure(desk.index, desk.storage) and time.monotonic() < deadline:
        time.sleep(0.01)  # the application does the same
    assert dump(redis_url) == before
    assert rebuild.check(desk.index, desk.storage) == []


def test_after_a_flush_uploads_hear_503_and_then_go_on(desk: Desk, redis_url: str) -> None:
    recording_id = busy(desk)
    with Redis.from_url(redis_url) as client:
        client.flushall()
    deadline = time.monotonic() + 10
    statuses = []
    while True:
        answer = desk.chunk(recording_id, 5)
        statuses.append(answer.status_code)
        if answer.status_code != 503:
            break
        assert refused(answer, 503, "unavailable")["retryable"]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert statuses[-1] == 201
    refused(desk.chunk(recording_id, 0, EBML + b"other"), 409, "chunk_conflict")
    said(desk.chunk(recording_id, 1), 200)
    segments = said(desk.get(desk.url(recording_id, "/tracks/cam/chunks")), 200)["segments"]
    assert segments[0]["have"] == [[0, 5], [9, 9]]
    assert rebuild.check(desk.index, desk.storage) == []


def test_an_index_server_that_was_started_again_counts_as_lost(desk: Desk, redis_url: str) -> None:
    recording_id = busy(desk)
    desk.index.redis.set(keys.INDEX_SERVER, "another run of the server")
    desk.index.redis.delete(keys.index_slots(recording_id, "cam", 0))  # what its last second may have taken along
    deadline = time.monotonic() + 5
    while rebuild.check(desk.index, desk.storage) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert rebuild.check(desk.index, desk.storage) == []


def test_without_an_epoch_nothing_is_believed(redis_url: str, data_dir: Path) -> None:
    index = Index(connect(redis_url))
    chunks = Slots(index.redis, LIMITS)
    chunk = some_chunk()
    with pytest.raises(IndexLost):
        chunks.admit("rec_c1_1732259000123", "cam", "")
    with pytest.raises(IndexLost):
        chunks.reserve("rec_c1_1732259000123", chunk, "")
    with pytest.raises(IndexLost):
        chunks.commit("rec_c1_1732259000123", chunk, "")
    with pytest.raises(IndexLost):
        index.have("rec_c1_1732259000123", ["cam"])
    with pytest.raises(IndexLost):
        index.open_recordings()


def test_only_one_fills_at_a_time(desk: Desk) -> None:
    desk.index.redis.set(keys.INDEX_LOCK, "somebody else")
    desk.index.redis.delete(keys.EPOCH)
    assert rebuild.rebuild(desk.index, desk.storage) is False
    assert not desk.index.ready()
    desk.index.redis.delete(keys.INDEX_LOCK)
    rebuild.ensure(desk.index, desk.storage)
    deadline = time.monotonic() + 5
    while not desk.index.ready() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert desk.index.ready()


def test_check_tells_what_does_not_agree(desk: Desk, redis_url: str, data_dir: Path) -> None:
    recording_id = busy(desk)
    assert rebuild.check(desk.index, desk.storage) == []
    [chunk] = (data_dir / f"recordings/{recording_id}/chunks/alice/cam/000000").glob("000004.*")
    chunk.unlink()
    [chunk] = (data_dir / f"recordings/{recording_id}/chunks/alice/cam/000000").glob("000009.*")
    chunk.rename(chunk.with_name(chunk.name.replace("000009.", "000010.")))
    desk.index.redis.hset(keys.index_recording(recording_id), "status", "failed")
    desk.index.redis.srem(keys.INDEX_OPEN, recording_id)
    desk.index.redis.hset(keys.index_recording("rec_c9_1732259000123"), "status", "failed")
    found = rebuild.check(desk.index, desk.storage)
    assert f"{recording_id}: track cam, seg 0, seq 4: registered, but not stored" in found
    assert f"{recording_id}: track cam, seg 0, seq 10: stored, but not registered" in found
    assert f"{recording_id}: status is failed in the index, stopping in the storage" in found
    assert f"{recording_id}: it is stopping, and nobody looks after it" in found
    assert "rec_c9_1732259000123: in the index, but not in the storage" in found
    rebuild.rebuild(desk.index, desk.storage, force=True)
    assert rebuild.check(desk.index, desk.storage) == []


@pytest.mark.parametrize("damage", [b"", b"\xff", b"[]", b"{}", b'{"type": "stopped", "atMs": 1, "data": {}}'])
def test_a_damaged_recording_costs_nobody_else_anything(desk: Desk, data_dir: Path, damage: bytes) -> None:
    damaged = desk.begun()
    control = Control(desk.storage, desk.index)
    control.start("c2", "host", {})
    whole = control.start("c3", "host", {}).recording_id
    fact = data_dir / keys.journal_fact(damaged, 2)
    assert fact.exists()
    fact.write_bytes(damage)
    (data_dir / "calls/c2/000000.json").write_bytes(damage)
    desk.index.owed = {damaged, whole}
    rebuild.settle(desk.index, desk.storage)
    assert desk.index.owed == set()
    assert rebuild.rebuild(desk.index, desk.storage, force=True)
    assert [one.recording_id for one in desk.index.open_recordings()] == [whole]
    told = {sentence.split(": ")[0] for sentence in rebuild.check(desk.index, desk.storage)}
    assert told == {damaged, "calls/c2/000000.json"}


def test_facts_may_be_noted_twice_and_late(desk: Desk, redis_url: str) -> None:
    recording_id = busy(desk)
    control = Control(desk.storage, desk.index)
    now = control.state(recording_id)
    before = dump(redis_url)
    for _ in range(2):
        desk.index.note(now)
    assert dump(redis_url) == before
    desk.index.note(replace(now, status=Status.RECORDING, stopped_ms=None, sequence=1))
    assert dump(redis_url) == before


def test_a_recording_of_very_many_tracks_is_noted(desk: Desk) -> None:
    recording_id = desk.start()
    tracks = tuple(Track(track_id=f"t{n}", participant_id="alice", source="camera", kind="av") for n in range(4200))
    alice = Participant(participant_id="alice", name="Alice", tracks=tracks)
    desk.index.note(replace(Control(desk.storage, desk.index).state(recording_id), participants=(alice,)))
    assert desk.index.redis.hget(keys.index_recording(recording_id), "owner:t4199") == "alice"


def test_facts_that_were_never_told_are_noted_when_they_are_said_again(desk: Desk) -> None:
    recording_id = desk.start()
    untold = Control(desk.storage, NoObserver())  # a process that died behind the fact
    untold.put_track(recording_id, "cam", "alice", "Alice", "camera", "av", "")
    refused(desk.chunk(recording_id, 0), 404, "unknown_track")
    said(desk.track(recording_id), 200)
    said(desk.chunk(recording_id, 0), 201)
    untold.stop(CALL)
    assert [one.status for one in desk.index.open_recordings()] == ["recording"]
    desk.stop()
    assert [one.status for one in desk.index.open_recordings()] == ["stopping"]


def test_a_fact_the_index_missed_is_noted_later(redis_url: str, data_dir: Path) -> None:
    with application("redis://127.0.0.1:1/0", data_dir) as alone:
        recording_id = alone.start()
        assert recording_id in alone.index.owed
        alone.index.redis = connect(redis_url)
        alone.index._note = alone.index.redis.register_script(alone.index._note.script)
        rebuild.ensure(alone.index, alone.storage)
        rebuild.settle(alone.index, alone.storage)
        assert alone.index.owed == set()
        assert [each.recording_id for each in alone.index.open_recordings()] == [recording_id]
        alone.index.redis.close()


def test_open_recordings_are_those_that_are_not_final_or_not_settled(desk: Desk) -> None:
    first = desk.start(maxDurationS=60)
    [one] = desk.index.open_recordings()
    assert (one.recording_id, one.status, one.max_duration_s, one.stopped_ms) == (first, "recording", 60, None)
    desk.stop()
    [one] = desk.index.open_recordings()
    assert one.status == "stopping"
    assert one.stopped_ms is not None
    desk.write(first, ("drained", {}), ("failed", {"code": "no_media", "message": "Nothing."}))
    [one] = desk.index.open_recordings()
    assert one.status == "failed"
    desk.index.settled(first, 0)
    assert desk.index.open_recordings() == []


def test_what_a_rebuild_takes_for_open_leaves_once_it_is_settled(desk: Desk) -> None:
    recording_id = desk.begun()
    said(desk.chunk(recording_id, 0), 201)
    desk.stop()
    desk.write(recording_id, ("drained", {}), ("failed", {"code": "no_media", "message": "Nothing."}))
    desk.index.settled(recording_id, 1)
    assert desk.index.open_recordings() == []
    rebuild.rebuild(desk.index, desk.storage, force=True)
    assert [one.recording_id for one in desk.index.open_recordings()] == [recording_id]
    desk.index.settled(recording_id, 1)
    assert desk.index.open_recordings() == []


def test_progress_is_told_and_is_one_at_the_end(desk: Desk) -> None:
    recording_id = desk.begun()
    assert said(desk.get(desk.url(recording_id)), 200)["progress"] == 0
    desk.index.set_progress(recording_id, 0.5)
    assert said(desk.get(desk.url(recording_id)), 200)["progress"] == 0.5
    desk.stop()
    assert said(desk.get(desk.url(recording_id)), 200)["progress"] == 0.5
    desk.index.set_progress(recording_id, 1)
    assert said(desk.get(desk.url(recording_id)), 200)["progress"] == 0.99
    done = {"complete": True, "gaps": [], "build": "b", "artifacts": []}
    desk.write(recording_id, ("drained", {}), ("completed", done))
    assert said(desk.get(desk.url(recording_id)), 200)["progress"] == 1


# ── slots ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def some_chunk(seq: int = 0, sha256: str = "a" * 64, received_ms: int = 1732259000123, **more: Any) -> Chunk:
    facts: dict[str, Any] = {"start_ms": 1, "at_ms": None, "offset_ms": -5, "err_ms": 0, "size_bytes": 10, **more}
    return Chunk(
        participant_id="alice", track_id="cam", seg=0, seq=seq, received_ms=received_ms, sha256=sha256, **facts
    )


def test_the_same_bytes_get_the_same_facts(desk: Desk) -> None:
    recording_id = desk.begun()
    chunks = Slots(desk.index.redis, LIMITS)
    first = chunks.reserve(recording_id, some_chunk(), "alice")
    again = chunks.reserve(recording_id, some_chunk(received_ms=1732259099999, start_ms=7), "alice")
    assert again == first
    assert not first.stored
    with pytest.raises(ChunkConflict):
        chunks.reserve(recording_id, some_chunk(sha256="b" * 64), "alice")
    for _ in range(2):
        committed = chunks.commit(recording_id, first.chunk, "video/webm")
        assert (committed.next, committed.missing) == (1, ())
    assert chunks.reserve(recording_id, some_chunk(), "alice").stored
    assert desk.index.have(recording_id, ["cam"])["cam"].size_bytes == 10


def test_have_lists_agree_with_the_storage_whatever_the_order(desk: Desk) -> None:
    recording_id = desk.begun()
    chunks = Slots(desk.index.redis, LIMITS)
    for round_ in range(5):
        order = [seq for seq in range(40) if random.Random(round_ * 100 + seq).random() < 0.7] * 2
        random.Random(round_).shuffle(order)
        for seq in order:
            chunk = some_chunk(seq, received_ms=1732259000000)
            committed = chunks.commit(recording_id, replace(chunk, seg=round_), "video/webm")
            here = desk.index.have(recording_id, ["cam"])["cam"].segments[-1]
            assert (committed.next, list(committed.missing)) == (here.next, here.missing())
        assert list(here.have) == ranges(sorted(set(order)))
        assert here.size_bytes == 10 * len(set(order))


def test_a_reservation_whose_bytes_never_came_is_given_up(desk: Desk) -> None:
    recording_id = desk.begun()
    long_ago = Slots(desk.index.redis, LIMITS, clock_ms=lambda: time.time_ns() // 1_000_000 - 120_000)
    lately = Slots(desk.index.redis, LIMITS)
    lately.reserve(recording_id, some_chunk(0), "alice")
    refused(desk.chunk(recording_id, 0), 409, "chunk_conflict")  # its bytes may still be on their way
    long_ago.reserve(recording_id, some_chunk(1), "alice")
    said(desk.chunk(recording_id, 1), 201)


def test_a_reservation_whose_bytes_are_stored_is_kept(desk: Desk) -> None:
    recording_id = desk.begun()
    long_ago = Slots(desk.index.redis, LIMITS, clock_ms=lambda: time.time_ns() // 1_000_000 - 120_000)
    reserved = long_ago.reserve(recording_id, some_chunk(1), "alice")
    desk.storage.put_if_absent(keys.chunk(recording_id, reserved.chunk), b"0123456789")  # and the process died here
    refused(desk.chunk(recording_id, 1), 409, "chunk_conflict")
    assert rebuild.check(desk.index, desk.storage) == []


def test_a_slot_that_changed_hands_during_a_flush_leaves_one_object(desk: Desk, data_dir: Path) -> None:
    recording_id = desk.begun()
    said(desk.chunk(recording_id, 0), 201)
    chunks = Slots(desk.index.redis, LIMITS)
    slow = chunks.reserve(recording_id, some_chunk(1), "alice")
    desk.index.redis.delete(keys.index_slots(recording_id, "cam", 0))  # as a flush and a rebuild would
    said(desk.chunk(recording_id, 1), 201)
    with pytest.raises(slots.Conflict):
        chunks.commit(recording_id, slow.chunk, "")
    assert load(desk.storage, recording_id).track("cam").segments[0].chunks[1].size_bytes == len(media(0, 1))  # type: ignore[union-attr]


def test_have_lists_know_their_holes() -> None:
    here = have.SegmentHave(seg=0, have=((2, 3), (6, 6)), size_bytes=3)
    assert (here.next, here.missing(), here.missing(9)) == (0, [(0, 1), (4, 5)], [(0, 1), (4, 5), (7, 8)])
    track = have.TrackHave(segments=(here,))
    assert track.missing([(0, 7), (3, 2)]) == [(0, [(0, 1), (4, 5)]), (3, [(0, 1)])]


def test_a_server_that_is_not_there_is_unavailable() -> None:
    index = Index(connect("redis://127.0.0.1:1/0"))
    with pytest.raises(Unavailable):
        index.ready()


def test_a_redis_without_a_memory_is_told_of_at_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with start_index(tmp_path) as url:
        client = connect(url)
        for kept, told in (("yes", False), ("no", True)):  # turned on in mid-flight, it would not end for a while
            caplog.clear()
            client.config_set("appendonly", kept)
            Index(client).warn_if_forgetful()
            assert any("no append-only file" in line.getMessage() for line in caplog.records) is told


def test_a_connection_that_was_closed_while_idle_is_opened_again(desk: Desk) -> None:
    recording_id = desk.begun()
    chunks = Slots(desk.index.redis, LIMITS)
    assert chunks.admit(recording_id, "cam", "alice") == "alice"
    desk.index.redis.client_kill_filter(_type="normal", skipme=True)
    desk.index.redis.script_flush()
    assert chunks.admit(recording_id, "cam", "alice") == "alice"
    said(desk.chunk(recording_id, 0), 201)


def test_a_server_that_does_not_answer_is_unavailable_to_chunks(desk: Desk, redis_url: str) -> None:
    recording_id = desk.begun()
    client = connect(redis_url)
    client.connection_pool.connection_kwargs["socket_timeout"] = 0.2
    chunks = Slots(client, LIMITS)
    assert chunks.admit(recording_id, "cam", "alice") == "alice"
    desk.index.redis.client_pause(1000)
    with pytest.raises(Unavailable):
        chunks.admit(recording_id, "cam", "alice")
    time.sleep(1)
    for who in ("alice", ""):  # the answers that came too late belong to nobody
        assert chunks.admit(recording_id, "cam", who) == "alice"
    client.close()
