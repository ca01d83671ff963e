"""Profiles: what a film looks and sounds like, down to the encoder's parameters. Tables, and arithmetic over them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .errors import InvalidOption

NONE = "none"  #: the codec of what an output leaves out


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Everything that shapes the pictures and sound of a composition; it is part of every window's key."""

    name: str  #: the preset it was made of
    width_px: int
    height_px: int
    fps: int
    video_bitrate_kbps: int  #: ceiling; within it `crf` decides
    crf: int
    level: str  #: H.264 level: fixed, for it stands in the init segment
    speed: str  #: of the encoder's search, in the encoder's own words
    audio_bitrate_kbps: int
    audio_rate_hz: int = 48000
    audio_channels: int = 2
    video_codec: str = "h264"
    audio_codec: str = "aac"

    @property
    def has_pictures(self) -> bool:
        return self.video_codec != NONE

    @property
    def has_sound(self) -> bool:
        return self.audio_codec != NONE

    def to_json(self) -> dict[str, Any]:
        """Codecs are told where they are others than H.264 and AAC, so that keys from before others came stay."""
        told = asdict(self)
        for name, usual in (("video_codec", "h264"), ("audio_codec", "aac")):
            if told[name] == usual:
                del told[name]
        return told


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoCodec:
    """How an encoder is asked for good pictures of talking heads, and what bitrates make sense to it."""

    crf: int  #: its own scale: about equally good pictures
    speed: str
    least_kbps: int = 50
    most_kbps: int = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioCodec:
    least_kbps: int
    most_kbps: int
    has_bitrate: bool = True


VIDEO_CODECS: dict[str, VideoCodec] = {
    "h264": VideoCodec(crf=23, speed="veryfast"),
    "vp8": VideoCodec(crf=20, speed="8"),
    "vp9": VideoCodec(crf=30, speed="8"),
}

#: Stereo at 48 kHz: below the least AAC is not worth listening to, above the most no encoder spends more.
AUDIO_CODECS: dict[str, AudioCodec] = {
    "aac": AudioCodec(least_kbps=48, most_kbps=320),
    "opus": AudioCodec(least_kbps=32, most_kbps=510),
    "pcm": AudioCodec(least_kbps=1536, most_kbps=1536, has_bitrate=False),  # 16 bits
}

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

#: ITU-T H.264, table A-1: level → macroblocks a second, macroblocks a picture, kbit/s and kbit of buffer in High.
_LEVELS: tuple[tuple[str, int, int, int, int], ...] = (
    ("1.3", 11_880, 396, 960, 2_500),
    ("2.1", 19_800, 792, 5_000, 5_000),
    ("2.2", 20_250, 1_620, 5_000, 5_000),
    ("3.0", 40_500, 1_620, 12_500, 12_500),
    ("3.1", 108_000, 3_600, 17_500, 17_500),
    ("3.2", 216_000, 5_120, 25_000, 25_000),
    ("4.0", 245_760, 8_192, 25_000, 31_250),
    ("4.1", 245_760, 8_192, 62_500, 78_125),
    ("4.2", 522_240, 8_704, 62_500, 78_125),
    ("5.0", 589_824, 22_080, 168_750, 168_750),
    ("5.1", 983_040, 36_864, 300_000, 300_000),
    ("5.2", 2_073_600, 36_864, 300_000, 300_000),
)
#: Bits do not grow as fast as pixels and pictures do: what is added is more like what was there.
_GROWTH = 0.75


def profile(name: object) -> Profile:
    """Raises `InvalidOption`."""
    if not isinstance(name, str) or name not in PROFILES:
        raise InvalidOption(f"preset must be one of {', '.join(PROFILES)}; got {name!r}.", field="preset")
    return PROFILES[name]


def level_of(width_px: int, height_px: int, fps: int, video_bitrate_kbps: int) -> str:
    """The least H.264 level that allows all of it, with a buffer of two seconds as `workers.codecs` asks for.

    Raises `ValueError` where none does: other codecs' players do not decode more either.
    """
    columns, rows = -(-width_px // 16), -(-height_px // 16)
    blocks = columns * rows
    for level, rate, size, kbps, buffer_kbit in _LEVELS:
        fits = blocks * fps <= rate and blocks <= size and max(columns, rows) ** 2 <= 8 * size  # A.3.1, f and g
        if fits and video_bitrate_kbps <= kbps and 2 * video_bitrate_kbps <= buffer_kbit:
            return level
    raise ValueError(f"{width_px}x{height_px} at {fps} pictures a second is more than H.264 has levels for")


def usual_kbps(base: Profile, width_px: int, height_px: int, fps: int) -> int:
    """The ceiling of a preset's bitrate for another size or rate, to the next 50 kbit/s."""
    ratio = width_px * height_px * fps / (base.width_px * base.height_px * base.fps)
    kbps: float = base.video_bitrate_kbps * ratio**_GROWTH
    return max(50, round(kbps / 50) * 50)
