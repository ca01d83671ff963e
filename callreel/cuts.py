"""From what was asked of a film to its windows: who is in it, and how it is arranged when. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from .clock import US_PER_MS
from .layouts import Arranged, Asked
from .manifest import Film
from .model import Composition, Recording
from .outputs import profile_of
from .scans import Scans
from .timeline import Timeline, arranged
from .windows import in_full, plan_windows


def of_composition(recording: Recording, asked: Composition) -> Arranged:
    """The same with a composition's own layout instead, and with its slices."""
    found = list(arranged(recording) if asked.layout is None else [(0, asked.layout)])
    for piece in asked.slices:
        from_us, to_us = piece["fromMs"] * US_PER_MS, piece["toMs"] * US_PER_MS
        goes_on = _at(found, to_us)
        before = [change for change in found if change[0] < from_us]
        behind = [change for change in found if change[0] > to_us]
        found = [*before, (from_us, piece["layout"]), (to_us, goes_on), *behind]
    return found


def only(timeline: Timeline, participants: Collection[str] | None, tracks: Collection[str] | None) -> Timeline:
    """The timeline as if nobody and nothing else had been recorded; None: everybody, everything."""
    if participants is None and tracks is None:
        return timeline
    owners = [
        replace(who, tracks=tuple(track for track in who.tracks if tracks is None or track.track_id in tracks))
        for who in timeline.participants
        if participants is None or who.participant_id in participants
    ]
    owners = [who for who in owners if who.tracks]
    there = {(who.participant_id, track.track_id) for who in owners for track in who.tracks}
    people = {who.participant_id for who in owners}
    return replace(
        timeline,
        participants=tuple(owners),
        clips=tuple(clip for clip in timeline.clips if (clip.participant_id, clip.track_id) in there),
        presences=tuple(presence for presence in timeline.presences if presence.participant_id in people),
    )


def plan_film(recording: Recording, timeline: Timeline, scans: Scans, asked: Composition, window_ms: int) -> Film:
    """A composition and its windows, as things are now."""
    profile = profile_of(asked.preset, asked.output)
    shown = only(timeline, asked.participants, asked.tracks)
    span_us = asked.from_ms * US_PER_MS, asked.to_ms * US_PER_MS
    windows = plan_windows(shown, scans, profile, of_composition(recording, asked), window_ms, span_us=span_us)
    if asked.full:
        windows = [in_full(window) if window.key in recording.hasty else window for window in windows]
    return Film(output=asked.output, profile=profile, windows=tuple(windows))


def _at(changes: Arranged, at_us: int) -> Asked:
    return next(layout for from_us, layout in reversed(changes) if from_us <= at_us)
