"""The table of states: what leads where, and what is refused."""

from __future__ import annotations

import pytest

from callreel.errors import InvalidState
from callreel.states import ACTIVE, FINAL, TRANSITIONS, Status, after

LIFE = [
    ("recording", "paused", "paused"),
    ("paused", "resumed", "recording"),
    ("recording", "stopped", "stopping"),
    ("paused", "stopped", "stopping"),
    ("stopping", "drained", "processing"),
    ("processing", "completed", "completed"),
    ("processing", "failed", "failed"),
    ("completed", "updated", "completed"),
    ("failed", "updated", "completed"),
    ("deleting", "deleted", "deleted"),
]


@pytest.mark.parametrize(("before", "fact", "expected"), LIFE)
def test_a_fact_leads_to_a_state(before: str, fact: str, expected: str) -> None:
    assert after(Status(before), fact) == Status(expected)


def test_there_are_no_other_steps_but_to_delete() -> None:
    steps = {
        (b, fact, a) for fact, table in TRANSITIONS.items() for b, a in table.items() if fact != "delete_requested"
    }
    assert steps == {(Status(b), fact, Status(a)) for b, fact, a in LIFE}
    assert set(TRANSITIONS["delete_requested"].values()) == {Status.DELETING}
    assert set(TRANSITIONS["delete_requested"]) == set(Status) - {Status.DELETING, Status.DELETED}


@pytest.mark.parametrize("fact", list(TRANSITIONS))
def test_every_other_step_is_refused_and_says_what_it_needs(fact: str) -> None:
    for status in set(Status) - set(TRANSITIONS[fact]):
        with pytest.raises(InvalidState) as refused:
            after(status, fact)
        assert status in refused.value.detail
        assert all(allowed in refused.value.detail for allowed in TRANSITIONS[fact])


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("fact", ["track_added", "track_completed", "artifact", "something a later version writes"])
def test_other_facts_leave_the_state_alone(status: Status, fact: str) -> None:
    assert after(status, fact) == status


def test_every_state_can_be_reached_and_has_a_way_on() -> None:
    reached = {Status.RECORDING} | {a for table in TRANSITIONS.values() for a in table.values()}
    assert reached == set(Status)
    assert {b for table in TRANSITIONS.values() for b in table} == set(Status) - {Status.DELETED}
    assert not ACTIVE & FINAL
