"""How far a recording that still runs is settled: what lies before that instant can be rendered. Pure.

A window may be made as soon as everybody's media has passed its end, or the time to wait for it is over. One that was
made too early is made again, under another key; nothing is wrong meanwhile but the time spent.
"""

from __future__ import annotations

from .clock import US_PER_MS, film_us, spans
from .consent import withheld
from .model import Recording, Track
from .scans import Scans
from .timeline import Timeline
from .windows import LEAD_OUT_US, Window

#: Recorders send their last chunks so soon behind the stop, as a rule within a second.
ENDING_MS = 2_000
_FOREVER_US = 1 << 62  #: who said that all was sent is waited for no more


#: Placed by what clients say of their clocks, media may seem to end behind the instant at which it came: by less.
_AHEAD_US = 250_000


def settled_us(recording: Recording, scans: Scans, timeline: Timeline, now_ms: int, lateness_ms: int) -> int:
    """Recording time up to which everything is here that is waited for, `lateness_ms` at most."""
    clock = _Clock(recording, now_ms)
    reaches = {
        track.track_id: _reach_us(track, scans, timeline, now_ms - lateness_ms) for track in _waited_for(recording)
    }
    known = [clock.us(t.announced_ms) if (us := reaches[t.track_id]) is None else us for t in _waited_for(recording)]
    return max(clock.us(now_ms - lateness_ms), min([clock.us(now_ms), *known]))


def settled_at_most_us(recording: Recording, now_ms: int, lateness_ms: int) -> int:
    """The same is not more than this: nobody's media reaches further than to when its last chunk came.

    Costs no look into the media, so who is told that another track has come as far need not look for each of them.
    """
    clock = _Clock(recording, now_ms)
    heard = [
        _FOREVER_US if track.complete else clock.us(track.heard_ms) + _AHEAD_US for track in _waited_for(recording)
    ]
    return max(clock.us(now_ms - lateness_ms), min([clock.us(now_ms), *heard]))


class _Clock:
    """From the server's clock to recording time, up to now or to where the recording was stopped."""

    def __init__(self, recording: Recording, now_ms: int) -> None:
        self._started_ms = recording.started_ms
        self._until_ms = now_ms if recording.stopped_ms is None else min(now_ms, recording.stopped_ms)
        self._stretches = spans(recording, self._until_ms)

    def us(self, at_ms: int) -> int:
        return film_us((min(at_ms, self._until_ms) - self._started_ms) * US_PER_MS, self._started_ms, self._stretches)


def _waited_for(recording: Recording) -> list[Track]:
    unused = withheld(recording)
    return [
        track
        for track in recording.tracks()
        if track.participant_id not in recording.removed and track.track_id not in unused
    ]


def due(windows: tuple[Window, ...], settled: int, per_window: int) -> list[Window]:
    """The windows that nothing will change any more: whole, and with what the encoder wants behind them."""
    return [w for w in windows if w.seen["pictures"] == per_window and w.to_us + LEAD_OUT_US <= settled]


def _reach_us(track: Track, scans: Scans, timeline: Timeline, patience_ms: int) -> int | None:
    """Recording time up to which a track is here without a hole that may still be filled; None where nothing is.

    A hole is given up when what lies behind it has been here since before `patience_ms`.
    """
    reach_us: int | None = None
    for segment in track.segments:
        received = {chunk.seq: chunk.received_ms for chunk in segment.chunks}
        place = (track.participant_id, track.track_id, segment.seg)
        for number, run in enumerate(scans.get(place, ())):
            if run.first_seq and received[run.first_seq] > patience_ms:
                return reach_us
            # Of sound and pictures in one file the one that lags behind. A picture that stands is no proof: while its
            # recorder only says that it ran, another one may be on its way.
            ends = {
                clip.kind: clip.line.placed_us((run.video if clip.kind == "video" else run.audio).to_us)
                for clip in timeline.clips
                if clip.place == place and clip.run == number
            }
            reach_us = max(reach_us or 0, min(ends.values(), default=0))
    return _FOREVER_US if track.complete else reach_us
