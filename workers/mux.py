"""A window's pictures and sound as one file, whose times are the film's own.

H.264 and AAC make a CMAF fragment with its init segment, `ftyp moov moof mdat` and nothing else: joined as bytes they
are the film (ISO/IEC 23000-19). All else is Matroska, which holds any codec; `join` counts its times anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer, OutputContainer

from callreel.errors import RenderFailed
from callreel.windows import form_of

from .codecs import SOUND, Sound
from .demux import Packet, packets
from .sound import Samples

#: A common multiple of all frame rates of pictures, as players and packagers expect.
VIDEO_TIMESCALE = 90_000

_FRAGMENT = "frag_custom+empty_moov+default_base_moof+negative_cts_offsets+skip_trailer+frag_discont"
_OPTIONS = {
    "mp4": {"movflags": _FRAGMENT, "video_track_timescale": str(VIDEO_TIMESCALE), "use_editlist": "0"},
    "mkv": {},
}
_MUXERS = {"mp4": "mp4", "mkv": "matroska"}


def codec_of(plan: Mapping[str, Any]) -> Sound:
    """How the window's sound is encoded."""
    return SOUND[plan["profile"].get("audio_codec", "aac")]


def sound_frames(plan: Mapping[str, Any]) -> tuple[int, int]:
    """The film's frames of sound [first, end) that belong to a window.

    A frame that the last one only begins is left out, so that a film is as long as its pictures and not up to 21 ms
    longer. One that began before the first is, too: a cut's sound may begin that much behind its pictures. Borders of
    whole windows are borders of frames.
    """
    begin, rate_hz = plan["firstPicture"], plan["profile"]["audio_rate_hz"]
    per_frame = plan["profile"]["fps"] * codec_of(plan).frame
    return -(-begin * rate_hz // per_frame), (begin + plan["pictures"]) * rate_hz // per_frame


def sound_span(plan: dict[str, Any]) -> tuple[int, int]:
    """The film's samples [from, to) that the encoder is fed for a window."""
    first, end = sound_frames(plan)
    codec = codec_of(plan)
    return (first - codec.lead_in) * codec.frame, (end + codec.lead_out) * codec.frame


def write_window(plan: dict[str, Any], pictures: Path | None, sound: Samples | None, target: Path) -> None:
    """Write a window. Raises `RenderFailed` where pictures or sound are not exactly those of the plan."""
    form = form_of(plan["profile"])
    with av.open(str(target), "w", format=_MUXERS[form], options=_OPTIONS[form]) as film, ExitStack() as opened:
        # all streams before the first packet: with that the header is written
        parts: list[Iterable[Packet]] = []
        if pictures is not None:
            source = opened.enter_context(av.open(str(pictures)))
            parts.append(_pictures(plan, source, film.add_stream_from_template(source.streams.video[0])))
        if sound is not None:
            parts.append(_encode(plan, add_sound(plan["profile"], film), sound))
        for part in parts:
            for packet in part:
                film.mux(packet)


def add_sound(profile: dict[str, Any], film: OutputContainer) -> av.AudioStream:
    """A stream for the profile's sound, with its encoder."""
    codec = SOUND[profile.get("audio_codec", "aac")]
    stream = film.add_stream(codec.encoder, rate=profile["audio_rate_hz"], options=dict(codec.options))
    assert isinstance(stream, av.AudioStream)
    if profile["audio_bitrate_kbps"]:
        stream.bit_rate = profile["audio_bitrate_kbps"] * 1000
    stream.layout = "stereo" if profile["audio_channels"] == 2 else "mono"
    stream.format = codec.form
    return stream


def _pictures(plan: dict[str, Any], source: InputContainer, stream: av.VideoStream) -> Iterator[Packet]:
    step = VIDEO_TIMESCALE // plan["profile"]["fps"]
    count = 0
    for packet in packets(source, source.streams.video[0]):
        packet.stream = stream
        packet.time_base = Fraction(1, VIDEO_TIMESCALE)
        packet.pts = packet.dts = (plan["firstPicture"] + count) * step
        packet.duration = step
        yield packet
        count += 1
    if count != plan["pictures"]:
        raise RenderFailed(f"window {plan['k']}: ffmpeg made {count} pictures instead of {plan['pictures']}")


def _encode(plan: dict[str, Any], stream: av.AudioStream, sound: Samples) -> list[Packet]:
    """The packets that decode to the window's samples. Each may need those before it, which are not kept."""
    first, end = sound_frames(plan)
    at, _ = sound_span(plan)
    rate_hz, frame = plan["profile"]["audio_rate_hz"], codec_of(plan).frame
    made: list[Packet] = []
    for offset in range(0, sound.shape[1], frame):
        block = np.ascontiguousarray(sound[:, offset : offset + frame])
        fed = av.AudioFrame.from_ndarray(block, format="fltp", layout=stream.layout.name)
        fed.sample_rate, fed.pts, fed.time_base = rate_hz, at + offset, Fraction(1, rate_hz)
        made += stream.encode(fed)
    made += stream.encode(None)
    # A packet's stamp is the sample that it decodes to first, which is some before those that went in (the encoder's
    # delay: a whole frame of AAC, less of one of Opus). So frame n of the film is the one stamped n × frame, or a bit
    # before it.
    kept = [packet for packet in made if packet.pts is not None and first <= -(-packet.pts // frame) < end]
    if len(kept) != end - first:
        raise RenderFailed(f"window {plan['k']}: the encoder made {len(kept)} sounds instead of {end - first}")
    for packet in kept:
        packet.duration = frame
    return kept
