"""What is inside the chunks? Every run of chunks is demuxed once, bounded, and its packets' times and places kept.

No media is copied: later jobs read just the bytes they need. Bytes that cannot be read make a scan that says why, so
that one bad segment costs nobody else anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256

import av
import numpy as np

from callreel import keys, scans
from callreel.errors import CallreelError, ObjectMissing
from callreel.failpoints import failpoint
from callreel.model import Chunk, Segment, Track
from callreel.scans import Container, Packets, RunScan
from callreel.storage import Storage

from . import containers, demux, opus
from .levels import run_levels

#: Packets of one run that are read at most: ten hours of 60 pictures and 50 sounds a second, and what is hostile ends.
_MAX_PACKETS = 4_000_000
#: Packets of a second of one stream: Opus makes 400 at most, pictures come 240 times; a burst doubles it.
_DENSEST = 1000
#: No browser records more; larger pictures are refused before anything decodes them.
MAX_PIXELS = 4096 * 4096

#: Pictures whose distance tells how long the last one lasts: about a second.
_RECENT = 30

_Row = tuple[int, int, int, int, int]  #: pts and duration in µs, first and last byte, key frame

SegmentKey = tuple[str, str, int]  #: participant, track, seg


def scan_track(storage: Storage, recording_id: str, track: Track) -> dict[SegmentKey, list[RunScan]]:
    """The scans of all runs of all segments of a track, made where they are not there yet."""
    return {
        (track.participant_id, track.track_id, segment.seg): scan_segment(storage, recording_id, track, segment)
        for segment in track.segments
    }


def scan_segment(storage: Storage, recording_id: str, track: Track, segment: Segment) -> list[RunScan]:
    if not segment.chunks:
        return []
    head_copy = _head_copy(storage, recording_id, track, segment)
    found: list[RunScan] = []
    head: tuple[Container, bytes] | None = None
    for run in runs(segment.chunks):
        digest = scans.run_digest("" if run[0].seq == 0 else sha256(head_copy).hexdigest(), run)
        key = keys.scan(recording_id, digest)
        try:
            scan = scans.decode(storage.get(key))
        except ObjectMissing:
            data = b"".join(storage.get(keys.chunk(recording_id, chunk)) for chunk in run)
            if run[0].seq != 0 and head is None:
                head = _readable_head(head_copy)
            scan = scan_run(run, data, head)
            storage.put_if_absent(key, scans.encode(scan))
            failpoint("scan.stored")
        if head is None and scan.head:
            head = scan.container, scan.head
        found.append(replace(scan, levels=run_levels(storage, recording_id, run, scan)))
    return found


def runs(chunks: Iterable[Chunk]) -> list[list[Chunk]]:
    """Chunks in order of seq, cut where one is missing."""
    found: list[list[Chunk]] = []
    for chunk in chunks:
        if found and found[-1][-1].seq == chunk.seq - 1:
            found[-1].append(chunk)
        else:
            found.append([chunk])
    return found


def scan_run(run: list[Chunk], data: bytes, head: tuple[Container, bytes] | None) -> RunScan:
    """Scan the bytes of a run; `head` is what another run of the segment began with."""
    blank = RunScan(
        first_seq=run[0].seq,
        chunk_sha256=tuple(chunk.sha256 for chunk in run),
        chunk_bytes=tuple(chunk.size_bytes for chunk in run),
    )
    try:
        if run[0].seq == 0:
            found = _head_of(data)
            return _demux(blank, found[0], found[1], data, own_head=True)
        if head is None:
            return _failed(blank, "the segment's first chunk is missing, and nothing decodes without its header")
        return _demux(blank, head[0], head[1], data, own_head=False)
    except (av.FFmpegError, CallreelError, ValueError, IndexError, OverflowError) as error:
        return _failed(blank, f"{type(error).__name__}: {error}"[:300])


def _failed(blank: RunScan, reason: str) -> RunScan:
    return RunScan(
        first_seq=blank.first_seq, chunk_sha256=blank.chunk_sha256, chunk_bytes=blank.chunk_bytes, error=reason
    )


def _head_copy(storage: Storage, recording_id: str, track: Track, segment: Segment) -> bytes:
    if segment.chunks[0].seq == 0 and not segment.missing():
        return b""
    try:
        return storage.get(keys.segment_head(recording_id, track.participant_id, track.track_id, segment.seg))
    except ObjectMissing:
        first = segment.chunks[0]
        return storage.get(keys.chunk(recording_id, first)) if first.seq == 0 else b""


def _readable_head(copy: bytes) -> tuple[Container, bytes] | None:
    """What later runs of a segment need of its first chunk; None where that never came, or is no media."""
    try:
        return _head_of(copy)
    except (ValueError, IndexError, OverflowError):
        return None


def _head_of(data: bytes) -> tuple[Container, bytes]:
    """The container of a segment's first bytes, and the bytes before its first media; nothing where it has no parts."""
    container = containers.container_of(data)
    if container is None:
        raise ValueError(f"no media: the segment begins with {data[:8].hex(' ') or 'nothing'}")
    first = containers.starts(container, data)
    if first:
        return container, data[: first[0]]
    return container, data if containers.has_parts(container, data) else b""


