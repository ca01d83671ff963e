"""A recording as the storage has it: the journal's fold with the chunks that are there."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from . import facts, journal, keys
from .errors import ObjectMissing
from .model import Chunk, Participant, Recording, Segment, Track
from .storage import Storage

Slot = tuple[str, str, int, int]  #: participant, track, seg, seq
Dropped = tuple[Chunk, int | None]  #: and the media time in µs at which it ended, where that could be read


def load(storage: Storage, recording_id: str) -> Recording:
    """Journal and chunks of one recording. Raises `UnknownRecording`."""
    state = journal.fold(recording_id, journal.read(storage, recording_id))
    filled = with_chunks(state, each_chunk(storage, recording_id), read_mime_types(storage, recording_id))
    filled = with_told(storage, filled)
    return with_dropped(filled, read_dropped(storage, state)) if state.dropped else filled


def refolded(storage: Storage, recording: Recording) -> Recording:
    """A recording as its journal tells it by now, with the chunks that were found before: listing those of an hour
    takes a fifth of a second."""
    segments = [(track, segment) for track in recording.tracks() for segment in track.segments]
    mime_types = {(track.participant_id, track.track_id, each.seg): each.mime_type for track, each in segments}
    state = journal.fold(recording.recording_id, journal.read(storage, recording.recording_id))
    filled = with_told(
        storage, with_chunks(state, (chunk for _, each in segments for chunk in each.chunks), mime_types)
    )
    return with_dropped(filled, read_dropped(storage, state)) if state.dropped else filled


def with_told(storage: Storage, recording: Recording) -> Recording:
    """The recording with what its clients told about cameras that were off and recorders that stood."""

    def told(participant: Participant) -> Participant:
        tracks = []
        for track in participant.tracks:
            muted, paused = facts.told_spans(storage, recording.recording_id, track)
            tracks.append(replace(track, muted=muted, paused=paused) if muted or paused else track)
        return replace(participant, tracks=tuple(tracks))

    return replace(recording, participants=tuple(told(participant) for participant in recording.participants))


def read_chunks(storage: Storage, recording_id: str) -> list[Chunk]:
    return list(each_chunk(storage, recording_id))


def each_chunk(storage: Storage, recording_id: str) -> Iterator[Chunk]:
    """The chunks that are stored, one after the other, in order of their keys."""
    known: dict[Any, Any] = {}  # of what many of them tell alike one value is kept: of a long call a third of them all

    def share(value: Any) -> Any:
        return known.setdefault(value, value)

    for entry in storage.list(keys.chunks_prefix(recording_id)):
        if chunk := keys.parse_chunk(entry.key, entry.size_bytes, share):
            yield chunk


def read_mime_types(storage: Storage, recording_id: str) -> dict[tuple[str, str, int], str]:
    """(participant, track, seg) → media type as the recorder reported it."""
    found = {}
    for entry in storage.list(keys.segments_prefix(recording_id)):
        if entry.key.endswith("/segment.json"):
            *_, participant_id, track_id, seg, _name = entry.key.split("/")
            try:
                found[participant_id, track_id, int(seg)] = str(json.loads(storage.get(entry.key))["mimeType"])
            except ObjectMissing:  # deleted since the listing
                continue
    return found


def slot_of(chunk: Chunk) -> Slot:
    return chunk.participant_id, chunk.track_id, chunk.seg, chunk.seq


def read_dropped(storage: Storage, state: Recording) -> dict[Slot, Dropped]:
    """The chunks that came and were deleted because they lay in a pause."""
    prefix, found = keys.chunks_prefix(state.recording_id), dict[Slot, Dropped]()
    for digest in state.dropped:
        for name, size_bytes, end_us in json.loads(storage.get(keys.dropped(state.recording_id, digest))):
            if chunk := keys.parse_chunk(prefix + name, size_bytes):
                found[slot_of(chunk)] = chunk, end_us
    return found


def with_dropped(state: Recording, dropped: Mapping[Slot, Dropped]) -> Recording:
    """The recording with chunks moved to those that were dropped, whether they are deleted already or not. Pure."""

    def moved(track: Track) -> Track:
        gone: dict[int, dict[int, Chunk]] = defaultdict(dict)
        ends: dict[int, dict[int, int]] = defaultdict(dict)
        for (participant_id, track_id, seg, seq), (chunk, end_us) in dropped.items():
            if (participant_id, track_id) == (track.participant_id, track.track_id):
                gone[seg][seq] = chunk
                if end_us is not None:
                    ends[seg][seq] = end_us
        known = {segment.seg: segment for segment in track.segments}
        for seg, chunks in gone.items():
            segment = known.get(seg, Segment(seg=seg, mime_type="", chunks=()))
            mine = chunks | {chunk.seq: chunk for chunk in segment.dropped}
            known[seg] = replace(
                segment,
                chunks=tuple(chunk for chunk in segment.chunks if chunk.seq not in mine),
                dropped=tuple(mine[seq] for seq in sorted(mine)),
                dropped_ends=tuple(sorted((dict(segment.dropped_ends) | ends[seg]).items())),
            )
        return replace(track, segments=tuple(known[seg] for seg in sorted(known)))

    return replace(
        state,
        participants=tuple(replace(p, tracks=tuple(moved(track) for track in p.tracks)) for p in state.participants),
    )


def with_chunks(state: Recording, chunks: Iterable[Chunk], mime_types: dict[tuple[str, str, int], str]) -> Recording:
    """The recording with its segments filled. Pure; the order in which chunks come does not matter."""
    slots: dict[tuple[str, str, int], dict[int, Chunk]] = defaultdict(dict)
    for chunk in chunks:
        # Two objects in one slot can only come from an index lost between two uploads: the first received one counts.
        other = slots[chunk.participant_id, chunk.track_id, chunk.seg].setdefault(chunk.seq, chunk)
        if other is not chunk and (chunk.received_ms, chunk.sha256) < (other.received_ms, other.sha256):
            slots[chunk.participant_id, chunk.track_id, chunk.seg][chunk.seq] = chunk

    def filled(track: Track) -> Track:
        declared = {segment.seg: segment.expected_chunks for segment in track.segments}
        segs = {seg for (p, t, seg) in slots if (p, t) == (track.participant_id, track.track_id)} | set(declared)
        segments = []
        for seg in sorted(segs):
            place = (track.participant_id, track.track_id, seg)
            in_order = tuple(slots[place][seq] for seq in sorted(slots[place])) if place in slots else ()
            segments.append(
                Segment(
                    seg=seg,
                    mime_type=mime_types.get(place, ""),
                    chunks=in_order,
                    expected_chunks=declared.get(seg),
                )
            )
        return replace(track, segments=tuple(segments))

    def with_tracks(participant: Participant) -> Participant:
        return replace(participant, tracks=tuple(filled(track) for track in participant.tracks))

    return replace(state, participants=tuple(with_tracks(p) for p in state.participants))
