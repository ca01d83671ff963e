"""A recording as the storage has it: the order in which things came is not seen in it."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callreel import journal, keys, repository
from callreel.errors import UnknownRecording
from callreel.model import Chunk, Recording, ranges
from tests.unit.domain import START_MS, World, chunk, facts_of, track_added, track_completed, world_at

REC = "rec_call_1732259000000"

STATE = journal.fold(
    REC, facts_of(track_added("ada", "cam"), track_added("bob", "mic", "audio"), track_completed("cam", 4, 2))
)
CHUNKS = [
    *[chunk(seq) for seq in range(4)],
    *[chunk(seq, seg=1) for seq in range(3)],
    *[chunk(seq, track_id="mic", participant_id="bob", at_ms=None, offset_ms=None, err_ms=None) for seq in range(3)],
]
MIME = {("ada", "cam", 0): "video/webm", ("ada", "cam", 1): "video/mp4", ("bob", "mic", 0): "audio/webm"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return world_at(tmp_path)


def store(world: World, recording_id: str, chunks: list[Chunk]) -> None:
    for item in chunks:
        assert world.storage.put_if_absent(keys.chunk(recording_id, item), b"x" * item.size_bytes)


def seqs(recording: Recording, track_id: str = "cam") -> dict[int, list[int]]:
    track = recording.track(track_id)
    assert track is not None
    return {segment.seg: [found.seq for found in segment.chunks] for segment in track.segments}


@given(st.permutations(CHUNKS))
def test_the_order_of_arrival_is_not_seen(chunks: list[Chunk]) -> None:
    assert repository.with_chunks(STATE, chunks, MIME) == repository.with_chunks(STATE, CHUNKS, MIME)


@given(st.lists(st.sampled_from(CHUNKS), min_size=1), st.randoms())
def test_neither_are_duplicates(chunks: list[Chunk], random: object) -> None:
    once = sorted(set(chunks), key=lambda c: (c.track_id, c.seg, c.seq))
    assert repository.with_chunks(STATE, chunks, MIME) == repository.with_chunks(STATE, once, MIME)


def test_segments_hold_their_chunks_in_order_with_their_media_types() -> None:
    recording = repository.with_chunks(STATE, reversed(CHUNKS), MIME)
    assert seqs(recording) == {0: [0, 1, 2, 3], 1: [0, 1, 2]}
    assert seqs(recording, "mic") == {0: [0, 1, 2]}
    cam = recording.track("cam")
    assert cam is not None
    assert [segment.mime_type for segment in cam.segments] == ["video/webm", "video/mp4"]
    assert [segment.size_bytes for segment in cam.segments] == [406, 303]
    assert [segment.missing() for segment in cam.segments] == [[], []]
    assert cam.complete


def test_what_is_missing_is_known_from_both_sides() -> None:
    """Holes between chunks, and what the client counted and never brought; also a segment that came not at all."""
    kept = [c for c in CHUNKS if c.track_id != "cam" or (c.seg == 0 and c.seq == 1)]
    cam = repository.with_chunks(STATE, kept, MIME).track("cam")
    assert cam is not None
    assert [segment.missing() for segment in cam.segments] == [[(0, 0), (2, 3)], [(0, 1)]]
    mic = repository.with_chunks(STATE, [c for c in CHUNKS if c.track_id == "mic" and c.seq != 1], MIME).track("mic")
    assert mic is not None
    assert [segment.missing() for segment in mic.segments] == [[(1, 1)]]


def test_more_chunks_than_were_declared_are_kept() -> None:
    cam = repository.with_chunks(STATE, [chunk(seq) for seq in range(6)], MIME).track("cam")
    assert cam is not None
    assert len(cam.segments[0].chunks) == 6
    assert cam.segments[0].missing() == []


@given(st.permutations([0, 1, 2]))
def test_of_two_in_one_slot_the_first_received_counts(order: list[int]) -> None:
    first = chunk(0, received_ms=START_MS, sha256="b" * 64)
    later = chunk(0, received_ms=START_MS + 1, sha256="a" * 64)
    same = chunk(0, received_ms=START_MS + 1, sha256="c" * 64)
    pile = [first, later, same]
    assert repository.with_chunks(STATE, [pile[n] for n in order], {}).tracks()[0].segments[0].chunks == (first,)
    rest = [pile[n] for n in order if n]
    assert repository.with_chunks(STATE, rest, {}).tracks()[0].segments[0].chunks == (later,)


def test_chunks_of_tracks_nobody_announced_are_passed_over() -> None:
    strangers = [chunk(0, track_id="x"), chunk(0, participant_id="eve")]
    assert repository.with_chunks(STATE, [*CHUNKS, *strangers], MIME) == repository.with_chunks(STATE, CHUNKS, MIME)


def test_a_recording_is_loaded_with_all_that_is_stored(world: World) -> None:
    recording_id = world.control.start("call", "host", {}).recording_id
    world.control.put_track(recording_id, "cam", "ada", "Ada", "camera", "video", "")
    cam_chunks = [item for item in CHUNKS if item.track_id == "cam"]
    store(world, recording_id, cam_chunks)
    facts = json.dumps({"mimeType": 'video/webm;codecs="vp9,opus"'}).encode()
    world.storage.put_if_absent(keys.segment_facts(recording_id, "ada", "cam", 0), facts)
    world.storage.put_if_absent(keys.segment_head(recording_id, "ada", "cam", 0), b"head")
    world.storage.put_if_absent(keys.chunks_prefix(recording_id) + "litter", b"?")
    recording = repository.load(world.storage, recording_id)
    cam = recording.track("cam")
    assert cam is not None
    assert [found for segment in cam.segments for found in segment.chunks] == cam_chunks
    assert [segment.mime_type for segment in cam.segments] == ['video/webm;codecs="vp9,opus"', ""]
    assert recording.status == world.control.state(recording_id).status


def test_a_recording_of_another_call_is_not_mixed_in(world: World) -> None:
    one = world.control.start("a", "host", {}).recording_id
    two = world.control.start("b", "host", {}).recording_id
    for recording_id in (one, two):
        world.control.put_track(recording_id, "cam", "ada", "Ada", "camera", "video", "")
    store(world, one, [chunk(0)])
    store(world, two, [chunk(0), chunk(1)])
    assert seqs(repository.load(world.storage, one)) == {0: [0]}
    assert seqs(repository.load(world.storage, two)) == {0: [0, 1]}


def test_what_is_not_there_cannot_be_loaded(world: World) -> None:
    with pytest.raises(UnknownRecording):
        repository.load(world.storage, REC)


@given(st.sets(st.integers(0, 60)))
def test_ranges_are_the_numbers_and_never_touch(numbers: set[int]) -> None:
    found = ranges(sorted(numbers))
    assert [n for a, b in found for n in range(a, b + 1)] == sorted(numbers)
    assert all(b + 1 < a for (_, b), (a, _) in pairwise(found))
