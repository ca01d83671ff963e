"""The jobs by their names in the queue: one entry each, everything else is in the module it calls."""

from __future__ import annotations

import contextlib

from callreel.control import Control
from callreel.errors import CallreelError, ObjectMissing, RecordingDeleted, RenderFailed, UnknownRecording
from callreel.failpoints import failpoint
from callreel.index import Index
from callreel.index import connect as connect_index
from callreel.metrics import DELETIONS
from callreel.owed import Owed, Teller
from callreel.queue import Queue
from callreel.settings import Settings, load_settings
from callreel.states import ACTIVE
from callreel.storage import open_storage

from . import advance as advancing
from . import compose as composing
from . import deliver as delivering
from . import drop as dropping
from . import erase as erasing
from . import export as exporting
from . import join as joining
from . import previews as previewing
from . import render as rendering
from . import rolling
from . import tidy as tidying
from . import withhold as withholding
from .bench import Bench
from .due import Due
from .settings import require_worker
from .turns import Turns

#: A window is tried so often before everybody in it becomes a card …
_WITH_PICTURES = 3
#: … and any work so often before its recording is given up: no recording may stay in a state for ever. Workers that
#: are killed for other reasons spend tries too, so not too few.
_AT_ALL = 8

#: A recording that is gone has no work left; that is an end, not an error.
_GONE = (UnknownRecording, RecordingDeleted)


def bench(settings: Settings | None = None) -> Bench:
    """What a job works with, made from the settings of this process."""
    settings = settings or load_settings()
    storage = open_storage(settings.storage, fsync=settings.fsync == "always")
    index = Index(connect_index(settings.redis_url))
    queue = Queue(settings.redis_url, render_timeout_s=settings.render_timeout_s)
    return Bench(
        storage=storage,
        settings=settings,
        control=Control(storage, Teller(index=index, settings=settings, jobs=queue)),
        queue=queue,
        due=Due(queue.redis, index.set_progress),
        turns=Turns(queue.redis),
        index=index,
    )


def advance(recording_id: str) -> None:
    require_worker()
    tools = bench()
    try:
        for _ in tools.turns.advance(recording_id):
            with tools.turns.trying("advance", recording_id) as tries:
                if tries > _AT_ALL:
                    advancing.give_up(tools, recording_id, _died("planning"))
                elif build := advancing.advance(tools, recording_id):
                    made = composing.advance(tools, build)
                    if made and not advancing.is_waiting(build.recording):
                        dropping.drop_paused(tools, build)
                        withholding.forget_withheld(tools, build)
                        advancing.settle(tools, build.recording)
    except _GONE:
        return


def render(recording_id: str, key: str) -> None:
    require_worker()
    tools = bench()
    try:
        pace = tools.turns.pace(recording_id)
        if pace.waits and tools.control.state(recording_id).status in ACTIVE:
            return  # all that could be rendered is asked for again when the call has ended
        with tools.turns.trying("render", recording_id, key) as tries:
            if tries > _AT_ALL:
                advancing.give_up(tools, recording_id, _died("rendering a window"))
                composing.give_up(tools, recording_id, _died("rendering a window"), key)
                return
            rendering.render_window(
                tools.storage,
                tools.settings,
                recording_id,
                key,
                careful=tries > 1,
                cards_only=tries > _WITH_PICTURES,
                step=pace.step,
            )
    except ObjectMissing:
        # the plan or a chunk of it was deleted since: whatever is still wanted will be planned anew
        tools.queue.advance(recording_id)
        return
    except _GONE:
        return
    failpoint("render.stored")
    is_last = tools.due.done(recording_id, key)
    with contextlib.suppress(*_GONE):
        if tools.control.state(recording_id).status in advancing.ROLLING:  # of what still runs no window is the last
            if not rolling.show(tools, recording_id):  # but its live stream has waited for this one
                tools.queue.advance(recording_id)
        elif is_last:
            failpoint("render.last")
            tools.queue.join(recording_id)


def join(recording_id: str) -> None:
    require_worker()
    tools = bench()
    try:
        with tools.turns.trying("join", recording_id) as tries:
            if tries > _AT_ALL:
                advancing.give_up(tools, recording_id, _died("joining the windows"))
                composing.give_up(tools, recording_id, _died("joining the windows"))
                return
            if not composing.publish(tools, recording_id):
                joining.join(tools, recording_id)
    except _GONE:
        return
    # what is to be exported, what was missing after all, what came meanwhile
    tools.queue.advance(recording_id)


def export(recording_id: str, participant_id: str, track_id: str) -> None:
    require_worker()
    tools = bench()
    try:
        with tools.turns.trying("export", recording_id, participant_id, track_id) as tries:
            if tries > _AT_ALL:
                exporting.give_up(tools, recording_id, participant_id, track_id, _died("exporting the track"))
            else:
                exporting.export(tools, recording_id, participant_id, track_id)
    except _GONE:
        return
    tools.queue.advance(recording_id)


def previews(recording_id: str) -> None:
    require_worker()
    tools = bench()
    try:
        with tools.turns.trying("previews", recording_id) as tries:
            if tries > _AT_ALL:
                previewing.give_up(tools, recording_id, _died("making the previews"))
            else:
                previewing.make_previews(tools, recording_id)
    except _GONE:
        return
    tools.queue.advance(recording_id)


def tidy(recording_id: str) -> None:
    require_worker()
    tools = bench()
    try:
        with tools.turns.trying("tidy", recording_id):
            tidying.tidy(tools, recording_id)
    except _GONE:
        return


def delete(recording_id: str) -> None:
    require_worker()
    try:  # for as long as it takes: whoever looks after it asks again
        done = erasing.erase(bench(), recording_id)
    except UnknownRecording:
        return
    except Exception:
        DELETIONS.labels("failed").inc()
        raise
    DELETIONS.labels("deleted" if done else "waiting").inc()


def deliver(recording_id: str, endpoint_id: str) -> None:
    require_worker()
    settings = load_settings()
    storage = open_storage(settings.storage, fsync=settings.fsync == "always")
    index = Index(connect_index(settings.redis_url))
    man = delivering.Postman(storage=storage, settings=settings, index=index, owed=Owed(index.redis))
    delivering.deliver(man, recording_id, endpoint_id)


def _died(doing: str) -> CallreelError:
    return RenderFailed(f"{doing} was begun {_AT_ALL} times and never came to its end")
