"""Plans of which thousands are held while few are looked at: their larger parts are kept compressed. Pure."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any


class Packed(Mapping[str, Any]):
    """What it was made of, some of it read anew at every look. Of 25 people for three hours plans took 60 MB."""

    __slots__ = ("_plain", "_rare")

    def __init__(self, told: Mapping[str, Any], rare: Collection[str]) -> None:
        """`rare` are the names under which it is large and seldom looked at; what is there is plain JSON."""
        self._plain = {name: told[name] for name in told if name not in rare}
        self._rare = {name: zlib.compress(json.dumps(told[name]).encode(), 1) for name in told if name in rare}

    def __getitem__(self, name: str) -> Any:
        return json.loads(zlib.decompress(self._rare[name])) if name in self._rare else self._plain[name]

    def __iter__(self) -> Iterator[str]:
        return iter((*self._plain, *self._rare))

    def __len__(self) -> int:
        return len(self._plain) + len(self._rare)
