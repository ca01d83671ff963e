"""Ears: when does a tone begin? A beep's onset is where its envelope crosses half of its own plateau.

A symmetric window smears an edge evenly to both sides, so that half height is the edge itself, whatever the level.
"""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

RATE_HZ = 48_000
_STEP = RATE_HZ // 1000  #: samples to a millisecond, the step of an envelope
_WINDOW_MS = 25  #: Hann, odd so that it has a middle; first zero at 80 Hz: tones 125 Hz apart are 31 dB down
_SHORTEST_MS = 60  #: beeps last 100 ms; what is much shorter is a click or a neighbour's edge
_QUIETEST = 0.01  #: of full scale


def envelope(samples: Samples, tone_hz: float) -> npt.NDArray[np.float64]:
    """Amplitude of one tone, one value each millisecond, centred on it."""
    whole = samples[: len(samples) // _STEP * _STEP].astype(np.float64)
    turning = np.exp(-2j * np.pi * tone_hz / RATE_HZ * np.arange(len(whole)))
    slow = (whole * turning).reshape(-1, _STEP).mean(axis=1)
    if len(slow) < _WINDOW_MS:
        return np.zeros(len(slow))
    window = np.hanning(_WINDOW_MS + 2)[1:-1]
    return np.asarray(2 * np.abs(np.convolve(slow, window / window.sum(), mode="same")))


def onsets_ms(samples: Samples, tone_hz: float) -> list[float]:
    """Where beeps of a tone begin, ms from the first sample."""
    level = envelope(samples, tone_hz)
    threshold = max(_QUIETEST, 0.2 * float(level.max(initial=0)))
    loud = level > threshold
    edges = np.flatnonzero(np.diff(np.concatenate([[False], loud, [False]]).astype(np.int8)))
    found = []
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if end - begin < _SHORTEST_MS:
            continue
        half = float(np.median(level[begin + 20 : end - 20])) / 2
        above = begin + int(np.argmax(level[begin:end] >= half))
        if above == 0:  # the beep was on before the sound began
            continue
        low, high = level[above - 1], level[above]
        if high > low:
            found.append(float(above - 1 + (half - low) / (high - low)) + 0.5)  # a value stands for its middle
    return found


def decode_placed(data: bytes | Path) -> tuple[float, Samples]:
    """Sound of a file as mono 48 kHz, and the media time of its first sample in ms.

    A frame that is stamped later than the sound before it ends is preceded by silence, one that is stamped earlier
    follows at once. That is how the floors of the captures were measured: recorders let stamps jitter by 10 ms, and
    a median taken otherwise is up to 10 ms away from theirs.
    """
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE_HZ)
    parts: list[Samples] = []
    first_ms: float | None = None
    have = 0
    with av.open(str(data) if isinstance(data, Path) else io.BytesIO(data), "r") as file:
        for frame in file.decode(audio=0):
            if frame.pts is None or frame.time_base is None:
                continue
            at_ms = float(frame.pts * frame.time_base * 1000)
            if first_ms is None:
                first_ms = at_ms
            hole = round((at_ms - first_ms) * _STEP) - have
            if hole > 0:
                parts.append(np.zeros(hole, np.float32))
                have += hole
            frame.pts = None
            for out in resampler.resample(frame):
                piece = out.to_ndarray().reshape(-1).astype(np.float32)
                parts.append(piece)
                have += len(piece)
    return first_ms or 0.0, np.concatenate(parts) if parts else np.zeros(0, np.float32)
