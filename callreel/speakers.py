"""Who speaks? Decided step by step from levels, and from nothing that comes later. Pure.

Somebody speaks where their microphone is louder than its room, and is not merely hearing somebody else. The same voice
on two microphones has the same shape of loudness, a little later and lower on the one that it does not belong to; two
people who speak at once have not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from .levels import FINE, STEP_US, UNKNOWN, Levels16
from .timeline import Timeline
from .voices import FLOOR_STEPS, Floats, Place, Voice, lufs, power_of, voiced

_SMOOTH = 3  #: steps whose mean says whether somebody speaks …
_HANG = 3  #: … and so many more until they have ended: between words nobody stops
#: Shapes are compared over so many fine steps, one microphone up to so many behind the other: 60 ms are 20 m of air, or
#: what two clocks are apart.
_SHAPE, _LAG = 50, 3
#: Only where both are loud is anybody merely heard: it is looked for in blocks of so many steps, with what shapes need
#: before them. In most calls few blocks have two at once, so that many people cost little.
_BLOCK, _BEFORE = 100, 12
#: Blocks, or stretches of half a minute, that are looked at at once: of all of a long call they take a hundred MB.
_AT_ONCE = 64
BLOCK_US = _BLOCK * STEP_US  #: who looks at a recording's beginning alone ends it at a multiple of this
_ALIKE = 0.8  #: correlation of loudness in dB; two people who speak at once stay below it
_LOWER_DB = 1.0
_SILENCE_LUFS = -60.0  #: what is quieter has no shape

_SHORTEST, _PAUSE = 3, 5  #: steps; what is shorter is no speech, and no end of it
#: The active speaker stays for this long at least, and until somebody is louder by that.
_HOLD, _HYSTERESIS_DB = 15, 3.0
_LOUDNESS = 5  #: steps whose mean is compared

Bools = NDArray[np.bool_]
Turn = tuple[int, str]  #: recording time (µs), participant


@dataclass(frozen=True, slots=True, kw_only=True)
class Speakers:
    """Who spoke when, in recording time (µs)."""

    people: tuple[str, ...]  #: participants in the order in which they came
    spoken: Mapping[str, Sequence[tuple[int, int]]]
    turns: Sequence[Turn]  #: from when on somebody is the active speaker; what is said behind changes none


def ranks(people: Sequence[str], turns: Sequence[Turn]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Everybody from each turn on (µs): the active speaker, then who was it last; then who never was, as they came."""
    order = tuple(people)
    for at_us, who in turns:
        order = (who, *(person for person in order if person != who))
        yield at_us, order


