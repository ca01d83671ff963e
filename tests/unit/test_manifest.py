"""The manifest as a file: what it tells is what is in it, and people can read it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from callreel.manifest import as_text

_PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
_VALUES = st.recursive(_PLAIN, lambda of: st.lists(of) | st.dictionaries(st.text(), of), max_leaves=20)


@settings(max_examples=100, deadline=None)
@given(value=_VALUES)
def test_what_is_written_is_what_is_read(value: Any) -> None:
    assert json.loads(as_text(value)) == value


def test_what_holds_nothing_more_is_a_line() -> None:
    told = {"name": "ä", "chunks": [{"seq": 0, "bytes": 7}, {"seq": 1, "bytes": 9}], "gaps": []}
    assert as_text(told).splitlines() == [
        "{",
        ' "chunks": [',
        '  {"bytes": 7, "seq": 0},',
        '  {"bytes": 9, "seq": 1}',
        " ],",
        ' "gaps": [],',
        ' "name": "ä"',
        "}",
    ]
