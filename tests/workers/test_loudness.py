"""How loud films are, by a meter that is not ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.build import build_recording
from tests.kit.line import make_film
from tests.kit.meter import measured
from tests.kit.voices import Turns, in_turns, recorded, sound_call, voice

LENGTH_S = 66
TARGET_LUFS = -16
MUST_LU = 1.5
MUST_DBTP = -1.0


def levels_apart(seed: int) -> list[tuple[Turns, float]]:
    """Four people between whom there are 16 dB."""
    return list(zip(in_turns(4, LENGTH_S, seed=seed), (-38.0, -32.0, -27.0, -22.0), strict=True))


CALLS: dict[str, list[tuple[Turns, float]]] = {
    "four-levels": levels_apart(2),
    "one-quiet": [([(0.4, 30.0), (34.0, LENGTH_S)], -36.0)],
    "shouting": [([(0.4, LENGTH_S)], -8.0), ([(5.0, LENGTH_S)], -10.0)],
    "all-at-once": [([(1.0 + n, LENGTH_S - 2 * n)], -24.0 - n) for n in range(5)],
}


@pytest.mark.parametrize(
    "name", ["four-levels", *(pytest.param(name, marks=pytest.mark.slow) for name in CALLS if name != "four-levels")]
)
def test_films_are_as_loud_as_they_should_be(name: str, data_dir: Path, redis_url: str) -> None:
    files = {
        f"p{n}": recorded(voice(turns, LENGTH_S, seed=n, rms_db=rms_db))
        for n, (turns, rms_db) in enumerate(CALLS[name])
    }
    outputs = [{"name": "sound", "container": "m4a"}]
    recording_id = build_recording(data_dir, sound_call(files, LENGTH_S * 1000), options={"outputs": outputs})
    made = make_film(data_dir, redis_url, recording_id)
    found = measured(made.film)
    print(f"{name}: {found.integrated_lufs:.1f} LUFS, {found.true_peak_dbtp:.1f} dBTP")
    assert abs(found.integrated_lufs - TARGET_LUFS) <= MUST_LU
    assert found.true_peak_dbtp <= MUST_DBTP
    for (turns, _), person in zip(CALLS[name], made.manifest["participants"], strict=True):
        said_ms = sum(b - a for a, b in turns) * 1000
        assert 0.7 * said_ms < sum(b - a for a, b in person["speech"]) < 1.3 * said_ms, person["participantId"]
