"""Have-lists: which chunks of a track are here, told as ranges. Pure; index and storage both can tell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .model import Recording, holes, ranges

Range = tuple[int, int]  #: both ends included


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentHave:
    seg: int
    have: tuple[Range, ...]  #: in order, never touching
    size_bytes: int

    @property
    def next(self) -> int:
        """The first number that is not here."""
        return self.have[0][1] + 1 if self.have and self.have[0][0] == 0 else 0

    def missing(self, expected_chunks: int = 0) -> list[Range]:
        """What is not here below the highest number seen, or below the number of chunks that was announced."""
        return holes(self.have, expected_chunks)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackHave:
    mime_type: str = ""  #: of the segment that came first
    segments: tuple[SegmentHave, ...] = ()  #: in order of seg

    @property
    def size_bytes(self) -> int:
        return sum(segment.size_bytes for segment in self.segments)

    def missing(self, expected: Iterable[tuple[int, int]] = ()) -> list[tuple[int, list[Range]]]:
        """(seg, ranges) of every segment with holes; `expected` is (seg, number of chunks) as the client declared."""
        known = {segment.seg: segment for segment in self.segments}
        announced = dict(expected)
        found = []
        for seg in sorted(known.keys() | announced.keys()):
            segment = known.get(seg, SegmentHave(seg=seg, have=(), size_bytes=0))
            if missing := segment.missing(announced.get(seg, 0)):
                found.append((seg, missing))
        return found


def of_recording(recording: Recording) -> dict[str, TrackHave]:
    """trackId → what is here, of a recording that was loaded with its chunks."""
    found = {}
    for track in recording.tracks():
        segments = tuple(
            SegmentHave(
                seg=segment.seg,
                have=tuple(ranges([chunk.seq for chunk in segment.came])),
                size_bytes=segment.size_bytes,
            )
            for segment in track.segments
            if segment.came
        )
        mime_type = next((segment.mime_type for segment in track.segments if segment.mime_type), "")
        found[track.track_id] = TrackHave(mime_type=mime_type, segments=segments)
    return found
