"""Levels on the recording's clock: shifted, drifting, cut, torn."""

from __future__ import annotations

import numpy as np
import pytest

from callreel.levels import FINE, UNKNOWN, Levels
from callreel.placement import Line
from callreel.scans import RunScan
from callreel.timeline import Clip, Timeline
from callreel.voices import lufs, power_of, voices

PLACE = ("ada", "mic", 0)


def run(first: int, values: list[int]) -> RunScan:
    loudness = np.array(values, np.int16)
    levels = Levels(first=first, loudness=loudness, peak=loudness, fine=np.repeat(loudness, FINE))
    return RunScan(first_seq=0, chunk_sha256=("a",), chunk_bytes=(1,), levels=levels)


def clip(number: int, from_us: int, to_us: int, line: Line, kind: str = "audio") -> Clip:
    return Clip(
        kind="audio" if kind == "audio" else "video",
        participant_id=PLACE[0],
        track_id=PLACE[1],
        seg=PLACE[2],
        run=number,
        from_us=from_us,
        to_us=to_us,
        line=line,
    )


def timeline(*clips: Clip, duration_us: int = 2_000_000) -> Timeline:
    return Timeline(
        duration_us=duration_us,
        participants=(),
        clips=clips,
        gaps=(),
        presences=(),
        cuts_us=(),
        anchors={},
        drifts={},
    )


def shifted(us: int) -> Line:
    return Line(((0, us),))


def heard(*clips: Clip, runs: list[RunScan], duration_us: int = 2_000_000) -> list[int | None]:
    found = voices(timeline(*clips, duration_us=duration_us), {PLACE: runs})[PLACE]
    assert lufs(float(np.nanmean(power_of(found.fine)))) == pytest.approx(lufs(float(np.nanmean(found.power))), abs=1)
    return [None if np.isnan(value) else round(float(value)) for value in lufs(found.power)]


def test_levels_go_where_their_sound_goes() -> None:
    values = [-1000 - 100 * n for n in range(10)]
    assert heard(clip(0, 340_000, 1_340_000, shifted(340_000)), runs=[run(0, values)]) == [
        *[None] * 4, *range(-11, -20, -1), *[None] * 7,
    ]  # fmt: skip
    # a run behind a hole, whose levels begin at its own first step, and one that is unknown in between
    torn = [run(0, values[:3]), run(6, [*values[6:8], UNKNOWN, values[9]])]
    clips = clip(0, 0, 300_000, shifted(0)), clip(1, 600_000, 1_000_000, shifted(0))
    assert heard(*clips, runs=torn)[:10] == [-10, -11, -12, None, None, None, -16, -17, None, -19]


def test_what_is_cut_away_is_not_heard() -> None:
    values = [-1000] * 20
    assert heard(clip(0, 500_000, 800_000, shifted(0)), runs=[run(0, values)]).count(-10) == 3
    assert voices(timeline(clip(0, 0, 2_000_000, shifted(0), "video")), {PLACE: [run(0, values)]}) == {}


@pytest.mark.parametrize("ppm", [-500, 500])
def test_a_clock_that_runs_off_leaves_no_step_out(ppm: int) -> None:
    """Half an hour at 500 ppm is 0.9 s: nine steps more or less than the media has."""
    count = 18_000
    length_us = count * 100_000
    placed_us = length_us + length_us * ppm // 1_000_000
    line = Line(((0, 0), (length_us, placed_us)))
    values = [-1000] * (count // 2) + [-2000] * (count // 2)
    found = heard(clip(0, 0, placed_us, line), runs=[run(0, values)], duration_us=placed_us)
    assert None not in found[:-1]
    assert found.index(-20) == pytest.approx(placed_us / 2 / 100_000, abs=1)
