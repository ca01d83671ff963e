"""Recorders: pictures and sound made to order, encoded and cut into Blobs as browsers do it.

WebM and Matroska are cut at any byte, for a Blob's border has nothing to do with a Cluster's; MP4 is cut before a
`moof`, its first Blob being the header alone, and is delivered late, as measured on Chromium.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.video.frame import PictureType

from . import timecode
from .forms import ENCODERS, MP4_OF_SOUND, MUXERS, OF_PICTURES, Encoder, Recorder

RATE_HZ = 48_000
_SAMPLES = {"opus": 960, "mp4a.40.2": 1024}  #: of a packet
_BEEP_MS = 100
_AT_ONCE = 500  #: packets
_KEY_MS = 2000
#: Amplitude of the tone between beeps; below what ears take for one.
HUM = 0.03
_MS = Fraction(1, 1000)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """What is before a recorder, and when it was started. All ms but those of `later` are from the call's start, as the
    recorder's own clock counts them, which runs `ppm` faster than the true one."""

    size: tuple[int, int] | None  #: no pictures where there is none
    rgb: tuple[int, int, int]
    tone_hz: int | None  #: no sound where there is none
    fps: float
    start_ms: int
    length_ms: int
    beat_ms: int  #: the first instant of a flash and beep
    timeslice_ms: int
    later: tuple[tuple[int, tuple[int, int]], ...] = ()  #: (ms after `start_ms`, size) from which on it is another one
    rate_hz: int = RATE_HZ
    channels: int = 1
    hum: bool = False  #: the tone never ends, faintly: so that silence can be heard
    ppm: float = 0.0
    dense: tuple[tuple[int, int], ...] = ()  #: outside of these, where there are any, one picture a second
    stood: tuple[tuple[int, int], ...] = ()  #: (ms of media, ms) at which the recorder was paused for so long

    def true_ms(self, media_ms: float) -> float:
        """The instant of a media time, ms from the call's start."""
        stood_ms = sum(length_ms for at_ms, length_ms in self.stood if media_ms >= at_ms)
        return self.start_ms + media_ms / (1 + self.ppm * 1e-6) + stood_ms


def record(dice: random.Random, recorder: Recorder, take: Take) -> Recorded:
    """One run of a recorder."""
    tape = _Tape()
    length_ms = take.length_ms
    stamps = _stamps(dice, take) if take.size else []
    marks: list[tuple[float, int]] = [(0.0, 0)]  #: media time → bytes written by then
    container = recorder.container_of(pictures=take.size is not None)
    name, options = MUXERS[container]
    if container == "mp4" and not take.size:
        options = MP4_OF_SOUND
    if not take.tone_hz:
        options = OF_PICTURES.get(container, options)
    with av.open(tape, "w", format=name, options=options) as file:
        packets: list[av.Packet[Any]] = []
        if take.size:
            packets += _pictures(file, recorder, take, stamps)
        if take.tone_hz:
            packets += _sound(file, recorder, dice, take)
        for packet in sorted(packets, key=_time_ms):
            file.mux(packet)
            if len(tape.data) > marks[-1][1]:
                marks.append((_time_ms(packet), len(tape.data)))
    marks.append((float(length_ms), len(tape.data)))
    keys_ms = [_time_ms(packet) for packet in packets if packet.is_keyframe and packet.stream.type == "video"]
    codecs = ",".join(
        ([recorder.picture_codec] if take.size else []) + ([recorder.sound_codec] if take.tone_hz else [])
    )
    kind = "video" if take.size else "audio"
    if container == "mp4":
        blobs = _cut_at_moof(dice, bytes(tape.data), keys_ms, length_ms)
    else:
        blobs = _cut_anywhere(dice, bytes(tape.data), marks, take.timeslice_ms, length_ms)
    return Recorded(
        mime_type=f"{kind}/{container};codecs={codecs}",
        # what a pause cuts in two is delivered behind it
        blobs=tuple((take.true_ms(at_ms) - take.start_ms, data) for at_ms, data in blobs),
        drawn_ms=tuple(round(take.true_ms(at)) for at in stamps),
    )


def _stamps(dice: random.Random, take: Take) -> list[int]:
    found = picture_stamps(dice, take.fps, take.length_ms)
    if not take.dense:
        return found
    kept = [found[0]]
    for at in found[1:]:
        if at - kept[-1] >= 1000 or any(a <= take.start_ms + at < b for a, b in take.dense):
            kept.append(at)
    return kept


