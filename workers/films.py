"""Windows behind each other, as a file of the container that was asked for: packets copied, nothing encoded.

A container is a line in `WRITERS`. Windows that are fragments of MP4 are joined as bytes behind an index of all of
them; all others packet by packet, whose times are counted and not read, so that they are exact.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from hashlib import file_digest
from pathlib import Path

import av
from av.container import InputContainer

from callreel import keys
from callreel.manifest import Film
from callreel.storage import Storage
from callreel.windows import Window

from . import faststart
from .codecs import SOUND
from .demux import Packet
from .mux import sound_frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Joining:
    """A film on its way to a file."""

    storage: Storage
    recording_id: str
    film: Film
    folder: Path

    def reader(self, window: Window) -> faststart.Read:
        """Reads the bytes of one of its windows."""
        key = keys.window(self.recording_id, window.key, window.form)
        return lambda start, length: self.storage.get(key, start, length)


def write_film(joining: Joining) -> tuple[Path, str]:
    """The film as one seekable file in the folder, and its SHA-256. Raises `RenderFailed`."""
    target = joining.folder / joining.film.name
    digest = WRITERS[joining.film.output["container"]](joining, target)
    return target, digest or digest_of(target)


def digest_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _fragments(joining: Joining, target: Path, brand: str) -> str:
    """Fragments of MP4, as bytes behind one index."""
    parts = [faststart.Part(name=_name(window), read=joining.reader(window)) for window in joining.film.windows]
    return faststart.write(parts, target, brand)


def _packets(joining: Joining, target: Path, muxer: str, options: dict[str, str]) -> None:
    """Packets of Matroska windows behind each other."""
    with av.open(str(target), "w", format=muxer, options=options) as out:
        streams: dict[str, av.stream.Stream] = {}
        counts: dict[str, int] = {}
        known: list[tuple[str, bytes]] = []
        for window in joining.film.windows:
            with av.open(io.BytesIO(joining.reader(window)(0, None)), "r", format="matroska") as source:
                found = [(stream.codec_context.name, bytes(stream.codec_context.extradata or b""))
                         for stream in _of(source)]  # fmt: skip
                known = known or found
                if found != known:
                    raise faststart.another_init(_name(window))
                if not streams:
                    streams = {stream.type: out.add_stream_from_template(stream) for stream in _of(source)}
                for packet in source.demux(_of(source)):
                    if packet.size:
                        kind = packet.stream.type
                        number = counts[kind] = counts.get(kind, -1) + 1
                        _stamp(packet, number, joining.film)
                        packet.stream = streams[kind]
                        out.mux(packet)


def _of(source: InputContainer) -> list[av.VideoStream | av.AudioStream]:
    return [*source.streams.video, *source.streams.audio]


def _stamp(packet: Packet, number: int, film: Film) -> None:
    """The time of the film's picture or frame of sound of this number."""
    profile = film.profile
    if packet.stream.type == "video":
        packet.time_base = Fraction(1, profile.fps)
        packet.pts = packet.dts = number
        packet.duration = 1
        return
    codec = SOUND[profile.audio_codec]
    packet.time_base = Fraction(1, profile.audio_rate_hz)
    packet.pts = packet.dts = number * codec.frame + _behind(film) - _delay(packet.stream)
    packet.duration = codec.frame


def _behind(film: Film) -> int:
    """Samples that a cut's sound begins behind its pictures, less than a frame. Sound alone is behind nothing."""
    if not film.profile.has_pictures:
        return 0
    plan, rate_hz = film.windows[0].seen, film.profile.audio_rate_hz
    first, _ = sound_frames(plan)
    return first * SOUND[film.profile.audio_codec].frame - int(plan["firstPicture"]) * rate_hz // film.profile.fps


def _delay(stream: av.stream.Stream) -> int:
    """Samples that a player leaves out at the beginning: what Opus calls pre-skip (RFC 7845, 5.1)."""
    head = bytes(stream.codec_context.extradata or b"")
    return int.from_bytes(head[10:12], "little") if head.startswith(b"OpusHead") else 0


def _name(window: Window) -> str:
    return f"window {window.k} ({window.key})"


def _mp4(joining: Joining, target: Path) -> str | None:
    if joining.film.windows[0].form == "mp4":
        return _fragments(joining, target, "mp4")
    _packets(joining, target, "mp4", {"movflags": "faststart", "video_track_timescale": "90000"})
    return None


#: container → how it is written; hands back the file's SHA-256 where that is known by then
WRITERS: dict[str, Callable[[Joining, Path], str | None]] = {
    "mp4": _mp4,
    "m4a": lambda joining, target: _fragments(joining, target, "m4a"),
    "webm": lambda joining, target: _packets(joining, target, "webm", {"cues_to_front": "1"}),
    "ogg": lambda joining, target: _packets(joining, target, "ogg", {}),
    # a day of sound is more than the 4 GiB of a plain WAV (EBU Tech 3306)
    "wav": lambda joining, target: _packets(joining, target, "wav", {"rf64": "auto"}),
}
