"""Media of paused spans, deleted once the recording is completed: what belongs to no result is not kept either.

Whole chunks only, and only those without which everything that is made of the recording stays what it is: the plan is
made again without them and has to be the same, window by window. So nobody has to know what reads how far.
"""

from __future__ import annotations

import json
from hashlib import sha256

import structlog

from callreel import keys, repository, scans
from callreel.clock import US_PER_MS, film_us, spans
from callreel.cuts import plan_film
from callreel.failpoints import failpoint
from callreel.journal import Draft
from callreel.manifest import Build, Film
from callreel.model import Chunk, Recording, Segment, Track
from callreel.scans import RunScan
from callreel.states import Status
from callreel.windows import made_of

from .bench import Bench
from .export import plan_files
from .planning import plan

log = structlog.get_logger(__name__)

#: Chunks this close to a pause's ends stay: what is decoded before a cut, and sound that is read beyond a window.
_MARGIN_US = 700_000
#: Each try leaves one chunk more at both ends of every stretch.
_TRIES = 4

Place = tuple[str, str, int]  #: participant, track, seg


def drop_paused(bench: Bench, build: Build) -> int:
    """Delete what of a completed recording lies in its pauses alone; how many chunks that were."""
    recording = build.recording
    if not recording.pauses or recording.status is not Status.COMPLETED:
        return 0
    _delete(bench, recording, [c for track in recording.tracks() for s in track.segments for c in s.dropped])
    window_ms = bench.settings.window_ms
    stretches = _paused(build, window_ms)
    for _ in range(_TRIES):
        chunks = [chunk for stretch in stretches for chunk in stretch]
        if not chunks:
            return 0
        less = without(build, chunks)
        if _made_of(plan(bench.storage, bench.settings, less), window_ms) == _made_of(build, window_ms):
            break
        stretches = [stretch[1:-1] for stretch in stretches]
    else:
        log.info("drop: something is made of what lies in a pause, so it stays", chunks=len(chunks))
        return 0
    prefix = keys.chunks_prefix(recording.recording_id)
    names = {chunk: keys.chunk(recording.recording_id, chunk).removeprefix(prefix) for chunk in chunks}
    ends = media_ends(build)
    listed = [[names[chunk], chunk.size_bytes, ends.get(repository.slot_of(chunk))] for chunk in chunks]
    body = json.dumps(listed, separators=(",", ":")).encode()
    digest = sha256(body).hexdigest()
    bench.storage.put_if_absent(keys.dropped(recording.recording_id, digest), body)
    failpoint("drop.listed")

    def decide(state: Recording) -> Draft | None:
        if state.status is not Status.COMPLETED or digest in state.dropped:
            return None
        # of the rest the very same is made
        return "dropped", {"list": digest, "chunks": len(chunks), "madeOf": made_of(less, window_ms)}

    if digest not in bench.control.append(recording.recording_id, decide).dropped:
        return 0
    failpoint("drop.told")
    _delete(bench, less, chunks)
    return len(chunks)


def without(build: Build, chunks: list[Chunk]) -> Recording:
    """The recording as if these chunks had been dropped already."""
    ends = media_ends(build)
    gone = {repository.slot_of(chunk): (chunk, ends.get(repository.slot_of(chunk))) for chunk in chunks}
    return repository.with_dropped(build.recording, gone)


def media_ends(build: Build) -> dict[repository.Slot, int]:
    """The media time at which chunks end: how media runs against the clock is measured by it, also of dropped ones."""
    return {
        (*place, seq): end_us for place, runs in build.scans.items() for seq, end_us in scans.media_ends(runs).items()
    }


def _made_of(build: Build, window_ms: int) -> object:
    """All that is made of a recording: windows, gaps, and the tracks' own files with what is in them."""
    clips = {(c.kind, c.place, c.from_us, c.to_us, c.line) for c in build.timeline.clips}
    more = [film.digest for film in _more(build, window_ms)]
    return build.digest, more, clips, [plan_files(build, track) for track in build.recording.tracks()]


