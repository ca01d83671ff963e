"""More films of a finished recording: ask for the windows they lack, and publish each when it has all of them.

They come behind the recording's own films, so that nobody waits for them, and each is told by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from callreel import editions, journal, keys, repository
from callreel.consent import withheld
from callreel.cuts import plan_film
from callreel.errors import CallreelError
from callreel.journal import Draft
from callreel.manifest import Build, Film
from callreel.model import Artifact, Composition, Recording
from callreel.states import Status

from . import join
from .advance import late_is_due
from .bench import Bench
from .planning import look, store_plans


def advance(bench: Bench, build: Build) -> bool:
    """Bring the compositions of a recording as far as what is there allows; True where all of them are made."""
    recording = build.recording
    for file in sorted(recording.discarded):
        for entry in list(bench.storage.list(keys.artifact_prefix(recording.recording_id, file))):
            bench.storage.delete(entry.key)
    due = list(stale(build, bench.settings.window_ms))
    if not due:
        return True
    if not late_is_due(recording, bench.control.clock_ms()):
        return False  # the sweeper asks again
    windows = list({window.key: window for _, film in due for window in film.windows}.values())
    missing = store_plans(bench.storage, build, windows)
    bench.due.expect(recording.recording_id, missing, len(windows))
    if missing:
        bench.queue.render_all(recording.recording_id, missing)
    else:
        bench.queue.join(recording.recording_id)
    return False


def stale(build: Build, window_ms: int) -> Iterator[tuple[Composition, Film]]:
    """The compositions that are not made yet, or not of what is there now."""
    recording = build.recording
    if recording.compositions and recording.status is Status.COMPLETED:  # a recording's own films come first
        inputs = recording.inputs
        for asked in recording.compositions:
            if asked.made_of == inputs:
                continue  # an hour takes seconds to plan
            film = plan_film(recording, build.timeline, build.scans, asked, window_ms)
            if film.digest != asked.build:
                yield asked, film


def publish(bench: Bench, recording_id: str) -> bool:
    """Make files of the compositions whose windows are all there; False if there were none."""
    published = False
    for build, asked, film in _due(bench, recording_id):
        if store_plans(bench.storage, build, film.windows):
            continue
        made = join.write_artifact(bench, build, film)
        told = {"leftOut": join.left_out(bench.storage, recording_id, film.windows)} | _of(build, film)
        state = _tell(bench, recording_id, asked, made, told)
        if made.name in state.discarded:  # taken back meanwhile
            bench.storage.delete(keys.artifact(recording_id, made.name, made.sha256, made.edition))
        published = True
    return published


def give_up(bench: Bench, recording_id: str, error: CallreelError, window_key: str = "") -> None:
    """Say that compositions will not come, those that need this window or all of them; one that was made stays."""
    for build, asked, film in list(_due(bench, recording_id)):
        if window_key and window_key not in {window.key for window in film.windows}:
            continue
        known = next(artifact for artifact in build.recording.artifacts if artifact.name == asked.file)
        failed = replace(known, error=error.detail)
        if known.status != "ready" or withheld(build.recording):  # or who does not agree would be in it
            failed = replace(failed, status="failed", sha256="", size_bytes=0)
        _tell(bench, recording_id, asked, failed, {"leftOut": []} | _of(build, film))


def _of(build: Build, film: Film) -> dict[str, Any]:
    return {"build": film.digest, "madeOf": build.recording.inputs}


def _due(bench: Bench, recording_id: str) -> Iterator[tuple[Build, Composition, Film]]:
    recording = repository.load(bench.storage, recording_id)
    if recording.status is Status.COMPLETED and recording.compositions:
        build = look(bench.storage, recording)
        for asked, film in stale(build, bench.settings.window_ms):
            yield build, asked, film


def _tell(bench: Bench, recording_id: str, asked: Composition, artifact: Artifact, told: dict[str, Any]) -> Recording:
    """Publish what became of a composition, unless it was taken back meanwhile, or somebody was quicker."""

    def decide(state: Recording) -> Draft | None:
        journal.refuse_deleted(state)
        if state.status is not Status.COMPLETED or asked not in state.compositions:
            return None
        if not editions.fit(state, [artifact]):
            return None
        return "updated", {
            "complete": state.complete,
            "gaps": list(state.gaps),
            "build": state.build,
            "artifacts": [asdict(artifact)],
            "compositions": {asked.name: told},
        }

    return bench.control.append(recording_id, decide)
