"""The manifest as a file: what it tells is what is in it, and people can read it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from callreel.manifest import Rows, as_text

_PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
_VALUES = st.recursive(_PLAIN, lambda of: st.lists(of) | st.dictionaries(st.text(), of), max_leaves=20)


def text(value: Any) -> str:
    return "".join(as_text(value))


def at_once(value: Any, indent: str = "") -> str:
    """The same form, made of all of it at once, in as few words as it can be told."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if not any(isinstance(item, dict | list) and item for item in inside):
        return json.dumps(value, sort_keys=True, ensure_ascii=False)
    deeper = indent + " "
    if isinstance(value, dict):
        lines = [f"{json.dumps(k, ensure_ascii=False)}: {at_once(v, deeper)}" for k, v in sorted(value.items())]
        return "{" + ",".join(f"\n{deeper}{line}" for line in lines) + f"\n{indent}}}"
    return "[" + ",".join(f"\n{deeper}{at_once(item, deeper)}" for item in value) + f"\n{indent}]"


@settings(max_examples=100, deadline=None)
@given(value=_VALUES)
def test_what_is_written_is_what_is_read(value: Any) -> None:
    assert json.loads(text(value)) == value
    assert text(value) == at_once(value)


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.dictionaries(st.text(), _PLAIN, min_size=1)))
def test_rows_are_written_like_a_list_of_them(rows: list[dict[str, Any]]) -> None:
    told = {"chunks": Rows(range(len(rows)), rows.__getitem__), "gaps": []}
    assert text(told) == at_once({"chunks": rows, "gaps": []})
    assert text([told, told]) == at_once([{"chunks": rows, "gaps": []}] * 2)


def test_what_holds_nothing_more_is_a_line() -> None:
    told = {"name": "ä", "chunks": [{"seq": 0, "bytes": 7}, {"seq": 1, "bytes": 9}], "gaps": []}
    assert text(told).splitlines() == [
        "{",
        ' "chunks": [',
        '  {"bytes": 7, "seq": 0},',
        '  {"bytes": 9, "seq": 1}',
        " ],",
        ' "gaps": [],',
        ' "name": "ä"',
        "}",
    ]
