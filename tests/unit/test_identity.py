"""The same media give the same film: whatever the order, however often, and whenever chunks came."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callreel import repository
from callreel.manifest import Build, as_text, manifest
from callreel.storage.local import LocalStorage
from tests.kit.build import Upload, build_recording
from tests.kit.call_generator import generate_call
from tests.kit.capture import Capture, load_named
from tests.kit.line import settings_for
from workers.planning import plan

#: at most this much later a client gives up waiting and sends a chunk again
_RETRY_MS = 120_000


def planned(root: Path, recording_id: str) -> Build:
    storage = LocalStorage(root, fsync=False)
    return plan(storage, settings_for(root, "redis://never-asked"), repository.load(storage, recording_id))


def told(build: Build) -> tuple[list[str], dict[str, Any]]:
    """Window keys and manifest."""
    return [window.key for window in build.windows], json.loads("".join(as_text(manifest(build))))


def build_and_tell(capture: Capture, **how: Any) -> tuple[list[str], dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        return told(planned(Path(folder), build_recording(Path(folder), capture, **how)))


@cache
def small_call() -> Capture:
    """Three people on recorders of three kinds, and a rejoin."""
    return generate_call(seed=11, count=3, length_ms=9000)


@cache
def undisturbed() -> tuple[list[str], dict[str, Any]]:
    return build_and_tell(small_call())


CHUNKS = sum(len(run.chunks) for run in small_call().runs)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    order=st.permutations(range(CHUNKS)),
    again=st.lists(st.tuples(st.integers(0, CHUNKS - 1), st.integers(0, _RETRY_MS)), max_size=2 * CHUNKS),
    late_ms=st.lists(st.integers(0, _RETRY_MS), min_size=CHUNKS, max_size=CHUNKS),
)
def test_order_repetition_and_lateness_of_chunks_change_nothing(
    order: list[int], again: list[tuple[int, int]], late_ms: list[int]
) -> None:
    def arrange(uploads: Sequence[Upload]) -> list[Upload]:
        def late(index: int, by_ms: int) -> Upload:
            upload = uploads[index]
            return replace(upload, chunk=replace(upload.chunk, received_ms=upload.chunk.received_ms + by_ms))

        # Retries are objects of their own, under another name: as after the index was lost between the two.
        first = [late(index, late_ms[index]) for index in order]
        return first + [late(index, late_ms[index] + by_ms) for index, by_ms in again]

    assert build_and_tell(small_call(), arrange=arrange) == undisturbed()


#: Of the chunks of a capture that are lost, one at a time: all of them, or some of every track.
EACH = 1 if os.environ.get("CALLREEL_SLOW") == "1" else 7


@pytest.mark.parametrize("name", ["duo-split", "trio-rejoin"])
def test_captures_uploaded_backwards_and_twice_give_the_same_film(name: str) -> None:
    capture = load_named(name)

    def arrange(uploads: Sequence[Upload]) -> list[Upload]:
        return [*reversed(uploads), *uploads]

    assert build_and_tell(capture, arrange=arrange) == build_and_tell(capture)


def test_a_lost_chunk_is_told_and_changes_exactly_the_windows_that_name_it(tmp_path: Path) -> None:
    capture = load_named("trio-rejoin")
    recording_id = build_recording(tmp_path, capture)
    before = planned(tmp_path, recording_id)
    for chunk in list(repository.read_chunks(LocalStorage(tmp_path), recording_id))[::EACH]:
        if chunk.seq == 0:
            continue  # without its head a segment is lost as a whole; another test's matter
        lost = (chunk.participant_id, "camera", chunk.seg, chunk.seq)
        with tempfile.TemporaryDirectory() as folder:
            after = planned(Path(folder), build_recording(Path(folder), capture, lose=[lost]))
        changed = {b.k for b, a in zip(before.windows, after.windows, strict=True) if b.key != a.key}
        naming = {
            window.k
            for window in before.windows
            for item in (*window.plan["video"], *window.plan["audio"])
            if chunk.sha256 in (item["head"], *item["chunks"])
        }
        assert changed == naming, lost
        assert [gap.chunks for gap in after.timeline.gaps] == [((chunk.seq, chunk.seq),)], lost
        assert {gap.reason for gap in after.timeline.gaps} == {"lost"}
