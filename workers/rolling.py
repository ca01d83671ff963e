"""What is due of a recording that runs: its next windows, and what of them can be seen in its live stream."""

from __future__ import annotations

from itertools import takewhile

import structlog

from callreel import keys, streams
from callreel.clock import US_PER_MS
from callreel.errors import ObjectMissing
from callreel.model import Recording
from callreel.pace import STEPS, Pace, paced
from callreel.rolling import due, settled_at_most_us, settled_us
from callreel.states import ACTIVE
from callreel.streams import Piece
from callreel.windows import LEAD_OUT_US

from .bench import Bench
from .due import MADE
from .planning import plan, store_plans

log = structlog.get_logger(__name__)


def roll(bench: Bench, recording: Recording) -> None:
    """Ask for the windows of a running recording that nothing will change any more."""
    settings, now_ms, recording_id = bench.settings, bench.control.clock_ms(), recording.recording_id
    rolled, lateness_ms = bench.turns.rolled(recording_id), int(settings.lateness_s * 1000)
    next_us = (bench.turns.looked(recording_id) + 1) * settings.window_ms * US_PER_MS + LEAD_OUT_US
    if settled_at_most_us(recording, now_ms, lateness_ms) < next_us:
        return  # no other window can be due than those that were asked for
    until_ms = now_ms if recording.stopped_ms is None else recording.stopped_ms
    build = plan(bench.storage, settings, recording, until_ms=until_ms, first_k=rolled)
    ready_us = settled_us(recording, build.scans, build.timeline, now_ms, lateness_ms)
    of_films = [due(film.windows, ready_us, settings.window_ms * film.profile.fps // 1000) for film in build.films]
    found = [window for windows in of_films for window in windows]
    missing = store_plans(bench.storage, build, found)
    # those before the first one that is missing are there: the next look begins behind them
    waiting = sorted({window.k for window in found if window.key in set(missing)})
    if not keep_pace(bench, recording, len(waiting)).waits:
        bench.queue.render_all(recording_id, missing)
    number = streams.streamed(recording.options)
    if number is not None:
        there = takewhile(lambda window: window.key not in missing, of_films[number])
        streams.append(bench.storage, recording_id, map(streams.piece, there))
        bench.turns.set_shown_next(recording_id, [streams.piece(w) for w in of_films[number] if w.key in missing])
    first = waiting[0] if waiting else max((window.k + 1 for window in found), default=rolled)
    bench.turns.set_rolled(recording_id, first)
    bench.turns.set_looked(recording_id, max((window.k + 1 for window in found), default=rolled))
    made = first * settings.window_ms * US_PER_MS / max(build.timeline.duration_us, 1)
    bench.index.set_progress(recording_id, MADE * min(made, 1))


def show(bench: Bench, recording_id: str) -> bool:
    """Let the windows be seen that are there, in order; False where it is not known which those are.

    Whoever has rendered one of them does it: planning an hour to find that out takes a second, and players wait.
    """
    pieces = bench.turns.shown_next(recording_id)
    if pieces is None:
        return False
    there = takewhile(lambda piece: _is_there(bench, recording_id, piece), pieces)
    streams.append(bench.storage, recording_id, there)
    return True


def _is_there(bench: Bench, recording_id: str, piece: Piece) -> bool:
    try:
        return bool(bench.storage.get(keys.window(recording_id, piece.key), 0, 1))
    except ObjectMissing:
        return False


def keep_pace(bench: Bench, recording: Recording, behind: int) -> Pace:
    """How the windows of a recording are rendered of which so many could be there and are not."""
    if recording.status not in ACTIVE:
        return Pace()
    before = bench.turns.pace(recording.recording_id)
    now = paced(before, behind)
    bench.turns.set_pace(recording.recording_id, now)
    if now.step != before.step:
        log.warning("pace", step=STEPS[now.step].name, before=STEPS[before.step].name, behind=behind)
    return now
