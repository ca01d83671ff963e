"""Bytes that show whoever does not agree any more: what was made of a recording while they still did.

What they uploaded stays until the recording is deleted, for they may agree again; but nothing hands it out.
"""

from __future__ import annotations

from callreel import keys
from callreel.consent import withheld
from callreel.manifest import Build

from .bench import Bench
from .tidy import windows_of


def forget_withheld(bench: Bench, build: Build) -> int:
    """Delete what of a finished recording's results is not part of `build`, its last one; how many objects that were.

    Nothing where everybody agrees: then who is still reading an older film may go on.
    """
    recording, recording_id = build.recording, build.recording.recording_id
    if not withheld(recording):
        return 0
    windows = windows_of(bench, build)
    stay = {keys.window(recording_id, window.key, window.form) for window in windows}
    stay |= {keys.window_glance(recording_id, window.key) for window in windows}
    stay |= {keys.artifact(recording_id, each.name, each.sha256, each.edition) for each in recording.artifacts}
    of_windows = keys.windows_prefix(recording_id), keys.glances_prefix(recording_id)
    prefixes = *of_windows, keys.artifacts_prefix(recording_id)
    gone = [entry.key for prefix in prefixes for entry in bench.storage.list(prefix) if entry.key not in stay]
    if bench.control.state(recording_id).asked != recording.asked:  # some of it may be a film that is new
        return 0
    for key in gone:
        bench.storage.delete(key)
    return len(gone)
