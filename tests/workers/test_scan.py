"""Scans of real media: what is found in a whole run is found in any part of it, at the same places."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from callreel import keys, scans
from callreel.model import Chunk, Segment, Track
from callreel.scans import RunScan
from callreel.storage.local import LocalStorage
from tests.kit.call_generator import generate_call
from tests.kit.capture import Capture, Run, load_named
from tests.kit.forms import Recorder
from tests.kit.voices import recorded, voice
from workers import containers, demux, opus
from workers.runscan import extend_run, scan_run
from workers.scan import runs, scan_segment

CAPTURES = ("duo-split", "trio-rejoin")
RECORDING = "rec_c_1732000000000"


def chunks_of(run: Run) -> list[Chunk]:
    return [
        Chunk(
            participant_id=run.participant,
            track_id=run.track_id,
            seg=run.seg,
            seq=piece.seq,
            received_ms=0,
            start_ms=0,
            at_ms=0,
            offset_ms=0,
            err_ms=0,
            sha256=sha256(piece.data).hexdigest(),
            size_bytes=len(piece.data),
        )
        for piece in run.chunks
    ]


def assert_same(found: RunScan, expected: RunScan) -> None:
    assert scans.encode(found) == scans.encode(expected)


class Counting(LocalStorage):
    """A folder that knows how much media was read from it."""

    read_bytes = 0

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        data = super().get(key, start, length)
        if "/chunks/" in key:
            self.read_bytes += len(data)
        return data


def whole(run: Run) -> RunScan:
    return scan_run(chunks_of(run), run.data, None)


@pytest.fixture(params=CAPTURES)
def capture(request: pytest.FixtureRequest) -> Capture:
    return load_named(request.param)


def test_every_run_is_read_and_survives_storage(capture: Capture) -> None:
    for run in capture.runs:
        scan = whole(run)
        assert scan.error == ""
        assert (len(scan.video) > 0, len(scan.audio) > 0) == (run.has_video, run.has_audio)
        again = scans.decode(scans.encode(scan))
        assert (again.head, again.chunk_sha256, again.width_px) == (scan.head, scan.chunk_sha256, scan.width_px)
        assert np.array_equal(again.video.pts_us, scan.video.pts_us)
        assert np.array_equal(again.audio.to_byte, scan.audio.to_byte)


def test_behind_a_missing_chunk_the_same_packets_are_found_at_the_same_places(capture: Capture) -> None:
    for run in capture.runs:
        scan, chunks = whole(run), chunks_of(run)
        for first in (2, 3):
            data = b"".join(piece.data for piece in run.chunks[first:])
            tail = scan_run(chunks[first:], data, (scan.container, scan.head))
            assert tail.error == ""
            skipped = sum(piece.size_bytes for piece in chunks[:first])
            for kind in ("video", "audio"):
                part, full = getattr(tail, kind), getattr(scan, kind)
                if not len(full):
                    continue
                assert len(part), (run.participant, kind)
                assert np.array_equal(part.from_byte + skipped, full.from_byte[-len(part) :])
                if not tail.lead:  # else the stamps are made out, within jitter (`test_torn`)
                    assert np.array_equal(part.pts_us, full.pts_us[-len(part) :])


@pytest.mark.parametrize("capture", [load_named(name) for name in CAPTURES], ids=CAPTURES)
def test_a_run_that_grew_is_read_on_as_if_it_had_been_whole_at_once(capture: Capture) -> None:
    extended = 0
    for run in capture.runs:
        chunks, parts = chunks_of(run), [piece.data for piece in run.chunks]
        for first in (0, 2):
            beginning = whole(run)
            head = (beginning.container, beginning.head) if first else None
            grown = scan_run(chunks[first : first + 1], parts[first], head)
            for end in range(first + 2, len(chunks) + 1):
                expected = scan_run(chunks[first:end], b"".join(parts[first:end]), head)
                tail = None
                if len(grown.starts):
                    tail = extend_run(chunks[first:end], grown, reader(parts[first:end]))
                extended += tail is not None
                grown = tail or expected
                assert_same(grown, expected)
    assert extended > 20


def reader(parts: list[bytes]) -> Callable[[int], bytes]:
    return lambda n: b"".join(parts[n:])


def test_a_segment_is_scanned_on_from_what_is_stored(tmp_path: Path) -> None:
    """The longer scan takes the place of the shorter one, and only new chunks are read."""
    run = load_named("duo-split").runs[0]
    chunks = chunks_of(run)
    storage = Counting(tmp_path)
    for chunk, piece in zip(chunks, run.chunks, strict=True):
        storage.put_if_absent(keys.chunk(RECORDING, chunk), piece.data)
    track = Track(track_id=run.track_id, participant_id=run.participant, source="camera", kind="video")
    for end in range(2, len(chunks) + 1, 2):
        storage.read_bytes = 0
        (scan,) = scan_segment(storage, RECORDING, track, Segment(seg=0, mime_type="", chunks=tuple(chunks[:end])))
        assert len(list(storage.list(keys.scan(RECORDING, "").removesuffix(".json")))) == 1
    assert_same(scan, whole(run))
    assert storage.read_bytes < sum(scan.chunk_bytes) / 2


def test_a_segment_without_its_head_says_so(capture: Capture) -> None:
    run = capture.runs[0]
    scan = scan_run(chunks_of(run)[1:], b"".join(piece.data for piece in run.chunks[1:]), None)
    assert "first chunk is missing" in scan.error


@pytest.mark.parametrize(
    "data", [b"", b"\x1a", b"#EXTM3U\nfile:///etc/passwd", bytes(range(256)) * 40, b"\0\0\0\x18ftyp"]
)
def test_what_is_no_media_is_told_and_not_raised(data: bytes) -> None:
    chunk = chunks_of(load_named("duo-split").runs[0])[0]
    scan = scan_run([chunk], data, None)
    assert scan.error or not (len(scan.video) or len(scan.audio))


def packets(container: scans.Container, data: bytes) -> dict[tuple[str, int], bytes]:
    with demux.opened(container, data) as file:
        return {(p.stream.type, demux.pts_us(p)): bytes(p) for p in demux.packets(file, *file.streams)}


def test_a_packet_that_was_torn_is_not_handed_on() -> None:
    """It would decode, to garbage."""
    dice = random.Random(5)
    for run in (run for name in CAPTURES for run in load_named(name).runs):
        scan = whole(run)
        known = packets(scan.container, run.data)
        for cut in (dice.randrange(len(scan.head) + 200, len(run.data)) for _ in range(10)):
            torn = packets(scan.container, run.data[:cut])
            assert torn == {key: known[key] for key in torn}


def test_ogg_is_read_from_any_of_its_pages() -> None:
    call = generate_call(
        3, count=1, length_ms=6000, change=lambda p: replace(p, recorder=Recorder.WEBM_VP8_OGG, spans_ms=((0, 6000),))
    )
    run = next(run for run in call.runs if run.kind == "audio")
    scan = whole(run)
    known = packets("ogg", run.data)
    assert (scan.container, len(scan.starts) > 8, len(scan.head) < 200) == ("ogg", True, True)
    # the last page, which says that it is the last, cannot be begun with
    for begin in scan.starts:
        tail = packets("ogg", scan.head + run.data[begin:])
        assert tail == dict(list(known.items())[-len(tail) :])
    assert len(tail) < 60


def test_ogg_without_opus_is_read_from_its_beginning_alone() -> None:
    data = recorded(voice([(0.5, 3.5)], 4, seed=1), form="ogg", codec="flac")
    scan = scan_run(chunks_of(load_named("duo-split").runs[0])[:1], data, None)
    assert (scan.error, len(scan.audio) > 30, len(scan.starts), scan.head) == ("", True, 0, b"")


def test_codecs_are_called_by_their_names_and_not_by_their_decoders() -> None:
    call = generate_call(3, count=1, length_ms=4000, change=lambda p: replace(p, recorder=Recorder.WEBM_AV1))
    scan = whole(call.runs[0])
    assert (scan.video_codec, scan.audio_codec) == ("av1", "opus")
    if sys.platform == "linux":  # what starts from now on must not be of real time; see tests.kit.recorders
        assert {os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")} == {os.SCHED_OTHER}


def test_chunks_may_be_single_bytes() -> None:
    """Chromium cuts headers anywhere; the first Blob has been seen to be one byte."""
    run = next(run for run in load_named("duo-split").runs if run.kind == "audio")
    pieces = [run.data[:1], run.data[1:2], run.data[2:300], run.data[300:]]
    template = chunks_of(run)[0]
    chunks = [
        Chunk(**{**{n: getattr(template, n) for n in Chunk.__slots__}, "seq": seq, "size_bytes": len(piece)})
        for seq, piece in enumerate(pieces)
    ]
    scan = scan_run(chunks, run.data, None)
    assert len(scan.audio) == len(whole(run).audio)


def test_starts_are_clusters_and_fragments(capture: Capture) -> None:
    for run in capture.runs:
        container = containers.container_of(run.data)
        assert container is not None
        marks = {"matroska": b"\x1f\x43\xb6\x75", "mp4": b"moof"}
        found = containers.starts(container, run.data)
        assert len(found) == run.data.count(marks[container])


def test_runs_are_cut_where_a_chunk_is_missing() -> None:
    chunks = chunks_of(load_named("duo-split").runs[0])
    kept = [chunk for chunk in chunks if chunk.seq not in (2, 5, 6)]
    assert [[chunk.seq for chunk in run] for run in runs(kept)] == [[0, 1], [3, 4], [7, 8, 9]]


@pytest.mark.parametrize(
    ("packet", "length_us"),
    [(b"\xfc\xff\xfe", 20_000), (b"\x78", 20_000), (b"\x1b\x03", 180_000), (b"\xff\x03", 60_000), (b"", 0)],
)
def test_length_of_opus_packets(packet: bytes, length_us: int) -> None:
    assert opus.duration_us(packet) == min(length_us, 120_000)


def test_an_instant_that_looks_like_a_block_is_none() -> None:
    """A Cluster's timestamp, 0x18A30F ms, stands before the first block as if it were the id and the length of one."""
    frame, group = b"\xf8" * 0x75, bytes.fromhex("9b8114")  # the frame, and how long it lasts
    head = bytes.fromhex("1f43b67560f9e78318a30fa0fea1f9")
    data = head + bytes.fromhex("81000000") + frame + group + b"\xa3" * 2_000_000
    assert containers.media_end("matroska", data, len(head), len(frame)) == len(head) + 4 + len(frame) + len(group)


def test_a_block_whose_length_looks_like_a_block_ends_where_it_says() -> None:
    frame = b"\xf8" * (0x2A390 - 4)
    head = bytes.fromhex("a3") + (4 + len(frame) | 0x10000000).to_bytes(4, "big")
    assert b"\xa3" in head[1:]
    data = head + bytes.fromhex("81000000") + frame + b"\xa3\x81" * 9
    assert containers.media_end("matroska", data, len(head), len(frame)) == len(head) + 4 + len(frame)
