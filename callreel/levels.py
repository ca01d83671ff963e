"""How loud a run sounds, in steps of 100 ms of its media time: what gains and speakers are reckoned from. Pure.

Loudness is K-weighted mean square, summed over the two channels of a film (ITU-R BS.1770-4, without the gates, which
belong to whoever averages). `fine` follows the same at 20 ms, coarser in level: the shape by which the same voice is
known again on another microphone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from . import arrays

#: Part of every digest: raise it when measuring changes, and all is measured again. Scans stay what they are.
LEVELS_VERSION = 2
STEP_US = 100_000
FINE_US = 20_000
FINE = STEP_US // FINE_US  #: fine steps in a step
#: Media is measured in pieces of so much media time: a chunk that comes changes one or two, and the others are known.
PIECE_STEPS = 160
#: Stands where there is no sound, or not enough of it: not the same as silence.
UNKNOWN = -32768
#: What is quieter counts as this: −120 LUFS, −120 dBFS.
QUIETEST = -12_000

Levels16 = NDArray[np.int16]
_ARRAYS = ("loudness", "peak", "fine")


def _none() -> Levels16:
    return np.zeros(0, np.int16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Arrays from step `first` on; step n is the media time [n, n + 1) × 100 ms."""

    first: int = 0
    loudness: Levels16 = field(default_factory=_none)  #: 0.01 LUFS
    peak: Levels16 = field(default_factory=_none)  #: 0.01 dBFS, of samples
    fine: Levels16 = field(default_factory=_none)  #: 0.01 LUFS, `FINE` a step

    def __len__(self) -> int:
        return len(self.loudness)


def piece_digest(piece: int, head_sha256: str, chunk_sha256: Sequence[str], from_byte: int, to_byte: int) -> str:
    """The name of a piece's levels: made of all that they are made of. Bytes count from the first of the chunks."""
    text = json.dumps([LEVELS_VERSION, piece, head_sha256, list(chunk_sha256), from_byte, to_byte])
    return sha256(text.encode()).hexdigest()


def joined(pieces: Sequence[Levels]) -> Levels:
    """Pieces in order of time as one; what lies between them is unknown."""
    if not pieces:
        return Levels()
    first = pieces[0].first
    count = pieces[-1].first + len(pieces[-1]) - first

    def laid(name: str, per_step: int) -> Levels16:
        found = np.full(count * per_step, UNKNOWN, np.int16)
        for piece in pieces:
            values = getattr(piece, name)
            at = (piece.first - first) * per_step
            found[at : at + len(values)] = values
        return found

    return Levels(first=first, loudness=laid("loudness", 1), peak=laid("peak", 1), fine=laid("fine", FINE))


def encode(levels: Levels) -> bytes:
    return arrays.pack({"first": levels.first}, {name: getattr(levels, name) for name in _ARRAYS})


def decode(data: bytes) -> Levels:
    facts, stored = arrays.unpack(data)
    return Levels(first=int(facts["first"]), **{name: stored[name] for name in _ARRAYS})
