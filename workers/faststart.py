"""Windows as one MP4 with its index in front, so that it plays while it is still fetched ("faststart").

ffmpeg can do it too, and reads and writes an hour three times for it: 5 s of a processor while somebody waits for the
film. Here each byte is written once: windows say how large their samples are (`fragments.py`), so the index is known
before the first of them is copied. Boxes are those of ISO/IEC 14496-12; what a track is comes from the windows' own
init segment.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import groupby, zip_longest
from pathlib import Path

import numpy as np

from callreel.errors import RenderFailed

from .fragments import Fragment, children, fragments, headers

#: Unit of the film's own times: a multiple of all frame rates, and fine enough for sound that begins behind pictures.
_TIMESCALE = 90_000
#: Pictures and sound take turns each second, so that a player need not read far ahead for either.
_CHUNK_S = 1
#: What is read of a window for its table: of 8 s it has 4 kB, of a minute of 60 pictures a second 50.
_HEAD_BYTES = 64 * 1024
#: File types (4.3): major brand, its version, and all those that the film is compatible with.
BRANDS = {"mp4": b"isom\0\0\2\0isomiso2avc1mp41", "m4a": b"M4A \0\0\2\0M4A isomiso2"}
#: Media in a box of more bytes than this would have places that do not fit into 32 bits; the rest is for the index.
_WIDE_BYTES = 0xF000_0000
#: What decoders of AAC want before the packet that they are to play: one more (10.1.1.1, "roll" −1), for all packets.
_ROLLS = struct.pack(">I4sIIh", 1 << 24, b"roll", 2, 1, -1)

Read = Callable[[int, int | None], bytes]  #: bytes of a window: from where on, and how many; None is all that follow


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One window."""

    name: str  #: for errors
    read: Read


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Samples of one track behind each other (8.7.4)."""

    track: int
    samples: int
    at_byte: int  #: of its window
    size_bytes: int


@dataclass(slots=True)
class _Track:
    """A track of the film, window by window."""

    trak: bytes  #: content of the init segment's box: what kind of track it is
    timescale: int
    found: list[Fragment] = field(default_factory=list)  #: one for each window

    @property
    def filled(self) -> list[Fragment]:
        """Those in which there is anything of it: in a window of one picture there may be no whole frame of sound."""
        return [fragment for fragment in self.found if len(fragment)]

    @property
    def start(self) -> float:
        """When its first sample begins, s."""
        return self.filled[0].start / self.timescale

    @property
    def duration(self) -> int:
        """In the track's timescale."""
        return self.filled[-1].end - self.filled[0].start


def write(parts: Sequence[Part], target: Path, brand: str) -> str:
    """Write the film, and tell its SHA-256.

    Raises `RenderFailed` where windows do not follow each other, or another one has another init.
    """
    tracks, mvhd = _tables(parts)
    windows = [_chunks(tracks, index) for index in range(len(parts))]
    chunks = [chunk for window in windows for chunk in window]
    media_bytes = sum(chunk.size_bytes for chunk in chunks)
    wide = media_bytes > _WIDE_BYTES
    ftyp = _box("ftyp", BRANDS[brand])
    mdat = struct.pack(">I4sQ", 1, b"mdat", media_bytes + 16) if wide else struct.pack(">I4s", media_bytes + 8, b"mdat")
    # the index tells where media lies, which is behind the index, whose size does not depend on what it tells
    before = len(ftyp) + len(_moov(mvhd, tracks, chunks, 0, wide)) + len(mdat)
    digest = sha256()
    # beside the writing: of an hour both take a third of a second, and neither holds Python's lock
    with target.open("wb") as file, ThreadPoolExecutor(1) as other:
        front = memoryview(ftyp + _moov(mvhd, tracks, chunks, before, wide) + mdat)
        file.write(front)
        summing = other.submit(_sum, digest, [front])
        for part, window in zip(parts, windows, strict=True):
            data = memoryview(part.read(0, None))
            pieces = [data[chunk.at_byte : chunk.at_byte + chunk.size_bytes] for chunk in window]
            file.writelines(pieces)
            summing.result()
            summing = other.submit(_sum, digest, pieces)
        summing.result()
    return digest.hexdigest()


