"""Two people who never were: pictures and sound made to be found again in a film, cut as browsers cut them.

Each is one dark colour and one tone. Every second the colour flashes white and the tone sounds, for a tenth of it; so
whoever looks at the film can say who is in it without knowing anything of its layout.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

RATE_HZ = 48_000
_FPS = 15
_SIZE_PX = (320, 180)
_BEEP_MS = 100
_TIMESLICE_MS = 1000
_MS = Fraction(1, 1000)

_NEAR = 0.2  #: largest distance of two colours, each divided by its strongest channel; ours are a whole channel apart
_DARKEST = 50  #: a pixel whose strongest channel is below has no colour to speak of
_LEAST_SHARE = 0.05  #: of the canvas that somebody fills; one of two has a quarter and more
_LOUD = 0.03  #: amplitude of a beep; 0.25 goes in, and a quiet room has a thousandth


@dataclass(frozen=True, slots=True, kw_only=True)
class Dummy:
    name: str
    rgb: tuple[int, int, int]
    tone_hz: int


PEOPLE = (Dummy(name="Ada", rgb=(110, 0, 0), tone_hz=500), Dummy(name="Ben", rgb=(0, 0, 110), tone_hz=1200))


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """What a recorder delivers at once."""

    at_ms: int  #: after its start
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is in a film."""

    length_ms: float
    seen: dict[str, int]  #: name → pictures in which the person is
    heard: dict[str, int]  #: name → seconds in which the tone sounds
    pictures: int


def camera(dummy: Dummy, length_ms: int) -> list[Blob]:
    """A recorder's Blobs of pictures, `video/webm;codecs=vp8`."""

    def packets(file: av.container.OutputContainer) -> Iterator[av.Packet[Any]]:
        # one thread: libvpx makes its others wait for each other by spinning, and this machine may be busy
        options = {"deadline": "realtime", "cpu-used": "8", "g": "30", "threads": "1"}
        stream = file.add_stream("libvpx", rate=_FPS, options=options)
        assert isinstance(stream, av.VideoStream)
        (stream.width, stream.height), stream.pix_fmt = _SIZE_PX, "yuv420p"
        stream.time_base = stream.codec_context.time_base = _MS
        for number in range(length_ms * _FPS // 1000):
            at_ms = number * 1000 // _FPS
            colour = (255, 255, 255) if at_ms % 1000 < _BEEP_MS else dummy.rgb
            frame = av.VideoFrame.from_ndarray(np.full((_SIZE_PX[1], _SIZE_PX[0], 3), colour, np.uint8), format="rgb24")
            frame.pts, frame.time_base = at_ms, _MS
            yield from stream.encode(frame)
        yield from stream.encode(None)

    return _recorded(packets, length_ms)


def microphone(dummy: Dummy, length_ms: int) -> list[Blob]:
    """A recorder's Blobs of sound, `audio/webm;codecs=opus`."""

    def packets(file: av.container.OutputContainer) -> Iterator[av.Packet[Any]]:
        stream = file.add_stream("libopus", rate=RATE_HZ)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "mono"
        at_ms = np.arange(length_ms * RATE_HZ // 1000) / (RATE_HZ / 1000)
        tone = 0.25 * np.sin(2 * np.pi * dummy.tone_hz * at_ms / 1000) * (at_ms % 1000 < _BEEP_MS)
        size, first = RATE_HZ // 50, None
        for begin in range(0, len(tone) - size + 1, size):
            piece = tone[None, begin : begin + size].astype(np.float32)
            frame = av.AudioFrame.from_ndarray(piece, format="flt", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, begin, Fraction(1, RATE_HZ)
            for packet in stream.encode(frame):
                # The encoder stamps its own delay as negative time; recorders of browsers begin at zero or later.
                first = packet.pts or 0 if first is None else first
                packet.pts = packet.dts = (packet.pts or 0) - first
                yield packet

    return _recorded(packets, length_ms)


class _Tape:
    """Takes what a muxer writes; cannot be sought in, as a live stream cannot."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, piece: bytes) -> int:
        self.data += piece
        return len(piece)


def _recorded(
    packets: Callable[[av.container.OutputContainer], Iterator[av.Packet[Any]]], length_ms: int
) -> list[Blob]:
    tape, blobs, taken = _Tape(), [], 0
    due_ms = _TIMESLICE_MS
    with av.open(tape, "w", format="webm", options={"live": "1", "cluster_time_limit": "900"}) as file:
        for packet in packets(file):
            if float((packet.pts or 0) * (packet.time_base or _MS) * 1000) >= due_ms:
                if len(tape.data) > taken:  # an empty Blob gets no number
                    blobs.append(Blob(at_ms=due_ms, data=bytes(tape.data[taken:])))
                    taken = len(tape.data)
                due_ms += _TIMESLICE_MS
            file.mux(packet)
    return [*blobs, Blob(at_ms=length_ms, data=bytes(tape.data[taken:]))]


def look(film: bytes) -> Found:
    """Who is in a film. Raises `av.FFmpegError` where it is none."""
    with av.open(io.BytesIO(film), "r") as file:
        length_ms = (file.duration or 0) / 1000  # µs
        seen = dict.fromkeys((dummy.name for dummy in PEOPLE), 0)
        pictures = 0
        for frame in file.decode(video=0):
            pictures += 1
            picture = frame.reformat(width=160, height=90, format="rgb24").to_ndarray().astype(np.float32)
            for dummy in PEOPLE:
                seen[dummy.name] += _fills(picture, dummy.rgb)
    heard = {dummy.name: _seconds_with(_sound(film), dummy.tone_hz) for dummy in PEOPLE}
    return Found(length_ms=length_ms, seen=seen, heard=heard, pictures=pictures)


def _fills(picture: NDArray[np.float32], rgb: tuple[int, int, int]) -> bool:
    strongest = picture.max(axis=2)
    hues = picture / np.maximum(strongest, 1)[:, :, None]
    like = (np.abs(hues - np.asarray(rgb, np.float32) / max(rgb)).max(axis=2) < _NEAR) & (strongest > _DARKEST)
    return bool(like.mean() >= _LEAST_SHARE)


def _sound(film: bytes) -> NDArray[np.float32]:
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE_HZ)
    with av.open(io.BytesIO(film), "r") as file:
        frames = [piece for frame in file.decode(audio=0) for piece in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames] or [np.zeros(0, np.float32)])


def _seconds_with(sound: NDArray[np.float32], tone_hz: int) -> int:
    """In how many seconds a tone sounds for 50 ms at least."""
    size = RATE_HZ // 20  # whole periods of both tones
    whole = sound[: len(sound) // size * size].reshape(-1, size)
    wave = np.exp(-2j * np.pi * tone_hz * np.arange(size) / RATE_HZ)
    loud = np.abs(whole @ wave) * 2 / size > _LOUD
    return len({int(index) // 20 for index in np.flatnonzero(loud)})
