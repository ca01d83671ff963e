"""What is inside the chunks, as numbers: the result of `workers.scan`, all that planning knows of the media.

A segment's chunks form *runs*: stretches without a missing chunk. A run is scanned once and its scan kept under a
digest of the bytes it came from. Byte positions count from the first byte of the run; times are media time in µs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from . import arrays
from .levels import Levels
from .model import Chunk

#: Part of every scan's digest: raise it when scanning changes, and all is scanned again.
SCAN_VERSION = 5

Container = Literal["matroska", "mp4", "ogg"]
Ints = NDArray[np.int64]
#: Whole numbers in as few bytes as they need, perhaps one for all of them. Sums of these are int64, products are not.
Few = NDArray[np.signedinteger[Any]]


def _none() -> Ints:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packets:
    """The packets of one stream in order of time: arrays of one length, most of what planning holds in memory."""

    pts_us: Ints = field(default_factory=_none)
    duration_us: Few = field(default_factory=_none)  #: pictures: to the next one; sound: what the packet decodes to
    from_byte: Few = field(default_factory=_none)
    to_byte: Few = field(default_factory=_none)
    key: Few = field(default_factory=_none)  #: 1 where decoding can begin

    def __len__(self) -> int:
        return len(self.pts_us)

    @property
    def from_us(self) -> int:
        return int(self.pts_us[0])

    @property
    def to_us(self) -> int:
        return int(self.pts_us[-1] + self.duration_us[-1])


@dataclass(frozen=True, kw_only=True)
class RunScan:
    """One run of chunks, scanned."""

    first_seq: int
    chunk_sha256: tuple[str, ...]
    chunk_bytes: tuple[int, ...]
    container: Container = "matroska"
    head: bytes = b""  #: what must precede any later bytes of the segment so that they decode …
    lead: bytes = b""  #: … and then this, where the run begins in a Cluster whose beginning is lost (`workers.torn`)
    starts: Ints = field(default_factory=_none)  #: bytes at which reading can begin: Clusters, `moof`s, pages
    video: Packets = field(default_factory=Packets)
    audio: Packets = field(default_factory=Packets)
    width_px: int = 0
    height_px: int = 0
    video_codec: str = ""
    audio_codec: str = ""
    error: str = ""  #: why nothing of it can be used
    note: str = ""  #: what of it cannot be used, and why
    levels: Levels = field(default_factory=Levels)  #: how loud its sound is; kept beside the scan, not in it
    header_seg: int | None = None  #: the segment whose header it was read with, where that is another; beside it too

    @property
    def last_seq(self) -> int:
        return self.first_seq + len(self.chunk_sha256) - 1

    @cached_property
    def head_sha256(self) -> str:
        return sha256(self.head).hexdigest()

    @cached_property
    def chunk_ends(self) -> Ints:
        """The byte behind each chunk."""
        return np.cumsum(self.chunk_bytes, dtype=np.int64)

    def opening(self, byte: int = 0) -> bytes:
        """What precedes the run's bytes from this one on, or from the last place before it at which reading begins."""
        torn = self.lead and self.start_behind(int(self.starts[0]) + 1) > byte
        return self.head + self.lead if torn else self.head

    def chunks_of(self, from_byte: int, to_byte: int) -> tuple[int, int]:
        """Indices [a, b) of the run's chunks that hold these bytes."""
        a, b = np.searchsorted(self.chunk_ends, (from_byte, to_byte - 1), "right")
        return int(a), int(b) + 1

    def reading(self, from_byte: int, to_byte: int) -> tuple[int, int, int, int]:
        """Chunks [a, b) of the run to read so that these bytes decode, and which bytes, from the first of chunk a."""
        if len(self.starts):
            from_byte = self.start_before(from_byte)
        else:  # one file without parts, its index perhaps at its end: all of it or nothing
            from_byte, to_byte = 0, int(self.chunk_ends[-1])
        a, b = self.chunks_of(from_byte, to_byte)
        skipped = int(self.chunk_ends[a - 1]) if a else 0
        return a, b, from_byte - skipped, to_byte - skipped

    def start_before(self, byte: int) -> int:
        """The last place not behind `byte` at which reading can begin."""
        index = int(np.searchsorted(self.starts, byte, "right")) - 1
        return int(self.starts[index]) if index >= 0 else 0

    def start_behind(self, byte: int) -> int:
        """The first place not before `byte` at which reading could begin; the run's end where there is none."""
        index = int(np.searchsorted(self.starts, byte, "left"))
        return int(self.starts[index]) if index < len(self.starts) else int(self.chunk_ends[-1])


def media_ends(runs: Iterable[RunScan]) -> dict[int, int]:
    """seq → media time in µs up to which the chunk brought its stream. Of two streams the sound, which is steadier."""
    found: dict[int, int] = {}
    for run in runs:
        packets = run.audio if len(run.audio) else run.video
        if run.error or not len(packets):
            continue
        borders = run.chunk_ends
        index = np.minimum(np.searchsorted(borders, packets.to_byte, "left"), len(borders) - 1)
        latest = np.full(len(borders), -1, np.int64)
        np.maximum.at(latest, index, packets.pts_us + packets.duration_us)
        found |= {run.first_seq + i: int(end_us) for i, end_us in enumerate(latest) if end_us >= 0}
    return found


#: What is scanned: (participant, track, seg) → its runs.
Scans = Mapping[tuple[str, str, int], Sequence[RunScan]]


def run_digest(head_sha256: str, chunks: list[Chunk]) -> str:
    """The name of a run's scan: made of all bytes that it is made of."""
    text = json.dumps([SCAN_VERSION, head_sha256, chunks[0].seq, [chunk.sha256 for chunk in chunks]])
    return sha256(text.encode()).hexdigest()


_FACTS = ("container", "video_codec", "audio_codec", "error", "note", "first_seq", "width_px", "height_px")


def encode(scan: RunScan) -> bytes:
    facts = {name: getattr(scan, name) for name in _FACTS}
    facts |= {"sha256": scan.chunk_sha256, "bytes": scan.chunk_bytes, "head": scan.head.hex(), "lead": scan.lead.hex()}
    stored = {"starts": scan.starts}
    for kind, packets in (("video", scan.video), ("audio", scan.audio)):
        # whatever they take in memory
        stored |= {f"{kind}_{name}": getattr(packets, name).astype(np.int64) for name in Packets.__slots__}
    return arrays.pack(facts, stored)


def decode(data: bytes) -> RunScan:
    facts, stored = arrays.unpack(data)

    def packets(kind: str) -> Packets:
        few = {name: _few(stored[f"{kind}_{name}"]) for name in Packets.__slots__ if name != "pts_us"}
        return Packets(pts_us=stored[f"{kind}_pts_us"], **few)

    return RunScan(
        chunk_sha256=tuple(facts.pop("sha256")),
        chunk_bytes=tuple(facts.pop("bytes")),
        head=bytes.fromhex(facts.pop("head")),
        lead=bytes.fromhex(facts.pop("lead")),
        starts=stored["starts"],
        video=packets("video"),
        audio=packets("audio"),
        **facts,
    )


def _few(values: Ints) -> Few:
    """The same numbers in less memory, to be read only: as a rule sound is all of one length, and all of it is key."""
    if not len(values):
        return values
    least, most = int(values.min()), int(values.max())
    if least == most:
        return np.broadcast_to(values[:1].copy(), values.shape)
    bounds = np.iinfo(np.int32)
    return values.astype(np.int32) if bounds.min <= least and most <= bounds.max else values
