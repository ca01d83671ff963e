"""Waveforms: how far sound swings, ten times a second, on the recording's clock, for players and editors to draw. Pure.

The JSON of BBC's audiowaveform (version 2, 8 bits), which peaks.js, waveform-data.js and wavesurfer.js read: a pair of
least and greatest sample for each point. Levels know how far it swings and not to which side, so both are told alike.
"""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray

from .levels import STEP_US, UNKNOWN
from .scans import Scans
from .timeline import Timeline
from .voices import on_the_clock

RATE_HZ = 48_000
POINT = RATE_HZ * STEP_US // 1_000_000  #: samples of a point
_BITS = 8

Swings = NDArray[np.float64]  #: greatest absolute sample of each point, 0 to 1


def points(duration_us: int) -> int:
    return -(-duration_us // STEP_US)


def of_track(timeline: Timeline, scans: Scans, participant_id: str, track_id: str) -> Swings:
    """A track's swings, 0 where nothing of it is heard."""
    laid = np.zeros(points(timeline.duration_us))
    for clip in timeline.clips:
        if clip.kind == "audio" and (clip.participant_id, clip.track_id) == (participant_id, track_id):
            levels = scans[clip.place][clip.run].levels
            for steps, media in on_the_clock(clip, levels.first, len(levels), STEP_US, len(laid)):
                dbfs = levels.peak[media]
                laid[steps] = np.maximum(laid[steps], np.where(dbfs == UNKNOWN, 0, 10 ** (dbfs / 2000)))
    return laid


def of_sound(heard: NDArray[np.float32], from_sample: int, rate_hz: int) -> Swings:
    """The swings of one channel of a film's sound that begins at this sample, from the point on that this is in."""
    point = rate_hz // (RATE_HZ // POINT)
    begins = np.unique([0, *range(-from_sample % point, len(heard), point)])
    found: Swings = np.maximum.reduceat(heard, begins).astype(np.float64)
    return found


def first_point(from_sample: int, rate_hz: int) -> int:
    """The point that a sample of a film is in."""
    return from_sample // (rate_hz // (RATE_HZ // POINT))


def encode(swings: Swings) -> bytes:
    """The file of a waveform."""
    most = 2 ** (_BITS - 1) - 1
    high = np.rint(np.clip(swings, 0, 1) * most).astype(int)
    told = {
        "version": 2,
        "channels": 1,
        "sample_rate": RATE_HZ,
        "samples_per_pixel": POINT,
        "bits": _BITS,
        "length": len(swings),
        "data": np.stack([-high, high], axis=1).ravel().tolist(),
    }
    return json.dumps(told, separators=(",", ":")).encode()
