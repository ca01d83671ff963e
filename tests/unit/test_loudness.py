"""Gains: what they come from, how far they go, and that windows agree about them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from callreel.loudness import Gain, plan_gains, ramp
from callreel.voices import Place, Voice
from tests.kit.voices import in_turns

PLACE = ("ada", "mic", 0)
WINDOW_US = 8_000_000
STEPS = 80  #: in a window
LEAD_IN_US = 500_000


def talk(seconds: int, lufs: float, *, seed: int = 1, noise_lufs: float = -70) -> NDArray[np.float64]:
    """Mean squares of somebody who speaks in phrases, with a level that swings as voices' do, over a room's noise."""
    dice = np.random.default_rng(seed)
    level = lufs + dice.normal(0, 4, seconds * 10)
    at = 0
    while at < len(level):
        at += int(dice.integers(8, 40))
        pause = int(dice.integers(3, 12))
        level[at : at + pause] = noise_lufs
        at += pause
    return 10 ** ((np.maximum(level, noise_lufs) + 0.691) / 10)


def conversation(seed: int, lufs: list[float]) -> dict[Place, NDArray[np.float64]]:
    """Five minutes of people who mostly let each other finish."""
    found = {}
    for n, turns in enumerate(in_turns(len(lufs), 300, seed=seed)):
        power = talk(300, lufs[n], seed=10 * seed + n)
        speaking = np.zeros(len(power), bool)
        for begin, end in turns:
            speaking[int(begin * 10) : int(end * 10)] = True
        found["abcd"[n], "mic", 0] = np.where(speaking, power, 10**-7)
    return found


def steady(seconds: int, lufs: float) -> NDArray[np.float64]:
    return np.full(seconds * 10, 10 ** ((lufs + 0.691) / 10))


def loudness(power: NDArray[np.float64]) -> float:
    """Integrated, as a meter has it (EBU Tech 3341)."""
    blocks = np.convolve(power, np.full(4, 0.25), "valid")
    for gate in (10 ** ((-70 + 0.691) / 10), blocks.mean() / 10):
        blocks = blocks[blocks > gate]
    return float(-0.691 + 10 * np.log10(blocks.mean()))


def gains_of(*parts: NDArray[np.float64]) -> list[Gain]:
    return gains({PLACE: np.concatenate(parts)})[PLACE]


def gains(powers: Mapping[Place, NDArray[np.float64]]) -> dict[Place, list[Gain]]:
    count = len(next(iter(powers.values())))
    borders = [*range(0, count * 100_000, WINDOW_US), count * 100_000]
    nothing = np.zeros(0, np.int16)
    told = plan_gains({place: Voice(power=power, fine=nothing) for place, power in powers.items()}, borders)
    return {place: list(found) for place, found in told.items()}


@pytest.mark.parametrize("lufs", [-28, -22, -16, -10, -6])
def test_each_voice_is_evened(lufs: float) -> None:
    power = talk(64, lufs)
    found = gains_of(power)
    wanted = np.clip(-16 - loudness(power), -12, 18)
    assert all(gain is not None and abs(gain / 100 - wanted) < 3 for gain in found), found
    assert found[-1] is not None
    assert abs(found[-1] / 100 - wanted) <= 1


def test_the_first_window_is_evened_by_itself_and_the_next_by_what_was_before() -> None:
    found = gains_of(talk(8, -26), talk(56, -14, seed=2))
    assert found[0] is not None
    assert found[0] >= 700
    assert found[1] == found[0], "nobody knew that it would become louder"
    assert found[2] is not None
    assert found[2] < found[0]


def test_gains_go_by_3_db_at_most_from_window_to_window_and_no_further_than_18() -> None:
    found = gains_of(talk(64, -42), talk(64, -3, seed=2))
    known = [gain for gain in found if gain is not None]
    assert max(abs(a - b) for a, b in pairwise(known)) <= 300
    assert max(known) == 1800
    assert all(gain % 100 == 0 for gain in known)


def test_silence_and_a_noise_that_stands_still_move_nothing() -> None:
    for pause in (steady(120, -120), steady(120, -58), steady(120, -44)):
        found = gains_of(talk(40, -24), pause, talk(40, -24, seed=3))
        before, after = found[5], found[5 + 15]
        assert before is not None
        assert after is not None
        assert abs(before - after) <= 100
        assert found[6:20] == [found[6]] * 14
    assert gains_of(steady(64, -44)) == [None] * 8
    assert gains_of(steady(64, -120)) == [None] * 8
    music = gains_of(steady(64, -26))
    assert music == [1000] * 8, "what is loud is meant to be heard, however steady"


def test_people_who_speak_at_once_are_turned_down_together() -> None:
    alone = gains_of(talk(64, -20))
    together = gains({(name, "mic", 0): talk(64, -20, seed=1) for name in "abcd"})
    for found in together.values():
        assert abs((found[4] or 0) - (alone[4] or 0) + 600) <= 100


def test_a_microphone_that_nobody_uses_changes_nobody_elses_gain() -> None:
    voice = talk(64, -20)
    assert gains({PLACE: voice, ("bob", "mic", 0): steady(64, -60)})[PLACE] == gains_of(voice)


@given(seed=st.integers(0, 1000), cut=st.integers(1, 8))
def test_the_future_changes_nothing(seed: int, cut: int) -> None:
    powers = {(name, "mic", 0): talk(72, -24 + 4 * n, seed=seed + n) for n, name in enumerate("ab")}
    whole = gains(powers)
    part = gains({place: power[: cut * STEPS] for place, power in powers.items()})
    assert {place: found[:cut] for place, found in whole.items()} == part


def test_a_lost_chunk_rarely_changes_a_window_that_does_not_play_it() -> None:
    """Two seconds at a time, all over five minutes of four people: for one in five at most anything else changes."""
    dice = np.random.default_rng(7)
    others, trials = 0, 0
    for call in range(3):
        powers = conversation(call, [dice.uniform(-28, -12) for _ in "abcd"])
        before = gains(powers)
        for _ in range(20):
            trials += 1
            name, at = "abcd"[dice.integers(4)], int(dice.integers(0, 2980))
            torn = dict(powers) | {(name, "mic", 0): powers[name, "mic", 0].copy()}
            torn[name, "mic", 0][at : at + 20] = np.nan
            after = gains(torn)
            playing = {k for k in range(38) if k * STEPS - 5 < at + 20 and (k + 1) * STEPS + 1 > at}
            changed = {
                k
                for place in powers
                for k in range(38)
                if before[place][max(0, k - 1) : k + 1] != after[place][max(0, k - 1) : k + 1]
            }
            others += bool(changed - playing)
    assert others / trials < 0.2, (others, trials)


def test_gains_begin_afresh_so_that_windows_do_not_depend_on_all_that_was() -> None:
    """After a minute of other sound, and the 16th window behind that, nobody can tell how it began."""
    later = talk(320, -20, seed=5)
    one, two = (gains_of(talk(64, lufs, seed=4), later) for lufs in (-14, -28))
    assert one[:8] != two[:8]
    assert one[32:] == two[32:]


def test_ramps_are_the_same_from_both_sides_of_a_border() -> None:
    found: list[Gain] = [None, 400, 100, 100]
    for k in (1, 2, 3):
        border = k * WINDOW_US
        left = ramp(found, k - 1, border - WINDOW_US, border, LEAD_IN_US)
        right = ramp(found, k, border, border + WINDOW_US, LEAD_IN_US)
        at = np.arange(border - LEAD_IN_US, border + 100_000, 1_000)
        assert np.array_equal(np.interp(at, *np.array(left).T), np.interp(at, *np.array(right).T))
    assert ramp(found, 1, 8_000_000, 16_000_000, LEAD_IN_US) == [(8_100_000, 0), (8_200_000, 400)]
    assert ramp(found, 2, 16_000_000, 24_000_000, LEAD_IN_US) == [(16_100_000, 400), (17_100_000, 100)]
    assert ramp(found, 3, 24_000_000, 32_000_000, LEAD_IN_US) == [(24_000_000, 100)]
    assert ramp([400, 100], 1, 8_000_000, 8_050_000, LEAD_IN_US) == [(8_100_000, 400), (8_100_001, 100)]
