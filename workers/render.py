"""One window: read the bytes its plan names, draw, mix, encode, and store it under its key.

A source that breaks the renderer is left out and named in a note beside the window; the others are not harmed.
"""

from __future__ import annotations

import json
from copy import deepcopy
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import structlog

from callreel import keys, pace
from callreel.errors import MediaUnreadable, ObjectMissing, RenderFailed
from callreel.failpoints import failpoint
from callreel.metrics import INTEGRITY, WINDOWS
from callreel.profiles import NONE
from callreel.settings import Settings
from callreel.storage import Storage
from callreel.windows import canonical, form_of

from . import canvas, glance, mux, picture, sound
from . import ffmpeg as runner
from .apart import apart
from .containers import reading
from .folders import job_folder

log = structlog.get_logger(__name__)

Plan = dict[str, Any]


def render_window(
    storage: Storage,
    settings: Settings,
    recording_id: str,
    key: str,
    *,
    careful: bool = False,
    cards_only: bool = False,
    step: int = 0,
) -> bool:
    """Make the window of a stored plan; False if it was there already. Raises `RenderFailed`.

    `step` says how fast its encoder is to search (`callreel.pace`); one that was asked for in full always is.

    `careful` tries every sound in a process of its own first, for one of them may have killed whoever tried before.
    `cards_only` shows everybody as a card: the last resort for a window that failed again and again.
    """
    stored = json.loads(storage.get(keys.window_plan(recording_id, key)))
    if sha256(canonical(stored["plan"])).hexdigest() != key:
        raise RenderFailed(f"the plan of window {key} is not the one that its key was made of")
    plan, left_out = stored["plan"], []
    window = keys.window(recording_id, key, form_of(plan["profile"]))
    if exists(storage, window):
        return False
    if cards_only:
        left_out = [_named(item, "video", "this window failed again and again") for item in plan["video"]]
        plan = _without(plan, set(range(len(plan["video"]))))
    own = plan["profile"]["speed"]
    speed = own if plan.get("full") else pace.speed(plan["profile"], step)
    plan = {**plan, "profile": {**plan["profile"], "speed": speed}}
    with job_folder(storage) as name:
        target = render(storage, settings, plan, stored["objects"], Path(name), left_out, careful=careful)
        failpoint("render.made")
        if left_out:
            storage.put_if_absent(keys.window_note(recording_id, key), json.dumps({"leftOut": left_out}).encode())
        if speed != own:
            storage.put_if_absent(keys.window_speed(recording_id, key), speed.encode())
        failpoint("render.noted")
        glance.put(storage, recording_id, key, _glance_path(Path(name)).read_bytes())
        failpoint("render.glanced")
        WINDOWS.labels(speed).inc()
        return storage.put_if_absent(window, target.read_bytes())


def exists(storage: Storage, key: str) -> bool:
    try:
        storage.get(key, 0, 1)
    except ObjectMissing:
        return False
    return True


def render(
    storage: Storage,
    settings: Settings,
    plan: Plan,
    objects: dict[str, str],
    folder: Path,
    left_out: list[dict[str, str]],
    *,
    careful: bool = False,
) -> Path:
    """Render a plan into a file in `folder`, its glance beside it; what had to be left out, and why, is added to
    `left_out`."""
    profile = plan["profile"]
    target = folder / f"window.{form_of(profile)}"
    pictures = _pictures(storage, settings, plan, objects, folder, left_out) if plan["slices"] else None
    heard = _sound(storage, settings, plan, objects, left_out, careful) if profile.get("audio_codec") != NONE else None
    mux.write_window(plan, pictures, heard, target)
    _glance_path(folder).write_bytes(glance.make(plan, picture.small_path(folder) if pictures else None, heard))
    return target


def _glance_path(folder: Path) -> Path:
    return folder / "glance.bin"


def _sound(
    storage: Storage,
    settings: Settings,
    plan: Plan,
    objects: dict[str, str],
    left_out: list[dict[str, str]],
    careful: bool,
) -> sound.Samples:
    profile = plan["profile"]
    how = (*mux.sound_span(plan), profile["audio_rate_hz"], profile["audio_channels"])
    heard = []
    for item in plan["audio"]:
        try:
            data = read_input(storage, item, objects)
            if careful:
                apart(partial(_tried, item, data, *how), timeout_s=settings.render_timeout_s / 10)
            heard.append((item, data))
        except MediaUnreadable as error:
            left_out.append(_named(item, "audio", error.detail))
    mixed, failed = sound.mix(heard, *how)
    left_out += [_named(heard[index][0], "audio", reason) for index, reason in failed]
    return mixed


