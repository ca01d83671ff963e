"""Pages of Ogg (RFC 3533, section 6), as far as a header that goes before other pages has to be understood."""

from __future__ import annotations

from collections.abc import Iterator

#: Where in a page its parts are, and how long what is always there is.
_SERIAL, _CHECKSUM, _COUNT, _FIXED = slice(14, 18), slice(22, 26), 26, 27


def pages(data: bytes) -> Iterator[tuple[int, int]]:
    """(begin, end) of the pages that data begins with, as far as they are whole."""
    at = 0
    while at + _FIXED <= len(data):
        begin = at + _FIXED + data[at + _COUNT]
        end = begin + sum(data[at + _FIXED : begin])
        if data[at : at + 4] != b"OggS" or begin > len(data) or end > len(data):
            return
        yield at, end
        at = end


def tags_end(data: bytes) -> int | None:
    """Behind the page with which the second packet ends: Opus has two before its sound (RFC 7845, section 3)."""
    packets = 0
    for begin, end in pages(data):
        lacing = data[begin + _FIXED : begin + _FIXED + data[begin + _COUNT]]
        packets += sum(value < 255 for value in lacing)
        if packets >= 2:
            return end
    return None


def serial_of(data: bytes) -> bytes | None:
    """The number of the stream to which the first page in these bytes belongs."""
    at = data.find(b"OggS\0")
    found = data[at:][_SERIAL]
    return found if at >= 0 and len(found) == 4 else None


def relabelled(data: bytes, serial: bytes) -> bytes:
    """The same pages as pages of another stream."""
    found = bytearray()
    for begin, end in pages(data):
        page = bytearray(data[begin:end])
        page[_SERIAL] = serial
        page[_CHECKSUM] = bytes(4)
        page[_CHECKSUM] = _checksum(page).to_bytes(4, "little")
        found += page
    return bytes(found)


def _checksum(page: bytearray) -> int:
    """CRC-32 with the polynomial 04c11db7, the highest bit first, from 0, not inverted: not that of zlib."""
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ (0x04C11DB7 if crc & 0x80000000 else 0)
        crc &= 0xFFFFFFFF
    return crc
