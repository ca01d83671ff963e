"""What a window's fragment says of its samples (ISO/IEC 14496-12, 8.8.4 to 8.8.12).

Windows are ours (`workers.mux`): one `moof` before one `mdat`, a run of samples for each track, pictures in the order
in which they are shown. What is not as it should be is refused, for then somebody else made it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from callreel import boxes
from callreel.errors import RenderFailed

Ints = NDArray[np.int64]

#: Flags of `tfhd` and `trun` (8.8.7, 8.8.8), and that of a sample that nothing can begin with (8.8.3).
_BASE_IS_MOOF, _HAS_DURATION, _HAS_SIZE, _HAS_FLAGS = 0x020000, 0x08, 0x10, 0x20
_OFFSET, _FIRST_FLAGS, _DURATIONS, _SIZES, _FLAGS, _SHIFTS = 0x001, 0x004, 0x100, 0x200, 0x400, 0x800
_NO_KEY = 0x010000


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """The samples of one track in one window, which lie behind each other in its file."""

    track: int  #: as the init segment calls it
    start: int  #: the first one's time, in the track's timescale
    duration: int  #: of each, in the same
    at_byte: int  #: of the window's file
    sizes_bytes: Ints
    keys: Ints  #: numbers of the samples at which decoding can begin

    def __len__(self) -> int:
        return len(self.sizes_bytes)

    @property
    def end(self) -> int:
        return self.start + self.duration * len(self)


def fragments(data: bytes) -> list[Fragment]:
    """The tracks of a window, by its bytes up to its `mdat` at least. Raises `RenderFailed`."""
    for kind, start, end in headers(data):
        if kind == "moof":
            return [_fragment(body, start) for kind, body in children(data[start + 8 : end]) if kind == "traf"]
    raise RenderFailed("a window has no fragment")


def headers(data: bytes) -> Iterator[tuple[str, int, int]]:
    """(type, start, end) of the boxes before the first `mdat`, which need not be there to its end."""
    at = 0
    while at + 8 <= len(data) and (kind := data[at + 4 : at + 8].decode("latin-1")) != "mdat":
        size = int.from_bytes(data[at : at + 4], "big")
        if size < 8:
            raise RenderFailed(f"a box at byte {at} claims {size} bytes")
        yield kind, at, at + size
        at += size


def children(data: bytes) -> Iterator[tuple[str, bytes]]:
    """(type, content) of boxes behind each other. Raises `RenderFailed` where a size makes no sense."""
    for kind, start, end in boxes.boxes(boxes.of(data)):
        yield kind, data[start + 8 : end]


def _fragment(traf: bytes, moof_byte: int) -> Fragment:
    parts = dict(children(traf))
    try:
        track, defaults = _defaults(parts["tfhd"])
        wide = parts["tfdt"][0] == 1
        start = int.from_bytes(parts["tfdt"][4 : 12 if wide else 8], "big")
        run = parts["trun"]
    except KeyError as missing:
        raise RenderFailed(f"a window's fragment has no {missing}") from None
    told, count = int.from_bytes(run[1:4], "big"), int.from_bytes(run[4:8], "big")
    words = np.frombuffer(run, ">u4", offset=8).astype(np.int64)
    if not told & _OFFSET or told & _SHIFTS:
        raise RenderFailed("a window's fragment does not say where its samples lie, or shows them in another order")
    at_byte, words = moof_byte + int(words[0]), words[1:]
    first_flags, words = (int(words[0]), words[1:]) if told & _FIRST_FLAGS else (None, words)
    names = [name for name in (_DURATIONS, _SIZES, _FLAGS) if told & name]
    table = words[: count * len(names)].reshape(count, len(names))
    columns = {name: table[:, index] for index, name in enumerate(names)}
    durations, sizes, flags = (columns.get(name, np.full(count, defaults.get(name, 0)))
                               for name in (_DURATIONS, _SIZES, _FLAGS))  # fmt: skip
    if first_flags is not None and count:
        flags = np.concatenate(([first_flags], flags[1:]))
    if len(np.unique(durations)) > 1:
        raise RenderFailed("a window's samples do not all last equally long")
    return Fragment(
        track=track,
        start=start,
        duration=int(durations[0]) if count else 0,
        at_byte=at_byte,
        sizes_bytes=sizes,
        keys=np.flatnonzero(flags & _NO_KEY == 0),
    )


def _defaults(tfhd: bytes) -> tuple[int, dict[int, int]]:
    """The track's number, and by the flags of `trun` what its samples have that do not say it themselves."""
    told = int.from_bytes(tfhd[1:4], "big")
    if not told & _BASE_IS_MOOF:
        raise RenderFailed("a window's fragment counts its bytes from elsewhere")
    words = np.frombuffer(tfhd, ">u4", offset=4).tolist()
    names = [
        name for bit, name in ((_HAS_DURATION, _DURATIONS), (_HAS_SIZE, _SIZES), (_HAS_FLAGS, _FLAGS)) if told & bit
    ]
    return words[0], dict(zip(names, words[1:], strict=False))
