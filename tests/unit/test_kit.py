"""The instruments are calibrated here: on the captures' own segments, and on signals made to order."""

from __future__ import annotations

import numpy as np
import pytest

from tests.kit import ears, timecode
from tests.kit.capture import NAMES, load_named
from tests.kit.detect import measure_floor


@pytest.mark.parametrize("name", NAMES)
def test_detectors_find_in_raw_segments_what_the_capture_says_of_itself(name: str) -> None:
    capture = load_named(name)
    measured = measure_floor(capture)
    for participant, floor in capture.floor_ms.items():
        for what, expected in floor.items():
            assert measured[participant][what] == pytest.approx(expected, abs=2.5), (participant, what)


def test_onsets_are_found_to_two_milliseconds_among_other_tones() -> None:
    samples = np.zeros(5 * ears.RATE_HZ, np.float32)
    steps = np.arange(ears.RATE_HZ // 10)
    shifts = {523: 0.0, 659: 3.3, 784: -7.25}
    for tone, shift_ms in shifts.items():
        for second in range(1, 5):
            begin = round((second + shift_ms / 1000) * ears.RATE_HZ)
            samples[begin : begin + len(steps)] += 0.3 * np.sin(2 * np.pi * tone * steps / ears.RATE_HZ)
    for tone, shift_ms in shifts.items():
        expected = [second * 1000 + shift_ms for second in range(1, 5)]
        assert ears.onsets_ms(samples, tone) == pytest.approx(expected, abs=2)
    assert ears.onsets_ms(samples, 932) == []


def test_every_value_of_the_drawn_clock_is_read_again() -> None:
    assert all(timecode.value_of(timecode.blocks(value)) == value for value in range(1 << 16))
    assert timecode.value_of([False] * 20) is None
    assert timecode.value_of([True] * 20) is None


@pytest.mark.parametrize("size", [(160, 90), (90, 160), (122, 92), (427, 241)])
def test_drawn_clock_is_read_in_small_pictures_that_are_cut_a_little_wrong(size: tuple[int, int]) -> None:
    for value in (0, 1, 777, 12345, 65535):
        picture = np.full((size[1], size[0], 3), (102, 0, 0), np.uint8)
        timecode.draw(picture, value)
        for off in (0, 1, 2):
            assert timecode.read(picture[off:, off:, 1]) == value
