"""One window: read the bytes its plan names, draw, mix, encode, and store it under its key.

A source that breaks the renderer is left out and named in a note beside the window; the others are not harmed.
"""

from __future__ import annotations

import json
import tempfile
from copy import deepcopy
from hashlib import sha256
from pathlib import Path
from typing import Any

import structlog

from callreel import keys
from callreel.errors import MediaUnreadable, ObjectMissing, RenderFailed
from callreel.settings import Settings
from callreel.storage import Storage
from callreel.windows import canonical

from . import ffmpeg as runner
from . import mux, picture, sound
from .containers import DEMUXERS

log = structlog.get_logger(__name__)

Plan = dict[str, Any]


def render_window(storage: Storage, settings: Settings, recording_id: str, key: str) -> bool:
    """Make the window of a stored plan; False if it was there already. Raises `RenderFailed`."""
    if exists(storage, keys.window(recording_id, key)):
        return False
    stored = json.loads(storage.get(keys.window_plan(recording_id, key)))
    if sha256(canonical(stored["plan"])).hexdigest() != key:
        raise RenderFailed(f"the plan of window {key} is not the one that its key was made of")
    with tempfile.TemporaryDirectory(prefix="callreel-") as name:
        target, left_out = render(storage, settings, recording_id, stored["plan"], stored["objects"], Path(name))
        if left_out:
            storage.put_if_absent(keys.window_note(recording_id, key), json.dumps({"leftOut": left_out}).encode())
        return storage.put_if_absent(keys.window(recording_id, key), target.read_bytes())


def exists(storage: Storage, key: str) -> bool:
    try:
        storage.get(key, 0, 1)
    except ObjectMissing:
        return False
    return True


def render(
    storage: Storage, settings: Settings, recording_id: str, plan: Plan, objects: dict[str, str], folder: Path
) -> tuple[Path, list[dict[str, str]]]:
    """Render a plan into a file in `folder`; also what had to be left out, and why."""
    left_out: list[dict[str, str]] = []
    inputs: list[Path] = []
    for index, item in enumerate(plan["video"]):
        inputs.append(folder / f"video{index}.bin")
        inputs[-1].write_bytes(read_input(storage, item, objects))
    pictures = _pictures(settings, plan, inputs, folder, left_out)
    from_sample, to_sample = mux.sound_span(plan)
    profile = plan["profile"]
    mixed, failed = sound.mix(
        [(item, read_input(storage, item, objects)) for item in plan["audio"]],
        from_sample,
        to_sample,
        profile["audio_rate_hz"],
        profile["audio_channels"],
    )
    left_out += [_named(plan["audio"][index], "audio", reason) for index, reason in failed]
    target = folder / "window.mp4"
    mux.write_window(plan, pictures, mixed, target)
    return target, left_out


def read_input(storage: Storage, item: dict[str, Any], objects: dict[str, str]) -> bytes:
    """The head of an input's segment and the bytes that the plan names, as one readable piece."""
    chunks = b"".join(storage.get(objects[digest]) for digest in item["chunks"])
    from_byte, to_byte = item["bytes"]
    if item["seq"] == 0 and from_byte == 0:  # the head is there by itself
        return chunks[:to_byte]
    return storage.get(objects[item["head"]]) + chunks[from_byte:to_byte]


def _pictures(settings: Settings, plan: Plan, inputs: list[Path], folder: Path, left_out: list[dict[str, str]]) -> Path:
    def attempt(wanted: Plan) -> Path:
        return picture.render_pictures(
            wanted,
            inputs,
            folder,
            threads=settings.render_threads,
            timeout_s=settings.render_timeout_s,
            configured=settings.ffmpeg,
        )

    try:
        return attempt(plan)
    except RenderFailed as error:
        broken = [index for index in range(len(inputs)) if not _decodes(settings, plan, inputs, index)]
        log.warning("window without some tracks", k=plan["k"], broken=broken, reason=error.detail[-300:])
        if not broken:
            raise
        left_out += [_named(plan["video"][index], "video", error.detail[-300:]) for index in broken]
        return attempt(_without(plan, set(broken)))


def _decodes(settings: Settings, plan: Plan, inputs: list[Path], index: int) -> bool:
    """Does ffmpeg get through this input alone, and within a share of the time?"""
    source = ["-f", DEMUXERS[plan["video"][index]["container"]], "-protocol_whitelist", "file"]
    arguments = [*source, "-i", runner.named(inputs[index]), "-map", "0:v:0", "-f", "null", "-"]
    try:
        runner.run(arguments, timeout_s=max(5, settings.render_timeout_s / 10), configured=settings.ffmpeg)
    except RenderFailed:
        return False
    return True


def _without(plan: Plan, broken: set[int]) -> Plan:
    """The plan with cards where broken inputs would be shown."""
    changed = deepcopy(plan)
    for piece in changed["slices"]:
        for tile in piece["tiles"]:
            if tile.get("input") in broken:
                del tile["input"]
    return changed


def _named(item: dict[str, Any], kind: str, reason: str) -> dict[str, str]:
    return {
        "participantId": item["participantId"],
        "trackId": item["trackId"],
        "kind": kind,
        "reason": reason or MediaUnreadable().detail,
    }
