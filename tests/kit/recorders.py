"""Recorders: pictures and sound made to order, encoded and cut into Blobs as browsers do it.

WebM and Matroska are cut at any byte, for a Blob's border has nothing to do with a Cluster's; MP4 is cut before a
`moof`, its first Blob being the header alone, and is delivered late, as measured on Chromium.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from . import timecode

RATE_HZ = 48_000
_SOUND_MS = 20  #: an Opus packet
_BEEP_MS = 100
_MS = Fraction(1, 1000)


class Recorder(Enum):
    """Container, codecs, and whether sound and picture share a recorder."""

    WEBM_VP8_SPLIT = ("webm", "vp8", True)
    WEBM_VP9_SPLIT = ("webm", "vp9", True)
    WEBM_VP8 = ("webm", "vp8", False)
    WEBM_VP9 = ("webm", "vp9", False)
    MP4_H264 = ("mp4", "avc1", False)
    MP4_H264_SPLIT = ("mp4", "avc1", True)
    MKV_H264 = ("x-matroska", "avc1", False)

    @property
    def container(self) -> str:
        return self.value[0]

    @property
    def picture_codec(self) -> str:
        return self.value[1]

    @property
    def tracks(self) -> tuple[tuple[str, bool, bool], ...]:
        """Name, has sound, has picture."""
        if self.value[2]:
            return ("camera", False, True), ("microphone", True, False)
        return (("camera", True, True),)

    @property
    def may_be_odd(self) -> bool:
        """4:2:0 H.264 counts in pairs of pixels."""
        return self.picture_codec != "avc1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    mime_type: str
    blobs: tuple[tuple[float, bytes], ...]  #: instant of delivery, ms after start(); what was delivered
    drawn_ms: tuple[int, ...]  #: the clocks drawn, in order


class _Tape:
    """Takes what a muxer writes; cannot be sought in, as a live stream cannot."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, piece: bytes) -> int:
        self.data += piece
        return len(piece)


def record(
    dice: random.Random,
    recorder: Recorder,
    *,
    size: tuple[int, int] | None,
    rgb: tuple[int, int, int],
    tone_hz: int | None,
    fps: int,
    start_ms: int,
    length_ms: int,
    beat_ms: int,
    timeslice_ms: int,
) -> Recorded:
    """One run from `start_ms` on: pictures where there is a size, sound where there is a tone.

    `beat_ms` is the first instant of a flash and beep, all ms counted from the call's start.
    """
    tape = _Tape()
    stamps = picture_stamps(dice, fps, length_ms) if size else []
    marks: list[tuple[float, int]] = [(0.0, 0)]  #: media time → bytes written by then
    name, options = _FORMATS[recorder.container]
    if recorder.container == "mp4" and not size:
        options = {"movflags": "empty_moov+default_base_moof", "frag_duration": "1000000"}  # µs
    with av.open(tape, "w", format=name, options=options) as file:
        packets: list[av.Packet[Any]] = []
        if size:
            packets += _pictures(file, recorder, size, rgb, stamps, start_ms, beat_ms)
        if tone_hz:
            packets += _sound(file, dice, tone_hz, start_ms, length_ms, beat_ms)
        for packet in sorted(packets, key=_time_ms):
            file.mux(packet)
            if len(tape.data) > marks[-1][1]:
                marks.append((_time_ms(packet), len(tape.data)))
    marks.append((float(length_ms), len(tape.data)))
    keys_ms = [_time_ms(packet) for packet in packets if packet.is_keyframe and packet.stream.type == "video"]
    codecs = ",".join(([recorder.picture_codec] if size else []) + (["opus"] if tone_hz else []))
    kind = "video" if size else "audio"
    if recorder.container == "mp4":
        blobs = _cut_at_moof(dice, bytes(tape.data), keys_ms, length_ms)
    else:
        blobs = _cut_anywhere(dice, bytes(tape.data), marks, timeslice_ms, length_ms)
    return Recorded(
        mime_type=f"{kind}/{recorder.container};codecs={codecs}",
        blobs=tuple(blobs),
        drawn_ms=tuple(start_ms + at for at in stamps),
    )


_FORMATS: dict[str, tuple[str, dict[str, str]]] = {
    "webm": ("webm", {"live": "1", "cluster_time_limit": "900"}),
    "x-matroska": ("matroska", {"live": "1", "cluster_time_limit": "1100"}),
    "mp4": ("mp4", {"movflags": "empty_moov+default_base_moof+frag_keyframe"}),
}

_ENCODERS: dict[str, tuple[str, dict[str, str]]] = {
    "vp8": ("libvpx", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "g": "100", "crf": "12"}),
    "vp9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "g": "100", "crf": "20"}),
    # a key frame each 1.5 s or so, for with it a fragment begins
    "avc1": ("libx264", {"preset": "ultrafast", "tune": "zerolatency", "bf": "0", "g": "45", "crf": "22"}),
}


