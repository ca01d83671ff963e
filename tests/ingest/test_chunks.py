"""Chunks over HTTP: what is taken, what is refused, and what is there afterwards."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import random
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from callreel.errors import InsufficientStorage
from callreel.model import ranges
from callreel.repository import load, read_chunks
from callreel.storage.local import LocalStorage, copied
from ingest import uploads

from .desk import EBML, Desk, application, chunk_headers, litter, media, refused, said, stored


def test_a_chunk_is_stored_as_it_came(desk: Desk, data_dir: Path) -> None:
    recording_id = desk.begun()
    before_ms = time.time_ns() // 1_000_000
    answer = said(desk.chunk(recording_id, 0), 201)
    assert answer == {**answer, "seg": 0, "seq": 0, "duplicate": False, "next": 1, "missing": []}
    assert before_ms <= answer["serverTimeMs"] <= time.time_ns() // 1_000_000
    [chunk] = read_chunks(desk.storage, recording_id)
    assert (chunk.participant_id, chunk.track_id, chunk.size_bytes) == ("alice", "cam", 100)
    assert (chunk.start_ms, chunk.at_ms, chunk.offset_ms, chunk.err_ms) == (1732259000123, 1732259036150, -37012, 9)
    assert chunk.sha256 == hashlib.sha256(media(0, 0)).hexdigest()
    assert stored(desk, recording_id) == {(0, 0): media(0, 0)}
    assert litter(data_dir) == []


def test_the_same_chunk_twice_is_stored_once(desk: Desk) -> None:
    recording_id = desk.begun()
    first = said(desk.chunk(recording_id, 0), 201)
    again = said(desk.chunk(recording_id, 0), 200)
    assert again == {**first, "duplicate": True, "serverTimeMs": again["serverTimeMs"]}
    assert stored(desk, recording_id) == {(0, 0): media(0, 0)}
    have = said(desk.get(desk.url(recording_id, "/tracks/cam/chunks")), 200)
    assert have == {"segments": [{"seg": 0, "have": [[0, 0]], "next": 1, "bytes": 100}]}


def test_a_chunk_costs_two_questions_to_the_index(desk: Desk) -> None:
    """What everybody waits for, every second: admission is asked for the first chunk, not for each."""
    recording_id = desk.begun()

    def asked() -> int:
        return int(desk.index.redis.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0))

    said(desk.chunk(recording_id, 0), 201)
    before = asked()
    for seq in range(1, 6):
        said(desk.chunk(recording_id, seq), 201)
        time.sleep(0.3)  # longer in all than admission used to be believed
    assert asked() - before == 2 * 5


def test_other_bytes_under_a_known_number_are_refused_and_the_first_stay(desk: Desk) -> None:
    recording_id = desk.begun()
    said(desk.chunk(recording_id, 0), 201)
    refused(desk.chunk(recording_id, 0, EBML + b"other"), 409, "chunk_conflict")
    assert stored(desk, recording_id) == {(0, 0): media(0, 0)}


def test_any_order_ends_in_the_same_have_list(desk: Desk) -> None:
    recording_id = desk.begun()
    order = [(seg, seq) for seg in range(3) for seq in range(12) if (seg, seq) != (1, 5)] * 2
    random.Random(7).shuffle(order)
    seen: dict[int, set[int]] = {0: set(), 1: set(), 2: set()}
    for seg, seq in order:
        new = seq not in seen[seg]
        answer = said(desk.chunk(recording_id, seq, seg=seg), 201 if new else 200)
        seen[seg].add(seq)
        top = max(seen[seg])
        holes = [n for n in range(top) if n not in seen[seg]]
        assert answer["missing"] == [list(hole) for hole in ranges(holes)]
        assert answer["next"] == (holes[0] if holes else top + 1)
    segments = said(desk.get(desk.url(recording_id, "/tracks/cam/chunks")), 200)["segments"]
    assert [s["have"] for s in segments] == [[[0, 11]], [[0, 4], [6, 11]], [[0, 11]]]
    assert [s["next"] for s in segments] == [12, 5, 12]
    assert [s["bytes"] for s in segments] == [1200, 1100, 1200]


def test_a_segment_keeps_its_media_type_and_a_second_copy_of_its_head(desk: Desk) -> None:
    recording_id = desk.begun()
    said(desk.chunk(recording_id, 1), 201)
    said(desk.chunk(recording_id, 0), 201)
    root = desk.storage.path(f"recordings/{recording_id}/segments/alice/cam/000000")  # type: ignore[attr-defined]  # it is a local one
    assert (root / "head").read_bytes() == media(0, 0)
    segment = load(desk.storage, recording_id).track("cam").segments[0]  # type: ignore[union-attr]
    assert segment.mime_type == 'video/webm;codecs="vp9,opus"'


def test_a_large_chunk_goes_over_the_disk(desk: Desk, data_dir: Path) -> None:
    recording_id = desk.begun()
    for seq, size_bytes in enumerate((1024 * 1024 - 1, 1024 * 1024, 1024 * 1024 + 1, 5_000_000)):
        content = media(0, seq, size_bytes)
        said(desk.chunk(recording_id, seq, content), 201)
        said(desk.chunk(recording_id, seq, content), 200)
        assert stored(desk, recording_id)[0, seq] == content
    root = desk.storage.path(f"recordings/{recording_id}/segments/alice/cam/000000")  # type: ignore[attr-defined]  # it is a local one
    assert (root / "head").read_bytes() == media(0, 0, 1024 * 1024 - 1)
    assert litter(data_dir) == []


def test_a_whole_large_file_keeps_its_head_too(desk: Desk, data_dir: Path) -> None:
    recording_id = desk.begun()
    content = media(0, 0, 3_000_000)
    said(desk.chunk(recording_id, 0, content), 201)
    root = desk.storage.path(f"recordings/{recording_id}/segments/alice/cam/000000")  # type: ignore[attr-defined]  # it is a local one
    assert (root / "head").read_bytes() == content
    assert litter(data_dir) == []


def test_late_chunks_are_taken_and_looked_at(desk: Desk) -> None:
    recording_id = desk.begun()
    said(desk.chunk(recording_id, 0), 201)
    assert desk.jobs.advanced == []
    desk.stop()
    desk.jobs.advanced.clear()
    said(desk.chunk(recording_id, 1), 201)
    assert desk.jobs.advanced == [recording_id]
    desk.write(recording_id, ("drained", {}), ("failed", {"code": "no_media", "message": "Nothing."}))
    desk.index.settled(recording_id, 1)  # as far as who looked had seen: one came meanwhile, and its hint may be lost
    assert len(desk.index.open_recordings()) == 1
    desk.index.settled(recording_id, 2)
    assert desk.index.open_recordings() == []
    desk.jobs.advanced.clear()
    said(desk.chunk(recording_id, 2), 201)
    assert desk.jobs.advanced == []  # whoever looks after it waits for more, and asks once for all
    [waiting] = desk.index.open_recordings()
    assert (waiting.recording_id, waiting.status, waiting.chunks) == (recording_id, "failed", 3)
    desk.index.settled(recording_id, 2)
    assert len(desk.index.open_recordings()) == 1
    desk.index.settled(recording_id, 3)
    assert desk.index.open_recordings() == []


def test_a_sealed_recording_takes_nothing_more(redis_url: str, data_dir: Path) -> None:
    with application(redis_url, data_dir, late_s=1.2) as desk:
        recording_id = desk.begun()
        said(desk.chunk(recording_id, 0), 201)
        desk.stop()
        said(desk.chunk(recording_id, 1), 201)
        time.sleep(2.4)
        refused(desk.chunk(recording_id, 2), 409, "recording_sealed")
        refused(desk.track(recording_id, "mic"), 409, "recording_sealed")


def test_a_deleted_recording_takes_nothing_more(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_ADMITTED_S", 0.0)  # as if the next chunk came much later
    recording_id = desk.begun()
    said(desk.chunk(recording_id, 0), 201)
    desk.write(recording_id, ("delete_requested", {}))
    refused(desk.chunk(recording_id, 1), 410, "recording_deleted")
    refused(desk.track(recording_id, "mic"), 410, "recording_deleted")
    refused(desk.get(desk.url(recording_id, "/uploads")), 410, "recording_deleted")
    assert said(desk.get(desk.url(recording_id)), 200)["status"] == "deleting"
    desk.write(recording_id, ("deleted", {}))
    refused(desk.get(desk.url(recording_id)), 404, "unknown_recording")
    refused(desk.chunk(recording_id, 1), 410, "recording_deleted")


def test_a_chunk_admitted_just_before_a_delete_is_refused_too(desk: Desk) -> None:
    recording_id = desk.begun()
    said(desk.chunk(recording_id, 0), 201)
    desk.write(recording_id, ("delete_requested", {}))
    refused(desk.chunk(recording_id, 1), 410, "recording_deleted")
    assert set(stored(desk, recording_id)) == {(0, 0)}


def test_a_full_disk_is_said_before_the_body(redis_url: str, data_dir: Path) -> None:
    with application(redis_url, data_dir, min_free_bytes=2**62) as desk:
        recording_id = desk.begun()
        answer = desk.chunk(recording_id, 0)
        refused(answer, 507, "insufficient_storage")
        (reason,) = refused(desk.get("/readyz"), 503, "unavailable")["reasons"]
        assert (reason["check"], reason["code"]) == ("storage", "insufficient_storage")
        assert stored(desk, recording_id) == {}


@contextlib.contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """A disk that takes no more: writes fail with EFBIG (setrlimit(2)), for this process alone."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size_bytes", [3_000_000, 2_500_000])  # the disk refuses a piece; what is left at the end
def test_a_disk_that_becomes_full_is_said_and_nothing_stays(desk: Desk, data_dir: Path, size_bytes: int) -> None:
    recording_id = desk.begun()
    content = media(0, 0, size_bytes)
    with files_of_at_most(1_500_000 if size_bytes == 3_000_000 else size_bytes - 1):
        refused(desk.chunk(recording_id, 0, content), 507, "insufficient_storage")
    assert litter(data_dir) == []
    said(desk.chunk(recording_id, 0, content), 201)


