"""Outputs: which files a recording is made into. What was asked is checked here, and becomes a profile."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .errors import InvalidOption
from .profiles import AUDIO_CODECS, NONE, VIDEO_CODECS, Profile, level_of, profile, usual_kbps

Output = Mapping[str, Any]  #: one of a recording's outputs, in the contract's words


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A kind of file: what may be in it, the first of each being what it has where nobody says."""

    video: tuple[str, ...]
    audio: tuple[str, ...]
    mime_type: str  #: without what stands before the slash, which depends on what is in it


CONTAINERS: dict[str, Container] = {
    "mp4": Container(video=("h264", NONE), audio=("aac", "opus", NONE), mime_type="mp4"),
    "webm": Container(video=("vp8", "vp9", NONE), audio=("opus", NONE), mime_type="webm"),
    "m4a": Container(video=(NONE,), audio=("aac",), mime_type="mp4"),
    "ogg": Container(video=(NONE,), audio=("opus",), mime_type="ogg"),
    "wav": Container(video=(NONE,), audio=("pcm",), mime_type="wav"),
}

DEFAULT: Output = {"name": "composition", "container": "mp4", "videoCodec": "h264", "audioCodec": "aac"}
FPS = (24, 25, 30, 50, 60)  #: rates of which a window holds whole pictures
MOST = 10  #: each is rendered by itself
LEAST_PX, MOST_PX = 128, 3840  #: names must be readable, and a decoder must be found for it
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")

#: What says something of the pictures, and of the sound: senseless where there are none.
_OF_PICTURES = ("width", "height", "fps", "videoBitrateKbps")
_OF_SOUND = ("audioBitrateKbps",)
_FIELDS = ("name", "container", "videoCodec", "audioCodec", *_OF_PICTURES, *_OF_SOUND, "trackId")


def resolve_outputs(preset: str, asked: Any, encoders: Collection[str] = ()) -> list[dict[str, Any]]:
    """The outputs of a recording, with their codecs said. Raises `InvalidOption` naming the field.

    `encoders` are the codecs that workers can encode; none where no worker has told.
    """
    profile(preset)
    if asked is None:
        asked = [DEFAULT]
    if not isinstance(asked, list) or not 1 <= len(asked) <= MOST:
        raise InvalidOption(f"outputs must be a list of 1 to {MOST} outputs.", field="outputs")
    found: list[dict[str, Any]] = []
    for number, item in enumerate(asked):
        found.append(resolve_output(preset, item, f"outputs[{number}]", encoders))
        taken = {other["name"].lower() for other in found[:-1]}  # not every file system tells cases apart
        if found[-1]["name"].lower() in taken:
            field = f"outputs[{number}].name"
            raise InvalidOption(f"{field} is the name of another output; got {found[-1]['name']!r}.", field=field)
    return found


def resolve_output(preset: str, asked: Any, place: str, encoders: Collection[str] = ()) -> dict[str, Any]:
    """One output that is asked for at `place`, with its codecs said. Raises `InvalidOption` naming the field."""
    check = _Check(asked, place)
    output = check.output()
    for field in ("videoCodec", "audioCodec"):
        known = not encoders or output[field] in (NONE, *encoders)
        check.that(known, field, f"cannot be encoded by any worker here; they have {', '.join(sorted(encoders))}")
    try:
        profile_of(preset, output)
    except ValueError as error:
        check.that(False, "height", f"does not fit: {error}")
    return output


def profile_of(preset: str, output: Output) -> Profile:
    """What an output looks and sounds like. Raises `ValueError` where no player would decode it."""
    base = profile(preset)
    video, audio = output["videoCodec"], output["audioCodec"]
    sound_kbps = output.get("audioBitrateKbps", base.audio_bitrate_kbps)
    if audio == NONE or not AUDIO_CODECS[audio].has_bitrate:
        sound_kbps = 0
    sound = replace(base, audio_codec=audio, audio_bitrate_kbps=sound_kbps)
    if video == NONE:  # cut into windows as films of the preset are, whatever that one's size is
        return replace(
            sound, name="", video_codec=NONE, width_px=0, height_px=0, video_bitrate_kbps=0, crf=0, level="", speed=""
        )
    width_px, height_px = output.get("width", base.width_px), output.get("height", base.height_px)
    fps = output.get("fps", base.fps)
    kbps = output.get("videoBitrateKbps") or usual_kbps(base, width_px, height_px, fps)
    codec, level = VIDEO_CODECS[video], level_of(width_px, height_px, fps, kbps)
    return replace(
        sound,
        video_codec=video,
        width_px=width_px,
        height_px=height_px,
        fps=fps,
        video_bitrate_kbps=kbps,
        crf=codec.crf,
        speed=codec.speed,
        level=level if video == "h264" else "",
    )


