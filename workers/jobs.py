"""The jobs by their names in the queue: one entry each, everything else is in the module it calls."""

from __future__ import annotations

from callreel.control import Control
from callreel.errors import ObjectMissing, RecordingDeleted, RenderFailed, UnknownRecording
from callreel.index import Index
from callreel.index import connect as connect_index
from callreel.queue import Queue
from callreel.settings import Settings, load_settings
from callreel.storage import open_storage

from . import advance as advancing
from . import export as exporting
from . import join as joining
from . import render as rendering
from .due import Due
from .settings import require_worker

#: A window is asked for so often (each time it is tried three times) before everybody in it becomes a card …
_WITH_PICTURES = 2
#: … and so often before its recording is given up. No recording may stay in a state for ever.
_AT_ALL = 4

#: A recording that is gone has no work left; that is an end, not an error.
_GONE = (UnknownRecording, RecordingDeleted)


def bench(settings: Settings | None = None) -> advancing.Bench:
    """What a job works with, made from the settings of this process."""
    settings = settings or load_settings()
    storage = open_storage(settings.storage, fsync=settings.fsync == "always")
    index = Index(connect_index(settings.redis_url))
    queue = Queue(settings.redis_url, render_timeout_s=settings.render_timeout_s)
    return advancing.Bench(
        storage=storage,
        settings=settings,
        control=Control(storage, index),
        queue=queue,
        due=Due(queue.redis, index.set_progress),
        settled=index.settled,
    )


def advance(recording_id: str) -> None:
    require_worker()
    try:
        advancing.advance(bench(), recording_id)
    except _GONE:
        return


def render(recording_id: str, key: str) -> None:
    require_worker()
    tools = bench()
    attempts = tools.queue.attempts("render", recording_id, key)
    try:
        cards_only = attempts > _WITH_PICTURES
        rendering.render_window(tools.storage, tools.settings, recording_id, key, cards_only=cards_only)
    except RenderFailed as error:
        if attempts > _AT_ALL:
            advancing.give_up(tools, recording_id, error)
        raise
    except ObjectMissing:
        # the plan or a chunk of it was deleted since: whatever is still wanted will be planned anew
        tools.queue.advance(recording_id)
        return
    if tools.due.done(recording_id, key):
        tools.queue.join(recording_id)


def join(recording_id: str) -> None:
    require_worker()
    tools = bench()
    try:
        if joining.join(tools, recording_id):
            for participant_id, track_id in exporting.wanted(tools, recording_id):
                tools.queue.export(recording_id, participant_id, track_id)
        else:  # something is missing after all, or came meanwhile
            tools.queue.advance(recording_id)
    except _GONE:
        return


def export(recording_id: str, participant_id: str, track_id: str) -> None:
    require_worker()
    try:
        exporting.export(bench(), recording_id, participant_id, track_id)
    except _GONE:
        return
