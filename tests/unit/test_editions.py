"""What is replaced and until when it is kept: a fold of the journal, and names that are never used twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from obstore.store import MemoryStore

from callreel import editions, journal, keys
from callreel.journal import Draft
from callreel.model import Artifact, Recording
from callreel.storage import Storage
from callreel.storage.local import LocalStorage
from callreel.storage.objects import ObjectStorage
from tests.unit.domain import DRAINED, START_MS, STOPPED, artifact, completed, facts_of

REC = "rec_call_1732259000000"
FILM, TRACK = "composition.mp4", "tracks/ada/cam.webm"


def of(name: str, sha256: str = "", status: str = "ready", **more: Any) -> dict[str, Any]:
    kind = "track" if name == TRACK else "composition"
    return {**artifact(name, status, sha256), "kind": kind, **more}


def folded(*drafts: Draft) -> Recording:
    return journal.fold(REC, facts_of(STOPPED, DRAINED, *drafts))


def replaced(state: Recording) -> list[tuple[str, str, int]]:
    return [(each.name, each.sha256, each.sequence) for each in editions.left(state)]


FIRST = completed(of(FILM, "aa"), of(TRACK, status="pending"))
LIVE = (editions.LIVE, "", 4)


def test_a_film_takes_the_place_of_the_live_stream_and_the_next_one_that_of_the_film() -> None:
    again = completed(of(FILM, "bb"), of(TRACK, status="pending"), type_="updated", build="b2")
    assert replaced(folded(FIRST)) == [LIVE]
    state = folded(FIRST, again)
    assert replaced(state) == [LIVE, (FILM, "aa", 5)]
    assert editions.due_ms(state) == START_MS + 3_000 + editions.KEPT_MS
    tidied = folded(FIRST, again, ("tidied", {"sequence": 4}))
    assert replaced(tidied) == [(FILM, "aa", 5)]
    assert editions.due_ms(tidied) == START_MS + 4_000 + editions.KEPT_MS
    assert editions.due_ms(folded(FIRST, again, ("tidied", {"sequence": 5}))) is None


@pytest.mark.parametrize(
    ("later", "gone"),
    [
        ([], []),
        ([("artifact", of(TRACK, "t1"))], []),
        ([("artifact", of(TRACK, "t2"))], [(TRACK, "t1", 7)]),
        ([("artifact", of(TRACK, status="failed"))], [(TRACK, "t1", 7)]),
        ([completed(of(FILM, "bb"), type_="updated", build="b3")], [(TRACK, "t1", 7)]),
    ],
)
def test_what_is_announced_anew_is_replaced_when_it_is_made(
    later: list[Draft], gone: list[tuple[str, str, int]]
) -> None:
    made = ("artifact", of(TRACK, "t1"))
    anew = completed(of(FILM, "bb"), of(TRACK, status="pending"), type_="updated", build="b2")
    state = folded(FIRST, made, anew, *later)
    assert replaced(state) == [LIVE, (FILM, "aa", 6), *gone]


def test_of_what_is_to_be_deleted_nothing_is_known() -> None:
    state = folded(FIRST, completed(of(FILM, "bb"), type_="updated", build="b2"), ("delete_requested", {}))
    assert (state.outdated, state.held, editions.due_ms(state)) == ((), (), None)


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────────
STORAGES: dict[str, Callable[[Path], Storage]] = {
    "local": lambda folder: LocalStorage(folder, fsync=False),
    "memory": lambda folder: ObjectStorage(MemoryStore()),
}


class Publisher:
    """Somebody who makes films as `join` does, step by step, so that others may act between its steps."""

    def __init__(self, storage: Storage, sha256: str) -> None:
        self.storage = storage
        state = journal.fold(REC, journal.read(storage, REC))
        made = Artifact(name=FILM, kind="composition", status="ready", sha256=sha256)
        self.made = replace(made, edition=editions.edition_of(state, FILM, sha256))

    @property
    def key(self) -> str:
        return keys.artifact(REC, FILM, self.made.sha256, self.made.edition)

    def put(self) -> None:
        self.storage.put_if_absent(self.key, b"a film")

    def tell(self) -> bool:
        def decide(state: Recording) -> Draft | None:
            told = completed(asdict(self.made), type_="updated", build=self.made.sha256)
            return told if editions.fit(state, [self.made]) else None

        return journal.append(self.storage, REC, decide, at_ms=START_MS)[1] is not None

    def publish(self) -> bool:
        self.put()
        return self.tell()


@pytest.fixture(params=list(STORAGES))
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    storage = STORAGES[str(request.param)](tmp_path)
    for fact in facts_of(STOPPED, DRAINED, completed()):
        storage.put_if_absent(keys.journal_fact(REC, fact.sequence), journal.encode(fact))
    return storage


def outdated_keys(storage: Storage) -> list[str]:
    state = journal.fold(REC, journal.read(storage, REC))
    return [keys.artifact(REC, o.name, o.sha256, o.edition) for o in editions.left(state) if o.sha256]


def test_whoever_publishes_what_was_there_before_keeps_it_however_late_that_is_deleted(storage: Storage) -> None:
    """Somebody decided to delete, and sleeps; meanwhile the same film comes again, twice, and is what there is."""
    assert [Publisher(storage, digest).publish() for digest in ("aa", "bb")] == [True, True]
    decided = outdated_keys(storage)
    assert decided == [keys.artifact(REC, FILM, "aa")]
    again = Publisher(storage, "aa")
    assert again.publish()
    for key in decided:
        storage.delete(key)
    assert storage.get(again.key) == b"a film"
    state = journal.fold(REC, journal.read(storage, REC))
    assert [keys.artifact(REC, FILM, each.sha256, each.edition) for each in state.artifacts] == [again.key]
    assert editions.key_of(state, FILM, "aa") == again.key
    assert again.key not in outdated_keys(storage)


def test_whoever_made_what_was_replaced_meanwhile_does_not_publish_it(storage: Storage) -> None:
    assert Publisher(storage, "aa").publish()
    slow = Publisher(storage, "aa")
    slow.put()
    assert Publisher(storage, "bb").publish()
    for key in outdated_keys(storage):
        storage.delete(key)
    assert not slow.tell()
    assert Publisher(storage, "aa").publish(), "it is made again"
