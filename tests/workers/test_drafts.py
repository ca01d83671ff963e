"""After stop the last windows are asked for first, and joining finds what it tells worked out already."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from callreel import keys, repository
from callreel.control import Control
from callreel.manifest import Unplanned
from callreel.model import Recording
from callreel.windows import Planner
from tests.kit.build import ManualClock, build_recording, plan_uploads, put_upload
from tests.kit.call_generator import generate_call
from tests.kit.line import plan_now, settings_for
from workers import advance as advancing
from workers import drafts, join
from workers.bench import Bench
from workers.jobs import bench as make_bench
from workers.render import render_window

CAPTURE = generate_call(seed=4, count=1, length_ms=9_000)
OPTIONS = {"preset": "480p"}


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory, index_server: str) -> tuple[Path, str]:
    """A recording that was looked at after its end, and whose windows are rendered."""
    folder = tmp_path_factory.mktemp("drafted") / "data"
    folder.mkdir()
    recording_id = build_recording(folder, CAPTURE, options=OPTIONS)
    bench = make_bench(settings_for(folder, index_server))
    advancing.advance(bench, recording_id)
    for window in plan_now(bench, recording_id).windows:
        assert render_window(bench.storage, bench.settings, recording_id, window.key)
    return folder, recording_id


@pytest.fixture
def rendered(once: tuple[Path, str], tmp_path: Path, redis_url: str) -> tuple[Bench, str]:
    """The same for each test."""
    folder, recording_id = once
    shutil.copytree(folder, tmp_path / "data", copy_function=os.link)
    return make_bench(settings_for(tmp_path / "data", redis_url)), recording_id


def unasked(*of: Any, **how: Any) -> Any:
    raise AssertionError("planned again")


def published(bench: Bench, recording_id: str) -> tuple[bytes, bytes, Recording]:
    """Manifest, certificate and recording."""
    assert join.join(bench, recording_id)
    recording = repository.load(bench.storage, recording_id)
    files = {artifact.name: artifact for artifact in recording.artifacts}
    found = [bench.storage.get(keys.artifact(recording_id, name, files[name].sha256))
             for name in ("manifest.json", "certificate.html")]  # fmt: skip
    return found[0], found[1], recording


def test_a_draft_tells_what_a_plan_would(
    rendered: tuple[Bench, str], tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, recording_id = rendered
    shutil.copytree(tmp_path / "data", tmp_path / "other", copy_function=os.link)
    other = make_bench(settings_for(tmp_path / "other", redis_url))
    drafts.forget(other.storage, recording_id)
    planned = published(other, recording_id)
    for what in ("plan", "look"):
        monkeypatch.setattr(drafts, what, unasked)

    drafted = published(bench, recording_id)

    assert drafted[:2] == planned[:2]
    ours, its = drafted[2], planned[2]
    assert (ours.artifacts, ours.gaps, ours.sync, ours.build) == (its.artifacts, its.gaps, its.sync, its.build)
    assert list(bench.storage.list(keys.drafts_prefix(recording_id))) == [], "nobody will want it any more"


def test_a_draft_counts_for_the_chunks_that_it_was_made_of(rendered: tuple[Bench, str], redis_url: str) -> None:
    bench, recording_id = rendered
    recording = repository.load(bench.storage, recording_id)
    known, _ = drafts.find(bench.storage, bench.settings, recording)
    assert isinstance(known, Unplanned)
    assert known.digest == plan_now(bench, recording_id).digest
    assert known.has_media, "the rest is found where somebody asks"
    upload = plan_uploads(CAPTURE, recording.started_ms)[-1]
    more = replace(upload.chunk, seg=9, seq=0)
    put_upload(bench.storage, recording_id, replace(upload, chunk=more))

    after = repository.load(bench.storage, recording_id)
    build, _ = drafts.find(bench.storage, bench.settings, after)

    assert not isinstance(build, Unplanned)


def test_the_last_windows_are_asked_for_before_the_others_are_planned(
    data_dir: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording_id = build_recording(data_dir, CAPTURE, options=OPTIONS)
    bench = make_bench(settings_for(data_dir, redis_url))
    first, last = plan_now(bench, recording_id).windows
    bench.turns.set_rolled(recording_id, 1)
    steps: list[object] = []
    windows, render_all, keep = Planner.windows, bench.queue.render_all, drafts.keep

    def planned(planner: Planner, first_k: int = 0) -> Any:
        steps.append(first_k)
        return windows(planner, first_k)

    def asked(recording_id: str, window_keys: list[str]) -> int:
        steps.append(list(window_keys))
        return render_all(recording_id, window_keys)

    def kept(*of: Any) -> None:
        for window in (first, last):  # the workers are that quick
            assert not bench.due.done(recording_id, window.key), "the draft is waited for as well"
        keep(*of)

    monkeypatch.setattr(Planner, "windows", planned)
    monkeypatch.setattr(bench.queue, "render_all", asked)
    monkeypatch.setattr(drafts, "keep", kept)

    advancing.advance(bench, recording_id)

    assert steps == [1, [last.key], 0, [first.key]]
    assert str(bench.queue.redis.lrange("rq:queue:render", 0, 0)[0]).startswith("b'join-")


def test_who_sends_the_last_chunks_is_given_two_seconds(
    data_dir: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an hour the look that would be begun before they are here takes one, and the next one has to wait for it."""
    recording_id = build_recording(data_dir, CAPTURE, options=OPTIONS, silent=CAPTURE.participants)
    bench = make_bench(settings_for(data_dir, redis_url))
    stopped_ms = repository.load(bench.storage, recording_id).stopped_ms
    assert stopped_ms is not None
    clock = ManualClock(stopped_ms + 500)
    bench = replace(bench, control=Control(bench.storage, bench.index, clock))

    def waiting() -> int:
        advancing.advance(bench, recording_id)
        return int(bench.queue.redis.llen("rq:queue:render"))

    with monkeypatch.context() as patched:
        patched.setattr("callreel.repository.load", unasked)
        assert waiting() == 0, "nor are its chunks listed before somebody says that they are all here"
    clock.at_ms += 2_000
    assert waiting() == 1, "its last second is not to be waited for"
