"""Arrays of whole numbers as bytes, with some facts beside them. Pure.

Planning reads thousands of such objects for an hour. numpy's own archive takes a third of a millisecond for each array
in it, most of that for its header; here one header tells of all. Neighbours are alike (stamps, places, levels),
so differences are kept, in as few bytes as they need: a sixth of what would have to be inflated otherwise.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Arrays = Mapping[str, NDArray[np.signedinteger[Any]]]

_SIZES = (np.int8, np.int16, np.int32, np.int64)
_HEAD_BYTES = 4  #: how long the header is, little endian


def pack(facts: Mapping[str, Any], arrays: Arrays) -> bytes:
    """Facts that JSON can tell, and arrays of signed integers of one dimension."""
    told, parts = [], []
    for name, values in arrays.items():
        steps: Ints = values.astype(np.int64)
        steps[1:] -= steps[:-1].copy()
        size = next(size for size in _SIZES if _fits(steps, size))
        told.append([name, values.dtype.str, np.dtype(size).newbyteorder("<").str, len(values)])
        parts.append(steps.astype(np.dtype(size).newbyteorder("<")).tobytes())
    head = json.dumps({"facts": facts, "arrays": told}, separators=(",", ":")).encode()
    return len(head).to_bytes(_HEAD_BYTES, "little") + zlib.compress(head + b"".join(parts))


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What was packed; the arrays are one's own."""
    body = zlib.decompress(memoryview(data)[_HEAD_BYTES:])
    at = int.from_bytes(data[:_HEAD_BYTES], "little")
    head = json.loads(body[:at])
    found: dict[str, NDArray[Any]] = {}
    for name, kind, size, count in head["arrays"]:
        steps = np.frombuffer(body, np.dtype(size), count, at)
        found[name] = np.cumsum(steps, dtype=np.int64).astype(np.dtype(kind), copy=False)
        at += steps.nbytes
    return head["facts"], found


def _fits(values: Ints, size: type[np.signedinteger[Any]]) -> bool:
    bounds = np.iinfo(size)
    return not len(values) or bool(bounds.min <= values.min() and values.max() <= bounds.max)
