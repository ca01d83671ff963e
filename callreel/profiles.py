"""Profiles: what a film looks and sounds like, down to the encoder's parameters. A table, and its lookup."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .errors import InvalidOption


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Everything that shapes the pictures and sound of a composition; it is part of every window's key."""

    name: str
    width_px: int
    height_px: int
    fps: int
    video_bitrate_kbps: int  #: ceiling; within it `crf` decides
    crf: int
    level: str  #: H.264 level, ITU-T H.264 table A-1: fixed, for it stands in the init segment
    speed: str  #: x264 preset
    audio_bitrate_kbps: int
    audio_rate_hz: int = 48000
    audio_channels: int = 2

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


#: name → profile. Bitrates after the usual ladders for talking heads at 30 pictures a second.
PROFILES: dict[str, Profile] = {
    "480p": Profile(
        name="480p", width_px=854, height_px=480, fps=30, video_bitrate_kbps=1500, crf=23, level="3.1",
        speed="veryfast", audio_bitrate_kbps=128,
    ),
    "720p": Profile(
        name="720p", width_px=1280, height_px=720, fps=30, video_bitrate_kbps=3000, crf=23, level="3.1",
        speed="veryfast", audio_bitrate_kbps=128,
    ),
    "1080p": Profile(
        name="1080p", width_px=1920, height_px=1080, fps=30, video_bitrate_kbps=6000, crf=23, level="4.0",
        speed="veryfast", audio_bitrate_kbps=160,
    ),
}  # fmt: skip


def profile(name: object) -> Profile:
    """Raises `InvalidOption`."""
    if not isinstance(name, str) or name not in PROFILES:
        raise InvalidOption(f"preset must be one of {', '.join(PROFILES)}; got {name!r}.", field="preset")
    return PROFILES[name]


_DEFAULT = {"name": "composition", "container": "mp4", "videoCodec": "h264", "audioCodec": "aac"}


def resolve_outputs(preset: str, asked: Any) -> list[dict[str, Any]]:
    """The outputs of a recording, every field said. Raises `InvalidOption` naming the field."""
    profile(preset)
    if asked is None:
        return [dict(_DEFAULT)]
    raise InvalidOption("outputs cannot be chosen in this version; leave it out for composition.mp4.", field="outputs")
