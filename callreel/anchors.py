"""Where a segment's media zero lies on the server's clock, by what can be trusted of what its chunks say. Pure.

A client's clock may be hours off, stand at 1970, be set while it records, or stand while its machine sleeps; what it
believes of its offset may be old or wrong. Against that stand two things that cannot be otherwise: nothing is received
before it was recorded, and what was recorded for a recording lies in it. So claims are tried from the best to the
worst, and the first that contradicts neither is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from .clock import US_PER_MS, Anchor
from .model import Chunk, Participant, Segment
from .scans import RunScan, media_ends

#: Clocks that are read on both sides agree to this; a browser's are 1 ms apart, drift is ±500 ppm.
_CLOSE_MS = 1_000
_FASTEST = 1_000  #: no device runs fast by more than one part of so many
#: Media lags behind its delivery by up to 2.5 s (Chromium's MP4); a recorder under load by some seconds more.
_LATEST_MS = 30_000
#: What is so far from the recording is not cut at its border: its clock is wrong.
_FAR_MS = 60_000
#: No recorder delivers sooner than this after the end of the media.
_SOONEST_MS = 50


@dataclass(frozen=True, slots=True)
class Frame:
    """What anything recorded for a recording lies in, server's clock."""

    from_ms: int
    to_ms: int


@dataclass(frozen=True, slots=True)
class _Seen:
    """A chunk whose media can be read."""

    chunk: Chunk
    end_ms: int  #: media time


def place_segment(
    participant: Participant, segment: Segment, runs: Sequence[RunScan], frame: Frame
) -> tuple[Anchor, Segment]:
    """Its anchor, and the segment with a `start` that fits it where the client's own does not."""
    ends = media_ends(runs) | dict(segment.dropped_ends)
    seen = [_Seen(chunk, ends[chunk.seq] // US_PER_MS) for chunk in segment.came if chunk.seq in ends]
    sounds = any(len(run.audio) for run in runs)
    for claim in _claims(participant, segment, seen):
        if _possible(claim, seen, frame, sounds):
            break
    if claim.trusted == "media" and seen[0].chunk.at_ms is not None:
        # its own `start` is not to be believed: where it was, by its first delivery
        start_ms = seen[0].chunk.at_ms - seen[0].end_ms
        chunks, dropped = (
            tuple(replace(chunk, start_ms=start_ms) for chunk in some) for some in (segment.chunks, segment.dropped)
        )
        segment = replace(segment, chunks=chunks, dropped=dropped)
    return claim, segment


def _claims(participant: Participant, segment: Segment, seen: Sequence[_Seen]) -> Iterator[Anchor]:
    """From the best to the worst; the last is always possible."""
    chunks = sorted(segment.came, key=lambda chunk: chunk.seq)
    start_ms = chunks[0].start_ms
    # The first offset told, not the best of all: a window must not move because of what was measured after it. Later
    # beliefs are for the slope.
    own = next((chunk for chunk in chunks if chunk.offset_ms is not None), None)
    if own is not None and own.offset_ms is not None:
        yield Anchor(zero_ms=own.start_ms + own.offset_ms, err_ms=own.err_ms or 0, trusted="probe")
    # chunks whose clock had not been set since `start`, where that can be told
    same = [item.chunk for item in seen if (lead := _lead_ms(item)) is not None and -_CLOSE_MS <= lead <= _LATEST_MS]
    delays = [chunk.received_ms - chunk.at_ms for chunk in same or chunks if chunk.at_ms is not None]
    for offset_ms, err_ms in _neighbours(participant, segment):
        # on another clock its chunks would have come before they were sent, or long after
        if delays and -_CLOSE_MS <= min(delays) - offset_ms <= _LATEST_MS:
            yield Anchor(zero_ms=start_ms + offset_ms, err_ms=err_ms, trusted="neighbour")
            break
    if delays:
        yield Anchor(zero_ms=start_ms + min(delays), err_ms=1000, trusted="received")
    # `start` is wrong: what was delivered, or received, less the media that it brought
    if seen and own is not None and own.offset_ms is not None:
        sent = [item.chunk.at_ms + own.offset_ms - item.end_ms for item in seen if item.chunk.at_ms is not None]
        if sent:
            yield Anchor(zero_ms=_early(sent) - _SOONEST_MS, err_ms=3000, trusted="media")
    if seen:
        came = [item.chunk.received_ms - item.end_ms for item in seen]
        yield Anchor(zero_ms=_early(came) - _SOONEST_MS, err_ms=10_000, trusted="media")
    yield Anchor(zero_ms=chunks[0].received_ms, err_ms=10_000, trusted="received")


def _early(zeros_ms: Sequence[int]) -> int:
    """Few come too soon, for a chunk's media is not cut at the instant of its delivery; many may come too late."""
    return sorted(zeros_ms)[len(zeros_ms) // 4]


def _neighbours(participant: Participant, segment: Segment) -> list[tuple[int, int]]:
    """(offset, err) that other segments of the same person told, the nearest in time first."""
    start_ms = segment.came[0].start_ms
    told = [
        (abs(chunk.start_ms - start_ms), chunk.offset_ms, chunk.err_ms or 0)
        for track in participant.tracks
        for other in track.segments
        for chunk in other.came[:1]
        if chunk.offset_ms is not None
    ]
    return [(offset_ms, err_ms) for _, offset_ms, err_ms in sorted(told)]


def _possible(claim: Anchor, seen: Sequence[_Seen], frame: Frame, sounds: bool) -> bool:
    """Does nothing contradict it?"""
    last_ms = max((item.end_ms for item in seen), default=0)
    room_ms = _CLOSE_MS + claim.err_ms
    # of media that runs fast there is more than there was time
    if any(claim.zero_ms + item.end_ms - item.end_ms // _FASTEST > item.chunk.received_ms + room_ms for item in seen):
        return False  # it was received before it was recorded
    if claim.zero_ms + last_ms < frame.from_ms - _FAR_MS or claim.zero_ms > frame.to_ms + _FAR_MS:
        return False  # nothing of it is anywhere near the recording
    return claim.trusted == "media" or not _start_is_wrong(seen, sounds)


def _start_is_wrong(seen: Sequence[_Seen], sounds: bool) -> bool:
    """Does `start` not fit the deliveries of a live recorder? Of a file that was there before, all come at once."""
    live = [item for item in seen if item.chunk.at_ms is not None]
    if len(live) < 2 or live[0].chunk.seq > 2:
        return False
    first, last = live[0], live[-1]
    media_ms, spent_ms = last.end_ms - first.end_ms, (last.chunk.at_ms or 0) - (first.chunk.at_ms or 0)
    lead_ms = _lead_ms(first)
    if media_ms <= 0 or spent_ms < media_ms // 2 or lead_ms is None:
        return False
    # sound comes all the time; a screen that does not move may deliver its first picture after an hour
    return lead_ms < -_CLOSE_MS or (sounds and lead_ms > _LATEST_MS)


def _lead_ms(item: _Seen) -> int | None:
    """How long after its end media was delivered, by the client's clock alone."""
    chunk = item.chunk
    return None if chunk.at_ms is None else chunk.at_ms - chunk.start_ms - item.end_ms
