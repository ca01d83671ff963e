"""What a finished file is, read from its packets and boxes: codecs, counts, time stamps, order of boxes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import av


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    boxes: list[str]  #: of the top level, in order
    video_codec: str
    video_profile: str
    pixel_format: str
    width_px: int
    height_px: int
    pictures: int  #: decoded, not declared
    picture_steps_ms: set[float]  #: distances of neighbours; one value where stamps are uniform
    first_picture_ms: float
    key_frames: list[int]  #: numbers of pictures
    audio_codec: str
    audio_profile: str
    audio_rate_hz: int
    audio_channels: int
    sound_ms: float
    duration_ms: float  #: as the container declares it

    @property
    def fast_start(self) -> bool:
        """Playable before it is loaded."""
        return "moov" in self.boxes and "mdat" in self.boxes and self.boxes.index("moov") < self.boxes.index("mdat")

    @property
    def uniform(self) -> bool:
        """Pictures in equal steps; µs are what a player's arithmetic leaves."""
        return not self.picture_steps_ms or max(self.picture_steps_ms) - min(self.picture_steps_ms) < 0.001


def facts_of(path: Path) -> FileFacts:
    """Decodes the whole file."""
    with av.open(str(path)) as file:
        video, audio = file.streams.video[0], file.streams.audio[0]
        video.thread_type = "AUTO"
        stamps: list[float] = []
        keys: list[int] = []
        samples = 0
        for frame in file.decode(video, audio):
            if isinstance(frame, av.AudioFrame):
                samples += frame.samples
            elif isinstance(frame, av.VideoFrame) and frame.pts is not None and frame.time_base is not None:
                if frame.key_frame:
                    keys.append(len(stamps))
                stamps.append(float(frame.pts * frame.time_base * 1000))
        return FileFacts(
            boxes=top_boxes(path),
            video_codec=video.codec_context.name,
            video_profile=str(video.codec_context.profile),
            pixel_format=str(video.codec_context.pix_fmt),
            width_px=video.codec_context.width,
            height_px=video.codec_context.height,
            pictures=len(stamps),
            picture_steps_ms={round(b - a, 6) for a, b in itertools.pairwise(stamps)},
            first_picture_ms=stamps[0] if stamps else float("nan"),
            key_frames=keys,
            audio_codec=audio.codec_context.name,
            audio_profile=str(audio.codec_context.profile),
            audio_rate_hz=audio.codec_context.sample_rate,
            audio_channels=audio.codec_context.layout.nb_channels,
            sound_ms=samples * 1000 / audio.codec_context.sample_rate,
            duration_ms=(file.duration or 0) / 1000,  # libav's unit is µs
        )


def top_boxes(path: Path) -> list[str]:
    """ISO/IEC 14496-12, 4.2: four bytes of size, four of type; size 1 means eight more bytes, 0 up to the end."""
    found: list[str] = []
    with open(path, "rb") as file:
        while len(head := file.read(8)) == 8:
            size, name = int.from_bytes(head[:4], "big"), head[4:].decode("latin-1")
            found.append(name)
            skip = size - 8
            if size == 1:
                skip = int.from_bytes(file.read(8), "big") - 16
            if size == 0 or skip < 0:
                break
            file.seek(skip, 1)
    return found
