"""Just enough of container formats to know where reading may begin. Bytes in, positions out; no decoding.

Matroska and WebM: a Cluster (RFC 9559, section 5.1.3) whose first child is its Timestamp. Fragmented MP4: a `moof`
box whose first child is `mfhd` (ISO/IEC 14496-12, 8.8.4). Ogg with Opus: a page (RFC 3533, section 6) that begins with
a packet of its own. Other Ogg and MP4 without fragments are read from their beginning.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from callreel.scans import Container
from callreel.sniff import sniff

from . import ogg

# Cluster id, a size of 1 to 8 bytes, then the Timestamp element's id: eight patterns, one for each length of a size.
_CLUSTER = re.compile(
    b"\x1f\x43\xb6\x75(?:"
    + b"|".join(
        b"[" + re.escape(bytes([low])) + b"-" + re.escape(bytes([high])) + b"]" + b"[\\x00-\\xff]{%d}" % extra
        for extra, (low, high) in enumerate(
            [(0x80, 0xFF), (0x40, 0x7F), (0x20, 0x3F), (0x10, 0x1F), (0x08, 0x0F), (0x04, 0x07), (0x02, 0x03), (1, 1)]
        )
    )
    + b")[\xe7\xbf]",  # Timestamp, or the CRC-32 that some muxers put first
    re.DOTALL,
)
_MOOF = re.compile(b"[\x00-\xff]{4}moof\x00\x00\x00\x10mfhd", re.DOTALL)
# A page of no flags, whose granule position tells where it ends. Pages of headers have 0 there (RFC 7845, section 4),
# one that continues a packet cannot be begun with, and of the stream's last one libav does not look at the position.
_PAGE = re.compile(b"OggS\x00\x00(?!\x00{8})[\x00-\xff]{8}", re.DOTALL)
_STARTS: dict[Container, re.Pattern[bytes]] = {"matroska": _CLUSTER, "mp4": _MOOF, "ogg": _PAGE}

#: container → the demuxer's name for PyAV and ffmpeg, always forced, so that no other parser ever sees the bytes
DEMUXERS: dict[Container, str] = {"matroska": "matroska", "mp4": "mp4", "ogg": "ogg"}

#: No browser records larger pictures; they are refused before anything decodes them, and by the decoder itself where
#: they grow in mid-stream.
MAX_PIXELS = 4096 * 4096
MAX_STREAMS = 8
#: What recorders make. Whatever else libav can decode, hostile bytes shall not choose it.
DECODERS = (
    *("vp8", "libvpx", "vp9", "libvpx-vp9", "av1", "libdav1d", "libaom-av1", "h264", "hevc"),
    *("opus", "libopus", "vorbis", "libvorbis", "aac", "mp3", "mp3float", "alac", "flac"),
    *("pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le"),
)


def reading(container: Container) -> dict[str, str | int]:
    """ffmpeg's options before an input of hostile bytes: nothing is guessed, nothing else is opened."""
    return {
        "f": DEMUXERS[container],
        "protocol_whitelist": "file",
        "codec_whitelist": ",".join(DECODERS),
        "max_streams": MAX_STREAMS,
        "max_pixels": MAX_PIXELS,
    }


def container_of(data: bytes) -> Container | None:
    """The container that the first bytes of a segment announce; None where it is none that we read."""
    name = sniff(data)
    return next((container for container in DEMUXERS if container == name), None)


def starts(container: Container, data: bytes) -> list[int]:
    """Positions at which reading may begin, given the head before them; none where only the whole can be read."""
    pattern = _STARTS.get(container)
    return [match.start() for match in pattern.finditer(data)] if pattern else []


def has_parts(container: Container, head: bytes) -> bool:
    """Is a file that begins so made to be continued? Fragmented MP4 says so by `mvex` (ISO/IEC 14496-12, 8.8.1); of
    what is in Ogg, libav finds the time from the middle on for Opus alone."""
    return container == "matroska" or (b"mvex" if container == "mp4" else b"OpusHead") in head


