"""Arithmetic of time, on numbers one can check by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callreel.clock import Span, anchor, picture_at, picture_us, pictures, samples, spans
from callreel.model import Chunk, Recording
from callreel.states import Status

CHUNK = Chunk(
    participant_id="p",
    track_id="t",
    seg=0,
    seq=0,
    received_ms=10_500,
    start_ms=1_000,
    at_ms=3_000,
    offset_ms=7_000,
    err_ms=4,
    sha256="0" * 64,
    size_bytes=1,
)
RECORDING = Recording(
    recording_id="rec_c_1000", call_id="c", status=Status.STOPPING, started_ms=1000, started_by="h", stopped_ms=11_000
)


def test_media_zero_is_start_and_the_first_offset_told() -> None:
    later = replace(CHUNK, seq=1, offset_ms=6_990, err_ms=1)
    for order in ([CHUNK, later], [later, CHUNK]):
        found = anchor(order)
        assert (found.zero_ms, found.err_ms, found.trusted) == (8_000, 4, "probe")


def test_a_client_without_offsets_is_placed_by_its_quickest_upload() -> None:
    slow = replace(CHUNK, offset_ms=None, err_ms=None)
    quick = replace(slow, seq=1, at_ms=5_000, received_ms=12_100)
    found = anchor([slow, quick])
    assert (found.zero_ms, found.trusted) == (1_000 + 7_100, "received")


def test_a_client_without_any_instants_is_placed_where_it_was_received() -> None:
    found = anchor([replace(CHUNK, offset_ms=None, err_ms=None, at_ms=None)])
    assert (found.zero_ms, found.trusted) == (10_500, "received")


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
