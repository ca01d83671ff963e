"""Outputs: what can be asked for becomes a profile, and what cannot is named to the field."""

from __future__ import annotations

from typing import Any

import pytest

from callreel.errors import InvalidOption
from callreel.outputs import CONTAINERS, DEFAULT, file_name, mime_type, profile_of, resolve_outputs
from callreel.profiles import NONE, PROFILES, level_of


def refused(asked: Any, **how: Any) -> str:
    with pytest.raises(InvalidOption) as error:
        resolve_outputs("720p", asked, **how)
    field = error.value.extra["field"]
    assert isinstance(field, str)
    assert field in error.value.detail
    return field


@pytest.mark.parametrize("preset", list(PROFILES))
def test_the_default_output_is_the_preset_itself(preset: str) -> None:
    assert resolve_outputs(preset, None) == [dict(DEFAULT)]
    assert profile_of(preset, DEFAULT) == PROFILES[preset]
    # the plans of films from before there were other codecs have these fields, and their windows are to be found
    assert set(PROFILES[preset].to_json()) == {
        *("name", "width_px", "height_px", "fps", "video_bitrate_kbps", "crf", "level", "speed"),
        *("audio_bitrate_kbps", "audio_rate_hz", "audio_channels"),
    }


@pytest.mark.parametrize("container", list(CONTAINERS))
def test_a_container_says_its_codecs_where_nobody_does(container: str) -> None:
    (output,) = resolve_outputs("480p", [{"name": "x", "container": container}])
    first = CONTAINERS[container]
    assert (output["videoCodec"], output["audioCodec"]) == (first.video[0], first.audio[0])
    assert file_name(output) == f"x.{container}"
    assert mime_type(output).startswith("audio/" if first.video[0] == NONE else "video/")


@pytest.mark.parametrize(
    ("field", "more"),
    [
        ("name", {"name": ""}),
        ("name", {"name": "a/b"}),
        ("name", {"name": "a.b"}),
        ("name", {"name": "x" * 65}),
        ("name", {"name": 7}),
        ("container", {"container": "avi"}),
        ("container", {"container": ["mp4"]}),
        ("container", {"container": None}),
        ("videoCodec", {"videoCodec": "vp8"}),
        ("videoCodec", {"container": "webm", "videoCodec": "h264"}),
        ("videoCodec", {"container": "m4a", "videoCodec": "h264"}),
        ("videoCodec", {"container": "wav", "videoCodec": "vp8"}),
        ("videoCodec", {"videoCodec": {}}),
        ("audioCodec", {"container": "ogg", "audioCodec": "aac"}),
        ("audioCodec", {"container": "webm", "audioCodec": "aac"}),
        ("audioCodec", {"container": "wav", "audioCodec": "opus"}),
        ("audioCodec", {"container": "m4a", "audioCodec": "none"}),
        ("audioCodec", {"videoCodec": "none", "audioCodec": "none"}),
        ("width", {"width": 641, "height": 360}),
        ("height", {"width": 640, "height": 359}),
        ("height", {"width": 640}),
        ("width", {"height": 640}),
        ("width", {"width": 64, "height": 360}),
        ("height", {"width": 3840, "height": 3842}),
        ("height", {"width": 3840, "height": 3840}),
        ("width", {"width": 640.0, "height": 360}),
        ("width", {"width": True, "height": 360}),
        ("width", {"container": "ogg", "width": 640, "height": 360}),
        ("fps", {"fps": 29}),
        ("fps", {"fps": "30"}),
        ("fps", {"container": "wav", "fps": 30}),
        ("videoBitrateKbps", {"videoBitrateKbps": 0}),
        ("videoBitrateKbps", {"videoBitrateKbps": 50_001}),
        ("videoBitrateKbps", {"container": "m4a", "videoBitrateKbps": 500}),
        ("audioBitrateKbps", {"audioBitrateKbps": 500}),
        ("audioBitrateKbps", {"audioBitrateKbps": 8}),
        ("audioBitrateKbps", {"container": "wav", "audioBitrateKbps": 128}),
        ("audioBitrateKbps", {"audioCodec": "none", "audioBitrateKbps": 128}),
        ("trackId", {"trackId": "a/b"}),
        ("trackId", {"trackId": 7}),
        ("colour", {"colour": "blue"}),
    ],
)
def test_what_does_not_fit_is_named(field: str, more: dict[str, Any]) -> None:
    good = {"name": "first", "container": "mp4"}
    assert refused([good, {"name": "x", "container": "mp4", **more}]) == f"outputs[1].{field}"


@pytest.mark.parametrize("asked", ["mp4", {}, [], [{"name": f"x{n}", "container": "wav"} for n in range(11)]])
def test_outputs_are_a_list_of_some(asked: Any) -> None:
    assert refused(asked) == "outputs"


def test_an_output_is_an_object_with_a_name_of_its_own() -> None:
    assert refused(["mp4"]) == "outputs[0]"
    assert refused([{"container": "mp4"}]) == "outputs[0].name"
    assert refused([{"name": "x"}]) == "outputs[0].container"
    assert refused([{"name": "film", "container": "mp4"}, {"name": "Film", "container": "webm"}]) == "outputs[1].name"


def test_what_no_worker_can_encode_is_refused_and_nothing_where_none_has_told() -> None:
    asked = [{"name": "a", "container": "mp4"}, {"name": "b", "container": "webm"}]
    assert refused(asked, encoders={"h264", "aac", "pcm"}) == "outputs[1].videoCodec"
    assert refused(asked, encoders={"h264", "aac", "vp8"}) == "outputs[1].audioCodec"
    assert len(resolve_outputs("720p", asked, encoders={"h264", "aac", "vp8", "opus"})) == 2
    assert len(resolve_outputs("720p", asked)) == 2
    assert resolve_outputs("720p", [{"name": "c", "container": "mp4", "audioCodec": "none"}], {"h264"})


def test_bitrates_follow_size_and_rate_where_nobody_says_them() -> None:
    def kbps(**more: int) -> int:
        return profile_of("720p", {**DEFAULT, **more}).video_bitrate_kbps

    assert kbps() == 3000
    assert kbps(fps=60) == pytest.approx(3000 * 2**0.75, abs=25)
    assert kbps(width=640, height=360) == pytest.approx(3000 / 4**0.75, abs=25)
    assert kbps(videoBitrateKbps=777, fps=60) == 777
    assert profile_of("720p", {**DEFAULT, "audioBitrateKbps": 96}).audio_bitrate_kbps == 96


@pytest.mark.parametrize(
    ("width_px", "height_px", "fps", "kbps", "level"),
    [
        (1280, 720, 30, 3000, "3.1"),
        (1280, 720, 60, 5000, "3.2"),
        (1920, 1080, 30, 6000, "4.0"),
        (1920, 1080, 30, 20_000, "4.1"),
        (1920, 1080, 60, 10_000, "4.2"),
        (3840, 2160, 30, 20_000, "5.1"),
        (3840, 2160, 60, 30_000, "5.2"),
        (640, 360, 24, 800, "3.0"),
        (3840, 128, 24, 800, "4.0"),  # wide, so by its longest side
    ],
)
def test_h264_levels_follow_size_rate_and_bits(width_px: int, height_px: int, fps: int, kbps: int, level: str) -> None:
    assert level_of(width_px, height_px, fps, kbps) == level
