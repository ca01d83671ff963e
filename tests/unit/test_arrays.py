"""What planning reads by the thousand is what was put away, whatever the numbers."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from callreel import arrays
from callreel.placement import Line

_INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


@settings(max_examples=50, deadline=None)
@given(
    long=arrays_of.arrays(np.int64, st.integers(0, 40), elements=_INT64),
    short=arrays_of.arrays(np.int16, st.integers(0, 40)),
)
def test_arrays_come_back_as_they_were(long: np.ndarray, short: np.ndarray) -> None:
    facts, found = arrays.unpack(arrays.pack({"name": "ä", "chunks": [1, 2]}, {"long": long, "short": short}))
    assert facts == {"name": "ä", "chunks": [1, 2]}
    assert list(found) == ["long", "short"]
    for values, wanted in ((found["long"], long), (found["short"], short)):
        assert values.dtype == wanted.dtype
        assert np.array_equal(values, wanted)
        assert values.flags.writeable


def test_stamps_take_few_bytes() -> None:
    stamps = np.arange(180_000, dtype=np.int64) * 20_000 + np.arange(180_000) % 7
    assert len(arrays.pack({}, {"pts": stamps})) < len(stamps) // 10


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(1, 10**7), st.integers(1, 10**7)), min_size=1, max_size=8),
    zero=st.integers(-(10**15), 10**15),
    at=st.lists(st.integers(-(10**8), 10**8), min_size=1, max_size=8),
)
def test_a_line_places_one_as_it_places_many(steps: list[tuple[int, int]], zero: int, at: list[int]) -> None:
    media, placed = np.cumsum(np.array(steps, np.int64), axis=0).T
    line = Line(tuple(zip(media.tolist(), (placed + zero).tolist(), strict=True)))
    back = Line(tuple((b, a) for a, b in line.knots))
    assert [line.placed_us(us) for us in at] == line.place(np.array(at, np.int64)).tolist()
    assert [line.media_us(zero + us) for us in at] == back.place(np.array(at, np.int64) + zero).tolist()
