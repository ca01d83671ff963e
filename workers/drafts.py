"""What is told of a recording once its films are files, worked out while their last windows are still rendered.

A draft is kept under the digest of all that decides it, so whoever finds one may use it, and whoever finds none plans.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from callreel import certificate, keys
from callreel.errors import ObjectMissing
from callreel.manifest import Build, Film, Unplanned, Verbatim, as_text, manifest
from callreel.model import Artifact, Recording
from callreel.previews import plan_previews
from callreel.profiles import Profile
from callreel.settings import Settings
from callreel.storage import Storage
from callreel.windows import Window, made_of

from . import export, previews
from .folders import job_folder
from .planning import look, plan

Json = dict[str, Any]

#: Raise it when drafts are stored in another form.
DRAFT_VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Everything that does not depend on what windows and files have become."""

    digest: str  #: of the build
    films: tuple[Film, ...]
    told: Mapping[str, Any]  #: entries of the manifest, to be written by `as_text`
    previews: Sequence[Json]  #: as the manifest tells them
    pending: Sequence[Artifact]  #: what is made behind the films
    gaps: Sequence[Json]
    sync: Sequence[Json]
    certificate: str


def of(build: Build) -> Draft:
    """The draft of a build. Pure."""
    return Draft(
        digest=build.digest,
        films=build.films,
        told=manifest(build),
        previews=[preview.to_json() for preview in plan_previews(build)],
        pending=[*previews.pending(build), *export.pending(build)],
        gaps=[gap.to_json() for gap in build.timeline.gaps],
        sync=[sync.named() for sync in build.syncs],
        certificate=certificate.page(build.recording, build.timeline, build.syncs),
    )


def keep(storage: Storage, settings: Settings, build: Build) -> None:
    """Store the draft of a build, for who will join its windows."""
    with job_folder(storage) as folder:
        path = Path(folder) / "draft"
        with path.open("wb") as file:
            file.writelines(_encode(of(build)))
        storage.put_if_absent(_key(settings, build.recording), path)


def find(storage: Storage, settings: Settings, recording: Recording) -> tuple[Build, Draft]:
    """The draft of a recording's films, which are planned where none is kept."""
    try:
        draft = _decode(storage.get(_key(settings, recording)))
    except ObjectMissing:
        build = plan(storage, settings, recording)
        return build, of(build)
    seen = Unplanned(
        recording,
        draft.digest,
        lambda: look(storage, recording),
        lambda: plan(storage, settings, recording),
        draft.films,
    )
    return seen, draft


def forget(storage: Storage, recording_id: str) -> None:
    """All of them: who would still want one plans."""
    for entry in list(storage.list(keys.drafts_prefix(recording_id))):
        storage.delete(entry.key)


def _key(settings: Settings, recording: Recording) -> str:
    return keys.draft(recording.recording_id, f"{made_of(recording, settings.window_ms)}.{DRAFT_VERSION}")


def _encode(draft: Draft) -> Iterator[bytes]:
    """Entries of the manifest as they are, for of long calls of many people they are tens of MB; in the last line how
    long each is, and all else."""
    lengths: dict[str, int] = {}
    for name, value in draft.told.items():
        lengths[name] = 0
        for piece in as_text(value, " "):
            data = piece.encode()
            lengths[name] += len(data)
            yield data
    found = {name: getattr(draft, name) for name in ("digest", "previews", "gaps", "sync", "certificate")}
    found["told"] = lengths
    found["pending"] = [asdict(artifact) for artifact in draft.pending]
    found["films"] = [
        {
            "output": film.output,
            "profile": film.profile.to_json(),
            "copied": film.copied,
            "windows": [
                [w.k, w.key, w.from_us, w.to_us, w.seen["firstPicture"], w.seen["pictures"]] for w in film.windows
            ],
        }
        for film in draft.films
    ]
    yield b"\n" + json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()


def _decode(data: bytes) -> Draft:
    found, at = json.loads(data[data.rindex(b"\n") :]), 0
    for name, length in found["told"].items():
        found["told"][name] = Verbatim(memoryview(data)[at : at + length], "utf-8")
        at += length
    found["pending"] = [Artifact(**told) for told in found["pending"]]
    found["films"] = tuple(_film(told) for told in found["films"])
    return Draft(**found)


def _film(told: Json) -> Film:
    profile = told["profile"]
    windows = tuple(
        Window(k=k, key=key, seen={"profile": profile, "firstPicture": first, "pictures": pictures}, hear=_unknown,
               from_us=from_us, to_us=to_us)
        for k, key, from_us, to_us, first, pictures in told["windows"]
    )  # fmt: skip
    return Film(output=told["output"], profile=Profile(**profile), windows=windows, copied=tuple(told["copied"]))


def _unknown() -> list[Json]:
    # joining asks for keys alone; whoever asks for more must not take a window for one without sound
    raise NotImplementedError("a draft knows windows by their keys, not how they are made")