def _tried(item: dict[str, Any], data: bytes, *how: int) -> bytes:
    """For `apart`: what is of interest is whether it comes to an end."""
    sound.mix([(item, data)], *how)
    return b""


def read_input(storage: Storage, item: dict[str, Any], objects: dict[str, str]) -> bytes:
    """The head of an input's segment and the bytes that the plan names, as one readable piece.

    Raises `MediaUnreadable` where the storage no longer has the bytes that were once acknowledged.
    """
    chunks = b"".join(_checked(storage, objects, digest) for digest in item["chunks"])
    from_byte, to_byte = item["bytes"]
    if item["seq"] == 0 and from_byte == 0:  # the head is there by itself
        return chunks[:to_byte]
    return _checked(storage, objects, item["head"]) + chunks[from_byte:to_byte]


def _checked(storage: Storage, objects: dict[str, str], digest: str) -> bytes:
    data = storage.get(objects[digest])
    if sha256(data).hexdigest() != digest:
        INTEGRITY.inc()
        raise MediaUnreadable(f"the stored bytes of {objects[digest]} are not those that were uploaded")
    return data


def _pictures(
    storage: Storage,
    settings: Settings,
    plan: Plan,
    objects: dict[str, str],
    folder: Path,
    left_out: list[dict[str, str]],
) -> Path:
    inputs = [folder / f"video{index}.bin" for index in range(len(plan["video"]))]
    unreadable: dict[int, str] = {}
    for index, item in enumerate(plan["video"]):
        try:
            inputs[index].write_bytes(read_input(storage, item, objects))
        except MediaUnreadable as error:
            unreadable[index] = error.detail
    left_out += [_named(plan["video"][index], "video", reason) for index, reason in unreadable.items()]
    plan = _with_pictures(storage, _without(plan, set(unreadable)), objects, folder)

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
        broken = [index for index in _shown(plan) if not _decodes(settings, plan, inputs, index)]
        log.warning("window without some tracks", k=plan["k"], broken=broken, reason=error.detail[-300:])
        if not broken:
            raise
        left_out += [_named(plan["video"][index], "video", error.detail[-300:]) for index in broken]
        return attempt(_without(plan, set(broken)))


def _with_pictures(storage: Storage, plan: Plan, objects: dict[str, str], folder: Path) -> Plan:
    """Put logos and backgrounds where they are read; those that are no pictures after all are left out of the plan."""
    changed = deepcopy(plan)
    canvas_px = changed["profile"]["width_px"], changed["profile"]["height_px"]
    for piece in changed["slices"]:
        for kind, scaled in (("logo", canvas.logo_png), ("backdrop", canvas.backdrop_png)):
            if kind not in piece:
                continue
            of_logo = kind == "logo"
            path = (picture.logo_path if of_logo else picture.backdrop_path)(folder, piece[kind])
            width_px, height_px = (piece[kind]["width"], piece[kind]["height"]) if of_logo else canvas_px
            try:
                if not path.exists():
                    data = _checked(storage, objects, piece[kind]["sha256"] if of_logo else piece[kind])
                    path.write_bytes(apart(partial(scaled, data, width_px, height_px), timeout_s=10))
            except MediaUnreadable as error:
                log.warning("window without its picture", k=plan["k"], kind=kind, reason=error.detail)
                del piece[kind]
    return changed


def _decodes(settings: Settings, plan: Plan, inputs: list[Path], index: int) -> bool:
    """Does ffmpeg get through this input alone, and within a share of the time?"""
    options = reading(plan["video"][index]["container"])
    arguments = [word for name, value in options.items() for word in (f"-{name}", str(value))]
    arguments += ["-i", runner.named(inputs[index]), "-map", "0:v:0", "-f", "null", "-"]
    try:
        runner.run(arguments, timeout_s=max(5, settings.render_timeout_s / 10), configured=settings.ffmpeg)
    except RenderFailed:
        return False
    return True


def _shown(plan: Plan) -> list[int]:
    """The video inputs that a tile shows."""
    return sorted({tile["input"] for piece in plan["slices"] for tile in piece["tiles"] if "input" in tile})


def _without(plan: Plan, broken: set[int]) -> Plan:
    """The plan with cards where broken inputs would be shown."""
    if not broken:
        return plan
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
