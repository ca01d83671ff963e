"""The tracks of a recording as an editor's timeline: OpenTimelineIO, every file where it belongs. Pure.

Addresses are those of the track files, relative to the timeline's own. Times are whole ms: `rate` 1000. Clips are told
as `Clip.1`, which readers of every version know.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from callreel.clock import US_PER_MS
from callreel.manifest import Build
from callreel.model import Track
from callreel.timeline import Clip

from .export import TrackFile, plan_files

Json = dict[str, Any]
Stretch = tuple[int, int]  #: [from, to) in ms of recording time

_RATE = 1000.0
_KINDS = (("video", "Video"), ("audio", "Audio"))  #: in this order editors stack them


def timeline_otio(build: Build) -> bytes:
    """The content of `timeline.otio`."""
    tracks = [
        _track(build, track, kind, name)
        for kind, name in _KINDS
        for track in build.recording.tracks()
        if any(_stretches(build, track, file, kind) for file in plan_files(build, track))
    ]
    recording = build.recording
    told = {
        "OTIO_SCHEMA": "Timeline.1",
        "name": recording.recording_id,
        "global_start_time": None,
        "metadata": {"callreel": {"recordingId": recording.recording_id, "roomId": recording.call_id}},
        "tracks": {**_thing("Stack.1", "tracks"), "children": tracks},
    }
    return json.dumps(told, indent=1, ensure_ascii=False).encode()


def _track(build: Build, track: Track, kind: str, name: str) -> Json:
    """One track, from the recording's start to the end of what there is of it."""
    owner = next(who for who in build.recording.participants if who.participant_id == track.participant_id)
    children: list[Json] = []
    at_ms = 0
    for file in plan_files(build, track):
        zero_ms, end_ms = _reach(build, track, file)
        for from_ms, to_ms in _stretches(build, track, file, kind):
            if from_ms > at_ms:
                children.append({**_thing("Gap.1", ""), "source_range": _range(0, from_ms - at_ms)})
            if to_ms > max(at_ms, from_ms):
                from_ms = max(at_ms, from_ms)
                reference = {
                    **_thing("ExternalReference.1", file.name),
                    "target_url": file.name,
                    "available_range": _range(0, end_ms - zero_ms),
                }
                placed = _range(from_ms - zero_ms, to_ms - from_ms)
                children.append({**_thing("Clip.1", owner.name), "source_range": placed, "media_reference": reference})
                at_ms = to_ms
    facts = {"participantId": track.participant_id, "trackId": track.track_id, "source": track.source}
    told = {**_thing("Track.1", f"{owner.name}, {track.label or track.source}"), "kind": name, "children": children}
    return {**told, "metadata": {"callreel": facts}}


def _clips(build: Build, track: Track, file: TrackFile) -> Iterator[tuple[Clip, int]]:
    """The clips of a file, and where each of them ends: a picture that stands for longer is not in the file."""
    place = (track.participant_id, track.track_id)
    for clip in build.timeline.clips:
        if clip.place[:2] == place and clip.seg in file.segs:
            run = build.scans[clip.place][clip.run]
            media_end_us = (run.video if clip.kind == "video" else run.audio).to_us
            yield clip, min(clip.to_us, clip.line.placed_us(media_end_us))


def _reach(build: Build, track: Track, file: TrackFile) -> Stretch:
    """Recording time of a file's own time zero, and of its end."""
    clips = list(_clips(build, track, file))
    return min(clip.from_us for clip, _ in clips) // US_PER_MS, max(end_us for _, end_us in clips) // US_PER_MS


def _stretches(build: Build, track: Track, file: TrackFile, kind: str) -> list[Stretch]:
    """Where there is sound, or are pictures, in a file; what follows without a break is one."""
    own = sorted((clip.from_us, end_us) for clip, end_us in _clips(build, track, file) if clip.kind == kind)
    found: list[Stretch] = []
    for from_us, to_us in own:
        from_ms, to_ms = from_us // US_PER_MS, to_us // US_PER_MS
        if found and from_ms <= found[-1][1] + 1:  # two roundings
            found[-1] = found[-1][0], max(found[-1][1], to_ms)
        elif from_ms < to_ms:
            found.append((from_ms, to_ms))
    return found


def _thing(schema: str, name: str) -> Json:
    return {"OTIO_SCHEMA": schema, "name": name, "metadata": {}}


def _range(start_ms: int, duration_ms: int) -> Json:
    return {"OTIO_SCHEMA": "TimeRange.1", "start_time": _time(start_ms), "duration": _time(duration_ms)}


def _time(value_ms: int) -> Json:
    return {"OTIO_SCHEMA": "RationalTime.1", "rate": _RATE, "value": float(value_ms)}
