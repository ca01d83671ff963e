"""The timeline: from chunks and facts to clips and explicit gaps per track, in recording time. Pure.

A clip is a stretch of one run's sound or pictures, placed. What lies between clips is a gap only if media is known to
be missing there; not having come yet, having left, or being between two segments is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .clock import US_PER_MS, Anchor, Span, anchor, spans
from .model import Chunk, Participant, Recording, Segment, Track
from .scans import RunScan

#: What is scanned: (participant, track, seg) → its runs.
Scans = Mapping[tuple[str, str, int], Sequence[RunScan]]

#: How long a last picture may stand until the recorder's end: shared screens that do not move deliver nothing for
#: long. Bounded, for the instant of the end is the client's word.
_STAND_US = 60_000_000
#: The last Blob is delivered this much after the end of its media (measured: 30 to 80 ms).
_DELIVERY_US = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A stretch of one stream of one run, in recording time [from_us, to_us)."""

    kind: Literal["video", "audio"]
    participant_id: str
    track_id: str
    seg: int
    run: int  #: index of the segment's run
    from_us: int
    to_us: int
    shift_us: int  #: recording time = media time + shift

    @property
    def place(self) -> tuple[str, str, int]:
        return self.participant_id, self.track_id, self.seg


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A stretch of a track that should be there and is not."""

    participant_id: str
    track_id: str
    seg: int
    from_us: int
    to_us: int
    chunks: tuple[tuple[int, int], ...]
    reason: Literal["lost", "unreadable", "unconfirmed"]
    detail: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "participantId": self.participant_id,
            "trackId": self.track_id,
            "seg": self.seg,
            "fromMs": self.from_us // US_PER_MS,
            "toMs": -(-self.to_us // US_PER_MS),
            "chunks": [list(pair) for pair in self.chunks],
            "reason": self.reason,
            **({"detail": self.detail} if self.detail else {}),
        }


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
    anchors: Mapping[tuple[str, str, int], Anchor]


def plan_timeline(recording: Recording, scans: Scans, until_ms: int | None = None) -> Timeline:
    """Place every run of every track; what lies outside of [start, stop) or in a pause is left out."""
    end_ms = until_ms if until_ms is not None else recording.stopped_ms
    if end_ms is None:
        raise ValueError("a recording without an end needs until_ms")
    stretches = spans(recording, end_ms)
    duration_us = stretches[-1].end_us if stretches else 0
    clips: list[Clip] = []
    gaps: list[Gap] = []
    presences: list[Presence] = []
    anchors: dict[tuple[str, str, int], Anchor] = {}
    for participant in recording.participants:
        for track in participant.tracks:
            for segment in track.segments:
                if not segment.chunks:
                    continue
                place = (track.participant_id, track.track_id, segment.seg)
                anchors[place] = anchor(segment.chunks)
                zero_us = (anchors[place].zero_ms - recording.started_ms) * US_PER_MS
                placed = _place_runs(track, segment, scans.get(place, ()), zero_us, stretches, recording)
                clips += placed
                presences += _presences(placed, stretches)
            gaps += _gaps(track, scans, anchors, recording, duration_us)
    return Timeline(
        duration_us=duration_us,
        participants=recording.participants,
        clips=tuple(clips),
        gaps=tuple(gaps),
        presences=tuple(presences),
        anchors=anchors,
    )


def _place_runs(
    track: Track,
    segment: Segment,
    runs: Sequence[RunScan],
    zero_us: int,
    stretches: Sequence[Span],
    recording: Recording,
) -> list[Clip]:
    found: list[Clip] = []
    for index, run in enumerate(runs):
        for kind, packets in (("video", run.video), ("audio", run.audio)):
            if not len(packets) or run.error:
                continue
            to_us = packets.to_us
            if kind == "video":
                to_us = max(to_us, min(_run_end_us(segment, run), to_us + _STAND_US))
            for span in stretches:
                # in "server µs since start", then cut to the span, then moved to where the span lies
                offset_us = (span.from_ms - recording.started_ms) * US_PER_MS - span.at_us
                from_us = max(zero_us + packets.from_us - offset_us, span.at_us)
                until_us = min(zero_us + to_us - offset_us, span.end_us)
                if from_us < until_us:
                    found.append(
                        Clip(
                            kind="video" if kind == "video" else "audio",
                            participant_id=track.participant_id,
                            track_id=track.track_id,
                            seg=segment.seg,
                            run=index,
                            from_us=from_us,
                            to_us=until_us,
                            shift_us=zero_us - offset_us,
                        )
                    )
    return found


def _run_end_us(segment: Segment, run: RunScan) -> int:
    """Media time up to which the recorder ran, by the delivery of the run's last chunk; 0 where nobody told."""
    last: Chunk | None = next((chunk for chunk in segment.chunks if chunk.seq == run.last_seq), None)
    if last is None or last.at_ms is None:
        return 0
    return (last.at_ms - last.start_ms) * US_PER_MS - _DELIVERY_US


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


