"""LiveKit's cadence score, of events whose score can be said beforehand; and clocks put on a call's uploads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.kit.build import STARTED_MS, plan_uploads
from tests.kit.cadence import cadence
from tests.kit.clocks import Clock, retimed
from tests.kit.voices import sound_call

STEADY = [500.0 + 1000 * n for n in range(20)]


def test_what_is_steady_and_together_has_all_points() -> None:
    found = cadence({"a": STEADY, "b": STEADY}, {"a": STEADY})
    assert (found.score, found.stable_after_ms, found.av_ms) == (100, 500, 0)


@pytest.mark.parametrize(("late_ms", "lost"), [(50, 0), (175, 10 + 10 * 75 / 400), (300, 20 + 10 * 200 / 400)])
def test_sound_that_is_late_costs_by_how_much(late_ms: float, lost: float) -> None:
    found = cadence({"a": [at + late_ms for at in STEADY]}, {"a": STEADY})
    assert found.av_ms == -late_ms
    assert found.score == pytest.approx(100 - lost, abs=0.06)


def test_jitter_costs_in_sound_and_in_what_is_between_both() -> None:
    beeps = [at + (12 if n % 2 else -12) for n, at in enumerate(STEADY)]
    found = cadence({"a": beeps}, {"a": STEADY})
    assert found.beep_jitter_ms == found.av_deviation_ms == pytest.approx(12.3, abs=0.1)
    assert found.flash_jitter_ms == 0
    assert found.score == pytest.approx(100 - 20 * 7.3 / 45 - 20 * 2.3 / 40, abs=0.1)


def test_what_wavers_at_first_counts_by_its_time_alone() -> None:
    beeps = [at + (200 if n < 4 else 0) for n, at in enumerate(STEADY)]
    found = cadence({"a": beeps}, {"a": STEADY})
    assert found.stable_after_ms == 4500
    assert found.av_worst_ms == 0
    assert found.score == pytest.approx(100 - 10 * 3.5 / 9, abs=0.06)


def test_half_a_recording_and_one_that_is_never_stable_have_none() -> None:
    assert cadence({"a": STEADY}, {}).score == 0
    assert cadence({}, {"a": STEADY}).score == 0
    wild = [at + (120 * (n % 3)) for n, at in enumerate(STEADY)]
    assert cadence({"a": wild}, {"a": wild}).score == 0


def test_a_clock_that_runs_fast_is_stamped_so_and_probed_truly() -> None:
    call = sound_call({"ada": bytes(600_000)}, 600_000)
    call = replace(call, runs=tuple(replace(run, clock_skew_ms=5_000, start_client_ms=run.start_client_ms + 5_000)
                                    for run in call.runs))  # fmt: skip
    uploads = plan_uploads(call, STARTED_MS)
    found = retimed(uploads, started_ms=STARTED_MS, clocks={"ada": Clock(ppm=500)}, seed=1)
    assert len(found) == len(uploads)
    assert found == retimed(uploads, started_ms=STARTED_MS, clocks={"ada": Clock(ppm=500)}, seed=1)
    for before, after in zip(uploads, sorted(found, key=lambda u: u.chunk.seq), strict=True):
        chunk = after.chunk
        assert before.chunk.at_ms is not None
        assert chunk.at_ms is not None
        assert chunk.offset_ms is not None
        assert chunk.err_ms is not None
        true_ms = before.chunk.at_ms - 5_000
        # told back to the server's clock it is the truth, late by the jitter, to what probes leave open and are old
        assert -chunk.err_ms - 6 <= chunk.at_ms + chunk.offset_ms - true_ms <= 300 + chunk.err_ms + 6
        assert chunk.err_ms <= 32