def picture_stamps(dice: random.Random, fps: int, length_ms: int) -> list[int]:
    """When pictures are taken, ms: a camera's jitter, and one in thirty held back. The first is at once."""
    found = [0]
    for number in range(1, length_ms * fps // 1000):
        at = round(number * 1000 / fps + dice.uniform(-4, 4))
        if found[-1] + 5 < at < length_ms and dice.random() > 1 / 30:
            found.append(at)
    return found


def _pictures(
    file: av.container.OutputContainer,
    recorder: Recorder,
    size: tuple[int, int],
    rgb: tuple[int, int, int],
    stamps: list[int],
    start_ms: int,
    beat_ms: int,
) -> list[av.Packet[Any]]:
    encoder, options = _ENCODERS[recorder.picture_codec]
    stream = file.add_stream(encoder, rate=30, options=options)
    assert isinstance(stream, av.VideoStream)
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    stream.bit_rate = 600_000
    stream.time_base = stream.codec_context.time_base = _MS
    packets: list[av.Packet[Any]] = []
    for at in stamps:
        flash = 0 <= (start_ms + at - beat_ms) % 1000 < _BEEP_MS
        picture = np.full((size[1], size[0], 3), (255, 255, 255) if flash else rgb, np.uint8)
        timecode.draw(picture, start_ms + at)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = at, _MS
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def _sound(
    file: av.container.OutputContainer, dice: random.Random, tone_hz: int, start_ms: int, length_ms: int, beat_ms: int
) -> list[av.Packet[Any]]:
    stream = file.add_stream("libopus", rate=RATE_HZ, options={"application": "audio", "b": "48000"})
    assert isinstance(stream, av.AudioStream)
    stream.layout = "mono"
    samples = _beeps(dice, tone_hz, start_ms, length_ms, beat_ms)
    size = RATE_HZ * _SOUND_MS // 1000
    packets: list[av.Packet[Any]] = []
    for begin in range(0, len(samples) - size + 1, size):
        frame = av.AudioFrame.from_ndarray(samples[None, begin : begin + size], format="flt", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, begin, Fraction(1, RATE_HZ)
        packets += stream.encode(frame)
    packets += stream.encode(None)
    # The encoder stamps its own delay as negative time; recorders of browsers begin at zero or later.
    first = packets[0].pts or 0
    for packet in packets:
        assert packet.pts is not None
        packet.pts = packet.dts = packet.pts - first
    return packets


def _beeps(dice: random.Random, tone_hz: int, start_ms: int, length_ms: int, beat_ms: int) -> npt.NDArray[np.float32]:
    """Faint noise, for a microphone is never silent, and a beep at each beat."""
    per_ms = RATE_HZ // 1000
    count = length_ms * per_ms
    noise = np.random.default_rng(dice.randrange(2**32)).standard_normal(count)
    samples = noise.astype(np.float32) * np.float32(2e-4)
    at_ms = np.arange(count) / per_ms + start_ms - beat_ms
    samples += np.where(at_ms % 1000 < _BEEP_MS, 0.25 * np.sin(2 * np.pi * tone_hz * at_ms / 1000), 0).astype(
        np.float32
    )
    return samples


def _cut_anywhere(
    dice: random.Random, data: bytes, marks: list[tuple[float, int]], timeslice_ms: int, length_ms: int
) -> Iterator[tuple[float, bytes]]:
    times, sizes = zip(*marks, strict=True)
    begin = 0
    for border_ms in range(timeslice_ms, length_ms - 300, timeslice_ms):
        end = int(np.interp(border_ms, times, sizes)) + dice.randint(-400, 400)
        if begin + 500 < end < len(data) - 500:
            yield border_ms + dice.uniform(40, 80), data[begin:end]
            begin = end
    yield length_ms + dice.uniform(5, 30), data[begin:]  # stop() delivers at once


def _cut_at_moof(
    dice: random.Random, data: bytes, keys_ms: list[float], length_ms: int
) -> Iterator[tuple[float, bytes]]:
    starts = [position for position, name in _boxes(data) if name == b"moof"]
    ends_ms = keys_ms[1:] if keys_ms else [1000.0 * n for n in range(1, len(starts))]
    delivered_ms = min(length_ms, ends_ms[0] if ends_ms else length_ms) + dice.uniform(5, 20)
    yield delivered_ms, data[: starts[0]]
    for number, begin in enumerate(starts):
        last = number + 1 == len(starts)
        end_ms = length_ms if last or number >= len(ends_ms) else ends_ms[number]
        lag_ms = dice.uniform(5, 30) if last else dice.uniform(100, 900)
        delivered_ms = max(delivered_ms + 1, min(end_ms + lag_ms, length_ms + 5))
        yield delivered_ms, data[begin : len(data) if last else starts[number + 1]]


def _boxes(data: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + 8 <= len(data):
        yield position, data[position + 4 : position + 8]
        position += max(8, int.from_bytes(data[position : position + 4], "big"))


def _time_ms(packet: av.Packet[Any]) -> float:
    assert packet.pts is not None
    assert packet.time_base is not None
    return float(packet.pts * packet.time_base * 1000)