def _gaps(
    track: Track,
    scans: Scans,
    anchors: Mapping[tuple[str, str, int], Anchor],
    recording: Recording,
    duration_us: int,
) -> list[Gap]:
    found: list[Gap] = []

    def gap(seg: int, from_us: int, to_us: int, chunks: list[tuple[int, int]], reason: str, detail: str = "") -> None:
        from_us = min(max(0, from_us), duration_us)
        found.append(
            Gap(
                participant_id=track.participant_id,
                track_id=track.track_id,
                seg=seg,
                from_us=from_us,
                to_us=min(max(from_us, to_us), duration_us),
                chunks=tuple(chunks),
                reason=reason,  # type: ignore[arg-type]  # the three callers below pass literals
                detail=detail,
            )
        )

    end_us = 0
    for segment in track.segments:
        place = (track.participant_id, track.track_id, segment.seg)
        if not segment.chunks:  # declared and never seen: where it lay nobody knows
            gap(segment.seg, end_us, duration_us, segment.missing(), "lost")
            continue
        zero_us = (anchors[place].zero_ms - recording.started_ms) * US_PER_MS
        end_us = zero_us
        missing = dict(segment.missing())
        step_us = _chunk_us(segment)
        for run in scans.get(place, ()):
            before = [(a, b) for a, b in missing.items() if b < run.first_seq and b == run.first_seq - 1]
            begin_us, until_us = _reach(run)
            if run.error:
                count = len(run.chunk_sha256)
                gap(
                    segment.seg,
                    end_us + step_us * sum(b - a + 1 for a, b in before),
                    end_us + step_us * (count + sum(b - a + 1 for a, b in before)),
                    [(run.first_seq, run.last_seq)],
                    "unreadable",
                    run.error,
                )
                begin_us, until_us = found[-1].from_us - zero_us, found[-1].to_us - zero_us
            if before:
                gap(segment.seg, end_us, zero_us + begin_us, before, "lost")
            end_us = zero_us + until_us
        tail = [(a, b) for a, b in missing.items() if a > segment.chunks[-1].seq]
        if tail:
            gap(segment.seg, end_us, end_us + step_us * sum(b - a + 1 for a, b in tail), tail, "lost")
            end_us = found[-1].to_us
    if not track.complete:
        last = track.segments[-1].seg if track.segments else 0
        gap(last, end_us, end_us if track.segments else duration_us, [], "unconfirmed")
    return sorted(found, key=lambda g: (g.seg, g.from_us))


def _reach(run: RunScan) -> tuple[int, int]:
    """Media time of a run's first and last moment."""
    streams = [packets for packets in (run.video, run.audio) if len(packets)]
    if not streams:
        return 0, 0
    return min(packets.from_us for packets in streams), max(packets.to_us for packets in streams)


def _chunk_us(segment: Segment) -> int:
    """How long this segment's chunks usually are; 2 s, the client's default, where nothing tells."""
    stamps = [(chunk.seq, chunk.at_ms) for chunk in segment.chunks if chunk.at_ms is not None]
    if len(stamps) < 2 or stamps[-1][0] == stamps[0][0]:
        return 2_000_000
    return max(0, stamps[-1][1] - stamps[0][1]) * US_PER_MS // (stamps[-1][0] - stamps[0][0])
