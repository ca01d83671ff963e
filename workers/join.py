"""Windows to film: fragments joined as bytes, rewritten as a seekable MP4, and published by one fact of the journal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import structlog

from callreel import journal, keys, repository
from callreel.errors import ObjectMissing, RenderFailed
from callreel.failpoints import failpoint
from callreel.journal import Draft
from callreel.manifest import Build, manifest
from callreel.model import Artifact, Recording
from callreel.states import Status
from callreel.storage import Storage

from . import export, mp4
from . import ffmpeg as runner
from .advance import Bench, plan, store_plans
from .folders import job_folder

log = structlog.get_logger(__name__)


def join(bench: Bench, recording_id: str) -> bool:
    """Publish the film of all windows; False if some are missing or it is published already."""
    recording = repository.load(bench.storage, recording_id)
    if recording.status not in (Status.PROCESSING, Status.COMPLETED, Status.FAILED):
        return False
    build = plan(bench.storage, bench.settings, recording)
    if recording.build == build.digest or store_plans(bench.storage, build):
        return False
    with job_folder(bench.storage) as name:
        film = join_windows(bench, build, Path(name))
        failpoint("join.made")
        with film.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
        composition = Artifact(
            name="composition.mp4",
            kind="composition",
            status="ready",
            mime_type="video/mp4",
            size_bytes=film.stat().st_size,
            duration_ms=build.windows[-1].to_us // 1000,
            sha256=digest,
        )
        bench.storage.put_if_absent(keys.artifact(recording_id, composition.name, digest), film)
        failpoint("join.film")
    told = manifest(build, asdict(composition), _left_out(bench.storage, build))
    body = json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False).encode()
    listing = Artifact(
        name="manifest.json",
        kind="manifest",
        status="ready",
        mime_type="application/json",
        size_bytes=len(body),
        sha256=sha256(body).hexdigest(),
    )
    bench.storage.put_if_absent(keys.artifact(recording_id, listing.name, listing.sha256), body)
    failpoint("join.manifest")
    data = {
        "complete": told["complete"],
        "gaps": told["gaps"],
        "build": build.digest,
        "artifacts": [asdict(artifact) for artifact in (composition, listing, *export.pending(build))],
    }

    def decide(state: Recording) -> Draft | None:
        journal.refuse_deleted(state)
        if state.build == build.digest:  # somebody else was quicker
            return None
        return ("completed" if state.status is Status.PROCESSING else "updated"), data

    before = recording.sequence
    published = bench.control.append(recording_id, decide).sequence > before
    failpoint("join.told")
    return published


def join_windows(bench: Bench, build: Build, folder: Path) -> Path:
    """The windows as one file with its index in front ("faststart"). Raises `RenderFailed`."""
    recording_id = build.recording.recording_id
    fragments, film = folder / "fragments.mp4", folder / "film.mp4"
    with fragments.open("wb") as file:
        init = b""
        for window in build.windows:
            data = bench.storage.get(keys.window(recording_id, window.key))
            own, media = mp4.split_init(data)
            init = init or own
            if own != init:
                raise RenderFailed(
                    f"window {window.k} ({window.key}) has another init than window 0; delete it: it comes again"
                )
            file.write(media if file.tell() else data)
    arguments = ["-f", "mp4", "-protocol_whitelist", "file", "-i", runner.named(fragments)]
    arguments += ["-map", "0", "-c", "copy", "-movflags", "+faststart", "-video_track_timescale", "90000"]
    runner.run([*arguments, runner.named(film)], timeout_s=1800, configured=bench.settings.ffmpeg)
    return film


def _left_out(storage: Storage, build: Build) -> Sequence[dict[str, Any]]:
    found = []
    for window in build.windows:
        try:
            note = json.loads(storage.get(keys.window_note(build.recording.recording_id, window.key)))
        except ObjectMissing:
            continue
        found += [{"k": window.k, **item} for item in note["leftOut"]]
    return found
