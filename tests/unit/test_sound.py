"""Placing of sound: no seam where there is none, holes where samples were lost, and windows that agree."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from callreel.scans import Packets
from callreel.sound import place_packets

SOUND_US = 20_000


def packets(stamps: NDArray[np.int64]) -> Packets:
    return Packets(pts_us=stamps, duration_us=np.full(len(stamps), SOUND_US, np.int64))


def jittered(count: int, seed: int, jitter_us: int = 5_000) -> NDArray[np.int64]:
    noise = np.random.default_rng(seed).integers(-jitter_us, jitter_us + 1, count)
    return np.arange(count, dtype=np.int64) * SOUND_US + 100_000 + noise


def window(found: Packets, from_us: int, to_us: int) -> tuple[int, NDArray[np.int64]]:
    """First packet and places, with the reach that windows have."""
    first = int(np.searchsorted(found.pts_us, from_us - 500_000, "right"))
    end = int(np.searchsorted(found.pts_us, to_us + 100_000, "left"))
    return first, place_packets(found, first, end, from_us, to_us)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_jitter_does_not_tear_sound_apart(seed: int) -> None:
    stamps = jittered(600, seed)
    first, places = window(packets(stamps), 2_000_000, 10_000_000)
    seams = np.diff(places) - SOUND_US
    # and a µs where two stamps happen to be a packet's length and one apart, which is taken for that length
    assert np.abs(seams).max() <= SOUND_US // 1000 + 1, "more than 0.1 % of a packet"
    truth = np.arange(first, first + len(places)) * SOUND_US + 100_000
    assert np.abs(places - truth).max() < 3_000


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_two_windows_agree_about_their_border(seed: int) -> None:
    found = packets(jittered(1000, seed))
    one_first, one = window(found, 2_000_000, 10_000_000)
    two_first, two = window(found, 10_000_000, 18_000_000)
    border = int(np.searchsorted(found.pts_us, 10_000_000, "left"))
    last = one[border - 1 - one_first] + SOUND_US
    assert abs(int(last) - int(two[border - two_first])) <= SOUND_US // 1000
    # behind the border both place alike: what the encoder hears there is the same
    assert np.array_equal(one[border - one_first :][:2], two[border - two_first :][:2]) or (
        np.abs(one[border - one_first :][:2] - two[border - two_first :][:2]).max() <= 2 * SOUND_US // 1000
    )


def test_lost_samples_are_a_hole_of_their_length() -> None:
    stamps = jittered(600, 4, jitter_us=2_000)
    stamps[300:] += 40_000
    first, places = window(packets(stamps), 2_000_000, 10_000_000)
    seams = np.diff(places) - SOUND_US
    assert np.flatnonzero(np.abs(seams) > 1_000).tolist() == [300 - first - 1]
    assert abs(int(seams.max()) - 40_000) < 2_500


def test_a_clock_that_runs_off_is_followed_without_a_hole() -> None:
    ppm = 300
    stamps = jittered(3000, 5, jitter_us=3_000)
    stamps = stamps + stamps * ppm // 1_000_000
    for k in range(1, 7):
        first, places = window(packets(stamps), k * 8_000_000, (k + 1) * 8_000_000)
        truth = np.arange(first, first + len(places)) * SOUND_US + 100_000
        truth = truth + truth * ppm // 1_000_000
        assert np.abs(places - truth).max() < 4_000
        assert np.abs(np.diff(places) - SOUND_US).max() <= SOUND_US // 1000


def test_a_window_is_placed_by_its_own_packets_alone() -> None:
    stamps = jittered(1000, 6)
    whole = window(packets(stamps), 10_000_000, 18_000_000)[1]
    reach = stamps[(stamps > 9_500_000) & (stamps < 18_100_000)]
    alone = place_packets(packets(reach), 0, len(reach), 10_000_000, 18_000_000)
    assert np.array_equal(whole, alone)


def test_one_packet_is_placed_by_its_stamp() -> None:
    assert place_packets(packets(np.array([5_000], np.int64)), 0, 1, 0, 8_000_000).tolist() == [5_000]