def picture_stamps(dice: random.Random, fps: float, length_ms: int) -> list[int]:
    """When pictures are taken, ms: a camera's jitter, and one in thirty held back. The first is at once."""
    found = [0]
    for number in range(1, int(length_ms * fps // 1000)):
        at = round(number * 1000 / fps + dice.uniform(-4, 4))
        if found[-1] + 5 < at < length_ms and dice.random() > 1 / 30:
            found.append(at)
    return found


def _pictures(
    file: av.container.OutputContainer, recorder: Recorder, take: Take, stamps: list[int]
) -> list[av.Packet[Any]]:
    how = ENCODERS[recorder.picture_codec]
    assert take.size
    stream = file.add_stream(how.name, rate=30, options=how.options)
    assert isinstance(stream, av.VideoStream)
    if how.tag:
        stream.codec_context.codec_tag = how.tag
    stream.width, stream.height = take.size
    stream.pix_fmt = "yuv420p"
    stream.bit_rate = how.bit_rate
    stream.time_base = stream.codec_context.time_base = _MS
    packets: list[av.Packet[Any]] = []
    context = _another(how, take.size) if how.tag else stream.codec_context
    if how.name == "libsvtav1":
        context.open()
        _be_ordinary()
    size, keyed = take.size, -1
    for at in stamps:
        here = [later for since, later in take.later if since <= at]
        if here and here[-1] != size:  # as browsers do it: a new encoder, its parameters in the stream
            packets += _of(stream, context.encode(None))
            size = here[-1]
            context = _another(how, size)
        flash = 0 <= (take.true_ms(at) - take.beat_ms) % 1000 < _BEEP_MS
        picture = np.full((size[1], size[0], 3), (255, 255, 255) if flash else take.rgb, np.uint8)
        timecode.draw(picture, round(take.true_ms(at)) % timecode.WRAP_MS)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = at, _MS
        if take.dense and at // _KEY_MS > keyed:  # a hundred pictures last too long where there are few of them
            frame.pict_type, keyed = PictureType.I, at // _KEY_MS
        packets += _of(stream, context.encode(frame))
    return packets + _of(stream, context.encode(None))


def _be_ordinary() -> None:
    """Take back what SVT-AV1 does where root runs it: it makes the thread that opens it, and its own, real-time ones.

    All that is started from then on would be too, and a browser of real time leaves nobody else a processor.
    """
    if sys.platform == "linux":
        for thread in os.listdir("/proc/self/task"):
            os.sched_setscheduler(int(thread), os.SCHED_OTHER, os.sched_param(0))


def _another(how: Encoder, size: tuple[int, int]) -> av.VideoCodecContext:
    """The same encoder for another size; without a header of its own, so that its parameters go with the pictures."""
    context = av.CodecContext.create(how.name, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.options = how.options
    context.width, context.height = size
    context.pix_fmt = "yuv420p"
    context.bit_rate = how.bit_rate
    context.time_base, context.framerate = _MS, Fraction(30)
    return context


def _of(stream: av.VideoStream, packets: list[av.Packet[Any]]) -> list[av.Packet[Any]]:
    for packet in packets:
        packet.stream = stream
        packet.time_base = _MS
    return packets


def _sound(
    file: av.container.OutputContainer, recorder: Recorder, dice: random.Random, take: Take
) -> list[av.Packet[Any]]:
    how = ENCODERS[recorder.sound_codec]
    layout = "stereo" if take.channels == 2 else "mono"
    stream = file.add_stream(how.name, rate=take.rate_hz, options=how.options)
    assert isinstance(stream, av.AudioStream)
    stream.layout = layout
    size = _SAMPLES[recorder.sound_codec]
    form = "flt" if recorder.sound_codec == "opus" else "fltp"
    packets: list[av.Packet[Any]] = []
    for begin, samples in _beeps(dice, take, size):
        block = np.tile(samples, (take.channels, 1))
        block = block.T.reshape(1, -1) if form == "flt" else block
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format=form, layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = take.rate_hz, begin, Fraction(1, take.rate_hz)
        packets += stream.encode(frame)
    packets += stream.encode(None)
    # The encoder stamps its own delay as negative time; recorders of browsers begin at zero or later.
    first = packets[0].pts or 0
    for packet in packets:
        assert packet.pts is not None
        packet.pts = packet.dts = packet.pts - first
    return packets


def _beeps(dice: random.Random, take: Take, size: int) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """Faint noise, for a microphone is never silent, and a beep at each beat: (first sample, so many samples), for an
    hour at once would be gigabytes."""
    assert take.tone_hz
    noise = np.random.default_rng(dice.randrange(2**32))
    count = take.length_ms * take.rate_hz // 1000
    for first in range(0, count - size + 1, size * _AT_ONCE):
        samples = noise.standard_normal(min(size * _AT_ONCE, count - first)).astype(np.float32) * np.float32(2e-4)
        media_ms = np.arange(first, first + len(samples)) / (take.rate_hz / 1000)
        at_ms = media_ms / (1 + take.ppm * 1e-6) + take.start_ms - take.beat_ms
        for since_ms, length_ms in take.stood:
            at_ms[media_ms >= since_ms] += length_ms
        tone = np.sin(2 * np.pi * take.tone_hz * at_ms / 1000)
        loud = np.where(at_ms % 1000 < _BEEP_MS, 0.25, HUM if take.hum else 0)
        samples += loud.astype(np.float32) * tone.astype(np.float32)
        for at in range(0, len(samples) - size + 1, size):
            yield first + at, samples[at : at + size]


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