def _sum(digest: hashlib._Hash, pieces: Sequence[memoryview]) -> None:
    for piece in pieces:
        digest.update(piece)


def another_init(name: str) -> RenderFailed:
    """A film has one header for all of its windows."""
    return RenderFailed(f"{name} has another init than the first; delete it: it comes again")


def _tables(parts: Sequence[Part]) -> tuple[list[_Track], bytes]:
    """The film's tracks with all their samples, and the header of the first window's `moov`."""
    init, mvhd, tracks, latest = b"", b"", dict[int, _Track](), dict[int, Fragment]()
    for part in parts:
        data = part.read(0, _HEAD_BYTES)
        ends = {kind: end for kind, _, end in headers(data)}
        if ends.get("moof", 0) > len(data):
            data = part.read(0, ends["moof"])
        own = data[: ends.get("moov", 0)]
        if not init:
            init = own
            [moov] = [body for kind, body in children(init) if kind == "moov"]
            mvhd = dict(children(moov))["mvhd"]
            for body in (body for kind, body in children(moov) if kind == "trak"):
                inside = dict(children(body))
                mdhd = dict(children(inside["mdia"]))["mdhd"]
                tracks[_word(inside["tkhd"], 12)] = _Track(body, _word(mdhd, 12))
        elif own != init:
            raise another_init(part.name)
        there = {fragment.track: fragment for fragment in fragments(data)}
        for number, track in tracks.items():
            fragment = there.get(number) or _nothing(number)
            track.found.append(fragment)
            if not len(fragment):
                continue
            before = latest.get(number)
            if before and (before.end, before.duration) != (fragment.start, fragment.duration):
                raise RenderFailed(f"{part.name} does not follow the one before it")
            latest[number] = fragment
    if latest.keys() != tracks.keys():
        raise RenderFailed("of one of the film's tracks there is nothing in any window")
    return list(tracks.values()), mvhd


def _nothing(track: int) -> Fragment:
    none = np.zeros(0, np.int64)
    return Fragment(track=track, start=0, duration=0, at_byte=0, sizes_bytes=none, keys=none)


