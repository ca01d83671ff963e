"""A Cluster of Matroska whose beginning is lost: where its blocks go on, and what its Timestamp was.

Blocks are stamped within their Cluster (RFC 9559, section 10.1), so behind a hole those before the next Cluster have
no time of their own. Sound has: it goes on without a break into the next Cluster, whose Timestamp is there. Pictures
have none, for nobody knows whether one was left out there; they follow the sound that shares their recorder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

from callreel.errors import CallreelError
from callreel.scans import Packets

from . import demux, opus
from .containers import CLUSTER_ID, element

#: Packets of sound that are looked at on either side: half a second of Chromium's. So many must be there, lest a run
#: that grows is read otherwise than one that is whole.
NEEDED = 8
# A SimpleBlock or a BlockGroup, which recorders put nothing else into Clusters than: id, size, then a track's number or
# a Block's id. Most of what looks like an id alone is none.
_SIZE = b"(?:[\x80-\xff]|[\x40-\x7f].|[\x20-\x3f]..|[\x10-\x1f]...|\x08.{4}|\x01.{7})"
_BEGIN = re.compile(b"\xa3(?=" + _SIZE + b"[\x81-\x88])|\xa0(?=" + _SIZE + b"\xa1)", re.DOTALL)
_SIMPLE_BLOCK, _BLOCK_GROUP, _BLOCK = b"\xa3", b"\xa0", b"\xa1"
_LACING = 0x06  #: bits of a block's flags; recorders lace nothing
#: Any Cluster's Timestamp to read it with, ms: blocks may be stamped up to 32 s before it.
_BASE_MS = 1 << 16
_MS = Fraction(1, 1000)  #: what stamps count where the header does not say otherwise, and recorders do not


@dataclass(frozen=True, slots=True)
class Torn:
    """What of a Cluster is left, and can be read."""

    begin: int  #: the byte at which its first whole block begins
    lead: bytes  #: what has to precede it: the beginning that was lost, made again


def find(head: bytes, data: bytes, behind: Packets) -> Torn | None:
    """What can be read of the end of a Cluster, `data`, behind the segment's header; `behind` is the sound that
    follows. None where it cannot be told for sure."""
    if len(behind) < NEEDED:
        return None
    begin = first_block(data)
    if begin is None:
        return None
    try:
        stamps_us, lengths_us = _sound(head + _opening(_BASE_MS) + data[begin:])
    except (av.FFmpegError, CallreelError, ValueError):
        return None
    after = behind.pts_us[:NEEDED] - np.concatenate(([0], np.cumsum(behind.duration_us[: NEEDED - 1])))
    before = stamps_us + np.cumsum(lengths_us[::-1])[::-1]  # the instant at which each packet has it end
    before = before[-NEEDED:]
    if not len(before):
        return None
    # Stamps jitter by some ms. By a whole packet, or more, they are off where one is missing.
    usual_us = int(np.median(lengths_us))
    if max(np.ptp(after), np.ptp(before)) * 4 > 3 * usual_us:
        return None
    stamp_ms = round((float(np.median(after)) - float(np.median(before))) / 1000)
    return Torn(begin, _opening(stamp_ms)) if stamp_ms >= 0 else None


def first_block(data: bytes) -> int | None:
    """Where in the end of a Cluster its first whole block begins: from there block follows block to the last byte."""
    dead: set[int] = set()
    for match in _BEGIN.finditer(data):
        at: int | None = match.start()
        seen: list[int] = []
        while at is not None and at < len(data) and at not in dead:
            seen.append(at)
            at = _behind_block(data, at)
        if at == len(data):
            return match.start()
        dead.update(seen)  # where one chain ends, all end that lead into it
    return None


def _behind_block(data: bytes, at: int) -> int | None:
    """Where the block ends that begins here; None where there is none, or none that recorders write."""
    name, begin, end = element(data, at)
    if name == _BLOCK_GROUP:
        inner, inside, inside_end = element(data, begin) if begin < len(data) else (b"", 0, 0)
        return end if inner == _BLOCK and inside_end <= end <= len(data) and _is_block(data, inside) else None
    return end if name == _SIMPLE_BLOCK and end <= len(data) and _is_block(data, begin) else None


def _is_block(data: bytes, at: int) -> bool:
    """Track number, 16 bits of time, flags (RFC 9559, section 10.1)."""
    return at + 4 < len(data) and 0x81 <= data[at] <= 0x88 and not data[at + 3] & _LACING


def _opening(stamp_ms: int) -> bytes:
    """The beginning of a Cluster of unknown size, with its Timestamp."""
    stamp = stamp_ms.to_bytes(8, "big")
    return CLUSTER_ID + b"\x01" + b"\xff" * 7 + b"\xe7\x88" + stamp


def _sound(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Stamps and lengths of packets of Opus, µs, as if the Cluster began at `_BASE_MS`."""
    with demux.opened("matroska", data) as file:
        stream = next(iter(file.streams.audio), None)
        if stream is None or stream.codec_context.name != "opus" or stream.time_base != _MS:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        rows = [(demux.pts_us(packet), opus.duration_us(bytes(packet))) for packet in demux.packets(file, stream)]
    table = np.array(rows, np.int64).reshape(-1, 2)
    return table[:, 0] - _BASE_MS * 1000, table[:, 1]
