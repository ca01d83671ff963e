"""Calls that never were, from a seed: people who join, leave and come back, on clocks and recorders of all kinds.

The truth is drawn into every picture (`timecode`) and beeped at every true second, so that a film can be held
against it picture by picture. Pictures are small and calls short: what is tested is time, not eyes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from .capture import Capture, CapturedChunk, Run
from .detect import measure_floor
from .forms import USUAL, Recorder
from .recorders import RATE_HZ, Recorded, Take, record

#: dark, saturated, and at least half a channel apart once divided by their strongest channel (`eyes`)
COLORS: tuple[tuple[int, int, int], ...] = (
    (104, 0, 0),
    (0, 100, 0),
    (0, 0, 112),
    (96, 96, 0),
    (100, 0, 100),
    (0, 96, 96),
    (112, 56, 0),
    (56, 0, 112),
    (0, 104, 52),
)
#: Hz, at least 125 apart (`ears`), and none the double or the triple of another
TONES: tuple[int, ...] = (523, 659, 784, 923, 1097, 1237, 1423, 1613, 1811)
SHAPES: tuple[tuple[int, int], ...] = (
    (320, 180), (256, 144), (160, 90), (240, 180), (160, 120), (144, 256), (90, 160), (178, 142), (322, 182),
    (200, 200),
)  # fmt: skip
ODD_SHAPES: tuple[tuple[int, int], ...] = ((161, 91), (121, 163))  #: VP8 and VP9 alone can have these

_SHORTEST_RUN_MS = 3200  #: three beats at least


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    name: str
    index: int
    skew_ms: int
    size: tuple[int, int]
    fps: float
    recorder: Recorder
    timeslice_ms: int
    spans_ms: tuple[tuple[int, int], ...]  #: of being there, from the start
    later: tuple[tuple[int, tuple[int, int]], ...] = ()  #: other sizes, as in `Take`
    rate_hz: int = RATE_HZ
    channels: int = 1
    hum: bool = False
    picture_ppm: float = 0.0  #: how much faster than true time the recorder of each stamps them
    sound_ppm: float = 0.0
    dense: tuple[tuple[int, int], ...] = ()  #: as in `Take`
    stood: tuple[tuple[int, int], ...] = ()


def plan_call(seed: int, count: int | None = None, length_ms: int | None = None) -> tuple[int, int, list[Person]]:
    """Epoch, length and people of a call. Pure."""
    dice = random.Random(seed)
    epoch_ms = 1_795_000_000_000 + dice.randrange(10**8)
    length_ms = length_ms or dice.randrange(10_000, 16_000)
    count = count or dice.randint(2, 9)
    people = []
    for index in range(count):
        recorder = dice.choice(USUAL)
        sizes = SHAPES + (ODD_SHAPES if recorder.may_be_odd else ())
        reach_ms = dice.choice([0, 500, 90_000, 10_000_000])
        people.append(
            Person(
                name=f"p{index}",
                index=index,
                skew_ms=dice.randint(-reach_ms, reach_ms),
                size=dice.choice(sizes),
                fps=dice.choice([30, 30, 30, 25, 24, 15]),
                recorder=recorder,
                timeslice_ms=dice.choice([1000, 2000, 2000, 3000]),
                spans_ms=_spans(dice, length_ms, host=index == 0),
            )
        )
    return epoch_ms, length_ms, people


def _spans(dice: random.Random, length_ms: int, *, host: bool) -> tuple[tuple[int, int], ...]:
    begin = dice.randrange(0, 400) if host or dice.random() < 0.4 else dice.randrange(0, length_ms - _SHORTEST_RUN_MS)
    end = length_ms + dice.randrange(5, 90)  # recorders stop a little after the host has pressed stop
    if not host and dice.random() < 0.3 and end - begin > _SHORTEST_RUN_MS:
        end = dice.randrange(begin + _SHORTEST_RUN_MS, end)
    away_ms = dice.randrange(600, 2000)
    if end - begin < 2 * _SHORTEST_RUN_MS + away_ms or dice.random() < 0.5:
        return ((begin, end),)
    left = dice.randrange(begin + _SHORTEST_RUN_MS, end - _SHORTEST_RUN_MS - away_ms + 1)
    return (begin, left), (left + away_ms, end)


def generate_call(
    seed: int,
    *,
    count: int | None = None,
    length_ms: int | None = None,
    change: Callable[[Person], Person] = lambda person: person,
    floor: bool = True,
) -> Capture:
    """The call of a seed, recorded and chunked, with its floor measured on what was recorded, unless that is of no use.

    `change` makes other people of those that the seed planned.
    """
    epoch_ms, length_ms, people = plan_call(seed, count, length_ms)
    runs = [run for person in people for run in _runs(random.Random(f"{seed} {person.name}"), change(person), epoch_ms)]
    bare = Capture(name=f"generated-{seed}", true_epoch_ms=epoch_ms, length_ms=length_ms, runs=tuple(runs), floor_ms={})
    return replace(bare, floor_ms=measure_floor(bare)) if floor else bare


def _runs(dice: random.Random, person: Person, epoch_ms: int) -> list[Run]:
    found = []
    for seg, (begin, end) in enumerate(person.spans_ms):
        for track, has_audio, has_video in person.recorder.tracks:
            start = begin + dice.randrange(5)  # start() calls of one page follow each other by some ms
            recorded = record(
                dice,
                person.recorder,
                Take(
                    size=person.size if has_video else None,
                    rgb=COLORS[person.index],
                    tone_hz=TONES[person.index] if has_audio else None,
                    fps=person.fps,
                    start_ms=start,
                    length_ms=end - start - sum(length_ms for _, length_ms in person.stood),
                    beat_ms=-epoch_ms % 1000,
                    timeslice_ms=person.timeslice_ms,
                    later=person.later,
                    rate_hz=person.rate_hz,
                    channels=person.channels,
                    hum=person.hum,
                    ppm=person.picture_ppm if has_video else person.sound_ppm,
                    dense=person.dense,
                    stood=person.stood,
                ),
            )
            client_ms = epoch_ms + start + person.skew_ms
            found.append(
                Run(
                    participant=person.name,
                    track=track,
                    seg=seg,
                    has_audio=has_audio,
                    has_video=has_video,
                    mime_type=recorded.mime_type,
                    rgb=COLORS[person.index] if has_video else None,
                    tone_hz=TONES[person.index] if has_audio else None,
                    clock_skew_ms=person.skew_ms,
                    start_client_ms=client_ms,
                    stop_client_ms=epoch_ms + end + person.skew_ms,
                    chunks=_chunks(recorded, client_ms),
                    drawn_ms=recorded.drawn_ms,
                )
            )
    return found


def _chunks(recorded: Recorded, start_client_ms: float) -> tuple[CapturedChunk, ...]:
    return tuple(
        CapturedChunk(seq=seq, delivered_client_ms=start_client_ms + at_ms, data=data)
        for seq, (at_ms, data) in enumerate(recorded.blobs)
    )
