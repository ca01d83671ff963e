"""Plans that are kept compressed are what they were."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from callreel.packed import Packed

_NAMES = st.sampled_from(["k", "pictures", "slices", "video"])


@settings(max_examples=50, deadline=None)
@given(told=st.dictionaries(_NAMES, st.lists(st.integers() | st.text())))
def test_it_tells_what_it_was_made_of(told: dict[str, Any]) -> None:
    packed = Packed(told, rare=("slices", "video"))
    assert (dict(packed), len(packed), sorted(packed)) == (told, len(told), sorted(told))
    assert json.loads(json.dumps({**packed, "k": 7})) == {**told, "k": 7}
