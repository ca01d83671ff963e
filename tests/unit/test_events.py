"""Events: a fold of the journal, numbered without holes."""

from __future__ import annotations

import pytest

from callreel.events import EVENT_TYPES, EVENTS, WHOLE, Event, fold_events
from callreel.journal import Draft
from callreel.states import TRANSITIONS, Status
from tests.unit.domain import DRAINED, START_MS, STOPPED, artifact, completed, facts_of, track_added, track_completed

REC = "rec_call_1732259000000"


def told(*drafts: Draft) -> list[Event]:
    return fold_events(REC, facts_of(*drafts))


def types(*drafts: Draft) -> list[str]:
    return [event.type for event in told(*drafts)]


LIFE: list[Draft] = [
    track_added("ada", "cam"),
    track_added("ada", "mic"),
    ("paused", {}),
    ("resumed", {}),
    track_added("bob", "cam2"),
    track_completed("cam", 4),
    track_completed("mic", 4),
    STOPPED,
    DRAINED,
    ("artifact", artifact("tracks/ada/cam.webm", "processing")),
    completed(artifact("composition.mp4")),
    completed(artifact("composition.mp4", sha256="bb"), type_="updated"),
    ("delete_requested", {}),
    ("deleted", {}),
]
KEPT = LIFE[:-2]  #: the same, not deleted


def test_a_life_is_told_in_order() -> None:
    assert types(*LIFE) == [
        "recordingstarted",
        "participantjoined",
        "trackstarted",
        "trackstarted",
        "recordingpaused",
        "recordingresumed",
        "participantjoined",
        "trackstarted",
        "trackcompleted",
        "trackcompleted",
        "participantleft",
        "recordingstopped",
        "recordingcompleted",
        "recordingupdated",
        "recordingdeleted",
    ]


def test_sequences_have_no_holes_and_ids_follow_from_them() -> None:
    events = told(*LIFE)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert [event.id for event in events] == [f"evt_{REC}_{n}" for n in range(1, len(events) + 1)]


@pytest.mark.parametrize("length", range(len(KEPT)))
def test_what_was_told_once_is_told_the_same_for_ever(length: int) -> None:
    before, later = told(*LIFE[:length]), told(*KEPT)
    assert later[: len(before)] == before


def test_of_a_deleted_recording_the_same_events_are_told_without_names() -> None:
    before, later = told(*KEPT), told(*LIFE)
    assert [(event.id, event.type, event.at_ms) for event in later[:-1]] == [
        (event.id, event.type, event.at_ms) for event in before
    ]
    for event in later:
        assert "name" not in event.data
        assert (event.state.participants, event.state.artifacts, event.state.started_by) == ((), (), "")


def test_an_event_knows_the_state_right_after_it() -> None:
    by_type = {event.type: event for event in told(*KEPT)}
    assert by_type["recordingstarted"].state.status == Status.RECORDING
    assert by_type["recordingstarted"].at_ms == START_MS
    assert by_type["recordingstopped"].state.status == Status.STOPPING
    assert by_type["recordingstopped"].at_ms == by_type["recordingstopped"].state.stopped_ms
    assert by_type["recordingcompleted"].state.artifacts[0].name == "composition.mp4"


def test_a_participant_joins_with_the_first_track_and_leaves_with_the_last() -> None:
    events = told(track_added("ada", "cam"), track_completed("cam", 1), track_added("bob", "mic", "audio"))
    assert [(event.type, event.data) for event in events[1:]] == [
        ("participantjoined", {"participantId": "ada", "name": "Ada"}),
        (
            "trackstarted",
            {"participantId": "ada", "name": "Ada", "trackId": "cam", "source": "camera", "kind": "video"},
        ),
        ("trackcompleted", {"participantId": "ada", "name": "Ada", "trackId": "cam"}),
        ("participantleft", {"participantId": "ada", "name": "Ada"}),
        ("participantjoined", {"participantId": "bob", "name": "Bob"}),
        (
            "trackstarted",
            {"participantId": "bob", "name": "Bob", "trackId": "mic", "source": "camera", "kind": "audio"},
        ),
    ]


def test_a_track_completed_again_or_unknown_is_not_told() -> None:
    assert types(track_added("ada", "cam"), track_completed("cam", 1), track_completed("cam", 2)) == types(
        track_added("ada", "cam"), track_completed("cam", 1)
    )
    assert types(track_completed("never", 1)) == ["recordingstarted"]


def test_a_failure_is_told() -> None:
    event = told(STOPPED, DRAINED, ("failed", {"code": "no_media", "message": "Nothing was recorded."}))[-1]
    assert (event.type, event.state.error_code) == ("recordingfailed", "no_media")


def test_nothing_is_told_of_nothing() -> None:
    assert fold_events(REC, []) == []


def test_every_event_has_a_fact_behind_it_and_a_name_in_the_list() -> None:
    assert {event.type for event in told(*LIFE)} | {"recordingfailed"} == set(EVENT_TYPES)
    assert set(EVENT_TYPES) >= WHOLE
    inner = {"drained", "delete_requested"}  # steps of ours, nobody else's business
    assert set(TRANSITIONS) - inner <= set(EVENTS)
