"""What was replaced an hour ago, deleted: older editions of files, and windows that nothing shows any more.

Which files these are the journal tells, and none of their names is ever used again, so nobody has to wait for anybody.
A window's key may be needed again at any moment, so behind deleting comes a look at what is needed then.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import structlog

from callreel import editions, keys, repository, streams
from callreel.cuts import plan_film
from callreel.errors import ObjectMissing
from callreel.journal import Draft
from callreel.manifest import Build
from callreel.model import Outdated, Recording
from callreel.states import Status
from callreel.windows import Window

from .bench import Bench
from .planning import plan, store_plans

log = structlog.get_logger(__name__)


def tidy(bench: Bench, recording_id: str) -> int:
    """Delete what of a finished recording was replaced long enough ago; how many objects that were.

    Nothing of windows, and no fact, while the recording is being made anew: whoever looks after it asks again.
    """
    until_ms = bench.control.clock_ms() - editions.KEPT_MS
    recording = repository.load(bench.storage, recording_id)
    due = [each for each in editions.left(recording) if each.at_ms <= until_ms]
    if not due or recording.status is not Status.COMPLETED:
        return 0
    ready = {keys.artifact(recording_id, each.name, each.sha256, each.edition) for each in recording.artifacts}
    files = {keys.artifact(recording_id, each.name, each.sha256, each.edition) for each in due if each.sha256} - ready
    for key in sorted(files):
        bench.storage.delete(key)
    build = plan(bench.storage, bench.settings, recording)
    if build.digest != recording.build:
        bench.queue.advance(recording_id)  # another version may plan it otherwise: then nobody else looks after it
        return len(files)
    upto = due[-1].sequence
    stay = {window.key for window in windows_of(bench, build)} | set(_played(bench, recording, upto))
    stored = [entry.key for prefix in keys.window_prefixes(recording_id) for entry in bench.storage.list(prefix)]
    gone = [key for key in stored if key.rsplit("/", 1)[1].partition(".")[0] not in stay]
    now = bench.control.state(recording_id)
    if (now.status, now.build, now.asked) != (recording.status, recording.build, recording.asked):
        return len(files)
    for key in gone:
        bench.storage.delete(key)
    _mend(bench, recording_id)
    bench.control.append(recording_id, lambda state: _tidied(state, upto))
    log.info("tidy", files=len(files), of_windows=len(gone))
    return len(files) + len(gone)


def windows_of(bench: Bench, build: Build) -> list[Window]:
    """The windows of all films of a recording, compositions that are still to be made among them."""
    recording, window_ms = build.recording, bench.settings.window_ms
    more = [plan_film(recording, build.timeline, build.scans, each, window_ms) for each in recording.compositions]
    return [*build.windows, *(window for film in more for window in film.windows)]


def _played(bench: Bench, recording: Recording, upto: int) -> Iterator[str]:
    """Keys of the windows that players may still be at: of streams that were replaced by a fact behind `upto`."""
    for each in recording.outdated:
        if each.sequence <= upto:
            continue
        if each.name == editions.LIVE:
            yield from (piece.key for piece in streams.live_pieces(bench.storage, recording.recording_id))
        elif each.name == "manifest.json":
            yield from _listed(bench, recording, each)


def _listed(bench: Bench, recording: Recording, manifest: Outdated) -> Iterator[str]:
    key = keys.artifact(recording.recording_id, manifest.name, manifest.sha256, manifest.edition)
    try:
        told = json.loads(bench.storage.get(key))
    except ObjectMissing:  # who does not agree any more was in it
        return
    for film in told["films"]:
        yield from film["windows"]


def _mend(bench: Bench, recording_id: str) -> None:
    """Ask for windows that came to be needed while they were deleted: a film may have been published of them since."""
    build = plan(bench.storage, bench.settings, repository.load(bench.storage, recording_id))
    missing = store_plans(bench.storage, build)
    # where none of them is there, they were taken away by hand, or never copied back with a backup
    if len(missing) < len(build.windows):
        bench.queue.render_all(recording_id, missing)


def _tidied(state: Recording, upto: int) -> Draft | None:
    return ("tidied", {"sequence": upto}) if state.status is Status.COMPLETED and state.tidied < upto else None
