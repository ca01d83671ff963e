"""Outputs as files: every container, codec and rate; exact, seekable, together, and rendered once where they agree."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest
from playwright.sync_api import sync_playwright

from callreel.states import Status
from tests.kit import ears
from tests.kit.browser import FLAGS
from tests.kit.build import build_recording
from tests.kit.call_generator import generate_call
from tests.kit.capture import Capture, load_named
from tests.kit.container import top_boxes
from tests.kit.detect import added_by_beat, examine
from tests.kit.line import Made, make_film

LENGTH_MS = 10_500  #: a whole window and a part of one
SMALL = {"width": 320, "height": 180}
SOUND = (
    {"name": "m4a", "container": "m4a", "audioBitrateKbps": 96},
    {"name": "ogg", "container": "ogg"},
    {"name": "wav", "container": "wav"},
)
OUTPUTS: tuple[dict[str, Any], ...] = (
    {"name": "film", "container": "webm", "width": 640, "height": 360},
    {"name": "fast", "container": "mp4", "fps": 60, **SMALL},
    {"name": "slow", "container": "webm", "videoCodec": "vp9", "fps": 24, **SMALL},
    {"name": "opus", "container": "mp4", "audioCodec": "opus", "fps": 50, **SMALL},
    {"name": "mute", "container": "mp4", "audioCodec": "none", "fps": 25, "videoBitrateKbps": 200, **SMALL},
    {"name": "same", "container": "mp4", "audioCodec": "none", "fps": 25, "videoBitrateKbps": 200, **SMALL},
    *SOUND,
)


@dataclass(frozen=True, slots=True)
class All:
    capture: Capture
    made: Made
    root: Path

    def path(self, name: str) -> Path:
        """A film under its own name: demuxers look at endings too."""
        output = next(item for item in OUTPUTS if item["name"] == name)
        return self.made.files[f"{name}.{output['container']}"]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory, index_server: str) -> All:
    capture = generate_call(seed=21, count=2, length_ms=LENGTH_MS)
    root = tmp_path_factory.mktemp("outputs")
    recording_id = build_recording(root, capture, options={"preset": "480p", "outputs": list(OUTPUTS)})
    return All(capture, make_film(root, index_server, recording_id), root)


def times(path: Path, kind: str) -> list[float]:
    """When each decoded picture or frame of sound begins, in ms, and of sound also where the last one ends."""
    with av.open(str(path)) as file:
        found, end = [], 0.0
        for frame in file.decode(file.streams.best(kind)):  # type: ignore[arg-type]  # there is one
            assert isinstance(frame, av.AudioFrame | av.VideoFrame)
            assert frame.pts is not None
            assert frame.time_base is not None
            found.append(float(frame.pts * frame.time_base * 1000))
            if isinstance(frame, av.AudioFrame):
                end = found[-1] + frame.samples * 1000 / frame.sample_rate
        return [*found, end] if kind == "audio" else found


def test_all_are_there_at_once_and_what_two_share_was_rendered_once(films: All) -> None:
    made = films.made
    assert made.status is Status.COMPLETED
    told = {film["output"]["name"]: film for film in made.manifest["films"]}
    assert list(told) == [item["name"] for item in OUTPUTS]
    assert made.manifest["film"] == told["film"]["file"]
    for film in told.values():
        path = made.files[film["file"]["name"]]
        assert film["file"]["size_bytes"] == path.stat().st_size
        assert abs(film["file"]["duration_ms"] - LENGTH_MS) <= 1000 / 24 / 2, "rounded to a whole picture"
    assert told["mute"]["windows"] == told["same"]["windows"]
    windows = {key for film in told.values() for key in film["windows"]}
    assert sorted(made.encoded) == sorted(windows), "each once"
    assert len(windows) == 2 * (len(OUTPUTS) - 1)
    assert made.manifest["leftOut"] == []


@pytest.mark.parametrize(
    ("name", "fps", "codec", "size"),
    [
        ("film", 30, "vp8", (640, 360)),
        ("fast", 60, "h264", (320, 180)),
        ("slow", 24, "vp9", (320, 180)),
        ("opus", 50, "h264", (320, 180)),
        ("mute", 25, "h264", (320, 180)),
    ],
)
def test_pictures_are_as_many_as_belong_there_and_each_at_its_time(
    films: All, name: str, fps: int, codec: str, size: tuple[int, int]
) -> None:
    path = films.path(name)
    with av.open(str(path)) as file:
        video = file.streams.video[0]
        assert video.codec_context.name == codec
        assert (video.codec_context.width, video.codec_context.height) == size
        assert len(file.streams.audio) == (name != "mute")
        assert abs((file.duration or 0) / 1000 - LENGTH_MS) <= 1 + 1000 / fps / 2
    found = times(path, "video")
    assert len(found) == (LENGTH_MS * fps + 500) // 1000
    # WebM counts whole milliseconds
    assert max(abs(at - number * 1000 / fps) for number, at in enumerate(found)) < (
        0.51 if codec.startswith("vp") else 0.01
    )


@pytest.mark.parametrize("name", ["film", "fast", "slow", "opus", "m4a", "ogg", "wav"])
def test_sound_is_without_a_hole_and_as_long_as_the_film(films: All, name: str) -> None:
    found = times(films.path(name), "audio")
    assert found[0] == 0
    assert abs(found[-1] - LENGTH_MS) < (0.01 if name == "wav" else 22.5), "a frame that is only begun is left out"
    steps = [later - earlier for earlier, later in pairwise(found[1:-1])]
    assert max(steps) - min(steps) < 1.01
    with av.open(str(films.path(name))) as file:
        assert (
            file.streams.audio[0].codec_context.name
            == {
                **dict.fromkeys(("film", "slow", "opus", "ogg"), "opus"),
                **dict.fromkeys(("fast", "m4a"), "aac"),
                "wav": "pcm_s16le",
            }[name]
        )


@pytest.mark.parametrize("name", ["film", "fast"])
def test_everybody_is_seen_and_heard_where_they_belong(films: All, name: str) -> None:
    path = films.path(name)
    findings, view = examine(path, films.capture)
    for who, found in findings.items():
        assert found.seen[0] == found.seen[1], found
        assert found.heard[0] == found.heard[1], found
        added = added_by_beat(films.capture, who, view, path)
        assert abs(added.flash_ms) <= 20, added
        assert abs(added.beep_ms) <= 3, added


def test_sound_alone_is_the_same_sound_at_the_same_time(films: All) -> None:
    tone = films.capture.tone_of(films.capture.participants[0])
    truth = ears.onsets_ms(ears.decode_placed(films.path("wav"))[1], tone)
    assert len(truth) > 3
    for name in ("m4a", "ogg", "film", "opus"):
        first_ms, samples = ears.decode_placed(films.path(name))
        found = [at + first_ms for at in ears.onsets_ms(samples, tone)]
        assert len(found) == len(truth), name
        assert max(abs(a - b) for a, b in zip(found, truth, strict=True)) < 1.5, name


def test_files_are_made_to_be_played_from_anywhere(films: All) -> None:
    for name in ("fast", "opus", "mute", "m4a"):
        assert top_boxes(films.path(name))[:2] == ["ftyp", "moov"], name
    assert films.path("m4a").read_bytes()[8:12] == b"M4A "
    for name in ("film", "slow"):
        head = films.path(name).read_bytes()
        assert head.index(b"\x1c\x53\xbb\x6b") < head.index(b"\x1f\x43\xb6\x75"), "Cues before the first Cluster"
        with av.open(str(films.path(name))) as file:
            file.seek(9_000_000)
            assert next(file.decode(video=0)).pts in range(8000, 9001), "a key frame near to it"
    assert films.path("wav").read_bytes()[:4] == b"RIFF"
    assert films.path("ogg").read_bytes()[:4] == b"OggS"


def test_one_track_alone_is_copied_where_it_fits_and_rendered_where_not(data_dir: Path, redis_url: str) -> None:
    capture = load_named("duo-split")
    camera = next(run for run in capture.runs if run.has_video)
    voice = next(run for run in capture.runs if run.participant == camera.participant and run.has_audio)
    asked = [
        {"name": "camera", "container": "webm", "videoCodec": "vp9", "audioCodec": "none", "trackId": camera.track_id},
        {"name": "voice", "container": "ogg", "trackId": voice.track_id},
        {"name": "slim", "container": "ogg", "trackId": voice.track_id, "audioBitrateKbps": 32},
        {"name": "nobody", "container": "ogg", "trackId": "never-there"},
    ]
    made = make_film(data_dir, redis_url, build_recording(data_dir, capture, options={"outputs": asked}))
    told = {film["output"]["name"]: film for film in made.manifest["films"]}
    assert {name: film["copied"] for name, film in told.items()} == {
        "camera": True, "voice": True, "slim": False, "nobody": False,
    }  # fmt: skip
    assert len(made.encoded) == len({*told["slim"]["windows"], *told["nobody"]["windows"]}), "and nothing for a copy"
    for run, name in ((camera, "camera.webm"), (voice, "voice.ogg")):
        copied, raw = payloads(made.files[name]), payloads(run.data)
        assert copied == raw[: len(copied)], name
        assert len(raw) - len(copied) <= 3, "only what was recorded after stop may be missing"
    others = [name for name in capture.participants if name != voice.participant]
    for name in ("slim.ogg", "nobody.ogg"):
        _, samples = ears.decode_placed(made.files[name])
        assert all(not ears.onsets_ms(samples, capture.tone_of(other)) for other in others), name
        assert bool(ears.onsets_ms(samples, capture.tone_of(voice.participant))) == (name == "slim.ogg")


def payloads(source: Path | bytes) -> list[bytes]:
    with av.open(str(source) if isinstance(source, Path) else io.BytesIO(source), "r") as file:
        return [bytes(packet) for packet in file.demux(*file.streams) if packet.size]


PLAY = """async ([data, type]) => {
  const video = document.createElement('video');
  document.body.append(video);
  video.muted = true;
  video.src = URL.createObjectURL(new Blob([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], { type }));
  const heard = (name) => new Promise((done, failed) => {
    video.addEventListener(name, done, { once: true });
    video.addEventListener('error', () => failed(new Error(video.error?.message)), { once: true });
  });
  await heard('loadeddata');
  await video.play();
  while (video.currentTime < 0.5) await new Promise((done) => setTimeout(done, 50));
  video.pause();
  const sought = heard('seeked');
  video.currentTime = 9;
  await sought;
  return [video.duration, video.videoWidth, video.videoHeight, video.currentTime];
}"""


def test_chromium_plays_and_seeks_in_them(films: All, chromium: str) -> None:
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=chromium, args=FLAGS) as browser:
        page = browser.new_page()
        for name, size in (("fast", (320, 180)), ("film", (640, 360)), ("slow", (320, 180)), ("opus", (320, 180))):
            path = films.path(name)
            kind = "video/webm" if name in ("film", "slow") else "video/mp4"
            length_s, *rest = page.evaluate(PLAY, [base64.b64encode(path.read_bytes()).decode(), kind])
            assert abs(length_s - LENGTH_MS / 1000) < 0.05, name
            assert rest == [*size, 9], name
