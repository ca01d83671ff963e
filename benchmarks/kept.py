"""Windows of a long call's first part, made once by `callreel up` after a stop, and lent to calls that are the same.

A window's key is the digest of all that decides it, so those of another recording of the same bytes are this one's. Who
measures the end of an hour does not wait until the hour is rendered. How long that took is a figure of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

from benchmarks import footage
from benchmarks.calls import CALL
from benchmarks.live import windows_there
from callreel import keys, repository
from callreel.clock import US_PER_MS
from callreel.settings import load_settings
from callreel.storage.local import LocalStorage
from callreel.windows import CARD_VERSION, RENDER_VERSION
from tests.kit.build import build_recording
from tests.kit.capture import Capture
from tests.kit.replay import Server, new_client
from tests.stack import Stack, running
from workers import planning

_WITHIN_S = 6 * 3600
_TOLD_S = 60
#: What ended so lately a call that runs need not have rendered yet.
LATELY_MS = 20_000


def folder(minutes: int, height_px: int) -> Path:
    """Where the windows of such a call are kept; what would make others has another place."""
    made_with = [footage.VERSION, footage.LONG_VERSION, RENDER_VERSION, CARD_VERSION]
    name = f"callreel-ready-{'.'.join(map(str, made_with))}-{minutes}min-{height_px}p"
    return Path(tempfile.gettempdir()) / name


def made(minutes: int, height_px: int) -> Path:
    """The folder, with the windows of this call in it: rendered where they are not there yet."""
    target = folder(minutes, height_px)
    if not (target / "manifest.json").exists():
        print(f"rendering {minutes} minutes of {height_px}p into {target}, once", flush=True)
        # beside it, for what is moved there; hours take gigabytes
        with tempfile.TemporaryDirectory(prefix=f"{target.name}-", dir=target.parent) as name:
            data = Path(name) / "data"
            data.mkdir()
            recording_id = _built(data, footage.call(minutes, height_px=height_px))
            with running(data, env={"CALLREEL_FSYNC": "never"}) as stack:
                begun_s = time.monotonic()
                manifest = asyncio.run(_rendered(stack, recording_id))
                took_s = time.monotonic() - begun_s
            print(f"{minutes} minutes of {height_px}p: {took_s:.0f} s from a stop to the film, nothing made before it")
            manifest["tookS"] = round(took_s)
            derived = data / keys.derived_prefix(recording_id)
            (derived / "manifest.json").write_text(json.dumps(manifest))
            derived.rename(target)
    return target


def _built(data: Path, call: Capture) -> str:
    """The call as a recording that was stopped a minute ago."""
    started_ms = round(time.time() * 1000) - call.length_ms - 60_000
    return build_recording(data, call, call_id=CALL, started_ms=started_ms)


async def _rendered(stack: Stack, recording_id: str) -> dict[str, object]:
    async def tell() -> None:
        while True:
            await asyncio.sleep(_TOLD_S)
            print(
                f"  {len(windows_there(stack.data, recording_id))} windows, load {os.getloadavg()[0]:.1f}", flush=True
            )

    async with new_client() as client, asyncio.TaskGroup() as tasks:
        telling = tasks.create_task(tell())
        server = Server(stack.url, stack.token, CALL, client)
        state = await server.finished(recording_id, _WITHIN_S)
        telling.cancel()
        if state["status"] != "completed":
            raise RuntimeError(f"no film came of it: {state}")
        return await server.json_file(recording_id, "manifest.json")


def lend(kept: Path, data: Path, recording_id: str, until_ms: int) -> set[str]:
    """Put the windows that end before that into a recording's storage, with the levels of its sound; returns keys.

    `until_ms`: ms of recording time. Raises `FileNotFoundError` where one is missing.
    """
    windows = json.loads((kept / "manifest.json").read_text())["windows"]
    lent = {window["key"] for window in windows if window["toMs"] <= until_ms}
    _link(kept / "levels", data / keys.derived_prefix(recording_id) / "levels", None)
    # all that is stored of them; not their plans, which name objects of the other recording
    for target in (data / prefix for prefix in keys.window_prefixes(recording_id)):
        if target.name != "plans":
            _link(kept / target.name, target, lent)
    if missing := lent - windows_there(data, recording_id):
        raise FileNotFoundError(f"{len(missing)} windows of the manifest in {kept} are not there. Delete that folder.")
    return lent


def _link(kept: Path, target: Path, stems: set[str] | None) -> None:
    """All files of a folder, or those of these names, in another one too."""
    target.mkdir(parents=True, exist_ok=True)
    for path in kept.glob("*"):
        if stems is None or path.stem in stems:
            try:
                os.link(path, target / path.name)
            except OSError:  # another file system
                shutil.copyfile(path, target / path.name)


def check(data: Path, recording_id: str, lent: set[str], kept: Path, now_ms: int) -> None:
    """Plan a recording that runs as its workers would have by now, which leaves them its scans; the windows that are
    over must be those that were lent. Raises `RuntimeError`."""
    storage = LocalStorage(data, fsync=False)
    settings = load_settings(storage=f"file://{data}", fsync="never")
    recording = repository.load(storage, recording_id)
    build = planning.plan(storage, settings, recording, until_ms=now_ms)
    until_us = (now_ms - recording.started_ms - LATELY_MS) * US_PER_MS
    over = {window.key for window in build.windows if window.to_us <= until_us}
    if over != lent:
        raise RuntimeError(
            f"{len(over - lent)} of {len(over)} windows of this call are not among those kept in {kept}: it is planned "
            "otherwise than when these were made. Delete that folder, and they are made anew."
        )


def used(lent: set[str], in_film: set[str]) -> None:
    """Of what was lent everything must be in the film. Raises `RuntimeError`."""
    if left := lent - in_film:
        raise RuntimeError(f"{len(left)} of {len(lent)} windows that were lent are not in the film: it was made anew.")
