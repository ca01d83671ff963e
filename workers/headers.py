"""What must precede the later bytes of a segment so that they decode: found, or borrowed. Bytes in, bytes out.

A segment whose first chunk is not there takes the copy that was kept of it. Where that is not there either, another
segment of the same track, of the same media type and settings, begins with the same header, but for what nobody needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256

from callreel import facts, keys
from callreel.errors import ObjectMissing
from callreel.model import Segment, Track
from callreel.scans import Container
from callreel.storage import Storage

from . import containers, ogg

#: A header is spread over so many chunks at most, and so long; that of H.264 has some hundred bytes.
_CHUNKS, _BYTES = 64, 1_000_000
#: A page tells the settings of a track within this of the start of a segment.
_NEAR_MS = 5_000
_SETTINGS = ("mimeType", "width", "height", "sampleRate", "channelCount")


@dataclass(frozen=True, slots=True)
class Header:
    """Whole, and up to the first media."""

    container: Container
    data: bytes
    seg: int  #: whose it is

    @property
    def sha256(self) -> str:
        return sha256(self.data).hexdigest()


def find(storage: Storage, recording_id: str, track: Track, segment: Segment) -> Header | None:
    """The header for those runs of a segment that do not begin with one; None where there is none to be had."""
    own = _own(storage, recording_id, track, segment)
    if own is not None:
        return own
    told = facts.read(storage, recording_id, track, "settings")
    for other in sorted(track.segments, key=lambda other: (abs(other.seg - segment.seg), other.seg)):
        if other.seg != segment.seg and segment.mime_type and other.mime_type == segment.mime_type:
            mine, theirs = _settings(told, segment), _settings(told, other)
            if mine == theirs or not mine or not theirs:
                found = _own(storage, recording_id, track, other)
                if found is not None:
                    return _adopted(found, storage, recording_id, segment)
    return None


def _adopted(header: Header, storage: Storage, recording_id: str, segment: Segment) -> Header:
    """Pages of Ogg say which stream they are of, by a number that every recorder draws anew."""
    if header.container == "ogg":
        for chunk in segment.chunks[:_CHUNKS]:
            serial = ogg.serial_of(storage.get(keys.chunk(recording_id, chunk)))
            if serial is not None:
                return replace(header, data=ogg.relabelled(header.data, serial))
    return header


def _own(storage: Storage, recording_id: str, track: Track, segment: Segment) -> Header | None:
    data = b""
    for piece in _beginning(storage, recording_id, track, segment):
        data += piece
        container = containers.container_of(data)
        end = containers.header_end(container, data) if container else None
        if container and end:
            return Header(container, data[:end], segment.seg)
        if len(data) > _BYTES:
            break
    return None


def _beginning(storage: Storage, recording_id: str, track: Track, segment: Segment) -> Iterator[bytes]:
    """The bytes a segment begins with, chunk by chunk, as far as they are there."""
    first = [chunk for chunk in segment.chunks[:1] if chunk.seq == 0]
    try:
        yield storage.get(keys.segment_head(recording_id, track.participant_id, track.track_id, segment.seg))
    except ObjectMissing:
        if not first:
            return
        yield storage.get(keys.chunk(recording_id, first[0]))
    rest = segment.chunks[len(first) :][:_CHUNKS]
    for seq, chunk in enumerate(rest, 1):
        if chunk.seq != seq:
            return
        yield storage.get(keys.chunk(recording_id, chunk))


def _settings(told: list[facts.TrackFact], segment: Segment) -> list[object]:
    """What the page said of the track when the segment began; nothing where it said nothing."""
    if not segment.came:
        return []
    start_ms = segment.came[0].start_ms
    near = [fact for fact in told if abs(fact.at_ms - start_ms) <= _NEAR_MS]
    if not near:
        return []
    fact = min(near, key=lambda fact: abs(fact.at_ms - start_ms))
    return [fact.data.get(name) for name in _SETTINGS]
