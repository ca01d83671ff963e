"""What should be there and is not: the gaps of a track, from its holes and what surrounds them. Pure.

Not having come yet, having left, being between two segments is no gap; nor is what would be in no result anyway,
because it lies in a pause.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .clock import US_PER_MS, Anchor, Span, film_us
from .drift import Drift
from .model import Segment, Track
from .reach import Kind, reach
from .scans import Scans


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
    parts: Mapping[Kind, tuple[int, int]] = field(default_factory=dict)  #: of sound and of pictures, where it has both

    def to_json(self) -> dict[str, Any]:
        parts = {name: list(_ms(self.parts[kind])) for kind, name in _PARTS.items() if kind in self.parts}
        from_ms, to_ms = _ms((self.from_us, self.to_us))
        return {
            "participantId": self.participant_id,
            "trackId": self.track_id,
            "seg": self.seg,
            "fromMs": from_ms,
            "toMs": to_ms,
            **parts,
            "chunks": [list(pair) for pair in self.chunks],
            "reason": self.reason,
            **({"detail": self.detail} if self.detail else {}),
        }


_PARTS: Mapping[Kind, str] = {"audio": "soundMs", "video": "picturesMs"}


def _ms(span_us: tuple[int, int]) -> tuple[int, int]:
    return span_us[0] // US_PER_MS, -(-span_us[1] // US_PER_MS)


def track_gaps(
    track: Track,
    scans: Scans,
    anchors: Mapping[tuple[str, str, int], Anchor],
    drifts: Mapping[tuple[str, str, int], Drift],
    started_ms: int,
    stretches: Sequence[Span],
) -> list[Gap]:
    """The gaps of a track in recording time. On the way instants are µs of the server's clock since start.

    Sound and pictures of one recorder end and come back at different instants, pictures at a key frame: a gap is all
    of the time in which either is missing, and tells both.
    """
    found: list[Gap] = []
    stop_us = (stretches[-1].to_ms - started_ms) * US_PER_MS if stretches else 0

    def in_film(span_us: tuple[int, int]) -> tuple[int, int]:
        a_us, b_us = (film_us(at_us, started_ms, stretches) for at_us in span_us)
        return a_us, b_us

    def gap(
        seg: int,
        span_us: tuple[int, int],
        chunks: list[tuple[int, int]],
        reason: str,
        detail: str = "",
        parts: Mapping[Kind, tuple[int, int]] | None = None,
    ) -> None:
        span_us = span_us[0], max(span_us)
        if reason != "unconfirmed" and _in_pause(*span_us, started_ms, stretches):
            return
        from_us, to_us = in_film(span_us)
        found.append(
            Gap(
                participant_id=track.participant_id,
                track_id=track.track_id,
                seg=seg,
                from_us=from_us,
                to_us=to_us,
                chunks=tuple(chunks),
                reason=reason,  # type: ignore[arg-type]  # the callers below pass literals
                detail=detail,
                parts={kind: in_film(part_us) for kind, part_us in (parts or {}).items()},
            )
        )

    end_us = 0
    for segment in track.segments:
        place = (track.participant_id, track.track_id, segment.seg)
        missing = segment.missing()
        if not segment.chunks:
            if missing or not segment.dropped:  # declared and never seen: where it lay nobody knows
                gap(segment.seg, (end_us, stop_us), missing, "lost")
            continue
        zero_us = (anchors[place].zero_ms - started_ms) * US_PER_MS
        step_us = _chunk_us(segment)
        runs = scans.get(place, ())
        ends: dict[Kind, int] = {kind: zero_us for run in runs for kind in reach(segment, run)}
        end_us, last_seq = zero_us, -1
        for run in runs:
            before = [(a, b) for a, b in missing if last_seq < a and b < run.first_seq]
            covered: dict[Kind, tuple[int, int]] = {
                kind: (zero_us + drifts[place].placed_us(a_us), zero_us + drifts[place].placed_us(b_us))
                for kind, (a_us, b_us) in reach(segment, run).items()
            }
            until_us = max((b_us for _, b_us in covered.values()), default=end_us)
            begin_us = end_us
            if run.error:
                begin_us = end_us + step_us * sum(b - a + 1 for a, b in before)
                until_us = begin_us + step_us * len(run.chunk_sha256)
                gap(segment.seg, (begin_us, until_us), [(run.first_seq, run.last_seq)], "unreadable", run.error)
            elif run.note:
                gap(segment.seg, (until_us, stop_us), [(run.first_seq, run.last_seq)], "unreadable", run.note)
            if before and covered:
                # a picture that stood for long before the hole was not lost with it
                parts: dict[Kind, tuple[int, int]] = {
                    kind: (max(at_us, end_us - step_us), covered.get(kind, (until_us,))[0])
                    for kind, at_us in ends.items()
                }
                whole_us = min(a for a, _ in parts.values()), max(b for _, b in parts.values())
                gap(segment.seg, whole_us, before, "lost", parts=parts if len(parts) > 1 else None)
            elif before:
                gap(segment.seg, (end_us, begin_us), before, "lost")
            if not run.error:
                ends = {kind: covered[kind][1] if kind in covered else until_us for kind in ends}
            end_us, last_seq = until_us, run.last_seq
        tail = [(a, b) for a, b in missing if a > segment.came[-1].seq]
        if tail:
            until_us = end_us + step_us * sum(b - a + 1 for a, b in tail)
            gap(segment.seg, (end_us, until_us), tail, "lost")
            end_us = until_us
    if not track.complete:
        last = track.segments[-1].seg if track.segments else 0
        gap(last, (end_us, end_us if track.segments else stop_us), [], "unconfirmed")
    return sorted(found, key=lambda g: (g.seg, g.from_us))


def _in_pause(from_us: int, to_us: int, started_ms: int, stretches: Sequence[Span]) -> bool:
    """Does all of [from, to] lie between two stretches?"""
    ends = [(span.to_ms - started_ms) * US_PER_MS for span in stretches[:-1]]
    begins = [(span.from_ms - started_ms) * US_PER_MS for span in stretches[1:]]
    return any(end <= from_us and to_us <= begin for end, begin in zip(ends, begins, strict=True))


def _chunk_us(segment: Segment) -> int:
    """How long this segment's chunks usually are; 2 s, the client's default, where nothing tells."""
    stamps = [(chunk.seq, chunk.at_ms) for chunk in segment.came if chunk.at_ms is not None]
    if len(stamps) < 2 or stamps[-1][0] == stamps[0][0]:
        return 2_000_000
    return max(0, stamps[-1][1] - stamps[0][1]) * US_PER_MS // (stamps[-1][0] - stamps[0][0])
