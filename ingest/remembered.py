"""What a process remembers to be faster. Bounded, and never the only one who knows."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """The last so many; each method is one step for the interpreter, so threads may share it."""

    def __init__(self, limit: int = 8192) -> None:
        self._limit = limit
        self._known: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        return self._known.get(key)

    def put(self, key: K, value: V) -> None:
        self._known[key] = value
        if len(self._known) > self._limit:
            self._known.popitem(last=False)
