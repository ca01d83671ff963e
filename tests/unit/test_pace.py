"""Who falls behind searches faster, and then waits; who catches up searches well again; and nobody flutters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callreel import pace
from callreel.pace import STEPS, WAITING, Pace, decode, encode, paced, speed
from callreel.profiles import PROFILES, VIDEO_CODECS


def walk(*behind: int) -> list[str]:
    """The steps of a recording that was found so many windows behind, one look after the other."""
    now, found = Pace(), []
    for count in behind:
        now = paced(now, count)
        found.append(STEPS[now.step].name)
    return found


def test_who_keeps_up_stays_at_full_speed() -> None:
    assert set(walk(*[0, 1, 2, 1, 3, 2, 1, 0] * 20)) == {"full"}


def test_who_falls_behind_steps_down_until_windows_wait() -> None:
    steps = walk(*range(20))
    assert [steps.index(step.name) for step in STEPS] == [step.from_behind for step in STEPS]
    assert steps == sorted(steps, key=[step.name for step in STEPS].index)


def test_who_waits_goes_on_waiting() -> None:
    assert walk(*range(17), 40, 200)[-2:] == ["waiting", "waiting"]


def test_who_catches_up_steps_back_one_by_one() -> None:
    assert walk(0, 4, 8, 6, 5, 4, 3, 2, 1, 0)[1:] == [
        *("faster", "fastest", "fastest", "fastest", "faster", "faster", "faster", "full", "full"),
    ]  # fmt: skip


def test_workers_that_came_late_are_not_slow() -> None:
    assert walk(75, 74, 73, 60, 40, 20, 8) == ["faster"] * 7
    assert walk(75, 77, 79)[-1] == "waiting", "but if they lose ground they are"


def test_a_step_is_not_taken_twice_for_the_same_backlog() -> None:
    assert walk(*[9] * 50) == ["faster"] * 50


@given(st.lists(st.integers(min_value=0, max_value=60), max_size=80))
def test_one_step_at_a_time_and_never_out_of_the_table(behind: list[int]) -> None:
    now = Pace()
    for count in behind:
        before, now = now, paced(now, count)
        assert abs(now.step - before.step) <= 1
        assert 0 <= now.step <= WAITING
        assert now.behind == count >= now.least_behind
        assert decode(encode(now)) == now
        assert now.waits or not before.waits


@pytest.mark.parametrize("text", ["", "x", "1", "1 2 three", "1 2 3 4"])
def test_a_hint_that_cannot_be_read_is_the_usual_pace(text: str) -> None:
    assert decode(text) == Pace()


def test_speeds_begin_with_what_profiles_ask_for() -> None:
    assert {codec: speeds[0] for codec, speeds in pace.SPEEDS.items()} == {
        codec: encoder.speed for codec, encoder in VIDEO_CODECS.items()
    }
    assert {profile.speed for profile in PROFILES.values()} == {"veryfast"}


@pytest.mark.parametrize(
    ("profile", "speeds"),
    [
        ({"speed": "veryfast"}, ["veryfast", "superfast", "ultrafast", "ultrafast"]),
        ({"speed": "8", "video_codec": "vp8"}, ["8", "12", "16", "16"]),
        ({"speed": "8", "video_codec": "vp9"}, ["8"] * 4),
        ({"speed": "", "video_codec": "none"}, [""] * 4),
        ({"speed": "slow"}, ["slow"] * 4),  # whoever chose another one meant it
    ],
)
def test_every_step_has_a_speed(profile: dict[str, str], speeds: list[str]) -> None:
    assert [speed(profile, step) for step in range(len(STEPS))] == speeds
