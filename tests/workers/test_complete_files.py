"""Segments that are complete files, made by something else than a recorder and uploaded in pieces."""

from __future__ import annotations

import io
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.container import OutputContainer

from callreel import repository
from callreel.storage.local import LocalStorage
from tests.kit import ears, eyes
from tests.kit.build import add, build_recording
from tests.kit.call_generator import generate_call
from tests.kit.container import top_boxes
from tests.kit.line import make_film, settings_for
from workers.export import plan_files, write_file
from workers.planning import plan

RATE_HZ = 48_000
TONE_HZ = 2400
FPS = 25
RGB = (96, 0, 96)
LENGTH_S, CALL_S = 3, 9


def complete_file(form: str, codec: str, *, pictures: bool) -> bytes:
    """A tone of three seconds, and one colour; H.264 with pictures that lean on later ones."""
    file = io.BytesIO()
    with av.open(file, "w", format=form) as out:
        video = out.add_stream("libx264", rate=FPS, options={"threads": "1"}) if pictures else None
        if video is not None:
            video.width, video.height, video.pix_fmt = 320, 180, "yuv420p"
        sound = out.add_stream(codec, rate=RATE_HZ)
        assert isinstance(sound, av.AudioStream)
        sound.layout = "mono"
        if video is not None:
            put_pictures(out, video)
        for number in range(LENGTH_S * 50):
            at = np.arange(number * 960, number * 960 + 960)
            tone = (0.4 * np.sin(2 * np.pi * TONE_HZ * at / RATE_HZ)).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, number * 960, Fraction(1, RATE_HZ)
            out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    return file.getvalue()


def put_pictures(out: OutputContainer, video: av.VideoStream) -> None:
    dice = np.random.default_rng(1)
    for number in range(LENGTH_S * FPS):
        picture = np.full((180, 320, 3), RGB, np.uint8)
        picture[150:170, 4 * number : 4 * number + 12] = dice.integers(0, 255, 3)  # else x264 sees no need of others
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = number, Fraction(1, FPS)
        out.mux(video.encode(frame))
    out.mux(video.encode(None))


@pytest.mark.parametrize(
    ("form", "codec", "pictures"),
    [
        ("mp4", "aac", False),
        ("mp4", "aac", True),
        ("ipod", "aac", False),
        ("ogg", "libopus", False),
        ("webm", "libopus", False),
    ],
)
def test_it_is_in_the_film_and_among_the_tracks(
    form: str, codec: str, pictures: bool, data_dir: Path, redis_url: str
) -> None:
    data = complete_file(form, codec, pictures=pictures)
    path = data_dir / "file"
    path.write_bytes(data)
    if form in ("mp4", "ipod"):
        assert top_boxes(path)[-1] == "moov", "nothing of it can be read before its last piece is here"
    storage = LocalStorage(data_dir, fsync=False)
    call = generate_call(seed=21, count=2, length_ms=CALL_S * 1000)
    small = {"outputs": [{"name": "film", "container": "mp4", "width": 640, "height": 360}]}
    recording_id = build_recording(storage, call, options=small)
    # pieces that mean nothing
    add(data_dir, recording_id, "file", [data[:1000], data[1000:5000], data[5000:]], f"audio/{form}")
    made = make_film(data_dir, redis_url, recording_id)
    assert made.manifest["leftOut"] == []
    assert [gap["reason"] for gap in made.manifest["gaps"]] == ["unconfirmed"]

    _, samples = ears.decode_placed(made.film)
    loud = np.abs(ears.envelope(samples, TONE_HZ)) > 0.1
    assert np.flatnonzero(loud)[0] < 100
    assert abs(loud.sum() / 1000 - LENGTH_S) < 0.1
    if pictures:
        seen = eyes.watch(made.film, {"file": RGB}).sights["file"].visible()
        assert sum(seen[: LENGTH_S * 30]) >= LENGTH_S * 30 - 2, "the last one stands until the recorder's own end"

    build = plan(storage, settings_for(data_dir, redis_url), repository.load(storage, recording_id))
    track = build.recording.track("file-camera")
    assert track is not None
    (file,) = plan_files(build, track)
    target = data_dir / f"track.{file.extension}"
    assert abs(write_file(storage, build, track, file, target) / 1000 - LENGTH_S) < 0.1
    with av.open(str(target)) as copied, av.open(io.BytesIO(data)) as source:
        assert abs((copied.duration or 0) / 1e6 - LENGTH_S) < 0.1
        if pictures:
            assert source.streams.video[0].codec_context.has_b_frames
            shown = [frame.time for frame in copied.decode(video=0)]
            assert len(shown) == LENGTH_S * FPS
            assert all(abs(later - earlier - 1 / FPS) < 0.001 for earlier, later in pairwise(shown))
        else:
            assert sum(frame.samples for frame in copied.decode(audio=0)) >= (LENGTH_S - 0.1) * RATE_HZ
