"""Reading packets of hostile bytes: the demuxer is forced, and what comes before an error is good."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

import av
from av.container import InputContainer
from av.stream import Stream

from callreel.scans import Container

from .containers import DECODERS, DEMUXERS, MAX_STREAMS

if TYPE_CHECKING:  # the class is generic for type checkers only
    Packet = av.Packet[Stream]
else:
    Packet = av.Packet

#: The bytes are in memory, so there is no protocol that a demuxer could need to open anything else.
_OPTIONS = {"protocol_whitelist": "none", "codec_whitelist": ",".join(DECODERS), "max_streams": str(MAX_STREAMS)}


def opened(container: Container, data: bytes) -> InputContainer:
    """A demuxer over bytes in memory; to be used with `with`. Raises `av.FFmpegError`."""
    return av.open(io.BytesIO(data), "r", format=DEMUXERS[container], options=_OPTIONS)


def packets(file: InputContainer, *streams: Stream) -> Iterator[Packet]:
    """Packets with a time and content, in the order of the file, up to its end or to where it is torn.

    Of a packet that the tear goes through MP4's demuxer hands out what is there, and it decodes to garbage: not here.
    """
    if not streams:
        return
    found = file.demux(*streams)
    while True:
        try:
            packet = next(found)
        except (StopIteration, av.FFmpegError):
            return
        if packet.pts is not None and packet.size and not packet.is_corrupt:
            yield packet


def ahead_us(packet: Packet) -> int:
    """How long before its time a packet has to be decoded, in µs."""
    if packet.pts is None or packet.dts is None or packet.pts == packet.dts:
        return 0
    return int((packet.pts - packet.dts) * packet.time_base * 1_000_000)


def pts_us(packet: Packet) -> int:
    """Media time of a packet, rounded towards zero."""
    if packet.pts is None:
        return 0
    base = packet.time_base
    # without fractions' own arithmetic: a window has thousands of packets
    found = abs(packet.pts) * base.numerator * 1_000_000 // base.denominator
    return found if packet.pts >= 0 else -found
