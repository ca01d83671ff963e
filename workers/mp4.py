"""Top-level boxes of an MP4 file (ISO/IEC 14496-12, section 4.2), as far as windows need them."""

from __future__ import annotations

from collections.abc import Iterator

from callreel.errors import RenderFailed


def boxes(data: bytes) -> Iterator[tuple[str, int, int]]:
    """(type, start, end) of each top-level box. Raises `RenderFailed` where a size makes no sense."""
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        elif size == 0:
            size = len(data) - at
        if size < 8 or at + size > len(data):
            raise RenderFailed(f"a box at byte {at} claims {size} of {len(data) - at} bytes")
        yield data[at + 4 : at + 8].decode("latin-1"), at, at + size
        at += size


def split_init(data: bytes) -> tuple[bytes, bytes]:
    """A window's init segment (`ftyp`, `moov`) and its media."""
    end = max((end for kind, _, end in boxes(data) if kind in ("ftyp", "moov")), default=0)
    if not end:
        raise RenderFailed("a window has no init segment")
    return data[:end], data[end:]
