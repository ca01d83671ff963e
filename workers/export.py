"""One track, one playable file: packets copied, never encoded, with duration and cues, cut cleanly at gaps.

A file begins with its track's first packet, and times in it run on through gaps, as on the recording's clock; the
manifest tells where it begins. Segments share a file where their codecs and settings are the same; those that differ
from the ones before them (another camera in H.264) begin a file of their own, named `<trackId>.<seg>`, for no id has a
dot in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from hashlib import file_digest
from pathlib import Path

import av
from av.container import InputContainer

from callreel import editions, journal, keys, repository
from callreel.alone import SELF_CONTAINED
from callreel.errors import CallreelError, MediaUnreadable
from callreel.failpoints import failpoint
from callreel.journal import Draft
from callreel.manifest import Build, Film
from callreel.model import Artifact, Recording, Segment, Track
from callreel.outputs import mime_type
from callreel.scans import RunScan
from callreel.states import Status
from callreel.storage import Storage
from callreel.timeline import Clip

from . import demux
from .bench import Bench
from .folders import job_folder
from .planning import plan, published

_US = Fraction(1, 1_000_000)
#: What WebM may hold; everything else goes into MP4, which every browser plays with H.264, AAC and Opus.
_WEBM = {"vp8", "vp9", "av1", "opus", "vorbis"}
#: extension → muxer and its options
_MUXERS: dict[str, tuple[str, dict[str, str]]] = {
    "webm": ("webm", {"cues_to_front": "1"}),
    "mp4": ("mp4", {"movflags": "faststart"}),
    "m4a": ("ipod", {"movflags": "faststart"}),
    "ogg": ("ogg", {}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackFile:
    """A file to be made, and the segments in it."""

    name: str
    extension: str
    mime_type: str
    participant_id: str
    track_id: str
    segs: tuple[int, ...]


def plan_files(build: Build, track: Track) -> list[TrackFile]:
    """The files of a track, in order; none where nothing of it can be read."""
    groups: list[tuple[tuple[str, ...], list[int]]] = []
    for segment in track.segments:
        place = (track.participant_id, track.track_id, segment.seg)
        run = next((run for run in build.scans.get(place, ()) if not run.error), None)
        if run is None or not any(clip.place == place for clip in build.timeline.clips):
            continue
        kind = _kind(run)
        if groups and groups[-1][0] == kind:
            groups[-1][1].append(segment.seg)
        else:
            groups.append((kind, [segment.seg]))
    found = []
    for number, (kind, segs) in enumerate(groups):
        codecs = {codec for codec in kind[:2] if codec}
        extension = "webm" if codecs <= _WEBM else "mp4"
        suffix = "" if number == 0 else f".{segs[0]}"
        found.append(
            TrackFile(
                name=f"tracks/{track.participant_id}/{track.track_id}{suffix}.{extension}",
                extension=extension,
                mime_type=f"{'video' if kind[0] else 'audio'}/{extension}",
                participant_id=track.participant_id,
                track_id=track.track_id,
                segs=tuple(segs),
            )
        )
    return found


def _kind(run: RunScan) -> tuple[str, ...]:
    """(video codec, audio codec, settings): what two segments must share to share a file."""
    settled = {codec for codec in (run.video_codec, run.audio_codec) if codec} <= SELF_CONTAINED
    return run.video_codec, run.audio_codec, "" if settled else run.head_sha256


def pending(build: Build) -> list[Artifact]:
    """The track files that a finished recording will have, announced before they are made."""
    return [
        Artifact(name=file.name, kind="track", status="pending", mime_type=file.mime_type)
        for track in build.recording.tracks()
        for file in plan_files(build, track)
    ]


def export(bench: Bench, recording_id: str, participant_id: str, track_id: str) -> None:
    """Make a track's files and say so in the journal."""
    recording = repository.load(bench.storage, recording_id)
    track = recording.track(track_id)
    if track is None or recording.status is not Status.COMPLETED:
        return
    # of the plan only its digest is wanted here, as a rule
    build = published(bench.storage, bench.settings, recording) or plan(bench.storage, bench.settings, recording)
    for file in plan_files(build, track):
        with job_folder(bench.storage) as name:
            target = Path(name) / f"track.{file.extension}"
            try:
                artifact = _made(recording, file, target, write_file(bench.storage, build, track, file, target))
                failpoint("export.made")
                key = keys.artifact(recording_id, artifact.name, artifact.sha256, artifact.edition)
                bench.storage.put_if_absent(key, target)
            except (av.FFmpegError, MediaUnreadable, ValueError) as error:
                artifact = Artifact(
                    name=file.name, kind="track", status="failed", mime_type=file.mime_type, error=str(error)[:300]
                )
        failpoint("export.stored")
        _tell(bench, recording_id, artifact, build.digest)
        failpoint("export.told")


