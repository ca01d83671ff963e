"""Codecs: how each is asked of its encoder so that windows join, and which of them this machine can encode.

What shapes a stream's header is fixed by the profile; only the search may ever become faster.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import av

from callreel.glances import KEY_S

from . import ffmpeg as runner

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """An encoder of sound, in PyAV. Windows are cut between its frames, which begin at multiples of `frame`."""

    encoder: str
    form: str  #: of the samples it takes
    frame: int  #: samples
    #: Frames encoded before a window, so that the encoder has settled, and behind it, for what it holds back.
    lead_in: int
    lead_out: int
    options: dict[str, str] = field(default_factory=dict)


SOUND: dict[str, Sound] = {
    # AAC-LC, ISO/IEC 14496-3. libav's usual search (`twoloop`) spends what quiet moments saved, and remembers it for
    # half a minute: behind 4 or 20 frames of lead-in it has up to 17 dB less than one that ran through, behind 1000 7.
    # This one keeps to its rate, costs less, and is as good where windows join as anywhere: a film of speech in windows
    # has 37.4 dB at 128 kbit/s, with the usual one 36.3.
    "aac": Sound(encoder="aac", form="fltp", frame=1024, lead_in=8, lead_out=2, options={"aac_coder": "fast"}),
    # CELT alone, whose packets lean on little of what was before them. 320 ms, four times what decoders need (RFC 7845,
    # 4.6): joins of 24 calls have 0.2 dB less than one encoder that runs through, at 95 %; behind 100 ms 1.3. And at a
    # constant rate, for a free one saves on what hisses: the worst of 393 joins has 18.4 dB, else 11.2.
    "opus": Sound(
        encoder="libopus", form="flt", frame=960, lead_in=16, lead_out=1,
        options={"application": "lowdelay", "frame_duration": "20", "vbr": "off"},
    ),
    # a frame for each thirtieth of a second, which windows without pictures consist of
    "pcm": Sound(encoder="pcm_s16le", form="s16", frame=1600, lead_in=0, lead_out=0),
}  # fmt: skip


def video_options(plan: Json, threads: int) -> Json:
    """ffmpeg's options for the encoder of a window's pictures."""
    profile = plan["profile"]
    fps, gop = profile["fps"], profile["fps"] * KEY_S
    starts, first = [], 0
    for piece in plan["slices"]:
        starts.append(f"{max(0, first - 0.5) / fps:.6f}")  # before the picture: one that is late by rounding is missed
        first += piece["pictures"]
    return {
        **_VIDEO[profile.get("video_codec", "h264")](profile, threads),
        "pix_fmt": "yuv420p",
        "color_range": "tv",
        "colorspace": "bt709",
        "color_primaries": "bt709",
        "color_trc": "bt709",
        "crf": profile["crf"],
        "g": gop,
        "keyint_min": gop,
        "force_key_frames": ",".join(starts),  # a new layout begins with a whole picture
        "fps_mode": "passthrough",
        "frames:v": plan["pictures"],
    }


def _h264(profile: Json, threads: int) -> Json:
    return {
        "c:v": "libx264",
        "preset": profile["speed"],
        "profile:v": "high",
        "level": profile["level"],
        "maxrate": f"{profile['video_bitrate_kbps']}k",
        "bufsize": f"{2 * profile['video_bitrate_kbps']}k",
        "sc_threshold": 0,
        "bf": 0,
        "flags": "+cgop+global_header",
        "x264-params": f"threads={threads}:ref=1:cabac=1:8x8dct=1:weightp=0",
    }


def _vpx(encoder: str, more: Json) -> Callable[[Json, int], Json]:
    def options(profile: Json, threads: int) -> Json:
        return {
            "c:v": encoder,
            "deadline": "realtime",
            "cpu-used": profile["speed"],
            "b:v": f"{profile['video_bitrate_kbps']}k",
            "bufsize": f"{2 * profile['video_bitrate_kbps']}k",
            # a packet for each picture, in order: nothing looked ahead at, nothing hidden, nothing dropped
            "lag-in-frames": 0,
            "auto-alt-ref": 0,
            "threads": threads,
            **more,
        }

    return options


_VIDEO: dict[str, Callable[[Json, int], Json]] = {
    "h264": _h264,
    "vp8": _vpx("libvpx", {}),
    "vp9": _vpx("libvpx-vp9", {"row-mt": 1}),
}


def encodable(configured: str = "") -> frozenset[str]:
    """The codecs of the contract that this machine's ffmpeg and PyAV can encode."""
    there = runner.encoders(configured)
    blank = {"speed": "", "level": "", "video_bitrate_kbps": 0}
    pictures = {name for name, options in _VIDEO.items() if options(blank, 1)["c:v"] in there}
    return frozenset(pictures | {name for name, sound in SOUND.items() if _has(sound.encoder)})


def _has(encoder: str) -> bool:
    try:
        av.Codec(encoder, "w")
    except av.error.FFmpegError:
        return False
    return True
