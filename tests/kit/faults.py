"""What happens to chunks on their way, from a seed: some come late, some never."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from .build import Place, Upload
from .capture import Capture


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Shares of all chunks but the first and the last of a run; at least one chunk of each run where there are any."""

    late: float = 0.05
    lost: float = 0.01
    latest_ms: int = 30_000
    first_too: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of a call's chunks."""

    lost: frozenset[Place]
    late_ms: dict[Place, int]

    def arrange(self, uploads: Sequence[Upload]) -> list[Upload]:
        """As `Recipe.arrange`: late ones come when they do."""
        moved = [
            replace(u, chunk=replace(u.chunk, received_ms=u.chunk.received_ms + self.late_ms.get(u.place, 0)))
            for u in uploads
        ]
        return sorted(moved, key=lambda u: (u.chunk.received_ms, u.place))


def draw(seed: int, capture: Capture, faults: Faults) -> Fate:
    """The fate of a call's chunks. Pure."""
    dice = random.Random(f"fate {seed}")
    lost: set[Place] = set()
    late: dict[Place, int] = {}
    for run in capture.runs:
        places = [(run.participant, run.track, run.seg, chunk.seq) for chunk in run.chunks]
        inner = places[0 if faults.first_too else 1 : -1]
        gone = _some(dice, inner, faults.lost)
        lost |= set(gone)
        for place in _some(dice, [place for place in inner if place not in lost], faults.late):
            late[place] = dice.randrange(1, faults.latest_ms)
    return Fate(lost=frozenset(lost), late_ms=late)


def _some(dice: random.Random, places: Collection[Place], share: float) -> list[Place]:
    count = round(len(places) * share)
    return dice.sample(sorted(places), min(len(places), max(count, int(share > 0))))
