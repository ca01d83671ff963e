"""Failpoints: each at one place, each in the table, and nothing at all where none is armed."""

from __future__ import annotations

import ast
import errno
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from callreel import failpoints
from callreel.errors import InvalidSettings
from callreel.failpoints import POINTS, arm, failpoint

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    arm("")


def passed() -> Iterator[tuple[Path, ast.expr]]:
    """Every place in the code where a point is passed: its file, and its name as it stands there."""
    for package in ("callreel", "ingest", "workers"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "failpoint":
                    yield path, node.args[0]


def test_every_name_stands_at_one_place_and_in_the_table() -> None:
    names = []
    for path, name in passed():
        assert isinstance(name, ast.Constant), f"{path}: a failpoint's name is written out"
        names.append(name.value)
    assert Counter(names) == Counter(POINTS.keys())


def test_nothing_happens_where_nothing_is_armed() -> None:
    failpoint("ack.received")
    arm("ack.stored:1:raise=EIO")
    failpoint("ack.received")
    assert failpoints._hits == {"ack.received": 1}
    arm("")
    failpoint("ack.stored")
    assert failpoints._hits == {}


def test_the_hit_that_is_named_acts_and_no_other() -> None:
    arm("ack.stored:2:raise=EIO,ack.stored:4:raise=ENOSPC,ack.answer:1:sleep=20")
    failpoint("ack.stored")
    with pytest.raises(OSError) as first:
        failpoint("ack.stored")
    failpoint("ack.stored")
    with pytest.raises(OSError) as second:
        failpoint("ack.stored")
    failpoint("ack.stored")
    assert (first.value.errno, second.value.errno) == (errno.EIO, errno.ENOSPC)
    before = time.monotonic()
    failpoint("ack.answer")
    assert time.monotonic() - before >= 0.02


def test_whoever_starts_with_one_is_warned_loudly(caplog: pytest.LogCaptureFixture) -> None:
    arm("")
    assert caplog.records == []
    arm("ack.stored:1:exit")
    assert any("break on purpose" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    "spec",
    ["nowhere:1:exit", "ack.stored", "ack.stored:0:exit", "ack.stored:x:exit", "ack.stored:1:raise=EPERM",
     "ack.stored:1:sleep=long", "ack.stored:1:exit=1", "ack.stored:1:exit,nowhere:1:exit"],
)  # fmt: skip
def test_what_cannot_be_armed_is_refused(spec: str) -> None:
    with pytest.raises(InvalidSettings, match="name:hit:action"):
        arm(spec)


def test_a_point_that_is_not_armed_costs_nothing_that_a_chunk_would_feel() -> None:
    times = []
    for _ in range(20):
        began = time.perf_counter()
        for _ in range(1000):
            failpoint("ack.stored")
        times.append(time.perf_counter() - began)
    assert min(times) / 1000 < 2e-6  # some tens of ns; a chunk passes ten of them in half a millisecond
