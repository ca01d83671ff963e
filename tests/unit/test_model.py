"""What the parts of a recording tell of themselves."""

from __future__ import annotations

import time

from callreel.have import SegmentHave
from callreel.model import Chunk, Segment, ranges


def segment(seqs: list[int], expected_chunks: int | None = None) -> Segment:
    chunks = tuple(
        Chunk(
            participant_id="alice",
            track_id="cam",
            seg=0,
            seq=seq,
            received_ms=0,
            start_ms=0,
            at_ms=None,
            offset_ms=None,
            err_ms=None,
            sha256="0" * 64,
            size_bytes=1,
        )
        for seq in seqs
    )
    return Segment(seg=0, mime_type="video/webm", chunks=chunks, expected_chunks=expected_chunks)


def test_what_is_missing_lies_between_the_chunks_and_up_to_what_was_declared() -> None:
    cases: list[tuple[list[int], int | None, list[tuple[int, int]]]] = [
        ([], None, []),
        ([], 3, [(0, 2)]),
        ([0, 1, 2], None, []),
        ([0, 1, 2], 2, []),  # more than was declared
        ([1, 4], None, [(0, 0), (2, 3)]),
        ([1, 4], 7, [(0, 0), (2, 3), (5, 6)]),
    ]
    for seqs, expected, missing in cases:
        assert segment(seqs, expected).missing() == missing
        have = SegmentHave(seg=0, have=tuple(ranges(seqs)), size_bytes=0)
        assert have.missing(expected or 0) == missing


def test_declaring_many_chunks_costs_nothing() -> None:
    begun_s = time.process_time()
    for _ in range(1000):
        assert segment([0, 5], 1_000_000).missing() == [(1, 4), (6, 999_999)]
    assert time.process_time() - begun_s < 5  # walking the declared numbers takes minutes
