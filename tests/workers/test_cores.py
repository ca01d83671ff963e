"""Windows do not share cores while there are enough, and wait for none."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid

import pytest

from workers.cores import taken

WORLD = uuid.uuid4().hex  #: other workers of this machine take no cores from these tests

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="cores can be chosen on Linux alone")


def test_two_windows_take_different_cores() -> None:
    cores = len(os.sched_getaffinity(0))
    with taken(1, WORLD) as one, taken(1, WORLD) as two:
        assert len(one) == len(two) == (1 if cores > 1 else 0)
        assert not one & two


def test_where_all_cores_are_taken_any_will_do() -> None:
    cores = len(os.sched_getaffinity(0))
    if cores == 1:
        return
    with taken(cores - 1, WORLD), taken(1, WORLD), taken(1, WORLD) as none_left:
        assert none_left == frozenset()


def test_cores_are_free_again_when_their_holder_is_done() -> None:
    for _ in range(3):
        with taken(1, WORLD) as found:
            assert len(found) == (1 if len(os.sched_getaffinity(0)) > 1 else 0)


def test_cores_are_free_again_when_their_holder_was_killed() -> None:
    code = "from workers.cores import taken\nwith taken(1, '%s'):\n    print('held', flush=True)\n    input()"
    holder = subprocess.Popen([sys.executable, "-c", code % WORLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout
    assert holder.stdin
    holder.stdout.readline()
    holder.kill()
    holder.wait()
    holder.stdout.close()
    holder.stdin.close()
    cores = len(os.sched_getaffinity(0))
    with taken(cores - 1, WORLD) as found:
        assert len(found) == (cores - 1 if cores > 1 else 0)


@pytest.mark.parametrize("count", [0, 10_000])
def test_as_many_threads_as_cores_run_on_all_of_them(count: int) -> None:
    with taken(count, WORLD) as found:
        assert found == frozenset()
