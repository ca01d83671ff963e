"""The journal: the next free number is the compare-and-set, and everything else is a fold."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callreel import journal, keys
from callreel.errors import InvalidState, RecordingDeleted, Unavailable, UnknownRecording
from callreel.journal import Draft, Fact
from callreel.model import Recording
from callreel.states import Status
from callreel.storage import Storage
from callreel.storage.local import LocalStorage
from tests.unit.domain import (
    DRAINED,
    START_MS,
    STOPPED,
    artifact,
    completed,
    facts_of,
    started,
    track_added,
    track_completed,
)

REC = "rec_call_1732259000000"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=10,
)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return LocalStorage(tmp_path, fsync=False)


def write(storage: Storage, facts: list[Fact]) -> None:
    for fact in facts:
        assert storage.put_if_absent(keys.journal_fact(REC, fact.sequence), journal.encode(fact))


# ── facts ────────────────────────────────────────────────────────────────────────────────────────────────────────────
@given(
    st.integers(1, 10**8),
    st.text("abc_", min_size=1),
    st.integers(0, 10**14),
    st.dictionaries(st.text("ab"), json_values),
)
def test_a_fact_is_read_as_it_was_written(sequence: int, type_: str, at_ms: int, data: dict[str, object]) -> None:
    fact = Fact(sequence=sequence, type=type_, at_ms=at_ms, data=data)
    assert journal.decode(sequence, journal.encode(fact)) == fact


def test_facts_are_read_in_order_behind_a_number(storage: Storage) -> None:
    facts = facts_of(*[track_added("ada", f"t{n}") for n in range(12)])
    write(storage, random.Random(1).sample(facts, len(facts)))
    assert journal.read(storage, REC) == facts
    assert journal.read(storage, REC, 10) == facts[10:]
    assert journal.read(storage, REC, 13) == []


def test_reading_ends_at_a_hole(storage: Storage) -> None:
    facts = facts_of(*[track_added("ada", f"t{n}") for n in range(4)])
    write(storage, [facts[0], facts[1], facts[3]])
    assert journal.read(storage, REC) == facts[:2]


def test_where_nothing_was_written_there_is_no_recording(storage: Storage) -> None:
    assert journal.read(storage, REC) == []
    with pytest.raises(UnknownRecording):
        journal.fold(REC, [])
    with pytest.raises(UnknownRecording):
        journal.append(storage, REC, lambda state: STOPPED, at_ms=START_MS)
    with pytest.raises(UnknownRecording, match="stopped"):
        journal.fold(REC, [Fact(sequence=1, type="stopped", at_ms=0, data={})])


# ── append ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_an_append_is_one_object_under_the_next_number(storage: Storage) -> None:
    write(storage, [started()])
    state, fact = journal.append(storage, REC, lambda state: STOPPED, at_ms=START_MS + 5000)
    assert fact == Fact(sequence=2, type="stopped", at_ms=START_MS + 5000, data={"reason": "host"})
    assert (state.status, state.sequence, state.duration_ms) == (Status.STOPPING, 2, 5000)
    assert [entry.key for entry in storage.list(keys.journal_prefix(REC))] == [
        keys.journal_fact(REC, n) for n in (1, 2)
    ]
    assert state == journal.fold(REC, journal.read(storage, REC))


def test_nothing_to_say_writes_nothing(storage: Storage) -> None:
    write(storage, [started()])
    state, fact = journal.append(storage, REC, lambda state: None, at_ms=START_MS)
    assert fact is None
    assert state.sequence == 1
    assert len(journal.read(storage, REC)) == 1


def test_what_the_state_forbids_is_not_written(storage: Storage) -> None:
    write(storage, [started()])
    with pytest.raises(InvalidState):
        journal.append(storage, REC, lambda state: completed(), at_ms=START_MS)
    assert len(journal.read(storage, REC)) == 1


def test_who_loses_a_race_thinks_again(storage: Storage) -> None:
    write(storage, [started()])
    seen: list[int] = []

    def decide(state: Recording) -> Draft | None:
        seen.append(state.sequence)
        if len(seen) == 1:  # somebody comes in between
            write(storage, facts_of(track_added("ada", "cam"))[1:])
        return track_added("bob", "mic") if state.track("mic") is None else None

    state, fact = journal.append(storage, REC, decide, at_ms=START_MS)
    assert seen == [1, 2]
    assert fact is not None
    assert fact.sequence == 3
    assert [track.track_id for track in state.tracks()] == ["cam", "mic"]


def test_thirty_threads_leave_no_hole_and_lose_nothing(storage: Storage) -> None:
    write(storage, [started()])
    ready = threading.Barrier(30)

    def add(number: int) -> None:
        ready.wait()
        journal.append(storage, REC, lambda state: track_added(f"p{number}", f"t{number}"), at_ms=START_MS)

    with ThreadPoolExecutor(30) as pool:
        list(pool.map(add, range(30)))
    facts = journal.read(storage, REC)
    assert [fact.sequence for fact in facts] == list(range(1, 32))
    assert {track.track_id for track in journal.fold(REC, facts).tracks()} == {f"t{n}" for n in range(30)}


def test_who_loses_for_ever_is_told_to_try_later(storage: Storage) -> None:
    write(storage, [started()])

    class Taken(LocalStorage):
        """As if somebody were always faster."""

        def put_if_absent(self, key: str, data: bytes | Path) -> bool:
            return False

    assert isinstance(storage, LocalStorage)
    with pytest.raises(Unavailable):
        journal.append(Taken(storage.root, fsync=False), REC, lambda state: STOPPED, at_ms=START_MS)


# ── fold ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_life_is_folded() -> None:
    state = journal.fold(
        REC,
        facts_of(
            track_added("ada", "cam"),
            track_added("ada", "mic", "audio"),
            track_added("bob", "cam2"),
            ("paused", {}),
            ("resumed", {}),
            track_completed("cam", 7, 3),
            STOPPED,
            DRAINED,
            completed(artifact("composition.mp4"), artifact("manifest.json")),
        ),
    )
    assert (state.recording_id, state.call_id, state.status) == (REC, "call", Status.COMPLETED)
    assert [(p.participant_id, p.name, [t.track_id for t in p.tracks]) for p in state.participants] == [
        ("ada", "Ada", ["cam", "mic"]),
        ("bob", "Bob", ["cam2"]),
    ]
    cam = state.track("cam")
    assert cam is not None
    assert cam.complete
    assert [(segment.seg, segment.expected_chunks) for segment in cam.segments] == [(0, 7), (1, 3)]
    assert state.pauses == ((START_MS + 4000, START_MS + 5000),)
    assert state.duration_ms == 6000  # stopped in the seventh second, one of them paused
    assert [found.name for found in state.artifacts] == ["composition.mp4", "manifest.json"]
    assert (state.complete, state.build, state.end_reason, state.sequence) == (True, "b1", "host", 10)


def test_stopping_ends_a_pause() -> None:
    state = journal.fold(REC, facts_of(("paused", {}), STOPPED))
    assert state.pauses == ((START_MS + 1000, START_MS + 2000),)
    assert state.duration_ms == 1000


def test_an_artifact_replaces_the_one_of_its_name() -> None:
    facts = facts_of(
        STOPPED,
        DRAINED,
        completed(artifact("composition.mp4", sha256="aa")),
        ("artifact", artifact("tracks/ada/cam.webm", "processing")),
        ("artifact", artifact("tracks/ada/cam.webm", "ready")),
        completed(artifact("composition.mp4", sha256="bb"), type_="updated", build="b2"),
    )
    state = journal.fold(REC, facts)
    assert [(a.name, a.status, a.sha256) for a in state.artifacts] == [
        ("composition.mp4", "ready", "bb"),
        ("tracks/ada/cam.webm", "ready", "aa"),
    ]
    assert (state.status, state.build) == (Status.COMPLETED, "b2")


def test_what_failed_can_still_become_a_film() -> None:
    failed = facts_of(STOPPED, DRAINED, ("failed", {"code": "no_media", "message": "Nothing was recorded."}))
    assert (journal.fold(REC, failed).error_code, journal.fold(REC, failed).status) == ("no_media", Status.FAILED)
    mended = facts_of(STOPPED, DRAINED, ("failed", {"code": "no_media", "message": "…"}), completed(type_="updated"))
    state = journal.fold(REC, mended)
    assert (state.status, state.error_code, state.error_message) == (Status.COMPLETED, "", "")


def test_a_track_told_twice_is_there_once_and_an_unknown_one_is_passed_over() -> None:
    state = journal.fold(
        REC, facts_of(track_added("ada", "cam"), track_added("bob", "cam"), track_completed("never", 1))
    )
    assert [(track.participant_id, track.complete) for track in state.tracks()] == [("ada", False)]
    assert state.sequence == 4


def test_facts_of_a_later_version_are_passed_over() -> None:
    assert journal.fold(REC, facts_of(("hologram_added", {"x": 1}))).sequence == 2


@given(st.integers(0, 9))
def test_folding_in_two_steps_is_folding_at_once(cut: int) -> None:
    facts = facts_of(
        track_added("ada", "cam"),
        ("paused", {}),
        ("resumed", {}),
        track_completed("cam", 1),
        STOPPED,
        DRAINED,
        completed(),
    )
    state = journal.fold(REC, facts[: max(1, cut)])
    for fact in facts[max(1, cut) :]:
        state = journal.apply(state, fact)
    assert state == journal.fold(REC, facts)


@pytest.mark.parametrize("deleted", [[("delete_requested", {})], [("delete_requested", {}), ("deleted", {})]])
def test_what_was_deleted_takes_nothing_more(deleted: list[Draft]) -> None:
    journal.refuse_deleted(journal.fold(REC, facts_of(STOPPED)))
    with pytest.raises(RecordingDeleted, match=REC):
        journal.refuse_deleted(journal.fold(REC, facts_of(*deleted)))
