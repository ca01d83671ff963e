"""Arithmetic of time, on numbers one can check by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callreel.clock import Span, picture_at, picture_us, pictures, samples, spans
from callreel.model import Recording
from callreel.states import Status

RECORDING = Recording(
    recording_id="rec_c_1000", call_id="c", status=Status.STOPPING, started_ms=1000, started_by="h", stopped_ms=11_000
)


def test_pauses_are_cut_out_of_recording_time() -> None:
    paused = replace(RECORDING, pauses=((3_000, 4_000), (6_000, 9_000)))
    assert spans(paused, 11_000) == [
        Span(from_ms=1_000, to_ms=3_000, at_us=0),
        Span(from_ms=4_000, to_ms=6_000, at_us=2_000_000),
        Span(from_ms=9_000, to_ms=11_000, at_us=4_000_000),
    ]
    assert spans(replace(RECORDING, pauses=((3_000, 11_000),)), 11_000)[-1].end_us == 2_000_000
    assert spans(RECORDING, 1_000) == []


@pytest.mark.parametrize(("duration_us", "fps", "count"), [(8_000_000, 30, 240), (20_016_000, 30, 600), (1, 30, 0)])
def test_a_film_is_whole_pictures(duration_us: int, fps: int, count: int) -> None:
    assert pictures(duration_us, fps) == count


@given(number=st.integers(-(10**6), 10**7), fps=st.sampled_from([24, 25, 30, 50, 60]))
def test_pictures_and_their_instants_agree(number: int, fps: int) -> None:
    assert picture_at(picture_us(number, fps), fps) == number


def test_eight_seconds_are_whole_samples_and_whole_sounds() -> None:
    assert samples(8_000_000, 48_000) == 375 * 1024
    assert samples(-8_000_000, 48_000) == -375 * 1024
