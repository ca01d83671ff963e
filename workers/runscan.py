"""What is inside the bytes of a run? Demuxed, bounded: times and places of its packets. Nothing is stored here.

No media is copied: later jobs read just the bytes they need. Bytes that cannot be read make a scan that says why, so
that one bad segment costs nobody else anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import av
import numpy as np

from callreel import scans
from callreel.errors import CallreelError
from callreel.model import Chunk
from callreel.scans import Container, Packets, RunScan

from . import containers, demux, opus, torn

#: Packets of one run that are read at most: ten hours of 60 pictures and 50 sounds a second, and what is hostile ends.
_MAX_PACKETS = 4_000_000
#: Packets of a second of one stream: Opus makes 400 at most, pictures come 240 times; a burst doubles it.
_DENSEST = 1000
#: No recorder is silent for so long and goes on in the same run.
_LEAP_US = 12 * 3_600_000_000
_RATES = (4_000, 384_000)  #: samples a second, from the telephone's to the studio's

#: Pictures whose distance tells how long the last one lasts: about a second.
_RECENT = 30

_NOTHING = "there is neither a sound in it nor a picture that decodes"

_Row = tuple[int, int, int, int, int]  #: pts and duration in µs, first and last byte, key frame


def scan_run(run: list[Chunk], data: bytes, head: tuple[Container, bytes] | None) -> RunScan:
    """Scan the bytes of a run; `head` is what another run of the segment began with."""
    try:
        if run[0].seq == 0:
            found = head_of(data)
            return _demux(_blank(run), found[0], found[1], data)
        if head is None:
            return unreadable(run, "the segment's first chunk is missing, and nothing decodes without its header")
        # A run behind a hole begins in the middle of something: what is before the next place to start is dropped.
        begin = next(iter(containers.starts(head[0], data)), len(data)) if head[1] else len(data)
        scan = _demux(_blank(run), head[0], head[1], data[begin:], begin=begin)
        rest = torn.find(head[1], data[:begin], scan.audio) if head[0] == "matroska" and begin < len(data) else None
        if rest is None:
            return scan
        return _demux(_blank(run), head[0], head[1], data[rest.begin :], begin=rest.begin, lead=rest.lead)
    except (av.FFmpegError, CallreelError, ValueError, IndexError, OverflowError) as error:
        return unreadable(run, f"{type(error).__name__}: {error}"[:300])


def extend_run(run: list[Chunk], known: RunScan, read: Callable[[int], bytes]) -> RunScan | None:
    """The scan of a run of whose beginning one is known; None where all of it must be read to say."""
    if known.first_seq and known.container == "matroska" and known.audio_codec and len(known.audio) <= torn.NEEDED:
        return None  # what it began in the middle of may be found out yet
    begin = int(known.starts[-1])
    first, _ = known.chunks_of(begin, begin + 1)
    skipped = begin - sum(known.chunk_bytes[:first])
    try:
        data = read(first)[skipped:]
        return _demux(_blank(run), known.container, known.head, data, begin=begin, lead=known.lead, known=known)
    except (av.FFmpegError, CallreelError, ValueError, IndexError, OverflowError):
        return None


def _blank(run: list[Chunk]) -> RunScan:
    return RunScan(
        first_seq=run[0].seq,
        chunk_sha256=tuple(chunk.sha256 for chunk in run),
        chunk_bytes=tuple(chunk.size_bytes for chunk in run),
    )


def unreadable(run: list[Chunk], reason: str) -> RunScan:
    return replace(_blank(run), error=reason)


def head_of(data: bytes) -> tuple[Container, bytes]:
    """The container of a segment's first bytes, and the bytes before its first media; nothing where it has no parts."""
    container = containers.container_of(data)
    if container is None:
        raise ValueError(f"no media: the segment begins with {data[:8].hex(' ') or 'nothing'}")
    first = next(iter(containers.starts(container, data)), len(data))
    return container, data[:first] if containers.has_parts(container, data[:first]) else b""