def may_copy(output: Output) -> bool:
    """Is one track alone asked for, as it is?"""
    return "trackId" in output and not any(field in output for field in (*_OF_PICTURES, *_OF_SOUND))


def file_name(output: Output) -> str:
    return f"{output['name']}.{output['container']}"


def mime_type(output: Output) -> str:
    kind = "audio" if output["videoCodec"] == NONE else "video"
    return f"{kind}/{CONTAINERS[output['container']].mime_type}"


class _Check:
    """One output as it was asked for, looked at field by field."""

    def __init__(self, asked: Any, place: str) -> None:
        if not isinstance(asked, dict):
            raise InvalidOption(f"{place} must be an object; got {asked!r:.60}.", field=place)
        self._asked: dict[str, Any] = asked
        self._place = place

    def that(self, fits: bool, field: str, otherwise: str) -> None:
        if not fits:
            got = f"; got {self._asked[field]!r:.60}" if field in self._asked else ""
            raise InvalidOption(f"{self._place}.{field} {otherwise}{got}.", field=f"{self._place}.{field}")

    def output(self) -> dict[str, Any]:
        """All but what other outputs and workers have a say in."""
        for field in self._asked:
            self.that(field in _FIELDS, field, f"is no field of an output; known are {', '.join(_FIELDS)}")
        name = self._asked.get("name")
        self.that(isinstance(name, str) and bool(_NAME.match(name)), "name", "must be 1 to 64 of A-Z a-z 0-9 _ -")
        track_id = self._asked.get("trackId", "x")
        self.that(isinstance(track_id, str) and bool(_NAME.match(track_id)), "trackId", "must be the id of a track")
        form = self._asked.get("container")
        known = isinstance(form, str) and form in CONTAINERS
        self.that(known, "container", f"must be one of {', '.join(CONTAINERS)}")
        container = CONTAINERS[str(form)]
        codecs = {}
        for field, fitting in (("videoCodec", container.video), ("audioCodec", container.audio)):
            codecs[field] = self._asked.get(field, fitting[0])
            self.that(codecs[field] in fitting, field, f"must be {' or '.join(fitting)} in {form}")
        self.that(set(codecs.values()) != {NONE}, "audioCodec", "must not be none where videoCodec is")
        self._numbers(codecs["videoCodec"], codecs["audioCodec"])
        return {**self._asked, **codecs}

    def _numbers(self, video: str, audio: str) -> None:
        for fields, codec in ((_OF_PICTURES, video), (_OF_SOUND, audio)):
            for field in fields:
                self.that(codec != NONE or field not in self._asked, field, "says something of what is not there")
        for field, other in (("width", "height"), ("height", "width")):
            self.that(field in self._asked or other not in self._asked, field, f"must be said where {other} is")
            self._number(field, lambda px: LEAST_PX <= px <= MOST_PX and px % 2 == 0,
                         f"must be an even number from {LEAST_PX} to {MOST_PX}")  # fmt: skip
        self._number("fps", lambda fps: fps in FPS, f"must be one of {', '.join(map(str, FPS))}")
        if video != NONE:
            least, most = VIDEO_CODECS[video].least_kbps, VIDEO_CODECS[video].most_kbps
            self._number("videoBitrateKbps", lambda kbps: least <= kbps <= most, f"must be {least} to {most}")
        if audio != NONE:
            sound = AUDIO_CODECS[audio]
            self.that(sound.has_bitrate or "audioBitrateKbps" not in self._asked, "audioBitrateKbps",
                      f"cannot be chosen for {audio}")  # fmt: skip
            self._number("audioBitrateKbps", lambda kbps: sound.least_kbps <= kbps <= sound.most_kbps,
                         f"must be {sound.least_kbps} to {sound.most_kbps} for {audio}")  # fmt: skip

    def _number(self, field: str, fits: Callable[[int], bool], otherwise: str) -> None:
        if field in self._asked:
            value = self._asked[field]
            whole = isinstance(value, int) and not isinstance(value, bool)  # True is an int to Python
            self.that(whole and fits(value), field, otherwise)
