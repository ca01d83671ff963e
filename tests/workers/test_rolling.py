"""Windows that are made while the call runs are those of the finished film, and none of them is made in vain."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from callreel import keys, repository, streams
from callreel.control import Control
from callreel.model import Track
from callreel.rolling import settled_at_most_us, settled_us
from callreel.storage.local import LocalStorage
from tests.kit.build import (
    STARTED_MS,
    ManualClock,
    NoObserver,
    Upload,
    build_recording,
    by_track,
    declared,
    plan_uploads,
    put_upload,
)
from tests.kit.call_generator import generate_call
from tests.kit.capture import NAMES, Capture, load_named
from tests.kit.line import plan_now, settings_for
from tests.kit.voices import in_turns, recorded, sound_call, voice
from workers import advance as advancing
from workers import rolling
from workers.jobs import bench as make_bench
from workers.planning import look
from workers.render import render_window


@dataclass(frozen=True, slots=True, kw_only=True)
class Rolled:
    """What was asked for while a call ran, and the windows of its film."""

    early: dict[str, int]  #: key → ms since start at which its rendering could begin
    final: list[str]
    window_ms: int


def roll(
    root: Path,
    redis_url: str,
    capture: Capture,
    late: Callable[[Sequence[Upload]], Sequence[Upload]],
    layout: str = "grid",
    layouts: Sequence[tuple[int, int, str]] = (),
) -> Rolled:
    """Upload a capture chunk by chunk and plan after each one, as if each had just come.

    `layouts` are what the host changes the layout to: when it is known, from when on it counts (ms), and what.
    """
    everybody = {run.participant for run in capture.runs}
    recording_id = build_recording(
        root,
        capture,
        arrange=lambda uploads: (),
        silent=everybody,
        stop=False,
        options={"preset": "480p", "layout": layout},
    )
    clock = ManualClock(STARTED_MS)
    settings = settings_for(root, redis_url)
    bench = replace(make_bench(settings), control=Control(LocalStorage(root, fsync=False), NoObserver(), clock))
    early: dict[str, int] = {}

    def look() -> None:
        advancing.advance(bench, recording_id)
        prefix = keys.window_plan(recording_id, "").removesuffix(".json")
        for entry in bench.storage.list(prefix):
            early.setdefault(entry.key.removeprefix(prefix).removesuffix(".json"), clock.at_ms - STARTED_MS)

    def change(until_ms: int) -> None:
        while changes and STARTED_MS + changes[0][0] <= until_ms:
            known_ms, at_ms, chosen = changes.pop(0)
            clock.at_ms = STARTED_MS + known_ms
            Control(bench.storage, NoObserver(), ManualClock(STARTED_MS + at_ms)).change_layout("call", chosen)

    changes = list(layouts)
    looked_ms = 0
    for upload in late(plan_uploads(capture, STARTED_MS)):
        change(upload.chunk.received_ms)
        clock.at_ms = max(clock.at_ms, upload.chunk.received_ms)
        if clock.at_ms >= STARTED_MS + capture.length_ms:
            break
        put_upload(bench.storage, recording_id, upload)
        if clock.at_ms - looked_ms >= 400:  # as often as a queue that coalesces would
            looked_ms = clock.at_ms
            look()
    clock.at_ms = STARTED_MS + capture.length_ms
    bench.control.stop("call")
    for upload in late(plan_uploads(capture, STARTED_MS)):
        put_upload(bench.storage, recording_id, upload)
    for track_id, runs in by_track(capture).items():
        bench.control.complete_track(recording_id, track_id, declared(runs), "stopped")
    made = dict(early)
    advancing.advance(bench, recording_id)
    build = plan_now(bench, recording_id)
    return Rolled(early=made, final=[window.key for window in build.windows], window_ms=settings.window_ms)


@pytest.mark.parametrize("name", NAMES)
def test_rolling_makes_the_windows_of_the_film_and_no_others(name: str, data_dir: Path, redis_url: str) -> None:
    rolled = roll(data_dir, redis_url, load_named(name), late=tuple)
    assert set(rolled.early) <= set(rolled.final)
    # the last whole window may end too near to the stop to be made before it
    assert [rolled.final.index(key) for key in rolled.early] == list(range(len(rolled.early)))
    assert len(rolled.early) >= len(rolled.final) - 2
    for key, at_ms in rolled.early.items():
        end_ms = (rolled.final.index(key) + 1) * rolled.window_ms
        print(f"{name}: window {rolled.final.index(key)} could be made {at_ms - end_ms} ms after its end")
        assert 0 <= at_ms - end_ms <= 4_000


def test_generated_calls_too(data_dir: Path, redis_url: str) -> None:
    rolled = roll(data_dir, redis_url, generate_call(seed=11, count=4, length_ms=27_000), late=tuple)
    assert set(rolled.early) <= set(rolled.final)
    assert len(rolled.early) >= len(rolled.final) - 2


def test_nothing_behind_a_window_decides_who_is_large_in_it(data_dir: Path, redis_url: str) -> None:
    files = {f"p{n}": recorded(voice(own, 26, seed=n)) for n, own in enumerate(in_turns(3, 26, seed=3))}
    rolled = roll(data_dir, redis_url, sound_call(files, 26_000), late=tuple, layout="speaker")
    found = {path.stem: path for path in data_dir.rglob("*.json")}
    plans = {key: json.loads(found[key].read_bytes())["plan"] for key in {*rolled.early, *rolled.final}}
    assert len(rolled.early) >= 2
    for key in rolled.early:  # sound may differ: these Blobs are cut anywhere, and hold more or less than their time
        final = plans[rolled.final[plans[key]["k"]]]
        assert plans[key]["slices"] == final["slices"]
    assert len(plans[rolled.final[1]]["slices"]) > 1, "somebody else speaks"


def test_a_layout_that_changes_makes_no_window_in_vain(data_dir: Path, redis_url: str) -> None:
    capture = generate_call(seed=11, count=2, length_ms=19_000)
    changes = [(8_000, 8_000, "audio-only"), (12_340, 12_340, "single-speaker"), (13_000, 13_000, "grid")]
    rolled = roll(data_dir, redis_url, capture, late=tuple, layouts=changes)
    assert set(rolled.early) <= set(rolled.final)
    assert len(rolled.early) >= 2
    plan = json.loads(next(data_dir.rglob(f"{rolled.final[1]}.json")).read_bytes())["plan"]
    firsts = [sum(piece["pictures"] for piece in plan["slices"][:n]) for n in range(len(plan["slices"]))]
    assert {round((at_ms - 8_000) * 30 / 1000) for at_ms, _, _ in changes} <= set(firsts)


def test_a_layout_that_is_heard_of_late_costs_the_window_it_lies_in(data_dir: Path, redis_url: str) -> None:
    """Its instant was taken on a machine whose clock is behind, or by a process that hung before it could write it."""
    capture = generate_call(seed=11, count=2, length_ms=19_000)
    rolled = roll(data_dir, redis_url, capture, late=tuple, layouts=[(10_500, 7_500, "audio-only")])
    (wasted,) = set(rolled.early) - set(rolled.final)
    assert next(iter(rolled.early)) == wasted, "the first window had been made"
    assert len(rolled.early) >= 2


def test_a_chunk_that_comes_too_late_costs_the_windows_that_name_it_and_no_others(
    data_dir: Path, redis_url: str
) -> None:
    capture = generate_call(seed=11, count=2, length_ms=27_000)
    victim = plan_uploads(capture, STARTED_MS)[0].place[:3]

    def late(uploads: Sequence[Upload]) -> Sequence[Upload]:
        kept = [upload for upload in uploads if upload.place != (*victim, 1)]
        (slow,) = [upload for upload in uploads if upload.place == (*victim, 1)]
        received_ms = slow.chunk.received_ms + 14_000
        moved = replace(slow, chunk=replace(slow.chunk, received_ms=received_ms))
        return sorted([*kept, moved], key=lambda upload: upload.chunk.received_ms)

    rolled = roll(data_dir, redis_url, capture, late)
    wasted = set(rolled.early) - set(rolled.final)
    assert 1 <= len(wasted) <= 2, "the chunk lies in one window, or across the border of two"
    assert len(set(rolled.early) & set(rolled.final)) >= len(rolled.final) - 4


def test_rendered_windows_are_streamed_in_order_and_stay_whatever_comes_late(data_dir: Path, redis_url: str) -> None:
    capture = generate_call(seed=11, count=2, length_ms=21_000)
    everybody = {run.participant for run in capture.runs}
    recording_id = build_recording(
        data_dir, capture, arrange=lambda uploads: (), silent=everybody, stop=False, options={"preset": "480p"}
    )
    clock = ManualClock(STARTED_MS + 21_000)
    settings = settings_for(data_dir, redis_url)
    control = Control(LocalStorage(data_dir, fsync=False), NoObserver(), clock)
    bench = replace(make_bench(settings), control=control)
    uploads = plan_uploads(capture, STARTED_MS)
    late = next(upload for upload in uploads if upload.chunk.seq == 1)
    for upload in uploads:
        if upload.chunk.received_ms < clock.at_ms and upload is not late:
            put_upload(bench.storage, recording_id, upload)

    def listed() -> list[str]:
        return [piece.key for piece in streams.live_pieces(bench.storage, recording_id)]

    def k_of(key: str) -> int:
        return int(json.loads(bench.storage.get(keys.window_plan(recording_id, key)))["plan"]["k"])

    def planned() -> list[str]:
        advancing.advance(bench, recording_id)
        prefix = keys.window_plan(recording_id, "").removesuffix(".json")
        found = (entry.key.removeprefix(prefix).removesuffix(".json") for entry in bench.storage.list(prefix))
        return sorted(found, key=k_of)

    first, second = planned()[:2]
    assert listed() == []
    assert render_window(bench.storage, settings, recording_id, second)
    planned()
    assert listed() == [], "what has a hole before it is not shown"
    assert render_window(bench.storage, settings, recording_id, first)
    bench.index.redis.flushall()
    planned()
    assert listed() == [first, second]
    put_upload(bench.storage, recording_id, late)
    bench.index.redis.flushall()
    [remade, *_] = [key for key in planned() if key not in (first, second)]
    assert k_of(remade) == 0
    assert render_window(bench.storage, settings, recording_id, remade)
    planned()
    assert listed() == [first, second]


def test_who_has_rendered_a_window_shows_it_without_planning(
    data_dir: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = generate_call(seed=11, count=2, length_ms=21_000)
    everybody = {run.participant for run in capture.runs}
    options = {"preset": "480p"}
    recording_id = build_recording(data_dir, capture, silent=everybody, stop=False, options=options)
    clock = ManualClock(STARTED_MS + 21_000)
    settings = settings_for(data_dir, redis_url)
    control = Control(LocalStorage(data_dir, fsync=False), NoObserver(), clock)
    bench = replace(make_bench(settings), control=control)
    assert not rolling.show(bench, recording_id), "nobody has looked yet"
    advancing.advance(bench, recording_id)
    [first, second] = plan_now(bench, recording_id, until_ms=clock.at_ms).windows[:2]
    monkeypatch.setattr(rolling, "plan", None)  # it would be called in vain

    def shown_behind(key: str) -> list[str]:
        assert render_window(bench.storage, settings, recording_id, key)
        assert rolling.show(bench, recording_id)
        return [piece.key for piece in streams.live_pieces(bench.storage, recording_id)]

    assert shown_behind(second.key) == [], "what has a hole before it is not shown"
    assert shown_behind(first.key) == [first.key, second.key]
    advancing.advance(bench, recording_id)  # no other window can be due


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_due_before_it_can_be(name: str, data_dir: Path, redis_url: str) -> None:
    """What is known without a look into the media may be too much, and never too little."""
    capture = load_named(name)
    settings, everybody = settings_for(data_dir, redis_url), {run.participant for run in capture.runs}
    recording_id = build_recording(data_dir, capture, silent=everybody, stop=False, options={"preset": "480p"})
    storage = LocalStorage(data_dir, fsync=False)
    whole, tight = repository.load(storage, recording_id), 0
    for now_ms in range(STARTED_MS + 1_000, STARTED_MS + capture.length_ms, 3_100):

        def until(track: Track, now_ms: int = now_ms) -> Track:
            segments = [
                replace(segment, chunks=tuple(chunk for chunk in segment.chunks if chunk.received_ms <= now_ms))
                for segment in track.segments
            ]
            return replace(track, segments=tuple(segment for segment in segments if segment.chunks))

        people = [replace(p, tracks=tuple(map(until, p.tracks))) for p in whole.participants]
        then = replace(whole, participants=tuple(people))
        seen = look(storage, then, until_ms=now_ms)
        settled = settled_us(then, seen.scans, seen.timeline, now_ms, int(settings.lateness_s * 1000))
        most = settled_at_most_us(then, now_ms, int(settings.lateness_s * 1000))
        assert settled <= most
        tight += most - settled < 2_500_000
    assert tight > 3, "and it says something"
