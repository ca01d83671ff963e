"""The timeline: from chunks and facts to clips and explicit gaps per track, in recording time. Pure.

A clip is a stretch of one run's sound or pictures, placed. What lies between clips is a gap only if media is known to
be missing there; not having come yet, having left, or being between two segments is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from .anchors import Frame, place_segment
from .clock import US_PER_MS, Anchor, Span, film_us, spans
from .consent import withheld
from .drift import Drift, measure
from .gaps import Gap, track_gaps
from .layouts import Arranged
from .model import Participant, Recording, Segment, Track
from .placement import Line
from .reach import Kind, reach
from .scans import RunScan, Scans
from .straight import Pause, straightened, without_pauses_us


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A stretch of one stream of one run, in recording time [from_us, to_us)."""

    kind: Kind
    participant_id: str
    track_id: str
    seg: int
    run: int  #: index of the segment's run
    from_us: int
    to_us: int
    line: Line  #: media time → recording time

    @property
    def place(self) -> tuple[str, str, int]:
        return self.participant_id, self.track_id, self.seg


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """A participant was there, with one segment of any track, in recording time."""

    participant_id: str
    from_us: int
    to_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """All tracks of a recording on its clock."""

    duration_us: int
    participants: tuple[Participant, ...]
    clips: tuple[Clip, ...]
    gaps: tuple[Gap, ...]
    presences: tuple[Presence, ...]
    cuts_us: tuple[int, ...]  #: where a pause was cut out
    anchors: Mapping[tuple[str, str, int], Anchor]
    drifts: Mapping[tuple[str, str, int], Drift]
    #: segments as they were placed: without the pauses of their recorders, and with a start that can be
    straight: Mapping[tuple[str, str, int], tuple[Segment, Sequence[Pause]]] = field(default_factory=dict)


def plan_timeline(recording: Recording, scans: Scans, until_ms: int | None = None) -> Timeline:
    """Place every run of every track; what lies outside of [start, stop) or in a pause is left out, and who does not
    agree as if they had never been there."""
    end_ms = until_ms if until_ms is not None else recording.stopped_ms
    if end_ms is None:
        raise ValueError("a recording without an end needs until_ms")
    stretches, left_out = spans(recording, end_ms), withheld(recording)
    duration_us = stretches[-1].end_us if stretches else 0
    frame = Frame(from_ms=recording.started_ms, to_ms=end_ms)
    clips: list[Clip] = []
    gaps: list[Gap] = []
    presences: list[Presence] = []
    anchors: dict[tuple[str, str, int], Anchor] = {}
    drifts: dict[tuple[str, str, int], Drift] = {}
    placings: dict[tuple[str, str, int], tuple[Segment, Sequence[Pause]]] = {}
    for participant in recording.participants:
        for track in participant.tracks:
            if track.track_id in left_out:
                continue
            trusted = []
            for segment in track.segments:
                if not segment.chunks:
                    trusted.append(segment)
                    continue
                place = (track.participant_id, track.track_id, segment.seg)
                runs = scans.get(place, ())
                straight, pauses = straightened(segment, runs, track.paused)
                anchors[place], straight = place_segment(participant, straight, runs, frame)
                drifts[place] = measure(straight, runs, pauses)
                zero_us = (anchors[place].zero_ms - recording.started_ms) * US_PER_MS
                placed = _place_runs(track, straight, runs, drifts[place], zero_us, stretches, recording)
                presences += _presences(placed, stretches)
                clips += _shown(placed, track, straight, pauses)  # who switches off their camera is still there
                trusted.append(straight)
                placings[place] = straight, pauses
            track = replace(track, segments=tuple(trusted))
            gaps += track_gaps(track, scans, anchors, drifts, recording.started_ms, stretches)
    return Timeline(
        duration_us=duration_us,
        participants=recording.participants,
        clips=tuple(clips),
        gaps=tuple(gaps),
        presences=tuple(presences),
        cuts_us=tuple(span.at_us for span in stretches if span.at_us),
        anchors=anchors,
        drifts=drifts,
        straight=placings,
    )


def arranged(recording: Recording, until_ms: int | None = None) -> Arranged:
    """How a recording was arranged while it ran, in recording time; a change within a pause comes where it was cut.

    `until_ms` is the server's instant up to which one looks that has not been stopped.
    """
    end_ms = until_ms if until_ms is not None else recording.stopped_ms
    stretches = spans(recording, recording.started_ms if end_ms is None else end_ms)
    changes = [
        (film_us((at_ms - recording.started_ms) * US_PER_MS, recording.started_ms, stretches), layout)
        for at_ms, layout in recording.layouts
    ]
    return [(0, recording.options.layout), *changes]


def _place_runs(
    track: Track,
    segment: Segment,
    runs: Sequence[RunScan],
    drift: Drift,
    zero_us: int,
    stretches: Sequence[Span],
    recording: Recording,
) -> list[Clip]:
    found: list[Clip] = []
    for index, run in enumerate(runs):
        for kind, (begin_us, end_us) in reach(segment, run).items():
            for (a_us, b_us, line), span in product(drift.pieces_of(begin_us, end_us), stretches):
                # in "server µs since start", then moved to where the span lies, then cut to it
                placed = line.moved(zero_us - (span.from_ms - recording.started_ms) * US_PER_MS + span.at_us)
                from_us, to_us = max(placed.placed_us(a_us), span.at_us), min(placed.placed_us(b_us), span.end_us)
                if from_us < to_us:
                    found.append(
                        Clip(
                            kind=kind,
                            participant_id=track.participant_id,
                            track_id=track.track_id,
                            seg=segment.seg,
                            run=index,
                            from_us=from_us,
                            to_us=to_us,
                            line=placed,
                        )
                    )
    return found


def _shown(clips: Sequence[Clip], track: Track, segment: Segment, pauses: Sequence[Pause]) -> list[Clip]:
    """The clips without the pictures that a camera made while it was off: they are black, and a card says more."""
    found = list(clips)
    start_ms = segment.came[0].start_ms
    for off_ms, on_ms in track.muted:
        kept = []
        for clip in found:
            off_us = clip.line.placed_us(without_pauses_us(off_ms, start_ms, pauses))
            on_us = clip.to_us if on_ms is None else clip.line.placed_us(without_pauses_us(on_ms, start_ms, pauses))
            if clip.kind == "audio" or off_us >= clip.to_us or on_us <= clip.from_us:
                kept.append(clip)
                continue
            if clip.from_us < off_us:
                kept.append(replace(clip, to_us=off_us))
            if on_us < clip.to_us:
                kept.append(replace(clip, from_us=on_us))
        found = kept
    return found


def _presences(clips: Sequence[Clip], stretches: Sequence[Span]) -> list[Presence]:
    """One for each span that a segment touches: holes inside of a segment do not send anybody away."""
    found = []
    for span in stretches:
        inside = [clip for clip in clips if clip.from_us < span.end_us and clip.to_us > span.at_us]
        if inside:
            found.append(
                Presence(
                    participant_id=inside[0].participant_id,
                    from_us=min(clip.from_us for clip in inside),
                    to_us=max(clip.to_us for clip in inside),
                )
            )
    return found
