"""Windows as one file: the same packets at the same times as ffmpeg's own muxer gives them, with the index in front."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from callreel import boxes
from callreel.errors import RenderFailed
from tests.kit.container import top_boxes
from workers import faststart, ffmpeg, mux

FPS, RATE_HZ, FRAME = 30, 48_000, 1024
PICTURES, SOUNDS = 60, 94  #: of a window
STEP = mux.VIDEO_TIMESCALE // FPS

Row = tuple[str, Fraction, Fraction, bool, bytes]


@cache
def encoded(crf: int) -> bytes:
    """Noise to see and to hear, enough for three windows."""
    dice, file = np.random.default_rng(1), io.BytesIO()
    with av.open(file, "w", format="matroska") as film:
        options = {"bf": "0", "g": "15", "crf": str(crf), "threads": "1", "flags": "+global_header"}
        video = film.add_stream("libx264", rate=FPS, options=options)
        audio = film.add_stream("aac", rate=RATE_HZ, layout="stereo")
        video.width, video.height, video.pix_fmt = 64, 36, "yuv420p"
        for _ in range(3 * PICTURES):
            frame = av.VideoFrame.from_ndarray(dice.integers(0, 255, (54, 64), np.uint8), format="yuv420p")
            film.mux(video.encode(frame))
        film.mux(video.encode(None))
        for _ in range(3 * SOUNDS):
            heard = av.AudioFrame.from_ndarray(dice.normal(0, 0.1, (2, FRAME)).astype(np.float32), "fltp", "stereo")
            heard.sample_rate = RATE_HZ
            film.mux(audio.encode(heard))
        film.mux(audio.encode(None))
    return file.getvalue()


def windows(*, kinds: Sequence[str] = ("video", "audio"), first: int = 0, delay: int = 0, crf: int = 30,
            step: int = STEP, silent: int = -1) -> list[bytes]:  # fmt: skip
    """Three windows in the form of `workers.mux`, from picture `first` on; sound begins `delay` samples behind, and of
    the one numbered `silent` there is none."""
    with av.open(io.BytesIO(encoded(crf)), "r") as source:
        streams = [stream for stream in source.streams if stream.type in kinds]
        packets: dict[str, list[Any]] = {kind: [] for kind in kinds}
        for packet in source.demux(streams):
            if packet.size:
                packets[packet.stream.type].append(packet)
        found = []
        for k in range(3):
            file = io.BytesIO()
            with av.open(file, "w", format="mp4", options=mux._OPTIONS["mp4"]) as window:
                made = {stream.type: window.add_stream_from_template(stream) for stream in streams}
                for kind, stream in made.items():
                    if (kind, k) == ("audio", silent):
                        continue
                    count, unit, lasts, begin = {
                        "video": (PICTURES, mux.VIDEO_TIMESCALE, step, first * step),
                        "audio": (SOUNDS, RATE_HZ, FRAME, first * RATE_HZ // FPS + delay),
                    }[kind]
                    for number in range(k * count, (k + 1) * count):
                        packet = packets[kind][number]
                        packet.stream, packet.time_base = stream, Fraction(1, unit)
                        packet.pts = packet.dts = begin + number * lasts
                        packet.duration = lasts
                        window.mux(packet)
            found.append(file.getvalue())
    return found


def joined(found: Sequence[bytes], target: Path, brand: str = "mp4") -> Path:
    def reader(data: bytes) -> faststart.Read:
        return lambda start, length: data[start:] if length is None else data[start : start + length]

    digest = faststart.write(
        [faststart.Part(name=f"window {k}", read=reader(data)) for k, data in enumerate(found)], target, brand
    )
    assert digest == sha256(target.read_bytes()).hexdigest()
    return target


def by_ffmpeg(found: Sequence[bytes], target: Path) -> Path:
    fragments = target.with_suffix(".fragments")
    fragments.write_bytes(found[0] + b"".join(data[boxes.split(boxes.of(data))[0] :] for data in found[1:]))
    ffmpeg.run(["-f", "mp4", "-i", ffmpeg.named(fragments), "-map", "0", "-c", "copy", "-movflags", "+faststart",
                "-video_track_timescale", "90000", ffmpeg.named(target)], timeout_s=60)  # fmt: skip
    return target


def rows(path: Path) -> list[Row]:
    """Every packet as a player gets it, track by track."""
    with av.open(str(path)) as film:
        found = []
        for packet in film.demux():
            if packet.size:
                unit = packet.time_base or Fraction(0)
                row = (
                    packet.stream.type,
                    (packet.pts or 0) * unit,
                    (packet.dts or 0) * unit,
                    packet.is_keyframe,
                    bytes(packet),
                )
                found.append(row)
    return sorted(found, key=lambda row: (row[0], row[2]))


@pytest.mark.parametrize(
    ("what", "how"),
    [
        ("a whole film", {}),
        ("a cut that begins anywhere", {"first": 1000}),
        ("a cut whose sound begins behind its pictures", {"first": 997, "delay": 512}),
        ("a cut that begins less than a frame of sound before a border", {"silent": 0}),
        ("a cut that ends less than a frame of sound behind one", {"silent": 2}),
        ("sound alone", {"kinds": ("audio",)}),
        ("pictures alone", {"kinds": ("video",)}),
    ],
)
def test_packets_are_those_of_ffmpegs_own_muxer(tmp_path: Path, what: str, how: dict[str, Any]) -> None:
    found = windows(**how)

    own, other = joined(found, tmp_path / "own.mp4"), by_ffmpeg(found, tmp_path / "other.mp4")

    assert rows(own) == rows(other)
    kinds = how.get("kinds", ("video", "audio"))
    count = sum(3 * {"video": PICTURES, "audio": SOUNDS}[kind] for kind in kinds)
    assert len(rows(own)) == count - ("silent" in how) * SOUNDS
    with av.open(str(own)) as a, av.open(str(other)) as b:
        assert abs((a.duration or 0) - (b.duration or 0)) < 2_000  # µs; ffmpeg's films count in ms
        for mine, its in zip(a.streams, b.streams, strict=True):
            assert mine.codec_context.extradata == its.codec_context.extradata
            assert (mine.time_base, mine.start_time, mine.frames) == (its.time_base, its.start_time, its.frames)


def test_index_is_in_front_and_nothing_is_there_twice(tmp_path: Path) -> None:
    found = windows()

    path = joined(found, tmp_path / "film.mp4")

    assert top_boxes(path) == ["ftyp", "moov", "mdat"]
    media = sum(len(row[4]) for row in rows(path))
    assert path.read_bytes()[4:12] == b"ftypisom"
    assert media < path.stat().st_size < media + 6_000
    assert joined(windows(kinds=("audio",)), tmp_path / "film.m4a", "m4a").read_bytes()[4:12] == b"ftypM4A "


def test_pictures_and_sound_take_turns(tmp_path: Path) -> None:
    path = joined(windows(), tmp_path / "film.mp4")

    with av.open(str(path)) as film:
        places = sorted((packet.pos, packet.stream.type, float((packet.pts or 0) * (packet.time_base or 0)))
                        for packet in film.demux() if packet.size)  # fmt: skip

    latest = {"video": 0.0, "audio": 0.0}
    for _, kind, at_s in places:
        latest[kind] = at_s
        assert abs(latest["video"] - latest["audio"]) < 1.1, "a player would have to read far ahead"


def test_more_than_32_bits_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of bytes, and of time: 180 pictures that stand for 13 minutes each are a day and a half."""
    found = windows(kinds=("video",), step=mux.VIDEO_TIMESCALE * 800)
    usual = rows(joined(found, tmp_path / "usual.mp4"))
    monkeypatch.setattr(faststart, "_WIDE_BYTES", 1000)

    path = joined(found, tmp_path / "wide.mp4")

    data = path.read_bytes()
    assert b"co64" in data
    assert b"stco" not in data
    assert top_boxes(path) == ["ftyp", "moov", "mdat"]
    assert rows(path) == usual == rows(by_ffmpeg(found, tmp_path / "other.mp4"))
    with av.open(str(path)) as film:
        assert film.duration == 3 * PICTURES * 800 * 1_000_000


def test_windows_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    found = windows()
    with pytest.raises(RenderFailed, match="window 1 does not follow"):
        joined([found[0], found[2]], tmp_path / "hole.mp4")
    with pytest.raises(RenderFailed, match="window 1 has another init"):
        joined([found[0], windows(crf=50, kinds=("video",))[1]], tmp_path / "other.mp4")
    with pytest.raises(RenderFailed, match="no fragment"):
        joined([found[0][: boxes.split(boxes.of(found[0]))[0]]], tmp_path / "none.mp4")
