"""Clients' clocks that are off, run wrong, are probed over some line, and deliveries that are late: put on a capture.

A capture's stamps are those of clocks that are off and nothing else. `retimed`, as a recipe's `arrange`, tells all of a
call anew as clients with worse ones would; when media really was recorded stays as it is.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .build import Place, Upload

_PROBE_MS = 10_000  #: the library's client asks as often


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Of one client; how far it is off is its runs' own matter."""

    ppm: float = 0.0  #: how much faster it runs than the server's
    late_ms: tuple[float, float] = (0.0, 300.0)  #: deliveries are late by something between
    round_trip_ms: float = 60.0  #: at most; the best of four is told

    def reads_ms(self, server_ms: float, skew_ms: float, started_ms: float) -> float:
        return server_ms + skew_ms + (server_ms - started_ms) * self.ppm * 1e-6


def retimed(
    uploads: Sequence[Upload],
    *,
    started_ms: int,
    clocks: Mapping[str, Clock],
    seed: int = 0,
    ready_ms: Mapping[Place, float] | None = None,
) -> list[Upload]:
    """The uploads as clients with these clocks would have stamped them, in the order of their arrival.

    `ready_ms` says when each could have been delivered, server's clock; else as the capture has it.
    """
    probes = {name: _probes(random.Random(f"probes {seed} {name}"), clock) for name, clock in clocks.items()}
    late = {name: random.Random(f"late {seed} {name}") for name in clocks}
    last: dict[tuple[str, str, int], float] = {}
    found = []
    for upload in sorted(uploads, key=lambda u: u.place):
        run, chunk = upload.run, upload.chunk
        name, skew_ms = run.participant, run.clock_skew_ms
        clock = clocks[name]
        assert chunk.at_ms is not None
        place = upload.place[:3]
        soonest_ms = (ready_ms or {}).get(upload.place, chunk.at_ms - skew_ms)
        at_ms = max(last.get(place, 0.0) + 1, soonest_ms + late[name].uniform(*clock.late_ms))
        last[place] = at_ms
        belief_ms, err_ms = probes[name](max(0, int((at_ms - started_ms) // _PROBE_MS)))
        found.append(
            replace(
                upload,
                chunk=replace(
                    chunk,
                    start_ms=round(clock.reads_ms(chunk.start_ms - skew_ms, skew_ms, started_ms)),
                    at_ms=round(clock.reads_ms(at_ms, skew_ms, started_ms)),
                    offset_ms=round(belief_ms - skew_ms),
                    err_ms=err_ms,
                    received_ms=round(at_ms) + 40,
                ),
            )
        )
    return sorted(found, key=lambda u: (u.chunk.received_ms, u.place))


class _Probes:
    """What a client believes after each probe: the drift of its clock so far, and an error within what it tells."""

    def __init__(self, dice: random.Random, clock: Clock) -> None:
        self._dice, self._clock = dice, clock
        self._made: list[tuple[float, int]] = []

    def __call__(self, number: int) -> tuple[float, int]:
        """(what is to be added but for the skew, half the round trip), ms."""
        while len(self._made) <= number:
            half_ms = min(self._dice.uniform(4, self._clock.round_trip_ms) for _ in range(4)) / 2
            true_ms = -len(self._made) * _PROBE_MS * self._clock.ppm * 1e-6
            # nothing of a line is quite symmetrical; one that is wholly one-sided is rare
            self._made.append((true_ms + self._dice.uniform(-0.8, 0.8) * half_ms, int(half_ms) + 1))
        return self._made[number]


def _probes(dice: random.Random, clock: Clock) -> _Probes:
    return _Probes(dice, clock)
