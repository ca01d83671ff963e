"""The limiter: true peaks stay below the ceiling, what is not too loud is left alone, and windows agree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.kit.meter import measured_samples
from tests.kit.voices import RATE_HZ, Samples, voice
from workers.limiter import CEILING_DBTP, limit, reach


def stereo(samples: Samples) -> Samples:
    return np.stack([samples, samples])


def loud_voice(seconds: float, seed: int) -> Samples:
    return stereo(voice([(0, seconds)], seconds, seed=seed, rms_db=-9))


def tone(hz: float, amplitude: float) -> Samples:
    at = np.arange(RATE_HZ)
    return stereo((amplitude * np.sin(2 * np.pi * hz * at / RATE_HZ + 0.8)).astype(np.float32))


def peaks_between_samples() -> Samples:
    """A quarter of the rate, sampled at 45°: samples say −3 dB, the wave between them 0."""
    swell = np.minimum(1, np.arange(RATE_HZ) / 1_000).astype(np.float32)
    return stereo(np.tile(np.array([1, 1, -1, -1], np.float32) * 0.95, RATE_HZ // 4) * swell)


@pytest.mark.parametrize(
    "made", [lambda: loud_voice(4, 1), lambda: tone(997, 2.5), peaks_between_samples], ids=["voice", "tone", "between"]
)
def test_true_peaks_stay_below_the_ceiling(made: Callable[[], Samples], tmp_path: Path) -> None:
    sound = made()
    assert measured_samples(sound, RATE_HZ, tmp_path).true_peak_dbtp > -1, "there is something to limit"
    limit(sound, 0, RATE_HZ)
    found = measured_samples(sound, RATE_HZ, tmp_path)
    assert CEILING_DBTP - 1.5 < found.true_peak_dbtp <= CEILING_DBTP + 0.2


def test_what_is_not_too_loud_is_not_touched() -> None:
    sound = tone(440, 0.7)
    before = sound.copy()
    limit(sound, 0, RATE_HZ)
    assert np.array_equal(sound, before)


def test_what_is_too_loud_is_turned_down_and_keeps_its_shape() -> None:
    sound = tone(300, 0.3)
    sound[:, 20_000:28_000] *= 10
    before = sound.copy()
    limit(sound, 0, RATE_HZ)
    gain = sound[0] / np.where(np.abs(before[0]) < 1e-3, np.nan, before[0])
    assert np.nanmax(np.abs(np.diff(gain[20_200:27_800]))) < 1e-3, "a gain, not a clipper"
    assert np.nanmin(gain[: 20_000 - reach(RATE_HZ)]) == 1, "heard before and after as it was"
    assert np.nanmin(gain[28_000 + reach(RATE_HZ) :]) == 1


def test_windows_agree_wherever_both_know_what_is_around() -> None:
    sound = loud_voice(3, 2)
    one, two = sound[:, :90_000].copy(), sound[:, 40_001:].copy()
    limit(one, 0, RATE_HZ)
    limit(two, 40_001, RATE_HZ)
    margin = reach(RATE_HZ)
    assert np.abs(one[:, 40_001 + margin : 90_000 - margin] - two[:, margin : 49_999 - margin]).max() < 1e-6
    assert np.abs(one[:, 50_000:80_000] - sound[:, 50_000:80_000]).max() > 0.1, "limited there"
