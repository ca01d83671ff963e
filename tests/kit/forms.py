"""What recorders write: containers, codecs, and the encoders that stand for those of browsers."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import av
import pytest

os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 tells of every start


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One kind of recorder."""

    container: str
    picture_codec: str
    split: bool = False  #: sound and pictures have a recorder each
    sound_codec: str = "opus"
    sound_container: str = ""  #: that of a recorder of sound alone, where it is another


class Recorder(Enum):
    """Container, codecs, and whether sound and picture share a recorder."""

    WEBM_VP8_SPLIT = Form(container="webm", picture_codec="vp8", split=True)
    WEBM_VP9_SPLIT = Form(container="webm", picture_codec="vp9", split=True)
    WEBM_VP8 = Form(container="webm", picture_codec="vp8")
    WEBM_VP9 = Form(container="webm", picture_codec="vp9")
    MP4_H264 = Form(container="mp4", picture_codec="avc1")
    MP4_H264_SPLIT = Form(container="mp4", picture_codec="avc1", split=True)
    MKV_H264 = Form(container="x-matroska", picture_codec="avc1")
    WEBM_AV1 = Form(container="webm", picture_codec="av01")
    MKV_H264_SPLIT = Form(container="x-matroska", picture_codec="avc1", split=True)
    MP4_AVC3 = Form(container="mp4", picture_codec="avc3")
    MP4_H264_AAC = Form(container="mp4", picture_codec="avc1", sound_codec="mp4a.40.2")
    MP4_H264_AAC_SPLIT = Form(container="mp4", picture_codec="avc1", sound_codec="mp4a.40.2", split=True)
    MP4_VP9 = Form(container="mp4", picture_codec="vp9")
    MP4_AV1 = Form(container="mp4", picture_codec="av01")
    #: Firefox's: sound alone is Ogg
    WEBM_VP8_OGG = Form(container="webm", picture_codec="vp8", split=True, sound_container="ogg")

    @property
    def container(self) -> str:
        return self.value.container

    @property
    def picture_codec(self) -> str:
        return self.value.picture_codec

    @property
    def sound_codec(self) -> str:
        return self.value.sound_codec

    @property
    def tracks(self) -> tuple[tuple[str, bool, bool], ...]:
        """Name, has sound, has picture."""
        if self.value.split:
            return ("camera", False, True), ("microphone", True, False)
        return (("camera", True, True),)

    @property
    def may_be_odd(self) -> bool:
        """4:2:0 H.264 counts in pairs of pixels, and so does the encoder we have for AV1."""
        return self.picture_codec in ("vp8", "vp9")

    def container_of(self, *, pictures: bool) -> str:
        """Of a track with pictures, or of one of sound alone."""
        return self.container if pictures else self.value.sound_container or self.container


def cases(*cheap: Recorder) -> list[Any]:
    """Every recorder as a parameter of a test; all but some as slow ones. Skipped where there is no encoder for it."""
    found = []
    for recorder in Recorder:
        names = [ENCODERS[codec].name for codec in (recorder.picture_codec, recorder.sound_codec)]
        lacking = [name for name in names if name not in av.codecs_available]
        marks = [pytest.mark.skipif(bool(lacking), reason=f"PyAV was built without {lacking}")]
        marks += [pytest.mark.slow] * (recorder not in cheap)
        found.append(pytest.param(recorder, id=recorder.name, marks=marks))
    return found


#: What generated calls are made of where nobody says; its length is part of every seed.
USUAL = (
    *(Recorder.WEBM_VP8_SPLIT, Recorder.WEBM_VP9_SPLIT, Recorder.WEBM_VP8, Recorder.WEBM_VP9),
    *(Recorder.MP4_H264, Recorder.MP4_H264_SPLIT, Recorder.MKV_H264),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """One of libav's encoders, and how it is told to hurry as a browser's does."""

    name: str
    options: dict[str, str] = field(default_factory=dict)
    tag: str = ""  #: how the container is to call it; its parameter sets are then in the stream
    bit_rate: int = 600_000  #: of pictures


# One thread: libvpx makes its others wait for each other by spinning, and tests have company.
_ALONE = {"threads": "1"}
_HURRY = _ALONE | {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "g": "100"}
# a key frame each 1.5 s or so, for with it a fragment begins
_H264 = _ALONE | {"preset": "ultrafast", "tune": "zerolatency", "bf": "0", "g": "45", "crf": "22"}

ENCODERS: dict[str, Encoder] = {
    "vp8": Encoder(name="libvpx", options=_HURRY | {"crf": "12"}),
    "vp9": Encoder(name="libvpx-vp9", options=_HURRY | {"crf": "20"}),
    "avc1": Encoder(name="libx264", options=_H264),
    # parameter sets before each key frame (ISO/IEC 14496-15, 5.4.2)
    "avc3": Encoder(name="libx264", options=_H264, tag="avc3"),
    "av01": Encoder(
        name="libsvtav1",
        options={"preset": "11", "crf": "18", "g": "45", "svtav1-params": "pred-struct=1:lp=1:rtc=1"},
        bit_rate=0,  # its quality alone decides
    ),
    "opus": Encoder(name="libopus", options={"application": "audio", "b": "48000"}),
    "mp4a.40.2": Encoder(name="aac", options={"b": "96000"}),
}

#: container → libav's muxer and what makes a live stream of it
MUXERS: dict[str, tuple[str, dict[str, str]]] = {
    "webm": ("webm", {"live": "1", "cluster_time_limit": "900"}),
    "x-matroska": ("matroska", {"live": "1", "cluster_time_limit": "1100"}),
    "mp4": ("mp4", {"movflags": "empty_moov+default_base_moof+frag_keyframe"}),
    "ogg": ("ogg", {"page_duration": "500000"}),  # µs
}
#: Browsers begin a Cluster with each key frame, libav's muxers with large ones; unless they are told so, of one stream.
OF_PICTURES = {container: {**MUXERS[container][1], "dash": "1"} for container in ("webm", "x-matroska")}
#: MP4 of sound alone has no key frames to begin fragments with.
MP4_OF_SOUND = {"movflags": "empty_moov+default_base_moof", "frag_duration": "1000000"}  # µs
