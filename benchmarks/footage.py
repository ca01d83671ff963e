"""Four people in front of cameras: moving pictures with a camera's noise, and sound that comes like speech.

Encoded and cut as browsers do it: VP8 as a real-time encoder makes it, a key frame each 3.3 s, Opus beside it, one
recorder per track. Encoding takes minutes, so what was made is kept in the folder for temporary files. A call of hours
is one minute's packets again and again, from recorders that ran through.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import av
import numpy as np

from benchmarks.scene import HEIGHT_PX, RATE_HZ, WIDTH_PX, Picture, speech
from tests.kit.capture import Capture, CapturedChunk, Run

VERSION = 2  #: of what is made here; another one is made anew
PEOPLE = ("alice", "bob", "carol", "dave")
LONG_VERSION = 1  #: of how a long call is made of a minute
EPOCH_MS = 1_790_000_000_000
FPS = 30
_TIMESLICE_MS = 2000
_AFTER_STOP_MS = 60  #: recorders stop a little after the host has pressed stop
#: what Chromium's encoder is told for a camera of 720p: 2.5 Mbit/s, real time, a key frame each 100 pictures. A speed
#: below zero is that speed; above, libvpx looks at the clock, and a busy machine would make other footage. Its threads
#: wait by spinning, and take ten times the processor where there are fewer cores than threads.
_VP8 = {
    "deadline": "realtime",
    "cpu-used": "-8",
    "lag-in-frames": "0",
    "g": "100",
    "static-thresh": "0",
    "threads": "1",
}
#: by the picture's height; 360p is what calls of four send each other
_VP8_BPS = {720: 2_500_000, 360: 700_000}
_OPUS_BPS = 64_000
_MS = Fraction(1, 1000)
_MINUTE_MS = 60_000
#: Written as a stream, a Cluster every 0.9 s as Chromium's muxer does; `bitexact`: no UIDs by chance, the same bytes
#: whenever a call is made, for whoever keeps windows of it.
_MUXER = {"live": "1", "cluster_time_limit": "900"}
_SAME = {"fflags": "+bitexact"}


class _Tape:
    """Takes what a muxer writes; cannot be sought in, as a live stream cannot."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, piece: bytes) -> int:
        self.data += piece
        return len(piece)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    index: int
    kind: str  #: 'camera' or 'microphone'
    length_ms: int
    target: Path
    height_px: int = HEIGHT_PX


def capture(length_ms: int, folder: Path | None = None, *, height_px: int = HEIGHT_PX) -> Capture:
    """The call, with a camera of 720 or 360 lines and a microphone of each; made where it is not there yet."""
    jobs = _made(length_ms, folder, height_px)
    return _capture(length_ms, [_run(job, _kept(job)) for job in jobs])


def call(minutes: int, folder: Path | None = None, *, height_px: int = HEIGHT_PX) -> Capture:
    """A call of so many minutes, one recorder for each track: everybody's minute from `capture`, over and over.

    Each minute's pictures begin with a key frame. The Opus packets go on one after the other, and so do the stamps.
    """
    jobs = _made(_MINUTE_MS, folder, height_px)
    length_ms = minutes * _MINUTE_MS
    return _capture(length_ms, [_run(replace(job, length_ms=length_ms), _repeated(job, minutes)) for job in jobs])


def _made(length_ms: int, folder: Path | None, height_px: int) -> list[_Job]:
    """The tracks of a call, as files; encoded where they are not there yet."""
    folder = folder or Path(tempfile.gettempdir()) / f"callreel-footage-{VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    size = "" if height_px == HEIGHT_PX else f"-{height_px}p"
    jobs = [
        _Job(
            index=index,
            kind=kind,
            length_ms=length_ms,
            target=folder / f"{name}-{kind}-{length_ms}{size if kind == 'camera' else ''}.webm",
            height_px=height_px,
        )
        for kind in ("camera", "microphone")
        for index, name in enumerate(PEOPLE)
    ]
    todo = [job for job in jobs if not job.target.with_suffix(".json").exists()]
    if todo:
        print(f"encoding {len(todo)} tracks of {length_ms / 1000:.0f} s into {folder}, once", flush=True)
        with ProcessPoolExecutor(2, get_context("spawn")) as pool:
            list(pool.map(_make, todo))
    return jobs


def _capture(length_ms: int, runs: list[Run]) -> Capture:
    return Capture(name="benchmark", true_epoch_ms=EPOCH_MS, length_ms=length_ms, runs=tuple(runs), floor_ms={})


def files(length_ms: int, folder: Path | None = None) -> list[tuple[Path, Path]]:
    """Camera and microphone of everybody, as whole files."""
    folder = folder or Path(tempfile.gettempdir()) / f"callreel-footage-{VERSION}"
    return [(folder / f"{n}-camera-{length_ms}.webm", folder / f"{n}-microphone-{length_ms}.webm") for n in PEOPLE]


def _run(job: _Job, pieces: Iterable[tuple[float, bytes]]) -> Run:
    """A recorder's run of such chunks: when each was delivered, and its bytes."""
    camera = job.kind == "camera"
    return Run(
        participant=PEOPLE[job.index],
        track=job.kind,
        seg=0,
        has_audio=not camera,
        has_video=camera,
        mime_type="video/webm;codecs=vp8" if camera else "audio/webm;codecs=opus",
        rgb=None,
        tone_hz=None,
        clock_skew_ms=0,
        start_client_ms=EPOCH_MS,
        stop_client_ms=EPOCH_MS + job.length_ms + _AFTER_STOP_MS,
        chunks=tuple(
            CapturedChunk(seq=seq, delivered_client_ms=EPOCH_MS + at_ms, data=data)
            for seq, (at_ms, data) in enumerate(pieces)
        ),
    )


