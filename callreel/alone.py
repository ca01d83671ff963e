"""Outputs of one track alone: its packets as they are, where these are what was asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from .model import Recording, Track
from .outputs import Output, may_copy
from .profiles import NONE
from .scans import RunScan, Scans
from .timeline import Clip, Timeline

#: These carry all their settings in their packets, so one header serves any of their segments.
SELF_CONTAINED = {"vp8", "vp9", "av1", "opus"}


def copied(recording: Recording, timeline: Timeline, scans: Scans, output: Output) -> tuple[str, ...]:
    """All that decides a copy of the output's track; nothing where its packets are not what was asked for."""
    track = recording.track(output.get("trackId", ""))
    if track is None or not may_copy(output):
        return ()
    found = list(_runs(track, timeline, scans))
    wanted = tuple("" if output[name] == NONE else output[name] for name in ("videoCodec", "audioCodec"))
    if not found or {(run.video_codec, run.audio_codec) for _, run in found} != {wanted}:
        return ()
    if not set(wanted) - {""} <= SELF_CONTAINED and len({run.head_sha256 for _, run in found}) > 1:
        return ()
    return tuple(
        f"{clip.seg}.{clip.run}.{clip.kind}.{clip.from_us}.{clip.to_us}.{clip.line}.{'.'.join(run.chunk_sha256)}"
        for clip, run in found
    )


def _runs(track: Track, timeline: Timeline, scans: Scans) -> Iterator[tuple[Clip, RunScan]]:
    for clip in timeline.clips:
        if clip.track_id == track.track_id:
            yield clip, scans[clip.place][clip.run]
