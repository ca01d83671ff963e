"""Windows to films, and the one fact of the journal that publishes them with their manifest and certificate."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import structlog

from callreel import certificate, editions, journal, keys, repository
from callreel.errors import ObjectMissing
from callreel.failpoints import failpoint
from callreel.journal import Draft
from callreel.manifest import Build, Film, as_text, told_of_files
from callreel.model import Artifact, Recording
from callreel.outputs import mime_type
from callreel.states import Status
from callreel.storage import Storage
from callreel.windows import Window, made_of

from . import drafts, export
from .bench import Bench
from .films import Joining, digest_of, write_film
from .folders import job_folder
from .planning import not_there

log = structlog.get_logger(__name__)


def join(bench: Bench, recording_id: str) -> bool:
    """Publish the films of all windows; False if some are missing, or another one is published."""
    recording = repository.load(bench.storage, recording_id)
    if recording.status not in (Status.PROCESSING, Status.COMPLETED, Status.FAILED):
        return False
    build, draft = drafts.find(bench.storage, bench.settings, recording)
    if recording.build == build.digest or not_there(bench.storage, recording_id, build.windows):
        return False
    films = [write_artifact(bench, build, film) for film in build.films]
    lacking, speeds = left_out(bench.storage, recording_id, build.windows), speeds_of(bench.storage, recording_id)
    of_files = told_of_files(build.films, [asdict(film) for film in films], lacking, draft.previews, speeds)
    with job_folder(bench.storage) as folder:
        path = Path(folder) / "manifest.json"
        with path.open("w", encoding="utf-8", newline="") as file:
            file.writelines(as_text({**draft.told, **of_files}))
        listing = _put(bench.storage, recording, "manifest.json", "manifest", "application/json", path)
    page = draft.certificate.encode()
    certified = _put(bench.storage, recording, certificate.NAME, "certificate", "text/html", page)
    failpoint("join.manifest")
    artifacts = (*films, listing, certified, *draft.pending)
    data = {
        "complete": not draft.gaps,
        "gaps": list(draft.gaps),
        "sync": list(draft.sync),
        "build": build.digest,
        "madeOf": made_of(recording, bench.settings.window_ms),
        "hasty": [window.key for window in build.windows if window.key in speeds],
        "artifacts": [asdict(artifact) for artifact in artifacts],
    }

    def decide(state: Recording) -> Draft | None:
        journal.refuse_deleted(state)
        if state.build != recording.build or not editions.fit(state, artifacts):
            return None  # somebody else was quicker, and may have known of more
        return ("completed" if state.status is Status.PROCESSING else "updated"), data

    state = bench.control.append(recording_id, decide)
    failpoint("join.told")
    drafts.forget(bench.storage, recording_id)
    return state.build == build.digest


def _put(storage: Storage, recording: Recording, name: str, kind: str, mime_type: str, body: bytes | Path) -> Artifact:
    """Store a file that is told of the film."""
    if isinstance(body, Path):
        digest, size_bytes = digest_of(body), body.stat().st_size
    else:
        digest, size_bytes = sha256(body).hexdigest(), len(body)
    edition = editions.edition_of(recording, name, digest)
    storage.put_if_absent(keys.artifact(recording.recording_id, name, digest, edition), body)
    return Artifact(
        name=name,
        kind=kind,
        status="ready",
        mime_type=mime_type,
        size_bytes=size_bytes,
        sha256=digest,
        edition=edition,
    )


def write_artifact(bench: Bench, build: Build, film: Film) -> Artifact:
    """Make one film of its windows, or of its track's packets, and store it."""
    recording_id = build.recording.recording_id
    with job_folder(bench.storage) as name:
        if film.copied:
            path = Path(name) / film.name
            duration_ms = export.write_copy(bench.storage, build, film, path)
            digest = digest_of(path)
        else:
            path, digest = write_film(_joining(bench, recording_id, film, Path(name)))
            duration_ms = film.duration_us // 1000
        failpoint("join.made")
        made = Artifact(
            name=film.name,
            kind="composition",
            status="ready",
            mime_type=mime_type(film.output),
            size_bytes=path.stat().st_size,
            duration_ms=duration_ms,
            sha256=digest,
            stepped_down_ms=_stepped_down_ms(bench.storage, recording_id, film),
            edition=editions.edition_of(build.recording, film.name, digest),
        )
        bench.storage.put_if_absent(keys.artifact(recording_id, made.name, digest, made.edition), path)
    failpoint("join.film")
    return made


def _joining(bench: Bench, recording_id: str, film: Film, folder: Path) -> Joining:
    return Joining(storage=bench.storage, recording_id=recording_id, film=film, folder=folder)


def speeds_of(storage: Storage, recording_id: str) -> dict[str, str]:
    """Windows that were encoded faster than their profile asks for, by key, and at which speed."""
    prefix = keys.speeds_prefix(recording_id)
    found = [entry.key for entry in storage.list(prefix)]
    return {key.removeprefix(prefix).removesuffix(".txt"): storage.get(key).decode() for key in found}


def _stepped_down_ms(storage: Storage, recording_id: str, film: Film) -> int:
    faster = speeds_of(storage, recording_id)
    return sum(window.to_us - window.from_us for window in film.windows if window.key in faster) // 1000


def left_out(storage: Storage, recording_id: str, windows: Sequence[Window]) -> list[dict[str, Any]]:
    """What windows had to be rendered without."""
    found: list[dict[str, Any]] = []
    for window in windows:
        try:
            note = json.loads(storage.get(keys.window_note(recording_id, window.key)))
        except ObjectMissing:
            continue
        told = [{"k": window.k, **item} for item in note["leftOut"]]
        found += [item for item in told if item not in found]  # films of several sizes lack the same
    return found