def _kept(job: _Job) -> Iterator[tuple[float, bytes]]:
    data, begin = job.target.read_bytes(), 0
    for at_ms, size in json.loads(job.target.with_suffix(".json").read_text()):
        yield at_ms, data[begin : begin + size]
        begin += size


def _repeated(job: _Job, minutes: int) -> Iterator[tuple[float, bytes]]:
    """The chunks of a minute's track over and over."""
    tape = _Tape()
    with (
        av.open(str(job.target), format="matroska") as minute,
        av.open(tape, "w", format="webm", options=_MUXER | _SAME) as file,
    ):
        source = minute.streams[0]
        stream = file.add_stream_from_template(source)
        read = [(p.pts, bytes(p), p.is_keyframe) for p in minute.demux(source) if p.pts is not None]
        assert source.time_base == _MS, source.time_base
        # jittered stamps: a picture belongs to the minute to which it is nearer
        once = [item for item in read if item[0] < _MINUTE_MS - 1000 // FPS // 2]

        def packets() -> Iterator[av.Packet[Any]]:
            for number in range(minutes):
                for pts, data, is_key in read if number == minutes - 1 else once:
                    packet = av.Packet(data)
                    packet.stream, packet.is_keyframe, packet.time_base = stream, is_key, _MS
                    packet.pts = packet.dts = pts + number * _MINUTE_MS
                    yield packet

        marks = _write(file, tape, packets())
    yield from _cut(tape.data, marks, minutes * _MINUTE_MS)


def _make(job: _Job) -> None:
    tape = _Tape()
    with av.open(tape, "w", format="webm", options=_MUXER) as file:
        marks = _write(file, tape, _camera(file, job) if job.kind == "camera" else _microphone(file, job))
    cut = [[at_ms, len(data)] for at_ms, data in _cut(tape.data, marks, job.length_ms)]
    job.target.write_bytes(tape.data)
    job.target.with_suffix(".json").write_text(json.dumps(cut))


def _write(
    file: av.container.OutputContainer, tape: _Tape, packets: Iterable[av.Packet[Any]]
) -> list[tuple[float, int]]:
    """Mux packets; tells up to which time there was how much of the file."""
    marks = [(0.0, 0)]
    for packet in packets:
        at_ms = float((packet.pts or 0) * (packet.time_base or _MS) * 1000)
        file.mux(packet)
        if len(tape.data) > marks[-1][1]:
            marks.append((at_ms, len(tape.data)))
    return marks


def _cut(data: bytearray, marks: list[tuple[float, int]], length_ms: int) -> Iterator[tuple[float, bytes]]:
    """What a recorder with a time slice delivers of a file, and when."""
    times, sizes = zip(*marks, strict=True)
    borders = range(_TIMESLICE_MS, length_ms, _TIMESLICE_MS)
    ends = [*np.interp(borders, times, sizes).astype(int).tolist(), len(data)]
    delivered = [*(at + 60 for at in borders), length_ms + _AFTER_STOP_MS]
    with memoryview(data) as whole:
        for at_ms, begin, end in zip(delivered, [0, *ends], ends, strict=False):
            yield at_ms, bytes(whole[begin:end])


def _camera(file: av.container.OutputContainer, job: _Job) -> Iterator[av.Packet[Any]]:
    stream = file.add_stream("libvpx", rate=FPS, options=_VP8)
    assert isinstance(stream, av.VideoStream)
    stream.width, stream.height, stream.pix_fmt = WIDTH_PX * job.height_px // HEIGHT_PX, job.height_px, "yuv420p"
    stream.bit_rate = _VP8_BPS[job.height_px]
    stream.time_base = stream.codec_context.time_base = _MS
    dice = np.random.default_rng(job.index)
    picture = Picture(dice)
    for number in range((job.length_ms + _AFTER_STOP_MS) * FPS // 1000):
        frame = av.VideoFrame.from_ndarray(picture.at(number / FPS), format="yuv420p")
        if job.height_px != HEIGHT_PX:
            frame = frame.reformat(stream.width, stream.height)
        # a camera's jitter
        frame.pts, frame.time_base = round(number * 1000 / FPS + (dice.uniform(-3, 3) if number else 0)), _MS
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _microphone(file: av.container.OutputContainer, job: _Job) -> Iterator[av.Packet[Any]]:
    stream = file.add_stream("libopus", rate=RATE_HZ, options={"application": "voip"})
    assert isinstance(stream, av.AudioStream)
    stream.layout, stream.bit_rate = "mono", _OPUS_BPS
    sound = speech(job.index, job.length_ms + _AFTER_STOP_MS)
    size, first = RATE_HZ // 50, None
    for begin in range(0, len(sound) - size, size):
        frame = av.AudioFrame.from_ndarray(sound[None, begin : begin + size], format="flt", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, begin, Fraction(1, RATE_HZ)
        for packet in stream.encode(frame):
            # The encoder stamps its own delay as negative time; recorders of browsers begin at zero or later.
            first = packet.pts or 0 if first is None else first
            packet.pts = packet.dts = (packet.pts or 0) - first
            yield packet
