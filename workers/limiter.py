"""No peak of a film is higher than players and encoders bear: what is too loud is turned down around it, not cut.

The gain of a sample is the least that any peak nearby needs, smoothed: a look-ahead limiter without a release that
remembers. It depends on 43 ms to each side and nothing else, so that two windows agree about their border.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]  #: (channels, samples)

#: True peak, dBTP. One dB below what is promised: AAC does not keep peaks where they were.
CEILING_DBTP = -2.0
_CEILING = 10 ** (CEILING_DBTP / 20)
#: Peaks between samples are looked for where samples come this near to the ceiling.
_NEAR = 0.6 * _CEILING
_BLOCK_S = 0.001
_REACH = 20  #: blocks to each side

#: Interpolation at a quarter, a half and three quarters of a sample: 16 taps of a sinc under a Kaiser window (β 6),
#: the furthest sample ahead first, as `np.convolve` wants them.
_TAPS = np.arange(8, -8, -1)
_BETWEEN = [
    (np.sinc(part - _TAPS) * np.i0(6 * np.sqrt(1 - ((_TAPS - part) / 8.5) ** 2)) / np.i0(6.0)).astype(np.float32)
    for part in (0.25, 0.5, 0.75)
]


def reach(rate_hz: int) -> int:
    """How many samples to each side decide the gain of one."""
    return (2 * _REACH + 3) * int(_BLOCK_S * rate_hz)


def limit(samples: Samples, at: int, rate_hz: int) -> None:
    """Turn down, in place, what would be louder than the ceiling; `at` is the film's sample that is the first here."""
    if float(np.abs(samples).max(initial=0)) <= _NEAR:
        return
    size = int(_BLOCK_S * rate_hz)
    skipped = at % size  # blocks are the film's, for all windows the same
    needed = np.minimum(1, _CEILING / np.maximum(_peaks(samples, skipped, size), _CEILING))
    if bool((needed == 1).all()):
        return
    # one block further than the smoothing reaches, for between two blocks the gain goes straight from one to the other
    padded = np.pad(needed, _REACH + 1, constant_values=1)
    held = np.lib.stride_tricks.sliding_window_view(padded, 2 * _REACH + 3).min(axis=1)
    window = np.hanning(2 * _REACH + 3)[1:-1]
    smooth = np.convolve(np.pad(held, _REACH, mode="edge"), window / window.sum(), "valid")
    middles = (np.arange(len(smooth)) + 0.5) * size - 0.5 - skipped
    samples *= np.interp(np.arange(samples.shape[1]), middles, smooth).astype(np.float32)


def _peaks(samples: Samples, skipped: int, size: int) -> NDArray[np.float64]:
    """The true peak of each block (ITU-R BS.1770-4, annex 2: at four times the rate)."""
    highest = np.abs(samples).max(axis=0)
    for channel in samples[:1] if bool((samples[0] == samples[-1]).all()) else samples:
        for taps in _BETWEEN:
            # the value between sample n and the next stands at n
            between = np.abs(np.convolve(channel, taps, "full")[8 : 8 + len(channel)])
            np.maximum(highest, between, out=highest)
    padded = np.pad(highest, (skipped, -(skipped + len(highest)) % size))
    found: NDArray[np.float64] = padded.reshape(-1, size).max(axis=1).astype(np.float64)
    return found
