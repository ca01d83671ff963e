"""How long an Opus packet is: its table of contents byte (RFC 6716, section 3.1)."""

from __future__ import annotations

#: Frame length in µs by the upper five bits of the first byte: SILK, hybrid, CELT.
_FRAME_US = (
    *(10_000, 20_000, 40_000, 60_000) * 3,
    *(10_000, 20_000) * 2,
    *(2_500, 5_000, 10_000, 20_000) * 4,
)


def duration_us(packet: bytes) -> int:
    """0 for bytes that are no packet. A packet holds 120 ms at most (RFC 6716, section 3.2.5, R5)."""
    if not packet:
        return 0
    frame_us = _FRAME_US[packet[0] >> 3]
    code = packet[0] & 3
    if code == 0:
        count = 1
    elif code in (1, 2):
        count = 2
    else:
        count = packet[1] & 0x3F if len(packet) > 1 else 0
    return min(frame_us * count, 120_000)
