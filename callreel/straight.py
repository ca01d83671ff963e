"""A segment as if its recorder had never been paused: what its chunks say of time, less the pauses. Pure.

`MediaRecorder.pause()` lets media time stand while the clocks run (measured: 4.97 s of media for 7.5 s with a pause of
2.5 s), and what it writes does not show where. The page tells, by the facts `paused` and `resumed` of its track.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .clock import US_PER_MS
from .model import Chunk, Segment
from .scans import RunScan, media_ends

#: A pause is not believed where media went on in it. Deliveries of MP4 swing by so much, so short ones are believed.
_SWING_US = 2_500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A recorder stood."""

    at_us: int  #: µs since `start` on the client's clock, less the pauses before it
    length_us: int


def straightened(
    segment: Segment, runs: Sequence[RunScan], paused: Sequence[tuple[int, int | None]]
) -> tuple[Segment, tuple[Pause, ...]]:
    """The segment without its pauses, and those; a pause with which it ended is none of its own."""
    if not paused or not segment.came:
        return segment, ()
    start_ms = segment.came[0].start_ms
    ends = media_ends(runs) | dict(segment.dropped_ends)
    found: list[Pause] = []
    spans: list[tuple[int, int]] = []
    for from_ms, to_ms in paused:
        if to_ms is None or from_ms < start_ms or not _stood(segment.came, ends, from_ms, to_ms):
            continue
        before_ms = sum(b - a for a, b in spans)
        found.append(Pause(at_us=(from_ms - start_ms - before_ms) * US_PER_MS, length_us=(to_ms - from_ms) * US_PER_MS))
        spans.append((from_ms, to_ms))

    def moved(chunk: Chunk) -> Chunk:
        by_ms = sum(b - a for a, b in spans if chunk.at_ms is not None and chunk.at_ms >= b)
        if not by_ms or chunk.at_ms is None:
            return chunk
        return replace(chunk, at_ms=chunk.at_ms - by_ms, received_ms=chunk.received_ms - by_ms)

    if not spans:
        return segment, ()
    return (
        replace(
            segment,
            chunks=tuple(moved(chunk) for chunk in segment.chunks),
            dropped=tuple(moved(chunk) for chunk in segment.dropped),
        ),
        tuple(found),
    )


def without_pauses_us(at_ms: int, start_ms: int, pauses: Sequence[Pause]) -> int:
    """How much media a recorder had made at an instant of the client's clock; in a pause, what it had when it began."""
    left_us = (at_ms - start_ms) * US_PER_MS
    for pause in pauses:
        if left_us > pause.at_us:
            left_us = max(pause.at_us, left_us - pause.length_us)
    return left_us


def _stood(chunks: Sequence[Chunk], ends: dict[int, int], from_ms: int, to_ms: int) -> bool:
    """Did the recorder go on after it, and had its media stood?"""
    delays_us: tuple[list[int], list[int]] = ([], [])
    for chunk in chunks:
        if chunk.at_ms is not None and chunk.seq in ends and not from_ms <= chunk.at_ms < to_ms:
            delay_us = (chunk.at_ms - chunk.start_ms) * US_PER_MS - ends[chunk.seq]
            delays_us[chunk.at_ms >= to_ms].append(delay_us)
    before, after = delays_us
    if not after:
        return False
    way_us = min(after) - (min(before) if before else 0)
    return way_us >= (to_ms - from_ms) * US_PER_MS // 2 - _SWING_US
