"""A recording taken away for good: jobs, then bytes, then what the index knows, and then the fact that says so.

The tombstone is there before any of this begins, so nothing new comes in. What was on its way then (a chunk being
written, a job that runs) may still store something: so that comes to its end first, and then is swept away as well.
"""

from __future__ import annotations

import structlog

from callreel import keys
from callreel.failpoints import failpoint
from callreel.journal import Draft
from callreel.model import Recording
from callreel.states import Status
from callreel.storage import Storage

from .bench import Bench

log = structlog.get_logger(__name__)


def erase(bench: Bench, recording_id: str) -> bool:
    """Remove all there is of a recording that is being deleted; True once it is deleted.

    False: something may still come. Whoever looks after the recording asks again.
    """
    state = bench.control.state(recording_id)
    if state.status is not Status.DELETING:
        return state.status is Status.DELETED
    bench.queue.cancel(recording_id)
    bench.turns.set_pace(recording_id, None)
    failpoint("erase.cancelled")
    # in this order: what is still asked for before what is looked at, and both before the last look at what is there
    at_work = bench.queue.is_at_work(recording_id)
    grace_ms = int(bench.settings.delete_grace_s * 1000)
    waiting = at_work or bench.control.clock_ms() < state.ended_ms + grace_ms
    removed = remove_bytes(bench.storage, recording_id)
    bench.index.forget(recording_id)
    failpoint("erase.removed")
    if waiting:
        log.info("erase: waiting for what was on its way", removed=removed, at_work=at_work)
        return False
    bench.control.append(recording_id, _deleted)
    return True


def remove_bytes(storage: Storage, recording_id: str) -> int:
    """Delete every object of a recording but its journal; how many there were."""
    journal = keys.journal_prefix(recording_id)
    found = [e.key for e in storage.list(keys.recording_prefix(recording_id)) if not e.key.startswith(journal)]
    for key in found:
        storage.delete(key)
        failpoint("erase.object")
    return len(found)


def _deleted(state: Recording) -> Draft | None:
    return ("deleted", {}) if state.status is Status.DELETING else None
