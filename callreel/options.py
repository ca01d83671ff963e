"""What a start may ask for: the optional body, checked field by field and resolved to names."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from .errors import InvalidOption
from .layouts import check_layout
from .outputs import resolve_outputs


def check_options(options: dict[str, Any], encoders: Collection[str] = ()) -> dict[str, Any]:
    """The optional body of start, resolved. Raises `InvalidOption` naming the field."""
    known = {"layout", "preset", "outputs", "maxDurationS", "metadata"}
    for name in options:
        if name not in known:
            raise InvalidOption(f"There is no option {name!r}; known are {', '.join(sorted(known))}.", field=name)
    layout = check_layout(options.get("layout", "grid"))
    max_duration_s = options.get("maxDurationS")
    whole = isinstance(max_duration_s, int) and not isinstance(max_duration_s, bool)  # True is an int to Python
    if max_duration_s is not None and (not whole or not 1 <= max_duration_s <= 7 * 86400):
        raise InvalidOption(
            f"maxDurationS must be whole seconds from 1 to {7 * 86400}; got {max_duration_s!r}.", field="maxDurationS"
        )
    metadata = options.get("metadata", {})
    try:
        size_bytes = len(json.dumps(metadata, ensure_ascii=False, allow_nan=False).encode())
    except ValueError as error:  # NaN, or half of a surrogate pair: no JSON that others could read
        raise InvalidOption("metadata must be JSON in UTF-8.", field="metadata") from error
    if not isinstance(metadata, dict) or size_bytes > 16384:
        raise InvalidOption("metadata must be an object of at most 16 KiB.", field="metadata")
    preset = options.get("preset", "720p")
    outputs = resolve_outputs(preset, options.get("outputs"), encoders)
    return {
        "layout": layout,
        "preset": preset,
        "outputs": outputs,
        "maxDurationS": max_duration_s,
        "metadata": metadata,
    }