def header_end(container: Container, data: bytes) -> int | None:
    """Where the header ends with which a segment begins; None where it is not whole, or where there are no parts."""
    first = next(iter(starts(container, data)), None)
    if first is None:
        first = _HEADER_ENDS[container](data)
    return first if first is not None and has_parts(container, data[:first]) else None


def _tracks_end(data: bytes) -> int | None:
    """Behind Matroska's Tracks, the last that a decoder needs before a Cluster."""
    at = 0
    while at < len(data):
        element_id, begin, end = element(data, at)
        if not begin or element_id == CLUSTER_ID:
            return None
        if element_id == _TRACKS_ID:
            return end if end <= len(data) else None
        at = begin if element_id == _SEGMENT_ID else end
    return None


_SEGMENT_ID, _TRACKS_ID, CLUSTER_ID = b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b", b"\x1f\x43\xb6\x75"


def element(data: bytes, at: int) -> tuple[bytes, int, int]:
    """(id, begin and end of the content) of the EBML element at a position (RFC 8794, 4); all 0 where it is cut off."""
    id_end = at + 9 - data[at].bit_length()
    if id_end >= len(data):
        return b"", 0, 0
    begin = id_end + 9 - data[id_end].bit_length()
    if begin > len(data):
        return b"", 0, 0
    size = int.from_bytes(data[id_end:begin], "big") & ((1 << 7 * (begin - id_end)) - 1)
    return data[at:id_end], begin, begin + size


def _moov_end(data: bytes) -> int | None:
    """Behind MP4's `moov`, which has all that decoders need."""
    at = 0
    while at + 8 <= len(data):
        size, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if size < 8:  # sizes of 64 bits are for media alone
            return None
        at += size
        if name == b"moov":
            return at if at <= len(data) else None
    return None


_HEADER_ENDS: dict[Container, Callable[[bytes], int | None]] = {
    "matroska": _tracks_end,
    "mp4": _moov_end,
    "ogg": ogg.tags_end,
}


def media_end(container: Container, data: bytes, position: int, size_bytes: int) -> int:
    """Where the element ends that holds a packet, given where the demuxer found the packet.

    A demuxer that is handed less than this drops the packet. In Matroska `position` is that of the block's payload:
    behind it follow 4 bytes of block header, the frame, and in a BlockGroup what belongs to it (RFC 9559, 5.1.3.4).
    """
    if container == "matroska":
        return _block_end(data, position, position + 4 + size_bytes)
    if container == "ogg":
        following = data.find(b"OggS", position + 4)
        return following if following > 0 else len(data)
    return position + size_bytes


def _block_end(data: bytes, position: int, least: int) -> int:
    """Where the block ends whose payload begins at `position`, or its group; not before `least`."""
    start, end = _element_before(data, position, (0xA3, 0xA1), least) or (position, least)
    if start < position and data[start] == 0xA1:
        _, end = _element_before(data, start, (0xA0,), end) or (start, end)
    return end


def _element_before(data: bytes, position: int, ids: tuple[int, ...], least: int) -> tuple[int, int] | None:
    """(start, end) of the EBML element with one of these one-byte ids whose content begins at `position` and ends at
    `least` or behind it.

    What stands before it may look like an id and a length too, an instant of its Cluster for example: so the one that
    ends first.
    """
    found: tuple[int, int] | None = None
    for width in range(1, 9):
        start = position - width - 1
        if start >= 0 and data[start] in ids and data[start + 1].bit_length() == 9 - width:
            mask = (1 << (8 - width)) - 1
            end = position + int.from_bytes(bytes([data[start + 1] & mask]) + data[start + 2 : position], "big")
            if end >= least and (found is None or end < found[1]):
                found = start, end
                if end == least:
                    break
    return found
