"""A window's glance: made of what its renderer composed and mixed, read by whoever shows what is in it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from PIL import Image

from callreel import glances, keys, waveforms
from callreel.errors import ObjectMissing
from callreel.glances import Glance
from callreel.storage import Storage

from . import mux
from .sound import Samples

log = structlog.get_logger(__name__)

#: They are encoded once more, on their sheet: so better than there, and with all of their colours.
_QUALITY = 90

Plan = dict[str, Any]


def make(plan: Plan, small: Path | None, heard: Samples | None) -> bytes:
    """A glance's object, of the small pictures that came beside the window's own, and of the sound that is encoded."""
    pictures = _pictures(plan, small) if small is not None else {}
    return glances.encode(Glance(pictures=pictures, swings=None if heard is None else _swings(plan, heard)))


def put(storage: Storage, recording_id: str, key: str, glance: bytes) -> None:
    """Store the glance of a window that is about to be stored. Who died between the two may have left another one, with
    a track that had to be left out since."""
    name = keys.window_glance(recording_id, key)
    if not storage.put_if_absent(name, glance):
        storage.delete(name)
        storage.put_if_absent(name, glance)


def read(storage: Storage, recording_id: str, key: str) -> Glance | None:
    """The glance of a window; None where there is none, for an earlier version rendered it, or it cannot be read."""
    try:
        return glances.decode(storage.get(keys.window_glance(recording_id, key)))
    except ObjectMissing:
        return None


def _pictures(plan: Plan, small: Path) -> dict[int, bytes]:
    """ffmpeg's bare pictures as JPEG; none where there are not as many as were asked for: no film fails for that."""
    numbers = glances.looked_at(plan)
    width_px, height_px = size_px = glances.tile_px(plan["profile"]["width_px"], plan["profile"]["height_px"])
    data = small.read_bytes() if small.exists() else b""
    size_bytes = 3 * width_px * height_px
    if len(data) != size_bytes * len(numbers):
        log.warning("window without small pictures", k=plan["k"], wanted=len(numbers), size_bytes=len(data))
        return {}
    parts = (data[at : at + size_bytes] for at in range(0, len(data), size_bytes))
    return {number: _jpeg(Image.frombytes("RGB", size_px, part)) for number, part in zip(numbers, parts, strict=True)}


def _jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY, subsampling=0)
    return file.getvalue()


def _swings(plan: Plan, heard: Samples) -> waveforms.Swings:
    """Of the samples that are in the film: what the encoder is fed begins before the window, and goes on behind it."""
    (from_sample, to_sample), (fed, _) = glances.span_samples(plan), mux.sound_span(plan)
    laid = np.zeros(to_sample - from_sample, np.float32)
    (first, end), frame = mux.sound_frames(plan), mux.codec_of(plan).frame
    a, b = max(from_sample, first * frame), min(to_sample, end * frame)
    if a < b:
        laid[a - from_sample : b - from_sample] = np.abs(heard[:, a - fed : b - fed]).max(axis=0)
    return waveforms.of_sound(laid, from_sample, plan["profile"]["audio_rate_hz"])
