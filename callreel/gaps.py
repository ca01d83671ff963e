"""What should be there and is not: the gaps of a track, from its holes and what surrounds them. Pure.

Not having come yet, having left, being between two segments is no gap; nor is what would be in no result anyway,
because it lies in a pause.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .clock import US_PER_MS, Anchor, Span, film_us
from .drift import Drift
from .model import Segment, Track
from .scans import RunScan, Scans


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A stretch of a track that should be there and is not."""

    participant_id: str
    track_id: str
    seg: int
    from_us: int
    to_us: int
    chunks: tuple[tuple[int, int], ...]
    reason: Literal["lost", "unreadable", "unconfirmed"]
    detail: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "participantId": self.participant_id,
            "trackId": self.track_id,
            "seg": self.seg,
            "fromMs": self.from_us // US_PER_MS,
            "toMs": -(-self.to_us // US_PER_MS),
            "chunks": [list(pair) for pair in self.chunks],
            "reason": self.reason,
            **({"detail": self.detail} if self.detail else {}),
        }


def track_gaps(
    track: Track,
    scans: Scans,
    anchors: Mapping[tuple[str, str, int], Anchor],
    drifts: Mapping[tuple[str, str, int], Drift],
    started_ms: int,
    stretches: Sequence[Span],
) -> list[Gap]:
    """The gaps of a track in recording time. On the way instants are µs of the server's clock since start."""
    found: list[Gap] = []
    stop_us = (stretches[-1].to_ms - started_ms) * US_PER_MS if stretches else 0

    def gap(seg: int, from_us: int, to_us: int, chunks: list[tuple[int, int]], reason: str, detail: str = "") -> None:
        to_us = max(from_us, to_us)
        if reason != "unconfirmed" and _in_pause(from_us, to_us, started_ms, stretches):
            return
        found.append(
            Gap(
                participant_id=track.participant_id,
                track_id=track.track_id,
                seg=seg,
                from_us=film_us(from_us, started_ms, stretches),
                to_us=film_us(to_us, started_ms, stretches),
                chunks=tuple(chunks),
                reason=reason,  # type: ignore[arg-type]  # the callers below pass literals
                detail=detail,
            )
        )

    end_us = 0
    for segment in track.segments:
        place = (track.participant_id, track.track_id, segment.seg)
        missing = segment.missing()
        if not segment.chunks:
            if missing or not segment.dropped:  # declared and never seen: where it lay nobody knows
                gap(segment.seg, end_us, stop_us, missing, "lost")
            continue
        zero_us = (anchors[place].zero_ms - started_ms) * US_PER_MS
        end_us, last_seq = zero_us, -1
        step_us = _chunk_us(segment)
        for run in scans.get(place, ()):
            before = [(a, b) for a, b in missing if last_seq < a and b < run.first_seq]
            begin_us, until_us = (zero_us + drifts[place].placed_us(at_us) for at_us in _reach(run))
            if run.error:
                begin_us = end_us + step_us * sum(b - a + 1 for a, b in before)
                until_us = begin_us + step_us * len(run.chunk_sha256)
                gap(segment.seg, begin_us, until_us, [(run.first_seq, run.last_seq)], "unreadable", run.error)
            elif run.note:
                gap(segment.seg, until_us, stop_us, [(run.first_seq, run.last_seq)], "unreadable", run.note)
            if before:
                gap(segment.seg, end_us, begin_us, before, "lost")
            end_us, last_seq = until_us, run.last_seq
        tail = [(a, b) for a, b in missing if a > segment.came[-1].seq]
        if tail:
            until_us = end_us + step_us * sum(b - a + 1 for a, b in tail)
            gap(segment.seg, end_us, until_us, tail, "lost")
            end_us = until_us
    if not track.complete:
        last = track.segments[-1].seg if track.segments else 0
        gap(last, end_us, end_us if track.segments else stop_us, [], "unconfirmed")
    return sorted(found, key=lambda g: (g.seg, g.from_us))


def _in_pause(from_us: int, to_us: int, started_ms: int, stretches: Sequence[Span]) -> bool:
    """Does all of [from, to] lie between two stretches?"""
    ends = [(span.to_ms - started_ms) * US_PER_MS for span in stretches[:-1]]
    begins = [(span.from_ms - started_ms) * US_PER_MS for span in stretches[1:]]
    return any(end <= from_us and to_us <= begin for end, begin in zip(ends, begins, strict=True))


def _reach(run: RunScan) -> tuple[int, int]:
    """Media time of a run's first and last moment."""
    streams = [packets for packets in (run.video, run.audio) if len(packets)]
    if not streams:
        return 0, 0
    return min(packets.from_us for packets in streams), max(packets.to_us for packets in streams)


def _chunk_us(segment: Segment) -> int:
    """How long this segment's chunks usually are; 2 s, the client's default, where nothing tells."""
    stamps = [(chunk.seq, chunk.at_ms) for chunk in segment.came if chunk.at_ms is not None]
    if len(stamps) < 2 or stamps[-1][0] == stamps[0][0]:
        return 2_000_000
    return max(0, stamps[-1][1] - stamps[0][1]) * US_PER_MS // (stamps[-1][0] - stamps[0][0])
