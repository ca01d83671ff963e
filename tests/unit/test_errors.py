"""The tree of errors: every leaf can be told to somebody."""

from __future__ import annotations

import re

import pytest

from callreel.errors import (
    CallreelError,
    ChunkTooLarge,
    DigestMismatch,
    InsufficientStorage,
    PermanentError,
    RateLimited,
    TransientError,
    Unavailable,
    error_classes,
)

#: those that the contract tells of; other modules refine some of them for themselves
TOLD = [cls for cls in error_classes() if cls.__module__ == "callreel.errors"]
LEAVES = [cls for cls in TOLD if not any(sub in TOLD for sub in cls.__subclasses__())]


@pytest.mark.parametrize("cls", TOLD)
def test_an_error_has_a_code_a_status_and_a_title(cls: type[CallreelError]) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", cls.code)
    assert 400 <= cls.status < 600
    assert re.fullmatch(r"([A-Z]|ffmpeg ).*[^.]", cls().title)
    assert cls().detail == cls().title
    assert str(cls("What was expected, what came.")) == "What was expected, what came."


def test_everything_is_permanent_or_transient() -> None:
    for cls in TOLD:
        assert cls is CallreelError or issubclass(cls, PermanentError) != issubclass(cls, TransientError)


def test_a_code_means_one_thing() -> None:
    own = [cls for cls in LEAVES if "code" in vars(cls)]
    assert len({cls.code for cls in own}) == len(own)


def test_a_code_is_answered_with_one_status() -> None:
    statuses: dict[str, set[int]] = {}
    for cls in LEAVES:
        statuses.setdefault(cls.code, set()).add(cls.status)
    assert all(len(found) == 1 for found in statuses.values()), statuses


def test_what_may_help_to_try_again_says_so() -> None:
    assert all(cls.retryable for cls in LEAVES if issubclass(cls, TransientError))
    assert [cls for cls in LEAVES if issubclass(cls, PermanentError) and cls.retryable] == [DigestMismatch]
    assert (Unavailable.status, RateLimited.status, InsufficientStorage.status) == (503, 429, 507)


def test_further_members_travel_with_the_error() -> None:
    assert ChunkTooLarge("Too large.", limitBytes=10).extra == {"limitBytes": 10}
