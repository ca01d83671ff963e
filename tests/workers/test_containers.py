"""Chunks that are late and chunks that are lost, in every container: what is named is missing, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.kit.call_generator import generate_call
from tests.kit.figures import figures
from tests.kit.forms import Recorder, cases
from tests.kit.kept import least_kept

ERROR_MS, BORDER_MS, KEPT = 20, 50, 0.99
UNREAD = 0.01  #: of the pictures; their clock was worn by an encoder
CHEAP = (Recorder.MP4_H264, Recorder.WEBM_VP8_OGG)


@pytest.mark.parametrize("recorder", cases(*CHEAP))
def test_what_is_late_or_lost_costs_what_the_manifest_names(recorder: Recorder, data_dir: Path, redis_url: str) -> None:
    """Five in a hundred late, one in a hundred lost, and at least one of each track."""
    length_ms, count = (10_000, 1) if recorder in CHEAP else (40_000, 2)
    found = figures(data_dir, redis_url, recorder, seed=1, count=count, length_ms=length_ms)
    print(found)
    assert found.gaps >= count * len(recorder.tracks), found
    assert found.picture_worst_ms <= ERROR_MS, found
    assert found.sound_ms <= ERROR_MS, found
    assert found.picture_border_ms <= BORDER_MS, found
    assert found.sound_border_ms <= BORDER_MS, found
    assert found.unread <= UNREAD * length_ms * 30 / 1000 * count, found
    assert found.kept >= KEPT, found


@pytest.mark.parametrize("recorder", cases(Recorder.WEBM_VP9, Recorder.WEBM_AV1, Recorder.MP4_VP9, *CHEAP))
def test_whatever_chunk_is_lost_the_others_are_in_the_film(recorder: Recorder) -> None:
    call = generate_call(
        7,
        count=1,
        length_ms=6_000,
        change=lambda p: replace(p, recorder=recorder, size=(160, 90), spans_ms=((0, 6_000),), timeslice_ms=500),
    )
    for run in call.runs:
        least = least_kept(run)
        print(f"{run.mime_type}: {least:.2%}")
        assert least >= KEPT, run.mime_type
