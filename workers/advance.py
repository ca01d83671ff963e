"""What is due? Plan a recording from what the storage holds, and ask for whatever of it is not there yet.

Idempotent and without memory: it may run any number of times, in any process, and asks only for what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from callreel import journal, repository
from callreel.errors import CallreelError, NoMedia
from callreel.failpoints import failpoint
from callreel.journal import Draft
from callreel.manifest import Build
from callreel.model import PREVIEWS, Recording
from callreel.rolling import ENDING_MS
from callreel.settings import Settings
from callreel.states import ACTIVE, FINAL, Status

from . import drafts, rolling
from .bench import Bench
from .planning import Planning, look, published, store_plans

log = structlog.get_logger(__name__)

#: After so long without another late chunk the result is brought up to date, and after so long in any case.
_LATE_QUIET_MS, _LATE_MOST_MS = 5_000, 30_000
#: What is waited for beside windows before they are joined.
_DRAFT = "draft"
#: States in which windows are made before anybody asks for the film.
ROLLING = ACTIVE | {Status.STOPPING}


def advance(bench: Bench, recording_id: str) -> Build | None:
    """Bring a recording as far as what is there allows; hands back its plan once its films are made."""
    if nobody_is_ready(bench.control.state(recording_id), bench.control.clock_ms()):
        return None  # without reading its chunks, for whoever is ready first asks again
    recording = repository.load(bench.storage, recording_id)
    if recording.status not in ACTIVE:
        bench.turns.set_pace(recording_id, None)  # nobody has to keep up any more
    if recording.status is Status.STOPPING and is_drained(recording, bench.settings, bench.control.clock_ms()):
        bench.control.append(recording_id, _drained)
        failpoint("advance.drained")
        recording = repository.refolded(bench.storage, recording)
    if recording.status not in (Status.PROCESSING, Status.COMPLETED, Status.FAILED):
        rolls = recording.status in ROLLING and bench.settings.render == "rolling"
        if rolls and not is_ending(recording, bench.control.clock_ms()):
            rolling.roll(bench, recording)
        return None
    build, asked = known(bench, recording), list[str]()
    if build is None:
        planning = Planning(look(bench.storage, recording), bench.settings)
        # a film may lose everybody afterwards
        nothing = recording.status is not Status.COMPLETED and not planning.seen.has_media
        if nothing or (recording.status is Status.FAILED and not _newer(recording)):
            if recording.status is Status.PROCESSING:
                bench.control.append(recording_id, _failed(NoMedia()))
            settle(bench, recording)
            return None
        asked = ask_tail(bench, planning) if recording.status is Status.PROCESSING else []
        build = planning.build()
    if recording.build == build.digest:
        if waiting_previews(recording):  # before the tracks: they are what people look at first
            bench.queue.previews(recording_id)
        for participant_id, track_id in waiting_exports(recording):
            bench.queue.export(recording_id, participant_id, track_id)
        return build
    if recording.status in FINAL and not late_is_due(recording, bench.control.clock_ms()):
        return None  # the sweeper asks again
    ask(bench, build, asked)
    # joining waits for this too: whoever joins finds all worked out that can be before the last window is there
    drafts.keep(bench.storage, bench.settings, build)
    failpoint("advance.drafted")
    if bench.due.done(recording_id, _DRAFT):
        bench.queue.join(recording_id)
    return None


def ask_tail(bench: Bench, planning: Planning) -> list[str]:
    """Ask for the windows behind those that were there when the recording was last looked at, before all the others are
    planned again: of an hour that takes a second, in which these are rendered. Returns the keys of what was missing."""
    rolled = bench.turns.rolled(planning.seen.recording.recording_id)
    return ask(bench, planning.build(rolled)) if rolled else []


def ask(bench: Bench, build: Build, asked: Sequence[str] = ()) -> list[str]:
    """Ask for the windows that are missing, but for those that were asked for just now; returns their keys."""
    recording_id = build.recording.recording_id
    missing = [key for key in store_plans(bench.storage, build) if key not in set(asked)]
    failpoint("advance.planned")
    if asked:  # of those some may be there by now, and shall not be waited for again
        bench.due.also(recording_id, missing, len(build.windows))
    else:
        bench.due.expect(recording_id, [*missing, _DRAFT], len(build.windows))
    failpoint("advance.expected")
    bench.queue.render_all(recording_id, missing)
    return missing


def known(bench: Bench, recording: Recording) -> Build | None:
    """What the recording's films were made of, unplanned, where nothing has come since and nothing is waited for.

    What waits is made of a plan, and looked after until it is: if that differed, here is who finds out.
    """
    if recording.status is not Status.COMPLETED or is_waiting(recording):
        return None
    return published(bench.storage, bench.settings, recording)


def settle(bench: Bench, recording: Recording) -> None:
    """The result has all that came and was asked for; nobody has to look after it unless more comes."""
    came = sum(len(segment.came) for track in recording.tracks() for segment in track.segments)
    bench.index.settled(recording.recording_id, came, recording.asked)


def late_is_due(recording: Recording, now_ms: int) -> bool:
    """May a finished result be made anew? Late chunks come in bursts, each of which shall cost one film, not many."""
    segments = (segment for track in recording.tracks() for segment in track.segments)
    received = (chunk.received_ms for segment in segments for chunk in segment.chunks)
    late = [at_ms for at_ms in received if at_ms > recording.ended_ms]
    return not late or now_ms >= min(max(late) + _LATE_QUIET_MS, min(late) + _LATE_MOST_MS)


def is_ending(recording: Recording, now_ms: int) -> bool:
    """Was it stopped just now? Recorders send their last chunks within a second, and with those all of it is planned:
    who begins to look at it before that, of an hour for a second, makes everybody wait."""
    return recording.stopped_ms is not None and 0 <= now_ms - recording.stopped_ms < ENDING_MS


def nobody_is_ready(state: Recording, now_ms: int) -> bool:
    """Was it stopped just now, and nobody has said yet that all was sent?"""
    tracks = list(state.tracks())
    ending = state.status is Status.STOPPING and is_ending(state, now_ms)
    return ending and bool(tracks) and not any(track.complete for track in tracks)


def is_drained(recording: Recording, settings: Settings, now_ms: int) -> bool:
    """Everybody who was heard lately said that all was sent and it is here, or the time to wait for it is over.

    Who had been silent for as long as we would wait is not waited for: that browser is gone, and may come back late.
    """
    if recording.stopped_ms is None:
        return False
    patience_ms = settings.drain_s * 1000
    # A clock that was set back would make everybody wait for as long as that.
    return abs(now_ms - recording.stopped_ms) >= patience_ms or all(
        track.participant_id in recording.removed
        or (track.complete and not any(segment.missing() for segment in track.segments))
        or track.heard_ms < recording.stopped_ms - patience_ms
        for track in recording.tracks()
    )


def _newer(recording: Recording) -> bool:
    """Has anything come since the recording was given up? What failed then fails again."""
    return any(track.heard_ms > recording.ended_ms for track in recording.tracks())


def is_waiting(recording: Recording) -> bool:
    """Is anything announced that is made behind the films?"""
    return waiting_previews(recording) or bool(waiting_exports(recording))


def waiting_previews(recording: Recording) -> bool:
    """Are previews announced and not made?"""
    return any(artifact.kind in PREVIEWS and artifact.status == "pending" for artifact in recording.artifacts)


def waiting_exports(recording: Recording) -> list[tuple[str, str]]:
    """(participant, track) of the track files that are announced and not made."""
    waiting = [artifact.name for artifact in recording.artifacts if artifact.status == "pending"]
    return [
        (track.participant_id, track.track_id)
        for track in recording.tracks()
        if any(name.startswith(f"tracks/{track.participant_id}/{track.track_id}.") for name in waiting)
    ]


def give_up(bench: Bench, recording_id: str, error: CallreelError) -> None:
    """No film will come of it: say so. What was uploaded stays, and a later version may make something of it."""
    bench.control.append(recording_id, _failed(error))


def _drained(state: Recording) -> Draft | None:
    return ("drained", {}) if state.status is Status.STOPPING else None


def _failed(error: CallreelError) -> Callable[[Recording], Draft | None]:
    def decide(state: Recording) -> Draft | None:
        journal.refuse_deleted(state)
        if state.status is not Status.PROCESSING:
            return None
        return "failed", {"code": error.code, "message": error.detail}

    return decide
