"""A window's pictures and sound as one CMAF fragment with its init segment: `ftyp moov moof mdat` and nothing else.

The times in it are the film's own, so that fragments of windows joined as bytes are the film (ISO/IEC 23000-19).
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from callreel.errors import RenderFailed

from .demux import Packet
from .sound import Samples

#: Samples of an AAC-LC frame (ISO/IEC 14496-3).
AAC_FRAME = 1024
#: Frames encoded before a window, so that the encoder has settled, and behind it, for the last overlap.
LEAD_IN_FRAMES, LEAD_OUT_FRAMES = 4, 2
#: A common multiple of all frame rates of pictures, as players and packagers expect.
VIDEO_TIMESCALE = 90_000

_FRAGMENT = "frag_custom+empty_moov+default_base_moof+negative_cts_offsets+skip_trailer+frag_discont"


def sound_frames(plan: dict[str, Any]) -> tuple[int, int]:
    """The film's AAC frames [first, end) that belong to a window; a frame that the last one only begins is left out,
    so that a film is as long as its pictures and not up to 21 ms longer."""
    fps, rate_hz = plan["profile"]["fps"], plan["profile"]["audio_rate_hz"]

    def whole(pictures: int) -> int:
        return int(pictures * rate_hz // (fps * AAC_FRAME))

    return whole(plan["firstPicture"]), whole(plan["firstPicture"] + plan["pictures"])


def sound_span(plan: dict[str, Any]) -> tuple[int, int]:
    """The film's samples [from, to) that the encoder is fed for a window."""
    first, end = sound_frames(plan)
    return (first - LEAD_IN_FRAMES) * AAC_FRAME, (end + LEAD_OUT_FRAMES) * AAC_FRAME


def write_window(plan: dict[str, Any], pictures: Path, sound: Samples, target: Path) -> None:
    """Write a window. Raises `RenderFailed` where the pictures are not exactly those of the plan."""
    profile = plan["profile"]
    options = {"movflags": _FRAGMENT, "video_track_timescale": str(VIDEO_TIMESCALE), "use_editlist": "0"}
    with av.open(str(pictures)) as source, av.open(str(target), "w", format="mp4", options=options) as film:
        encoded = source.streams.video[0]
        video = film.add_stream_from_template(encoded)
        audio = film.add_stream("aac", rate=profile["audio_rate_hz"])
        assert isinstance(audio, av.AudioStream)
        audio.bit_rate = profile["audio_bitrate_kbps"] * 1000
        audio.layout = "stereo" if profile["audio_channels"] == 2 else "mono"
        step = VIDEO_TIMESCALE // profile["fps"]
        count = 0
        for packet in source.demux(encoded):
            if packet.size == 0:
                continue
            packet.stream = video
            packet.time_base = Fraction(1, VIDEO_TIMESCALE)
            packet.pts = packet.dts = (plan["firstPicture"] + count) * step
            packet.duration = step
            film.mux(packet)
            count += 1
        if count != plan["pictures"]:
            raise RenderFailed(f"window {plan['k']}: ffmpeg made {count} pictures instead of {plan['pictures']}")
        for sounding in _encode(plan, audio, sound):
            film.mux(sounding)


def _encode(plan: dict[str, Any], audio: av.AudioStream, sound: Samples) -> list[Packet]:
    """The AAC packets that decode to the window's samples. Each needs the one before it, which is not kept."""
    first, end = sound_frames(plan)
    at, _ = sound_span(plan)
    rate_hz = plan["profile"]["audio_rate_hz"]
    packets: list[Packet] = []
    for offset in range(0, sound.shape[1], AAC_FRAME):
        block = np.ascontiguousarray(sound[:, offset : offset + AAC_FRAME])
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=audio.layout.name)
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, at + offset, Fraction(1, rate_hz)
        packets += audio.encode(frame)
    packets += audio.encode(None)
    kept = [packet for packet in packets if packet.pts is not None and first <= packet.pts // AAC_FRAME < end]
    if len(kept) != end - first:
        raise RenderFailed(f"window {plan['k']}: the encoder made {len(kept)} sounds instead of {end - first}")
    for packet in kept:
        packet.duration = AAC_FRAME
    return kept
