"""Memory of the jobs of a finished call, which grows with people and hours: no call may be too long to be made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.sparse import build_sparse, measure

HOUR_MS = 3_600_000
MUST_MB = 500
#: What a process has with all of the workers in it, and what it takes for any call, however short.
BARE_MB, ANY_MB = 90, 10
#: What 25 people for three hours may take beyond that, for each of them and each of these.
HOURLY_MB = (MUST_MB - BARE_MB - ANY_MB) / (25 * 3)


def test_memory_grows_no_faster_than_the_longest_call_allows(redis_url: str, data_dir: Path) -> None:
    people, hours = 5, 0.5
    found = measure(data_dir, redis_url, build_sparse(data_dir, people, round(hours * HOUR_MS)))
    print(f"{people} people for {hours} h: {found}")
    assert found["join"]["done"]
    for job, took in found.items():
        assert took["mb"] - took["begin_mb"] < ANY_MB + people * hours * HOURLY_MB, job


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("layout", ["grid", "speaker"])
def test_memory_of_25_people_for_three_hours(layout: str, redis_url: str, data_dir: Path) -> None:
    found = measure(data_dir, redis_url, build_sparse(data_dir, 25, 3 * HOUR_MS, layout))
    print(f"25 people for three hours, {layout}: {found}")
    assert found["join"]["done"]
    assert max(took["mb"] for took in found.values()) <= MUST_MB