def test_a_disk_that_lost_its_folder_is_said(desk: Desk, data_dir: Path) -> None:
    recording_id = desk.begun()
    said(desk.chunk(recording_id, 1), 201)  # the disk has just been looked at, so the next one fails in writing
    (data_dir / "tmp").rename(data_dir / "gone")
    refused(desk.chunk(recording_id, 0, media(0, 0, 3_000_000)), 503, "unavailable")
    time.sleep(1.1)
    refused(desk.chunk(recording_id, 0), 503, "unavailable")


@pytest.mark.parametrize("nameless", [True, False])
def test_a_storage_remembers_a_bounded_number_of_folders(tmp_path: Path, nameless: bool) -> None:
    storage = LocalStorage(tmp_path / "data", fsync=False, nameless=nameless)
    for number in range(10_001):
        storage.put_if_absent(f"{number}/object", b"x")
    assert 0 < len(storage._folders) <= 10_000
    assert storage.put_if_absent("0/other", b"x")


def test_a_copy_is_whole_or_not_there(tmp_path: Path) -> None:
    file, copy = tmp_path / "file", tmp_path / "copy"
    file.write_bytes(bytes(2_000_000))
    with files_of_at_most(1_000_000), pytest.raises(InsufficientStorage):
        copied(file, copy)
    assert list(tmp_path.iterdir()) == [file]
    assert copied(file, copy).read_bytes() == bytes(2_000_000)


