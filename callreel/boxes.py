"""Boxes of MP4 (ISO/IEC 14496-12, 4.2), as far as windows need them: found by their headers, wherever the bytes lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .errors import RenderFailed

Read = Callable[[int, int], bytes]  #: (start, length) → those bytes, fewer at the end


def of(data: bytes) -> Read:
    """Reads what is in memory."""
    return lambda start, length: data[start : start + length]


def boxes(read: Read) -> Iterator[tuple[str, int, int]]:
    """(type, start, end) of each top-level box. Raises `RenderFailed` where a size makes no sense."""
    at = 0
    while len(head := read(at, 16)) >= 8:
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if size < 8 or not read(at + size - 1, 1):
            raise RenderFailed(f"a box at byte {at} claims {size} bytes, which are not there")
        yield head[4:8].decode("latin-1"), at, at + size
        at += size


def split(read: Read) -> tuple[int, int]:
    """Where a window's init segment (`ftyp`, `moov`) ends, and where its media does. Raises `RenderFailed`."""
    found = list(boxes(read))
    init_end = max((end for kind, _, end in found if kind in ("ftyp", "moov")), default=0)
    if not init_end:
        raise RenderFailed("a window has no init segment")
    return init_end, found[-1][2]


def codecs(init: bytes) -> str:
    """The codecs of an init segment with H.264 and AAC-LC, as playlists say them (RFC 6381). Raises `RenderFailed`."""
    at = init.find(b"avcC")
    if at < 0:
        raise RenderFailed("a window's init segment tells of no H.264")
    # AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3): version, then profile, constraints, level
    return f"avc1.{init[at + 5 : at + 8].hex()},mp4a.40.2"
