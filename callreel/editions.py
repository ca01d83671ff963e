"""What a recording's files replaced, and for how long it is kept. Pure.

A file's object is named by its content, and by how often that very content had been replaced under its name before. So
a name that was given up is never used again, and what was replaced can be deleted at any time, whoever publishes
meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from . import keys
from .model import Artifact, Outdated, Recording
from .states import Status

#: For who is still reading: a film that is watched to its end, or a download over a slow line.
KEPT_MS = 3_600_000
#: Under this name the live stream's list is replaced, by the film's own windows.
LIVE = "live"


def followed(before: Recording, state: Recording, at_ms: int) -> Recording:
    """The state after a fact, with what that fact replaced: whatever was ready before and is not what is ready now.

    What is announced anew is not replaced until it is made: most of it comes out as it was.
    """
    unchanged = state.artifacts is before.artifacts and state.status is before.status
    if unchanged or state.status in (Status.DELETING, Status.DELETED):
        return state
    now = {each.name: each for each in state.artifacts}
    known = {each.name: each for each in (*before.held, *before.artifacts) if each.sha256}
    held: list[Artifact] = []
    gone: list[tuple[str, str, int]] = []
    for name, each in known.items():
        new = now.get(name)
        if new is not None and not new.sha256 and new.status != "failed":
            held.append(each)
        elif new is None or (new.sha256, new.edition) != (each.sha256, each.edition):
            gone.append((name, each.sha256, each.edition))
    # of what was taken back before it was made there may be windows
    gone += [(each.name, "", 0) for each in before.artifacts if each.name not in known and each.name not in now]
    if state.status is Status.COMPLETED and before.status is not Status.COMPLETED:
        gone.append((LIVE, "", 0))
    more = [Outdated(name=n, sha256=s, edition=e, at_ms=at_ms, sequence=state.sequence) for n, s, e in gone]
    return replace(state, held=tuple(held), outdated=(*state.outdated, *more))


def edition_of(state: Recording, name: str, sha256: str) -> int:
    """How often this very content has been replaced under its name."""
    return sum((each.name, each.sha256) == (name, sha256) for each in state.outdated)


def fit(state: Recording, artifacts: Iterable[Artifact]) -> bool:
    """Are all of these named as they have to be now? Else one of them has been replaced while it was made."""
    return all(each.edition == edition_of(state, each.name, each.sha256) for each in artifacts if each.sha256)


def key_of(state: Recording, name: str, sha256: str) -> str:
    """Where the last edition of a content is stored, whether it was replaced since or not."""
    of_all: tuple[Outdated | Artifact, ...] = (*state.outdated, *state.artifacts)
    found = [each.edition for each in of_all if (each.name, each.sha256) == (name, sha256)]
    return keys.artifact(state.recording_id, name, sha256, max(found, default=0))


def left(state: Recording) -> list[Outdated]:
    """What was replaced and may still be stored, in the order in which it was."""
    return [each for each in state.outdated if each.sequence > state.tidied]


def due_ms(state: Recording) -> int | None:
    """When the next of it is to be deleted, the server's clock; None where nothing is."""
    return min((each.at_ms + KEPT_MS for each in left(state)), default=None)
