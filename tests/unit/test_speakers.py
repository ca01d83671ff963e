"""Who speaks: against calls of which it is known, with microphones that hear each other."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest

from callreel.levels import FINE
from callreel.model import Participant, Track
from callreel.speakers import BLOCK_US, Speakers, plan_speakers, ranks
from callreel.timeline import Timeline
from callreel.voices import Voice, lufs
from tests.kit.voices import RATE_HZ, Samples, Turns, in_turns, voice
from workers.levels import loudness

BLEED_DB, BLEED_MS = -3.0, 3


def timeline(people: Mapping[str, str], length_s: float) -> Timeline:
    return Timeline(
        duration_us=int(length_s * 1_000_000),
        participants=tuple(
            Participant(participant_id=person, name=person, tracks=(track(person, source),))
            for person, source in people.items()
        ),
        clips=(),
        gaps=(),
        presences=(),
        cuts_us=(),
        anchors={},
        drifts={},
    )


def track(person: str, source: str) -> Track:
    return Track(participant_id=person, track_id="t", source=source, kind="audio")  # type: ignore[arg-type]  # of SOURCES


def speakers(sounds: Mapping[str, Samples], **sources: str) -> Speakers:
    voices = {}
    for person, samples in sounds.items():
        fine = loudness(np.stack([samples[: len(samples) // 4800 * 4800]] * 2))
        levels = np.rint(100 * lufs(fine)).astype(np.int16)
        voices[person, "t", 0] = Voice(power=fine.reshape(-1, FINE).mean(axis=1), fine=levels)
    length_s = len(next(iter(sounds.values()))) / RATE_HZ
    return plan_speakers(
        timeline({person: sources.get(person, "microphone") for person in sounds}, length_s), voices.items()
    )


def ranks_at(found: Speakers, at_us: int) -> tuple[str, ...]:
    orders = [order for from_us, order in ranks(found.people, found.turns) if from_us <= at_us]
    return orders[-1] if orders else found.people


def call(seed: int, length_s: float, rms_db: tuple[float, ...]) -> tuple[dict[str, Turns], dict[str, Samples]]:
    turns = dict(zip("abcd", in_turns(len(rms_db), length_s, seed=seed), strict=False))
    sounds = {
        person: voice(turns[person], length_s, seed=seed * 10 + n, rms_db=rms_db[n]) for n, person in enumerate(turns)
    }
    return turns, sounds


def with_bleed(sounds: Mapping[str, Samples], db: float = BLEED_DB, ms: float = BLEED_MS) -> dict[str, Samples]:
    """Everybody in one room: each microphone hears the others as well, later and lower."""
    late = int(ms * RATE_HZ / 1000)
    factor = np.float32(10 ** (db / 20))
    return {
        person: own + sum(np.roll(other, late) * factor for name, other in sounds.items() if name != person)
        for person, own in sounds.items()
    }


def overlap_s(span: tuple[float, float], turns: Turns) -> float:
    return sum(max(0.0, min(span[1], b) - max(span[0], a)) for a, b in turns)


def events(found: Speakers) -> list[tuple[str, tuple[float, float]]]:
    return [(person, (a / 1e6, b / 1e6)) for person, spans in found.spoken.items() for a, b in spans]


def doubled(found: Speakers, turns: Mapping[str, Turns]) -> list[tuple[str, tuple[float, float]]]:
    """Events of somebody who says nothing meanwhile."""
    return [(person, span) for person, span in events(found) if overlap_s(span, turns[person]) < 0.1]


@pytest.mark.parametrize("bleeding", [False, True])
def test_who_speaks_is_heard_and_nobody_else(*, bleeding: bool) -> None:
    count, twice, said_s, heard_s = 0, 0, 0.0, 0.0
    for seed in range(3):
        turns, sounds = call(seed, 90, (-26, -26, -28, -24))
        found = speakers(with_bleed(sounds) if bleeding else sounds)
        count += len(events(found))
        twice += len(doubled(found, turns))
        for person in turns:
            said_s += sum(b - a for a, b in turns[person])
            heard_s += sum(overlap_s(span, turns[person]) for who, span in events(found) if who == person)
    print(f"bleeding {bleeding}: {twice} of {count} events doubled, {heard_s:.0f} of {said_s:.0f} s found")
    assert count > 40
    assert twice < 0.02 * count
    assert heard_s > 0.85 * said_s


def test_two_who_speak_at_once_are_two() -> None:
    sounds = {name: voice([(1, 20)], 21, seed=n, rms_db=-26 - 2 * n) for n, name in enumerate("ab")}
    for found in (speakers(sounds), speakers(with_bleed(sounds, db=-15))):
        for name in "ab":
            assert sum(b - a for a, b in found.spoken[name]) > 15_000_000, name


def test_silence_rooms_and_shared_sound_do_not_speak() -> None:
    dice = np.random.default_rng(1)
    room = (dice.standard_normal(20 * RATE_HZ) * 10 ** (-50 / 20)).astype(np.float32)
    found = speakers(
        {"a": np.zeros(20 * RATE_HZ, np.float32), "b": room, "c": voice([(0, 20)], 20, seed=1)}, c="screen"
    )
    assert events(found) == []
    assert found.turns == []
    assert ranks_at(found, 10_000_000) == ("a", "b", "c")


def test_the_active_speaker_stays_a_while_and_yields_to_who_is_louder() -> None:
    turns: dict[str, Turns] = {"a": [(1, 8), (20, 26)], "b": [(8.2, 12), (15, 16)], "c": [(12.2, 20)]}
    found = speakers({person: voice(spans, 27, seed=n, rms_db=-26) for n, (person, spans) in enumerate(turns.items())})
    at_s = [at_us / 1e6 for at_us, _ in found.turns]
    assert all(after - before >= 1.5 for before, after in pairwise(at_s)), found.turns
    for at, expected in ((4, "abc"), (11, "bac"), (14.5, "cba"), (25, "acb")):
        assert "".join(ranks_at(found, int(at * 1e6))) == expected, (at, found.turns)


def test_what_comes_later_changes_nothing() -> None:
    _, sounds = call(5, 40, (-26, -22, -30))
    whole = speakers(with_bleed(sounds))
    for cut_s in (8, 16, 24):
        part = speakers({person: sound[: cut_s * RATE_HZ] for person, sound in with_bleed(sounds).items()})
        assert part.turns == [turn for turn in whole.turns if turn[0] < cut_s * 1_000_000]


def test_what_is_said_behind_an_instant_changes_nothing_before_it() -> None:
    _, sounds = call(5, 65.0, (-20.0, -22.0, -24.0))
    heard = with_bleed(sounds)
    whole = speakers(heard)
    for blocks in (1, 3, 6):
        until_us = blocks * BLOCK_US
        known = speakers({person: samples[: until_us * RATE_HZ // 1_000_000] for person, samples in heard.items()})
        assert list(known.turns) == [turn for turn in whole.turns if turn[0] < until_us]
    assert len(whole.turns) >= 5
