"""Clusters whose beginning is lost: their sound goes on at once, at the right instant, and nothing is made up."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from callreel.scans import Packets, RunScan
from tests.kit.call_generator import generate_call
from tests.kit.capture import NAMES, Run, load_named
from tests.kit.forms import Recorder
from tests.workers.test_scan import chunks_of, whole
from workers import torn
from workers.runscan import scan_run

OFF_US = 10_000  #: Chromium's stamps jitter by as much


def generated(recorder: Recorder, seed: int) -> Run:
    call = generate_call(
        seed,
        count=1,
        length_ms=8000,
        change=lambda p: replace(p, recorder=recorder, size=(160, 90), spans_ms=((0, 8050),), timeslice_ms=500),
    )
    return call.runs[0]


def behind_holes(run: Run) -> Iterator[tuple[RunScan, int]]:
    """What is read of a run behind each of its chunks, and the byte of the run at which that begins."""
    chunks, data, full = chunks_of(run), [piece.data for piece in run.chunks], whole(run)
    for first in range(2, len(chunks)):
        tail = scan_run(chunks[first:], b"".join(data[first:]), (full.container, full.head))
        if not tail.error:
            yield tail, sum(map(len, data[:first]))


def off_us(tail: Packets, full: Packets) -> int:
    return int(np.abs(tail.pts_us - full.pts_us[-len(tail) :]).max())


@pytest.mark.parametrize("recorder", [Recorder.WEBM_VP8, Recorder.MKV_H264], ids=lambda recorder: recorder.name)
def test_sound_goes_on_with_the_first_packet_that_is_whole(recorder: Recorder) -> None:
    run = generated(recorder, 3)
    full, resumed = whole(run), 0
    for tail, begin in behind_holes(run):
        received = full.audio.from_byte >= begin + 10  # the head of its block as well
        assert len(tail.audio) >= received.sum()
        assert off_us(tail.audio, full.audio) == 0
        assert not len(tail.video) or off_us(tail.video, full.video) == 0
        resumed += len(tail.lead) > 0
    assert resumed >= 10


def test_what_browsers_record_is_placed_within_the_jitter_of_its_stamps() -> None:
    resumed = 0
    for run in (run for name in NAMES for run in load_named(name).runs if run.has_audio):
        full = whole(run)
        for tail, _ in behind_holes(run):
            assert off_us(tail.audio, full.audio) <= (OFF_US if tail.lead else 0)
            assert not len(tail.video) or off_us(tail.video, full.video) <= (OFF_US if tail.lead else 0)
            resumed += len(tail.lead) > 0
    assert resumed >= 10


def test_a_key_frame_is_the_first_picture_of_its_cluster() -> None:
    """As browsers write it, and those recorders that stand for them: pictures alone lose nothing in torn Clusters."""
    runs = [generated(recorder, 3) for recorder in (Recorder.WEBM_VP8_SPLIT, Recorder.MKV_H264_SPLIT)]
    for run in [*runs, *(run for name in NAMES for run in load_named(name).runs)]:
        scan = whole(run)
        if not run.has_video or scan.container != "matroska":
            continue
        clusters = np.searchsorted(scan.starts, scan.video.from_byte, "right")
        leads = np.diff(clusters, prepend=0) > 0
        assert leads[scan.video.key == 1].all(), run.mime_type
        assert scan.video.key.sum() > 1


def test_nothing_is_made_up_where_it_cannot_be_told() -> None:
    """Too little sound behind it, a packet missing on either side, no sound at all."""
    run = generated(Recorder.WEBM_VP8, 3)
    full = whole(run)
    behind = int(np.searchsorted(full.audio.from_byte, full.starts[3]))
    data = run.data[int(full.starts[2]) + 300 : int(full.starts[3])]
    packets = [getattr(full.audio, name)[behind:] for name in Packets.__slots__]

    def told(wanted: slice | list[int]) -> bool:
        chosen = Packets(**{name: array[wanted] for name, array in zip(Packets.__slots__, packets, strict=True)})
        return torn.find(full.head, data, chosen) is not None

    assert told(slice(0, None))
    assert not told(slice(0, torn.NEEDED - 1))
    assert not told([0, 1, 2, 4, 5, 6, 7, 8, 9])
    assert not told(slice(0, 0))


def test_blocks_are_found_in_whatever_comes_and_never_in_what_is_none() -> None:
    dice = random.Random(7)
    run = generated(Recorder.MKV_H264, 5)
    full = whole(run)
    begins = [int(at) for at in full.starts]
    positions = np.sort(np.concatenate((full.video.from_byte, full.audio.from_byte)))
    for a, b in pairwise(begins[:5]):
        for cut in (dice.randrange(a + 20, b - 4000) for _ in range(20)):
            found = torn.first_block(run.data[cut:b])
            assert found is not None
            # a payload begins at most 9 bytes behind its block: the one that is found is the first whole one
            following = int(positions[np.searchsorted(positions, cut)])
            later = int(positions[np.searchsorted(positions, following, "right")])
            assert 2 <= following - cut - found <= 10 or 2 <= later - cut - found <= 10
    for size in (0, 1, 2, 5, 1000, 300_000):
        assert torn.first_block(dice.randbytes(size) + b"\xa3") is None
    assert torn.first_block(b"\xa3" * 300_000) is None  # in no time