def plan_speakers(timeline: Timeline, sounds: Iterable[tuple[Place, Voice]]) -> Speakers:
    """Who speaks when; sound that is shared with a screen is nobody's voice."""
    shared = {
        (track.participant_id, track.track_id)
        for participant in timeline.participants
        for track in participant.tracks
        if track.source == "screen"
    }
    people = tuple(participant.participant_id for participant in timeline.participants)
    count = -(-timeline.duration_us // STEP_US)
    power = {person: np.zeros(count) for person in people}
    fine: dict[str, list[Levels16]] = {person: [] for person in people}
    for place, voice in sounds:
        if place[:2] not in shared:
            power[place[0]] += np.nan_to_num(voice.power)
            _lay(fine[place[0]], voice.fine)
    active: dict[str, Bools] = {}
    loudness = np.zeros((len(people), count))
    for row, person in zip(loudness, people, strict=True):
        sound = power.pop(person)
        active[person], row[:] = _active(sound), lufs(_trailing(sound, _LOUDNESS))
    loud = {person: now.copy() for person, now in active.items()}
    for a, b in combinations([person for person in people if active[person].any()], 2):
        both = loud[a] & loud[b]
        for first, end in _alike(np.unique(np.flatnonzero(both) // _BLOCK), count):
            begin, size = max(0, first[0] * _BLOCK - _BEFORE), end - first[0] * _BLOCK
            before = first[0] * _BLOCK - begin
            # a row for each block, all at once
            steps = (first * _BLOCK)[:, None] + np.arange(size)
            fine_steps = (first * _BLOCK - before)[:, None] * FINE + np.arange((before + size) * FINE)
            heard = _only_heard(_shape(fine[a], fine_steps), _shape(fine[b], fine_steps))
            for person, only in zip((a, b), heard, strict=True):
                active[person][steps] &= ~(only[:, before:] & both[steps])
    return Speakers(
        people=people,
        spoken={person: [(a * STEP_US, b * STEP_US) for a, b in _spans(active[person])] for person in people},
        turns=[(n * STEP_US, people[who]) for n, who in _turns(loudness, [active[person] for person in people])],
    )


def _lay(layers: list[Levels16], fine: Levels16) -> None:
    """One more microphone of somebody, into the first layer that is free wherever it was heard: as a rule there is one.

    Levels are a quarter of what mean squares would take, and of those few are ever asked for.
    """
    known = fine != UNKNOWN
    for layer in layers:
        if not (layer[known] != UNKNOWN).any():
            layer[known] = fine[known]
            return
    layers.append(fine.copy())


def _shape(layers: Sequence[Levels16], steps: NDArray[np.int64]) -> Floats:
    """Loudness at these fine steps, of all microphones together."""
    power = sum((np.nan_to_num(power_of(layer[steps])) for layer in layers), np.zeros(steps.shape))
    return np.maximum(lufs(power), _SILENCE_LUFS)


def _alike(blocks: NDArray[np.int64], count: int) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Some blocks that have the same lengths, and the step at which the first of them ends: the first and the last one
    of a recording may be shorter, or have less before them."""
    edge = (blocks == 0) | ((blocks + 1) * _BLOCK > count)
    inner = blocks[~edge]
    groups = [inner[n : n + _AT_ONCE] for n in range(0, len(inner), _AT_ONCE)]
    for group in (*(blocks[n : n + 1] for n in np.flatnonzero(edge)), *groups):
        yield group, min(int(group[0] + 1) * _BLOCK, count)


def _trailing(values: Floats, count: int) -> Floats:
    """The mean of each value and those before it in its row, so many in all."""
    sums = np.cumsum(np.concatenate([np.zeros((*values.shape[:-1], count)), values], axis=-1), axis=-1)
    found: Floats = (sums[..., count:] - sums[..., :-count]) / count
    return found


def _active(power: Floats) -> Bools:
    if not len(power):
        return np.zeros(0, bool)
    loudness = lufs(_trailing(power, _SMOOTH))
    # the room, looked at once a second; before the recording began there was silence, which is no room
    padded = np.concatenate([np.full(FLOOR_STEPS - 1, np.nan), np.where(power > 0, lufs(power), np.nan)])
    seen = np.lib.stride_tricks.sliding_window_view(padded, FLOOR_STEPS)[::10]
    floor = np.concatenate([_floor(seen[n : n + _AT_ONCE]) for n in range(0, len(seen), _AT_ONCE)])
    now = voiced(loudness, np.repeat(floor, 10)[: len(power)])
    lately = np.lib.stride_tricks.sliding_window_view(np.pad(now, (_HANG, 0)), _HANG + 1)
    found: Bools = np.asarray(lately.any(axis=1))
    return found


def _floor(seen: Floats) -> Floats:
    """The quietest tenth of each row, of what is known of it."""
    counts = (~np.isnan(seen)).sum(axis=1)
    tenth = (counts - 1).clip(0) // 10  # NaN sorts behind all; numpy's own nanpercentile takes a second an hour
    found: Floats = np.where(counts > 0, np.sort(seen, axis=1)[np.arange(len(seen)), tenth], -np.inf)
    return found


def _only_heard(a: Floats, b: Floats) -> tuple[Bools, Bools]:
    """In which steps a merely hears b, and b merely a; a row for each stretch that is looked at."""
    best = np.full((len(a), a.shape[1] // FINE), -1.0)
    for lag in range(-_LAG, _LAG + 1):
        later = np.roll(b, lag, axis=1) if lag >= 0 else np.roll(a, -lag, axis=1)
        later[:, : abs(lag)] = _SILENCE_LUFS
        x, y = (a, later) if lag >= 0 else (later, b)
        mean_x, mean_y = _trailing(x, _SHAPE), _trailing(y, _SHAPE)
        both = _trailing(x * y, _SHAPE) - mean_x * mean_y
        own = (_trailing(x * x, _SHAPE) - mean_x**2) * (_trailing(y * y, _SHAPE) - mean_y**2)
        # half a dB of swing is what quantising leaves of silence
        alike = both / np.sqrt(np.maximum(own, 0.25))
        best = np.maximum(best, alike[:, FINE - 1 :: FINE])
    louder = lufs(_trailing(10 ** (a / 10), _SHAPE)) - lufs(_trailing(10 ** (b / 10), _SHAPE))
    louder = louder[:, FINE - 1 :: FINE]
    return (best > _ALIKE) & (louder < -_LOWER_DB), (best > _ALIKE) & (louder > _LOWER_DB)


def _spans(active: Bools) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], active, [False]]).astype(np.int8)))
    found: list[tuple[int, int]] = []
    for a, b in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if found and a - found[-1][1] <= _PAUSE:
            found[-1] = (found[-1][0], b)
        else:
            found.append((a, b))
    return [(a, b) for a, b in found if b - a > _SHORTEST + _HANG]


def _turns(loudness: Floats, active: Sequence[Bools]) -> list[tuple[int, int]]:
    """(step, who) wherever the active speaker changes."""
    if not len(active):
        return []
    for row, on in zip(loudness, active, strict=True):
        row[~on] = -np.inf
    found: list[tuple[int, int]] = []
    best, loudest = loudness[0].copy(), np.zeros(len(loudness[0]), int)
    for number, row in enumerate(loudness):
        louder = row > best
        best[louder], loudest[louder] = row[louder], number
    for n in np.flatnonzero(best > -np.inf).tolist():
        who = int(loudest[n])
        if found:
            since, speaker = found[-1]
            if who == speaker or n - since < _HOLD or loudness[who, n] <= loudness[speaker, n] + _HYSTERESIS_DB:
                continue
        found.append((n, who))
    return found