def _chunks(tracks: Sequence[_Track], index: int) -> list[_Chunk]:
    """The chunks of one window in the order in which they are written: each track's by turns."""
    by_track = []
    for number, track in enumerate(tracks):
        fragment = track.found[index]
        size = max(1, track.timescale * _CHUNK_S // max(1, fragment.duration))
        firsts = np.arange(0, len(fragment), size)
        sizes = np.add.reduceat(fragment.sizes_bytes, firsts) if len(firsts) else firsts
        at_bytes = fragment.at_byte + np.cumsum(sizes) - sizes
        counts = np.minimum(len(fragment) - firsts, size)
        rows = zip(counts.tolist(), at_bytes.tolist(), sizes.tolist(), strict=True)
        by_track.append([_Chunk(number, *row) for row in rows])
    return [chunk for turn in zip_longest(*by_track) for chunk in turn if chunk is not None]


def _moov(mvhd: bytes, tracks: Sequence[_Track], chunks: Sequence[_Chunk], before: int, wide: bool) -> bytes:
    """The index, given how many bytes lie before the media."""
    places = np.cumsum([before, *(chunk.size_bytes for chunk in chunks)])[:-1]
    first = min(track.start for track in tracks)
    traks, longest = b"", 0
    for number, track in enumerate(tracks):
        mine = [index for index, chunk in enumerate(chunks) if chunk.track == number]
        delay = round((track.start - first) * _TIMESCALE)
        duration = round(track.duration * _TIMESCALE / track.timescale)
        longest = max(longest, delay + duration)
        stbl = _stbl(track, [chunks[index].samples for index in mine], places[mine].tolist(), wide)
        traks += _box("trak", _trak(track, delay, duration, stbl))
    mvhd = _lasting(mvhd[:12] + struct.pack(">I", _TIMESCALE) + mvhd[16:], 4, longest)
    return _box("moov", _box("mvhd", mvhd) + traks)


def _trak(track: _Track, delay: int, duration: int, stbl: bytes) -> bytes:
    """The init segment's track with its lengths and its samples; `delay` and `duration` in the film's own unit."""
    found = b""
    for kind, body in children(track.trak):
        if kind == "tkhd":
            body = _lasting(body, 8, delay + duration)
        if kind == "mdia":
            body = _mdia(body, track.duration, stbl)
        found += _box(kind, body)
        if kind == "tkhd" and delay:  # it begins later than another one (8.6.6): nothing, then all of it
            edits = struct.pack(">IIQqIQqI", 1 << 24, 2, delay, -1, 1 << 16, duration, 0, 1 << 16)
            found += _box("edts", _box("elst", edits))
    return found


def _mdia(mdia: bytes, duration: int, stbl: bytes) -> bytes:
    found = b""
    for kind, body in children(mdia):
        if kind == "mdhd":
            body = _lasting(body, 4, duration)
        if kind == "minf":
            body = b"".join(_box(name, stbl if name == "stbl" else inside) for name, inside in children(body))
        found += _box(kind, body)
    return found


def _stbl(track: _Track, counts: Sequence[int], places: Sequence[int], wide: bool) -> bytes:
    """The table of a track's samples (8.5): how long they last, which are keys, how large they are, where they lie."""
    minf = dict(children(dict(children(track.trak))["mdia"]))["minf"]
    stsd = dict(children(dict(children(minf))["stbl"]))["stsd"]
    sizes = np.concatenate([fragment.sizes_bytes for fragment in track.found])
    firsts = np.cumsum([0, *(len(fragment) for fragment in track.found)])
    keys = np.concatenate([at + fragment.keys for at, fragment in zip(firsts, track.found, strict=False)]) + 1
    runs = [(count, len(list(same))) for count, same in groupby(counts)]
    begins = np.cumsum([1, *(length for _, length in runs)])
    stsc = [[begin, count, 1] for begin, (count, _) in zip(begins.tolist(), runs, strict=False)]
    tables = [
        _box("stsd", stsd),
        _table("stts", [[len(sizes), track.filled[0].duration]]),
        *([_table("stss", keys)] if len(keys) < len(sizes) else []),  # without it each sample is one
        _table("stsc", stsc),
        _box("stsz", struct.pack(">III", 0, 0, len(sizes)) + sizes.astype(">u4").tobytes()),
        _table("co64" if wide else "stco", places, ">u8" if wide else ">u4"),
    ]
    if b"mp4a" in stsd[:16]:
        tables += [_box("sgpd", _ROLLS), _box("sbgp", struct.pack(">I4sIII", 0, b"roll", 1, len(sizes), 1))]
    return b"".join(tables)


def _lasting(body: bytes, between: int, duration: int) -> bytes:
    """A header with another duration, which stands `between` bytes behind two instants (8.2.2, 8.3.2, 8.4.2); what
    lasts longer than 13 h of 90 kHz wants the second version of the box, in which all three have 64 bits."""
    if body[0]:
        raise RenderFailed("a window's init segment has headers of another version")
    middle, rest = body[12 : 12 + between], body[16 + between :]
    if duration < 1 << 32:
        return body[: 12 + between] + struct.pack(">I", duration) + rest
    return b"\1" + body[1:4] + bytes(16) + middle + struct.pack(">Q", duration) + rest


def _table(kind: str, rows: object, form: str = ">u4") -> bytes:
    """A full box with a count and so many rows."""
    values = np.asarray(rows, form)
    return _box(kind, struct.pack(">II", 0, len(values)) + values.tobytes())


def _box(kind: str, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body) + 8, kind.encode("latin-1")) + body


def _word(body: bytes, at: int) -> int:
    return int.from_bytes(body[at : at + 4], "big")