def test_a_client_that_goes_away_leaves_nothing(desk: Desk, data_dir: Path) -> None:
    recording_id = desk.begun()
    for sent_bytes in (10, 1_500_000):
        content = media(0, 0, 2_000_000)
        connection = http.client.HTTPConnection(desk.client.base_url.host, desk.client.base_url.port or 0)
        connection.putrequest("POST", desk.url(recording_id, "/tracks/cam/chunks"))
        sent = {**desk.as_who, **chunk_headers(0, 0, content), "Content-Length": str(len(content))}
        for name, value in sent.items():
            connection.putheader(name, value)
        connection.endheaders()
        connection.send(content[:sent_bytes])
        time.sleep(0.2)
        connection.close()
    deadline = time.monotonic() + 5
    while litter(data_dir) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert litter(data_dir) == []
    assert stored(desk, recording_id) == {}
    said(desk.chunk(recording_id, 0), 201)


def test_many_large_chunks_at_once_need_little_memory_and_all_come(redis_url: str, data_dir: Path) -> None:
    with application(redis_url, data_dir, inflight_bytes=1024 * 1024) as desk:
        recording_id = desk.begun()
        contents = [media(0, seq, 900_000) for seq in range(24)]
        with ThreadPoolExecutor(12) as threads:
            answers = list(threads.map(lambda seq: desk.chunk(recording_id, seq, contents[seq]), range(24)))
        assert [answer.status_code for answer in answers] == [201] * 24
        assert stored(desk, recording_id) == {(0, seq): content for seq, content in enumerate(contents)}
        assert litter(data_dir) == []
