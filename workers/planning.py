"""From what the storage holds to plans of windows, and those plans to where renderers find them. Encodes nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

from callreel import keys, logos, outputs
from callreel.alone import copied
from callreel.consent import withheld
from callreel.cuts import only
from callreel.layouts import Arranged
from callreel.manifest import Build, Film, Unplanned
from callreel.model import Chunk, Recording
from callreel.profiles import Profile
from callreel.scans import Scans
from callreel.settings import Settings
from callreel.storage import Storage
from callreel.timeline import arranged, plan_timeline
from callreel.windows import Planner, Window, made_of

from .scan import scan_track


def plan(
    storage: Storage, settings: Settings, recording: Recording, *, until_ms: int | None = None, first_k: int = 0
) -> Build:
    """The films of a recording as it now stands, from window `first_k` on. Scans what is new."""
    return Planning(look(storage, recording, until_ms=until_ms), settings, until_ms).build(first_k)


def look(storage: Storage, recording: Recording, *, until_ms: int | None = None) -> Build:
    """What there is of a recording, and when; no film is planned."""
    unused = withheld(recording)
    scans: Scans = {
        place: runs
        for track in recording.tracks()
        if track.track_id not in unused
        for place, runs in scan_track(storage, recording.recording_id, track).items()
    }
    return Build(recording=recording, scans=scans, timeline=plan_timeline(recording, scans, until_ms), films=())


def published(storage: Storage, settings: Settings, recording: Recording) -> Build | None:
    """What a recording's films were made of, unplanned, where nothing has come since."""
    if recording.made_of != made_of(recording, settings.window_ms):
        return None
    return Unplanned(
        recording, recording.build, lambda: look(storage, recording), lambda: plan(storage, settings, recording)
    )


class Planning:
    """Films of a recording that are planned piece by piece: who waits for some windows need not wait for all."""

    def __init__(self, seen: Build, settings: Settings, until_ms: int | None = None) -> None:
        self.seen = seen
        self._settings, self._until_ms = settings, until_ms
        self._planners: dict[tuple[Profile, str], Planner] = {}

    def build(self, first_k: int = 0) -> Build:
        """The films, from window `first_k` on."""
        recording, films = self.seen.recording, []
        planned = dict[tuple[Profile, str], tuple[Window, ...]]()
        for output in recording.options.outputs or (outputs.DEFAULT,):
            profile = outputs.profile_of(recording.options.preset, output)
            as_it_is = copied(recording, self.seen.timeline, self.seen.scans, output)
            which = (profile, output.get("trackId", ""))
            if not as_it_is and which not in planned:
                planned[which] = tuple(self._planner(*which).windows(first_k))
            of_film = () if as_it_is else planned[which]
            films.append(Film(output=output, profile=profile, windows=of_film, copied=as_it_is))
        return replace(self.seen, films=tuple(films))

    def _planner(self, profile: Profile, track_id: str) -> Planner:
        which = (profile, track_id)
        if which not in self._planners:
            timeline = only(self.seen.timeline, None, {track_id}) if track_id else self.seen.timeline
            # a track alone has nobody to be arranged with
            layouts: Arranged = [(0, "grid")] if track_id else arranged(self.seen.recording, self._until_ms)
            self._planners[which] = Planner(timeline, self.seen.scans, profile, layouts, self._settings.window_ms)
        return self._planners[which]


def not_there(storage: Storage, recording_id: str, windows: Sequence[Window]) -> list[Window]:
    """Those of the windows that are not rendered."""
    there = {entry.key for entry in storage.list(keys.windows_prefix(recording_id))}
    return [window for window in windows if keys.window(recording_id, window.key, window.form) not in there]


def store_plans(storage: Storage, build: Build, windows: Sequence[Window] | None = None) -> list[str]:
    """Put the plans of windows that are not rendered yet, of all if none are named, where a renderer finds them;
    returns their keys."""
    recording = build.recording
    missing = not_there(storage, recording.recording_id, build.windows if windows is None else windows)
    if missing:
        chunks, kept = _chunks(build), _kept(build)
        for window in missing:
            made = window.plan
            inputs = (*made["video"], *made["audio"])
            digests = (digest for item in inputs for digest in item["chunks"])
            used = {digest: keys.chunk(recording.recording_id, chunks[digest]) for digest in digests}
            beside = {item["head"] for item in inputs}
            beside |= {piece["logo"]["sha256"] for piece in made["slices"] if "logo" in piece}
            beside |= {piece["backdrop"] for piece in made["slices"] if "backdrop" in piece}
            for digest in sorted(beside):
                used[digest], data = kept[digest]
                if data is not None:  # of a long recording's heads few are new, and each costs a flush of the disk
                    storage.put_if_absent(used[digest], data)
                    kept[digest] = used[digest], None
            body = json.dumps({"plan": made, "objects": used}).encode()
            storage.put_if_absent(keys.window_plan(recording.recording_id, window.key), body)
    return [window.key for window in missing]


def _chunks(build: Build) -> dict[str, Chunk]:
    """Digest → the chunk with those bytes. Few of a long call's are asked for: keys of all of them take 70 MB."""
    return {
        chunk.sha256: chunk
        for track in build.recording.tracks()
        for segment in track.segments
        for chunk in segment.chunks
    }


def _kept(build: Build) -> dict[str, tuple[str, bytes | None]]:
    """Digest → key and bytes of what windows need and nobody uploaded as an object of its own."""
    recording_id = build.recording.recording_id
    found: dict[str, tuple[str, bytes | None]] = {}
    for run in (run for runs in build.scans.values() for run in runs):
        for head in {run.head, run.opening()}:
            digest = sha256(head).hexdigest()
            found[digest] = keys.head(recording_id, digest), head
    return found | {digest: (keys.logo(recording_id, digest), data) for digest, data in logos.pictures(build.recording)}
