"""From when until when does a run cover its track? Pure.

A picture stands until the next one comes, so pictures that are far apart cover what lies between them. A screen that
does not move delivers nothing for long; its last picture stands until its recorder ended. Before a hole nobody knows
whether it moved: there it stands for as long as those before it did.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from .clock import US_PER_MS
from .model import Segment
from .scans import Packets, RunScan

Kind = Literal["video", "audio"]

#: How long a last picture may stand until the recorder's end. Bounded, for the instant of the end is the client's word.
_STAND_US = 60_000_000
#: The last Blob is delivered this much after the end of its media (measured: 30 to 80 ms).
_DELIVERY_US = 60_000
#: Pictures whose distance tells how long one usually stands.
_RECENT = 30


def reach(segment: Segment, run: RunScan) -> dict[Kind, tuple[int, int]]:
    """Media time [from, to) in µs that the run covers with pictures and with sound, as far as it has them."""
    found: dict[Kind, tuple[int, int]] = {}
    if run.error:
        return found
    if len(run.audio):
        found["audio"] = run.audio.from_us, run.audio.to_us
    if len(run.video):
        torn = any(first == run.last_seq + 1 for first, _ in segment.missing())
        stands_us = _usual_us(run.video) if torn else _STAND_US
        ended_us = min(_ended_us(segment, run), run.video.to_us + stands_us)
        found["video"] = run.video.from_us, max(run.video.to_us, ended_us)
    return found


def _usual_us(video: Packets) -> int:
    """By how much longer than it is said to a last picture stands, were it as those before it."""
    steps = np.diff(video.pts_us[-_RECENT:])
    return max(0, int(np.median(steps)) - int(video.duration_us[-1])) if len(steps) else 0


def _ended_us(segment: Segment, run: RunScan) -> int:
    """Media time up to which the recorder ran, by the delivery of the run's last chunk; 0 where nobody told."""
    last = next((chunk for chunk in segment.chunks if chunk.seq == run.last_seq), None)
    if last is None or last.at_ms is None:
        return 0
    return (last.at_ms - last.start_ms) * US_PER_MS - _DELIVERY_US
