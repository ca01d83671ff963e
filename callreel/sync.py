"""The sync certificate's figures: where each segment's media lies, and how far that may be from the truth. Pure.

A placement is causal, it knows at each moment what had been delivered before. Afterwards all of it is known, and one
line through all probes and below all deliveries is the best that can be said; what the placement was away from that is
the *residual*. The *uncertainty* is a bound, and a sum: the residual, what the probes and the line leave open, and what
rendering adds. It counts from the instant that the browser tells as its recorder's start; that a browser begins up to
25 ms behind it (60 ms for sound that shares a recorder with pictures) is the capture's own, and told apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .clock import US_PER_MS, US_PER_S, Anchor
from .drift import KNOT_US, Drift, observed
from .estimates import ClockLine, Floats, Slope
from .model import Recording, Segment
from .scans import Packets, RunScan, Scans
from .straight import Pause
from .timeline import Timeline

#: What Chromium's recorders begin behind the instant they tell, measured: 4 to 25 ms; its sound in a WebM of both 60.
CAPTURE_MS = (25, 60)
#: Who says nothing may run as fast or slow as any device there is.
_DEVICE = 500e-6
#: Stamps are rounded to ms by the protocol and by WebM, each by half of one.
_ROUNDED_US = 1_000
#: Steps of the stamps of sound below this are followed slowly (`sound.py`), so this is the most that they can be off.
_STAMPS_US = 12_000
_AT_ONCE = 25  #: packets of which a level is made, about


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    """One segment's share of the certificate."""

    participant_id: str
    track_id: str
    seg: int
    trusted: str  #: as in `Anchor`
    offset_us: int  #: media zero as it was placed, of the server's clock since start
    best_us: float  #: the same by all that is known in the end
    drift_ppm: float  #: how much more slowly media runs than the server's clock, by all that is known in the end
    residual_us: float  #: the most that the placement is away from that
    uncertainty_us: float  #: the most that media may lie from where it was recorded, by what clocks and film make of it
    parts_us: tuple[tuple[str, float], ...]  #: what it consists of, at the worst moment

    def to_json(self) -> dict[str, Any]:
        return {
            "offsetMs": round(self.offset_us / US_PER_MS),
            "measuredOffsetMs": round(self.best_us / US_PER_MS, 2),
            "driftPpm": round(self.drift_ppm, 1),
            "residualMs": round(self.residual_us / US_PER_MS, 1),
            "uncertaintyMs": -int(-self.uncertainty_us // US_PER_MS),
            "trusted": self.trusted,
        }

    def named(self) -> dict[str, Any]:
        """The same beside other segments."""
        place = {"participantId": self.participant_id, "trackId": self.track_id, "seg": self.seg}
        return {**place, **self.to_json()}


def certify(recording: Recording, timeline: Timeline, scans: Scans, fps: int) -> list[Sync]:
    """The figures of all segments of which something came, in the order of people, tracks and segments."""
    found = []
    for track in recording.tracks():
        for segment in track.segments:
            place = (track.participant_id, track.track_id, segment.seg)
            if place in timeline.anchors:
                runs = [run for run in scans.get(place, ()) if not run.error]
                straight, pauses = timeline.straight.get(place, (segment, ()))
                zero_us = (timeline.anchors[place].zero_ms - recording.started_ms) * US_PER_MS
                found.append(
                    of_segment(
                        place, straight, runs, timeline.anchors[place], timeline.drifts[place], zero_us, fps, pauses
                    )
                )
    return found


def of_segment(
    place: tuple[str, str, int],
    segment: Segment,
    runs: Sequence[RunScan],
    anchor: Anchor,
    drift: Drift,
    zero_us: int,
    fps: int,
    pauses: Sequence[Pause] = (),
) -> Sync:
    """How well one segment is placed; `fps` of the film, which shows pictures at the nearest of its own."""
    told, delay_us, jumps = observed(segment, runs, pauses)
    end_us = max([packets.to_us for run in runs for packets in (run.video, run.audio) if len(packets)], default=0)
    media_us = np.append(np.arange(0, end_us, KNOT_US), end_us).astype(np.float64)
    clock = ClockLine(told.at_us, told.offset_us, told.err_us)

    clock_rate, clock_sigma = clock.slope()
    flat_rate, flat_sigma = Slope(told.media_us, delay_us, crystals=False).at(len(told))
    media_rate, media_sigma = Slope(told.media_us, delay_us).at(len(told))
    best_us = clock.at(0, len(told))
    along_us = best_us + (clock_rate + media_rate) * media_us
    stood_us = sum((np.where(media_us > at_us, by_us, 0) for at_us, by_us in jumps), np.zeros_like(media_us))
    placed_us = np.array([drift.placed_us(int(at_us)) for at_us in media_us])
    away_us = np.abs(placed_us - media_us - stood_us - along_us)

    parts = {
        "placement": away_us,
        "clock": _open_us(clock, anchor, media_us, best_us, clock_rate, _bound(clock_rate, clock_sigma)),
        "media": _bound(media_rate, max(media_sigma, flat_sigma + abs(flat_rate - media_rate) / 3)) * media_us,
        # a step of which nobody told is known as well as deliveries are steady
        "steps": np.full_like(media_us, float(np.ptp(delay_us)) if len(jumps) > len(pauses) else 0.0),
        "stamps": np.full_like(media_us, max([_stamps_us(run.audio) for run in runs], default=0)),
        "pictures": np.full_like(media_us, US_PER_S / fps / 2 if any(len(run.video) for run in runs) else 0),
        "rounding": np.full_like(media_us, _ROUNDED_US),
    }
    # sound knows no pictures, and pictures no stamps of sound: the worse of both
    drop = "stamps" if parts["stamps"][0] < parts["pictures"][0] else "pictures"
    total = sum((part for name, part in parts.items() if name != drop), np.zeros_like(media_us))
    worst = int(total.argmax())
    return Sync(
        participant_id=place[0],
        track_id=place[1],
        seg=place[2],
        trusted=anchor.trusted,
        offset_us=zero_us,
        best_us=zero_us + best_us,
        drift_ppm=(clock_rate + media_rate) * 1e6,
        residual_us=float(away_us.max()),
        uncertainty_us=float(total[worst]),
        parts_us=tuple((name, float(part[worst])) for name, part in parts.items() if name != drop and part[worst] > 0),
    )


def _bound(rate: float, sigma: float) -> float:
    """How far the truth may be from a rate: by three σ, and no further than devices go."""
    return min(3 * sigma, _DEVICE + abs(rate))


def _open_us(clock: ClockLine, anchor: Anchor, media_us: Floats, best_us: float, rate: float, unsure: float) -> Floats:
    """What probes leave open of the client's clock at each moment: the nearest good one decides."""
    if not len(clock) or anchor.trusted != "probe":
        return anchor.err_ms * US_PER_MS + _DEVICE * media_us
    away = np.abs(clock.offset_us - (best_us + rate * clock.at_us)) + clock.err_us
    bounds = away[None, :] + unsure * np.abs(media_us[:, None] - clock.at_us[None, :])
    found: Floats = bounds.min(axis=1)
    return found


def _stamps_us(packets: Packets) -> int:
    """How far the stamps of sound stray from the level that is made of them; it cannot be known better than so."""
    if len(packets) < _AT_ONCE:
        return 0
    lengths = packets.duration_us
    steps = np.diff(packets.pts_us)
    played = np.concatenate(([0], np.cumsum(np.where(np.abs(steps - lengths[:-1]) <= 1, steps, lengths[:-1]))))
    leads = (packets.pts_us - played)[: len(packets) // _AT_ONCE * _AT_ONCE].reshape(-1, _AT_ONCE)
    strays = np.abs(leads - leads.mean(axis=1, keepdims=True)).max(axis=1)
    return int(min(strays.max(), _STAMPS_US))