def _demux(blank: RunScan, container: Container, head: bytes, data: bytes, *, own_head: bool) -> RunScan:
    first_bytes = containers.starts(container, data)
    # A run behind a hole begins in the middle of something: everything before the next place to start is dropped.
    skipped = 0 if own_head else (first_bytes[0] if first_bytes else len(data))
    source = data if own_head else head + data[skipped:]
    shift = 0 if own_head else skipped - len(head)  # from a position in `source` to one in the run
    with demux.opened(container, source) as file:
        video = next(iter(file.streams.video), None)
        audio = next(iter(file.streams.audio), None)
        if video is not None and video.codec_context.width * video.codec_context.height > MAX_PIXELS:
            raise ValueError(f"{video.codec_context.width}x{video.codec_context.height} pixels are more than allowed")
        wanted: list[av.stream.Stream] = [stream for stream in (video, audio) if stream is not None]
        rows: dict[int, list[_Row]] = {stream.index: [] for stream in wanted}
        for count, packet in enumerate(demux.packets(file, *wanted), 1):
            position = -1 if packet.pos is None else packet.pos
            duration_us = int((packet.duration or 0) * packet.time_base * 1_000_000)
            if audio is not None and packet.stream_index == audio.index and audio.codec_context.name == "opus":
                duration_us = opus.duration_us(bytes(packet))
            end = containers.media_end(container, source, position, packet.size)
            rows[packet.stream_index].append(
                (
                    demux.pts_us(packet),
                    duration_us,
                    position + shift,
                    min(end + shift, len(data)),
                    int(packet.is_keyframe),
                )
            )
            if count > _MAX_PACKETS:
                raise ValueError(f"more than {_MAX_PACKETS} packets")
        for found in rows.values():
            _check_density(found)
        return RunScan(
            first_seq=blank.first_seq,
            chunk_sha256=blank.chunk_sha256,
            chunk_bytes=blank.chunk_bytes,
            container=container,
            head=head,
            starts=np.array(first_bytes, dtype=np.int64),
            video=_video(rows[video.index]) if video is not None else Packets(),
            audio=Packets(**_columns(rows[audio.index])) if audio is not None else Packets(),
            width_px=video.codec_context.width if video is not None else 0,
            height_px=video.codec_context.height if video is not None else 0,
            video_codec=video.codec_context.name if video is not None else "",
            audio_codec=audio.codec_context.name if audio is not None else "",
        )


def _check_density(rows: list[_Row]) -> None:
    """Raises `ValueError` for more packets than any recorder makes: planning has to look at each of a window's."""
    if rows:
        span_s = (max(row[0] for row in rows) - min(row[0] for row in rows)) // 1_000_000 + 1
        if len(rows) > _DENSEST * span_s:
            raise ValueError(f"{len(rows)} packets in {span_s} s are more than any recorder makes")


def _columns(rows: list[_Row]) -> dict[str, scans.Ints]:
    # Order of time, whatever the order in the file; a time of which there are two can only be shown once.
    table = np.array(sorted(rows), dtype=np.int64).reshape(-1, 5)
    if len(table):
        table = table[np.concatenate(([True], np.diff(table[:, 0]) > 0))]
    names = ("pts_us", "duration_us", "from_byte", "to_byte", "key")
    return {name: table[:, index].copy() for index, name in enumerate(names)}


def _video(rows: list[_Row]) -> Packets:
    columns = _columns(rows)
    # Before the first key frame there is nothing to decode from.
    keys_at = np.flatnonzero(columns["key"])
    first = int(keys_at[0]) if len(keys_at) else len(columns["key"])
    columns = {name: column[first:] for name, column in columns.items()}
    if len(columns["pts_us"]):
        # A picture lasts until the next; the last one as long as those before it did, but not longer than a tenth.
        steps = np.diff(columns["pts_us"])
        usual = min(int(np.median(steps[-_RECENT:])), 100_000) if len(steps) else 33_333
        columns["duration_us"] = np.append(steps, usual)
    return Packets(**columns)