def _demux(
    blank: RunScan,
    container: Container,
    head: bytes,
    data: bytes,
    *,
    begin: int | None = None,
    lead: bytes = b"",
    known: RunScan | None = None,
) -> RunScan:
    """Scan a run from its byte `begin` on, which is where something starts, if need be behind `lead`; None: all of it,
    with its own head.

    What `known` tells of the bytes before stays as it is.
    """
    source = data if begin is None else head + lead + data
    shift = 0 if begin is None else begin - len(head + lead)  # from a position in `source` to one in the run
    end_byte = len(source) + shift
    with demux.opened(container, source) as file:
        video = next(iter(file.streams.video), None)
        audio = next(iter(file.streams.audio), None)
        _check_streams(video, audio)
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
                    min(end + shift, end_byte),
                    int(packet.is_keyframe),
                )
            )
            if count > _MAX_PACKETS:
                raise ValueError(f"more than {_MAX_PACKETS} packets")
        before = known or RunScan(first_seq=0, chunk_sha256=(), chunk_bytes=())
        begin = begin or 0
        tables, note = _cut_leaps(
            [
                _table(old, begin, rows[stream.index] if stream is not None else [])
                for old, stream in ((before.video, video), (before.audio, audio))
            ]
        )
        pictures, sounds = _video(tables[0]), _packets(tables[1])
        found = containers.starts(container, data) if head else []
        if lead and known is None:  # the first of them is no Cluster's, but reading can begin there
            found = [0, *found]
        starts = np.array([at + begin for at in found], dtype=np.int64)
        starts = np.concatenate((before.starts[before.starts < begin], starts))
        # Chromium's MP4 begins with a chunk that is all header; so may anything that was cut off early
        only_head = len(blank.chunk_sha256) == 1 and not len(starts) and containers.has_parts(container, head)
        return RunScan(
            first_seq=blank.first_seq,
            chunk_sha256=blank.chunk_sha256,
            chunk_bytes=blank.chunk_bytes,
            container=container,
            head=head,
            lead=lead,
            starts=starts,
            video=pictures,
            audio=sounds,
            width_px=video.codec_context.width if video is not None else 0,
            height_px=video.codec_context.height if video is not None else 0,
            # not the decoder's name: that of AV1 may be libdav1d
            video_codec=video.codec_context.codec.canonical_name if video is not None else "",
            audio_codec=audio.codec_context.codec.canonical_name if audio is not None else "",
            # its head may serve other runs all the same
            error="" if len(pictures) or len(sounds) or only_head else _NOTHING,
            note=note,
        )


def _check_streams(video: av.VideoStream | None, audio: av.AudioStream | None) -> None:
    """Raises `ValueError` for what no renderer may decode."""
    for stream in (video, audio):
        if stream is not None and getattr(stream, "codec_context", None) is None:
            raise ValueError("its header names no codec, or was torn")
        if stream is not None and stream.codec_context.codec.name not in containers.DECODERS:
            raise ValueError(f"{stream.codec_context.name} is no codec that recorders use")
    if video is not None and video.codec_context.width * video.codec_context.height > containers.MAX_PIXELS:
        raise ValueError(f"{video.codec_context.width}x{video.codec_context.height} pixels are more than allowed")
    if audio is not None and not _RATES[0] <= audio.codec_context.sample_rate <= _RATES[1]:
        raise ValueError(f"{audio.codec_context.sample_rate} samples a second are none that a device delivers")


def _cut_leaps(tables: list[scans.Ints]) -> tuple[list[scans.Ints], str]:
    """Leave out what is stamped hours away from most of a run, and say what that was. Raises `ValueError` for more
    packets than any recorder makes: planning looks at each of a window's.

    Nobody records leaps, and whoever looks at a run span by span would look at nothing for ever.
    """
    stamps = np.sort(np.concatenate([table[:, 0] for table in tables]))
    leaps = np.flatnonzero(np.diff(stamps) > _LEAP_US)
    note = ""
    if len(leaps):
        borders = np.concatenate(([0], leaps + 1, [len(stamps)]))
        most = int(np.argmax(np.diff(borders)))
        first, last = stamps[borders[most]], stamps[borders[most + 1] - 1]
        tables = [table[(first <= table[:, 0]) & (table[:, 0] <= last)] for table in tables]
        hours = int(stamps[leaps[0] + 1] - stamps[leaps[0]]) // 3_600_000_000
        note = f"its stamps leap by {hours} h; {len(stamps) - int(np.diff(borders)[most])} packets are left out"
    for table in tables:
        span_s = int(table[-1, 0] - table[0, 0]) // 1_000_000 + 1 if len(table) else 1
        if len(table) > min(_DENSEST * span_s, _MAX_PACKETS):
            raise ValueError(f"{len(table)} packets in {span_s} s are more than any recorder makes")
    return tables, note


def _table(known: Packets, begin: int, rows: list[_Row]) -> scans.Ints:
    """Packets as rows of pts, duration, first and last byte, key, in order of time: the known ones before the byte
    `begin`, and those that were read."""
    old = np.stack([getattr(known, name) for name in Packets.__slots__], axis=1)[known.from_byte < begin]
    table = np.concatenate((old, np.array(rows, dtype=np.int64).reshape(-1, len(Packets.__slots__))))
    # Order of time, whatever the order in the file; a time of which there are two can only be shown once.
    table = table[np.lexsort(table.T[::-1])]
    if not len(table):
        return table
    found: scans.Ints = table[np.concatenate(([True], np.diff(table[:, 0]) > 0))]
    return found


def _packets(table: scans.Ints) -> Packets:
    return Packets(**{name: table[:, index].copy() for index, name in enumerate(Packets.__slots__)})


def _video(table: scans.Ints) -> Packets:
    # Before the first key frame there is nothing to decode from.
    keys_at = np.flatnonzero(table[:, 4])
    found = table[int(keys_at[0]) :] if len(keys_at) else table[:0]
    if len(found):
        # A picture lasts until the next; the last one as long as those before it did, but not longer than a tenth.
        steps = np.diff(found[:, 0])
        usual = min(int(np.median(steps[-_RECENT:])), 100_000) if len(steps) else 33_333
        found = found.copy()
        found[:, 1] = np.append(steps, usual)
    return _packets(found)