def _more(build: Build, window_ms: int) -> list[Film]:
    recording = build.recording
    return [plan_film(recording, build.timeline, build.scans, each, window_ms) for each in recording.compositions]


def _paused(build: Build, window_ms: int) -> list[list[Chunk]]:
    """Stretches of chunks, one behind the other, whose media lies in pauses and that no window reads."""
    read = {
        digest
        for film in (*build.films, *_more(build, window_ms))
        for made in (window.plan for window in film.windows)
        for item in (*made["video"], *made["audio"])
        for digest in item["chunks"]
    }
    found: list[list[Chunk]] = []
    for track in build.recording.tracks():
        for segment in track.segments:
            paused = [chunk for chunk in _segment(build, track, segment) if chunk.sha256 not in read]
            if len(paused) < len(segment.chunks):  # without its first chunk nothing of a segment can be found out again
                paused = [chunk for chunk in paused if chunk.seq > 0]
            for chunk in paused:
                if found and _follows(found[-1][-1], chunk):
                    found[-1].append(chunk)
                else:
                    found.append([chunk])
    return found


def _follows(before: Chunk, chunk: Chunk) -> bool:
    same = (before.participant_id, before.track_id, before.seg) == (chunk.participant_id, chunk.track_id, chunk.seg)
    return same and before.seq + 1 == chunk.seq


def _segment(build: Build, track: Track, segment: Segment) -> list[Chunk]:
    place = (track.participant_id, track.track_id, segment.seg)
    by_seq = {chunk.seq: chunk for chunk in segment.chunks}
    found = []
    for run in build.scans.get(place, ()):
        end_byte = 0
        for index, size_bytes in enumerate(run.chunk_bytes):
            from_byte, end_byte = end_byte, end_byte + size_bytes
            reach = _reach_us(run, from_byte, end_byte)
            if reach and _in_a_pause(build, place, *reach):
                found.append(by_seq[run.first_seq + index])
    return found


def _reach_us(run: RunScan, from_byte: int, end_byte: int) -> tuple[int, int] | None:
    """Media time of the packets that these bytes hold, whole or in part; None where there are none."""
    edges: list[int] = []
    for packets in (run.video, run.audio):
        inside = (packets.from_byte < end_byte) & (packets.to_byte > from_byte)
        if bool(inside.any()):
            edges += [int(packets.pts_us[inside].min()), int((packets.pts_us + packets.duration_us)[inside].max())]
    return (min(edges), max(edges)) if edges else None


def _in_a_pause(build: Build, place: Place, from_us: int, to_us: int) -> bool:
    recording = build.recording
    zero_us = (build.timeline.anchors[place].zero_ms - recording.started_ms) * US_PER_MS
    stretches = spans(recording, recording.stopped_ms or recording.started_ms)
    placed_us = build.timeline.drifts[place].placed_us
    a, b = zero_us + placed_us(from_us) - _MARGIN_US, zero_us + placed_us(to_us) + _MARGIN_US
    stop_us = ((recording.stopped_ms or 0) - recording.started_ms) * US_PER_MS
    # an instant in a pause is told as the one at which it was cut
    return (
        a > 0
        and b < stop_us
        and film_us(a, recording.started_ms, stretches) == film_us(b, recording.started_ms, stretches)
    )


def _delete(bench: Bench, recording: Recording, chunks: list[Chunk]) -> None:
    """Delete dropped chunks, and the second copy of a first one where nothing of its segment is left."""
    if not chunks:
        return
    recording_id = recording.recording_id
    there = {entry.key for entry in bench.storage.list(keys.chunks_prefix(recording_id))}
    touched = {(chunk.participant_id, chunk.track_id, chunk.seg) for chunk in chunks}
    for chunk in chunks:
        key = keys.chunk(recording_id, chunk)
        if key in there:
            bench.storage.delete(key)
            failpoint("drop.object")
    for track in recording.tracks():
        for segment in track.segments:
            place = (track.participant_id, track.track_id, segment.seg)
            if place in touched and not segment.chunks:
                bench.storage.delete(keys.segment_head(recording_id, *place))