def give_up(bench: Bench, recording_id: str, participant_id: str, track_id: str, error: CallreelError) -> None:
    """Say of what is announced of a track that it will not come."""
    prefix = f"tracks/{participant_id}/{track_id}."
    state = bench.control.state(recording_id)
    for artifact in state.artifacts:
        if artifact.status == "pending" and artifact.name.startswith(prefix):
            failed = replace(artifact, status="failed", error=error.detail)
            _tell(bench, recording_id, failed, state.build)


def _made(recording: Recording, file: TrackFile, target: Path, duration_ms: int) -> Artifact:
    with target.open("rb") as data:
        digest = file_digest(data, "sha256").hexdigest()
    return Artifact(
        name=file.name,
        kind="track",
        status="ready",
        mime_type=file.mime_type,
        size_bytes=target.stat().st_size,
        duration_ms=duration_ms,
        sha256=digest,
        edition=editions.edition_of(recording, file.name, digest),
    )


def _tell(bench: Bench, recording_id: str, artifact: Artifact, build: str) -> None:
    """Say what became of a file, unless another film was published meanwhile, which announced it anew."""

    def decide(state: Recording) -> Draft | None:
        journal.refuse_deleted(state)
        told = state.build != build or artifact in state.artifacts
        return None if told or not editions.fit(state, [artifact]) else ("artifact", asdict(artifact))

    bench.control.append(recording_id, decide)


def write_copy(storage: Storage, build: Build, film: Film, target: Path) -> int:
    """Write an output that consists of a track's own packets; returns its length in ms."""
    track = build.recording.track(film.output["trackId"])
    if track is None:
        raise MediaUnreadable(f"there is no track {film.output['trackId']}")
    file = TrackFile(
        name=film.name,
        extension=film.output["container"],
        mime_type=mime_type(film.output),
        participant_id=track.participant_id,
        track_id=track.track_id,
        segs=tuple(segment.seg for segment in track.segments),
    )
    return write_file(storage, build, track, file, target)


def write_file(storage: Storage, build: Build, track: Track, file: TrackFile, target: Path) -> int:
    """Write a track file; returns its length in ms. Raises `MediaUnreadable`, `av.FFmpegError`."""
    place = (track.participant_id, track.track_id)
    clips = [clip for clip in build.timeline.clips if clip.place[:2] == place and clip.seg in file.segs]
    zero_us = min(clip.from_us for clip in clips)
    end_us = 0
    muxer, options = _MUXERS[file.extension]
    with av.open(str(target), "w", format=muxer, options=options) as out:
        streams: dict[str, av.stream.Stream] = {}
        last: dict[str, int] = {}
        for segment in (segment for segment in track.segments if segment.seg in file.segs):
            for number, run in enumerate(build.scans[(*place, segment.seg)]):
                own = [clip for clip in clips if (clip.seg, clip.run) == (segment.seg, number)]
                if run.error or not own:
                    continue
                data = _bytes_of(storage, build.recording.recording_id, segment, run)
                with demux.opened(run.container, data) as source:
                    if not streams:
                        for stream in (*source.streams.video[:1], *source.streams.audio[:1]):
                            streams[stream.type] = out.add_stream_from_template(stream, opaque=True)
                    for kind, packet, at_us in _placed(source, own):
                        # decoded this much before it is shown: pictures of a complete file may lean on later ones
                        ahead_us = demux.ahead_us(packet)
                        due_us = at_us - zero_us - ahead_us
                        if kind not in streams or due_us <= last.get(kind, -1 - ahead_us):
                            continue
                        last[kind] = due_us
                        packet.stream = streams[kind]
                        packet.time_base = _US
                        packet.pts, packet.dts = at_us - zero_us, due_us
                        end_us = max(end_us, at_us - zero_us + (packet.duration or 0))
                        out.mux(packet)
    if not last:
        raise MediaUnreadable("no packet of the track lies inside of the recording")
    return end_us // 1000


def _bytes_of(storage: Storage, recording_id: str, segment: Segment, run: RunScan) -> bytes:
    chunks = [chunk for chunk in segment.chunks if run.first_seq <= chunk.seq <= run.last_seq]
    data = b"".join(storage.get(keys.chunk(recording_id, chunk)) for chunk in chunks)
    return data if run.first_seq == 0 else run.opening() + data[run.start_behind(0) :]


def _placed(source: InputContainer, clips: list[Clip]) -> Iterator[tuple[str, demux.Packet, int]]:
    """(kind, packet, recording time in µs) of what lies inside of the clips; pictures from a key frame on."""
    inside: dict[str, Clip | None] = {}
    for packet in demux.packets(source, *source.streams.video[:1], *source.streams.audio[:1]):
        kind = packet.stream.type
        pts_us = demux.pts_us(packet)
        clip = next((c for c in clips if c.kind == kind and c.from_us <= c.line.placed_us(pts_us) < c.to_us), None)
        entered = clip is not None and clip != inside.get(kind)
        if kind == "video" and entered and not packet.is_keyframe:
            continue
        inside[kind] = clip
        if clip is not None:
            packet.duration = int((packet.duration or 0) * packet.time_base / _US)
            yield kind, packet, clip.line.placed_us(pts_us)
