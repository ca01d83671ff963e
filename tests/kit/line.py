"""The workers' line in this process: plan, render what is missing, join. The jobs' own functions, without the queue.

What a test wants to know of it is how many windows had to be encoded, for what is stored must never be made again.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callreel import keys, repository
from callreel.manifest import Build
from callreel.settings import Settings, load_settings
from callreel.states import Status
from workers import advance as advancing
from workers import compose as composing
from workers import join as joining
from workers import planning
from workers import render as rendering
from workers.bench import Bench
from workers.jobs import bench as make_bench


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What the line had to do, and what came of it."""

    status: Status
    film: Path  #: the first output
    files: dict[str, Path]  #: every artifact by its name
    manifest: dict[str, Any]
    window_keys: list[str]  #: of the finished film, in order
    encoded: list[str]  #: keys of the windows that were not there before


def settings_for(root: Path, redis_url: str, **more: object) -> Settings:
    return load_settings(storage=f"file://{root}", redis_url=redis_url, fsync="never", **more)


def make_film(root: Path, redis_url: str, recording_id: str) -> Made:
    """Bring a stopped recording to its end."""
    bench = make_bench(settings_for(root, redis_url))
    advancing.advance(bench, recording_id)
    encoded = [
        key
        for key in planning.store_plans(bench.storage, plan_now(bench, recording_id))
        if rendering.render_window(bench.storage, bench.settings, recording_id, key)
    ]
    joining.join(bench, recording_id)
    recording = repository.load(bench.storage, recording_id)
    files = {a.name: root / keys.artifact(recording_id, a.name, a.sha256, a.edition) for a in recording.artifacts}
    manifest = json.loads(files["manifest.json"].read_bytes())
    return Made(
        status=recording.status,
        film=files[manifest["film"]["name"]],
        files=files,
        manifest=manifest,
        window_keys=[window["key"] for window in manifest["windows"]],
        encoded=encoded,
    )


def make_more(root: Path, redis_url: str, recording_id: str) -> tuple[list[str], float]:
    """Make the compositions of a finished recording: the windows that had to be encoded, and how long it took (s)."""
    bench = make_bench(settings_for(root, redis_url))
    began_s = time.monotonic()
    build = advancing.advance(bench, recording_id)
    assert build, "its own films come first"
    composing.advance(bench, build)
    due = [window for _, film in composing.stale(build, bench.settings.window_ms) for window in film.windows]
    encoded = [
        key
        for key in planning.store_plans(bench.storage, build, due)
        if rendering.render_window(bench.storage, bench.settings, recording_id, key)
    ]
    assert composing.publish(bench, recording_id) == bool(due)
    return encoded, time.monotonic() - began_s


def plan_now(bench: Bench, recording_id: str, until_ms: int | None = None) -> Build:
    """The plan of a recording as it stands, up to an instant where it still runs; encodes nothing."""
    return planning.plan(bench.storage, bench.settings, repository.load(bench.storage, recording_id), until_ms=until_ms)
