"""Points at which a process can be made to die, to fail or to wait, so that tests see what is left behind there.

Nothing is armed unless `CALLREEL_FAILPOINTS` says so: `name:hit:action`, several separated by commas. `hit` counts from
1 how often this process came by; the action is `exit` (SIGKILL to itself), `raise=EIO` or `raise=ENOSPC`, or
`sleep=<ms>`. Every name stands at one place in the code and in the table below.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable

from .errors import InvalidSettings

log = logging.getLogger(__name__)

#: name → what has happened, and what has not, when a process passes there.
POINTS: dict[str, str] = {
    # a chunk on its way in
    "ack.received": "all bytes are here, their digest is right, nobody knows of them",
    "ack.reserved": "the slot is reserved for these bytes, there is no object",
    "ack.described": "media type and head of the segment are stored, the chunk is not",
    "ack.stored": "the object is stored, the index does not know",
    "ack.committed": "the index knows, the client does not",
    "ack.answer": "about to say that it is stored",
    "ack.released": "a reservation whose bytes never came was given up, the slot is nobody's",
    "body.spill": "about to write a part of a large body to its temporary file",
    # an object on its way to the disk
    "storage.write": "about to write an object's bytes",
    "storage.written": "the bytes are written, not synced",
    "storage.sync": "about to sync a file or a folder",
    "storage.link": "the object is durable and has no name",
    "storage.linked": "it has its name, which is not durable",
    # control and its facts
    "control.slot": "the call's slot names a recording that has no first fact",
    "control.started": "the first fact is stored, the index does not know",
    "journal.decided": "a fact is made, not written",
    "journal.written": "the fact is durable, nobody was told",
    "index.noted": "the index knows, who asked does not",
    "index.settled": "nobody looks after this recording any more",
    # the index made anew
    "rebuild.begun": "the epoch is gone, this process alone may fill",
    "rebuild.emptied": "nothing is left of the old index",
    "rebuild.filled": "one recording is filled in, there is no epoch",
    "rebuild.ended": "there is one, the lock is not given back",
    # jobs
    "queue.asking": "a job is about to be enqueued",
    "queue.asked": "it is in the queue, who asked does not know",
    "job.begun": "a try is counted, nothing is done",
    "job.done": "the work is done, the try still counts as one that died",
    "advance.turn": "no other `advance` of this recording will look",
    "advance.drained": "the drain has ended, nothing is planned",
    "scan.stored": "one run of chunks is scanned",
    "advance.drafted": "what joining tells is kept, joining was not asked for",
    "advance.planned": "the plans are stored, no window is expected",
    "advance.expected": "the windows are expected, nobody is asked for them",
    "render.made": "the window lies in the job's folder",
    "render.noted": "what it lacks is stored, the window is not",
    "render.glanced": "its glance is stored, the window is not",
    "render.stored": "the window is stored, and still expected",
    "render.last": "all windows are there, nobody is asked to join them",
    "join.made": "the film lies in the job's folder",
    "join.film": "the film is stored, its manifest is not",
    "join.manifest": "both are stored, the recording does not say so",
    "join.told": "the recording is completed, its tracks and previews are not asked for",
    "export.made": "a track's file lies in the job's folder",
    "export.stored": "it is stored, the recording does not say so",
    "export.told": "the recording says so, what comes next is not asked for",
    "previews.stored": "thumbnails, waveforms and the timeline are stored, the recording does not say so",
    "previews.told": "the recording says so, what comes next is not asked for",
    # what lies in a pause
    "drop.listed": "what is to be dropped is listed, the recording does not say so",
    "drop.told": "it is dropped, and still there",
    "drop.object": "one chunk of it is gone, others are there",
    # a recording taken away
    "erase.cancelled": "no job of it waits any more, all bytes are there",
    "erase.object": "one object is gone, others are there",
    "erase.removed": "nothing is there any more, the journal does not say so",
    # an event on its way to an endpoint
    "deliver.due": "an event is owed and due, nothing is sent",
    "deliver.sent": "the endpoint has answered, nobody has written down what",
    "deliver.written": "what came of it is durable, the hints still speak of an attempt",
    # a call as a whole
    "room.written": "a decision about a call is durable, its recordings have not heard of it",
    # whoever looks
    "sweep.leads": "this sweeper leads, and has looked at nothing",
    "sweep.recovered": "jobs of dead workers are with others",
    "sweep.settled": "what the index was owed is noted",
    "sweep.refreshed": "one recording is noted again",
    "sweep.idle": "a recording that everybody left is stopped",
    "sweep.overlong": "a recording that is as long as it may be is stopped, nothing is asked for",
    "sweep.asked": "`advance` is asked for",
    "sweep.litter": "a temporary file is about to be looked at",
}

Action = Callable[[], None]

#: name → at which hit → what then; empty in production
_armed: dict[str, dict[int, Action]] = {}
_hits: Counter[str] = Counter()
_lock = threading.Lock()


def failpoint(name: str) -> None:
    """Pass a point. Raises `OSError` where one is armed to."""
    if _armed:
        _pass(name)


def arm(spec: str) -> None:
    """Arm what a setting names, and nothing else; count from here on. Raises `InvalidSettings`."""
    armed: dict[str, dict[int, Action]] = {}
    for item in filter(None, spec.split(",")):
        name, _, rest = item.partition(":")
        hit, _, action = rest.partition(":")
        if name not in POINTS or not hit.isdecimal() or int(hit) < 1:
            raise _refused(item)
        armed.setdefault(name, {})[int(hit)] = _action(item, action)
    with _lock:
        _hits.clear()
        _armed.clear()
        _armed.update(armed)
    if armed:
        log.warning("failpoints are armed: %s. This process will break on purpose; unset CALLREEL_FAILPOINTS", spec)


def _pass(name: str) -> None:
    with _lock:
        _hits[name] += 1
        action = _armed.get(name, {}).get(_hits[name])
    if action is not None:
        log.warning("failpoint: %s", name)
        action()


def _action(item: str, action: str) -> Action:
    """Raises `InvalidSettings`."""
    kind, _, value = action.partition("=")
    if action == "exit":
        return lambda: os.kill(os.getpid(), signal.SIGKILL)  # nothing is flushed, nothing is closed, as in a crash
    if kind == "raise" and value in ("EIO", "ENOSPC"):
        return lambda: _fail(getattr(errno, value))
    if kind == "sleep" and value.isdecimal():
        return lambda: time.sleep(int(value) / 1000)
    raise _refused(item)


def _fail(number: int) -> None:
    raise OSError(number, os.strerror(number))


def _refused(item: str) -> InvalidSettings:
    return InvalidSettings(
        f"CALLREEL_FAILPOINTS: {item!r} is not name:hit:action, with a name of callreel/failpoints.py, a number from 1 "
        "on, and exit, raise=EIO, raise=ENOSPC or sleep=<ms>. Unset it unless this is a test."
    )
