"""Bad input costs nobody else anything: the film comes, with everybody who can be shown, and says what is missing."""

from __future__ import annotations

from pathlib import Path

import av
import pytest
from redis import Redis

from callreel import keys, metrics, repository
from callreel.control import Control
from callreel.errors import RenderFailed
from callreel.states import Status
from callreel.storage.local import LocalStorage
from tests.kit.build import STARTED_MS, ManualClock, NoObserver, add, build_recording
from tests.kit.call_generator import generate_call
from tests.kit.capture import Capture
from tests.kit.detect import examine
from tests.kit.line import Made, make_film, plan_now, settings_for
from workers import advance as advancing
from workers import jobs
from workers.advance import advance
from workers.jobs import bench as make_bench
from workers.planning import store_plans
from workers.render import render_window
from workers.turns import Turns


@pytest.fixture(scope="module")
def call() -> Capture:
    return generate_call(seed=21, count=2, length_ms=9000)


def others_are_unharmed(made: Made, call: Capture) -> None:
    assert made.status is Status.COMPLETED
    findings, _ = examine(made.film, call)
    for name, found in findings.items():
        assert found.heard[0] == found.heard[1], name
        assert found.seen[0] == found.seen[1], name


def gaps_of(made: Made, who: str) -> list[str]:
    return [gap["reason"] for gap in made.manifest["gaps"] if gap["participantId"] == who]


HOSTILE = {
    "garbage": [bytes(range(256)) * 200, b"\xff" * 5000],
    "playlist": [b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"],
    "empty header": [b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01" + b"\0" * 60],
    "silence": [],
}


def test_garbage_playlists_and_silence_cost_the_others_nothing(data_dir: Path, redis_url: str, call: Capture) -> None:
    recording_id = build_recording(data_dir, call)
    for number, blobs in enumerate(HOSTILE.values()):
        add(data_dir, recording_id, f"x{number}", blobs)
    made = make_film(data_dir, redis_url, recording_id)
    others_are_unharmed(made, call)
    assert not made.manifest["complete"]
    for number, name in enumerate(HOSTILE):
        assert "unconfirmed" in gaps_of(made, f"x{number}"), name
        if HOSTILE[name]:
            assert "unreadable" in gaps_of(made, f"x{number}"), name


def test_only_the_first_chunk_of_somebody(data_dir: Path, redis_url: str, call: Capture) -> None:
    recording_id = build_recording(data_dir, call)
    first = call.runs[0].chunks[0].data
    add(data_dir, recording_id, "short", [first], call.runs[0].mime_type)
    made = make_film(data_dir, redis_url, recording_id)
    assert made.status is Status.COMPLETED
    assert gaps_of(made, "short") == ["unconfirmed"]


def test_a_segment_whose_first_chunk_never_came_costs_nobody_else_anything(
    data_dir: Path, redis_url: str, call: Capture
) -> None:
    recording_id = build_recording(data_dir, call)
    run = next(run for run in call.runs if run.has_video)
    third = len(run.data) // 3
    blobs = [run.data[:third], run.data[third : 2 * third], run.data[2 * third :]]
    add(data_dir, recording_id, "headless", blobs, run.mime_type)
    folder = data_dir / "recordings" / recording_id
    for path in (*folder.glob("chunks/headless/*/*/000000.*"), *folder.glob("segments/headless/*/*/head")):
        path.unlink()
    made = make_film(data_dir, redis_url, recording_id)
    others_are_unharmed(made, call)
    assert set(gaps_of(made, "headless")) == {"lost", "unreadable", "unconfirmed"}


def test_mutated_media_end_within_their_bounds(data_dir: Path, redis_url: str, call: Capture) -> None:
    """Bytes turned over in the middle of real chunks: whatever can be decoded is, nobody else is touched."""
    recording_id = build_recording(data_dir, call)
    run = next(run for run in call.runs if run.has_video)
    blobs = []
    for piece in run.chunks:
        data = bytearray(piece.data)
        for at in range(700 + piece.seq, len(data), 997):
            data[at] ^= 0x5A
        blobs.append(bytes(data))
    add(data_dir, recording_id, "bent", blobs, run.mime_type)
    made = make_film(data_dir, redis_url, recording_id)
    assert made.status is Status.COMPLETED
    with av.open(str(made.film)) as film:
        assert sum(1 for _ in film.decode(video=0)) == 270


def test_nothing_recorded_at_all_is_failed_with_no_media(data_dir: Path, redis_url: str) -> None:
    storage = LocalStorage(data_dir, fsync=False)
    clock = ManualClock(STARTED_MS)
    control = Control(storage, NoObserver(), clock)
    recording_id = control.start("call", "host", {}).recording_id
    clock.at_ms += 5000
    control.stop("call")
    bench = make_bench(settings_for(data_dir, redis_url))
    advance(bench, recording_id)
    state = control.state(recording_id)
    assert (state.status, state.error_code) == (Status.FAILED, "no_media")


def test_a_window_whose_plan_was_changed_is_refused(data_dir: Path, redis_url: str, call: Capture) -> None:
    recording_id = build_recording(data_dir, call)
    bench = make_bench(settings_for(data_dir, redis_url))
    key = store_plans(bench.storage, plan_now(bench, recording_id))[0]
    path = data_dir / keys.window_plan(recording_id, key)
    path.write_bytes(path.read_bytes().replace(b'"fps": 30', b'"fps": 25'))
    with pytest.raises(RenderFailed, match="is not the one"):
        render_window(bench.storage, bench.settings, recording_id, key)


def test_bytes_that_rotted_in_the_storage_are_noticed_and_left_out(
    data_dir: Path, redis_url: str, call: Capture
) -> None:
    recording_id = build_recording(data_dir, call)
    make = plan_now(make_bench(settings_for(data_dir, redis_url)), recording_id)
    (chunk, *_) = [c for c in repository.read_chunks(LocalStorage(data_dir), recording_id) if c.seq == 1]
    path = data_dir / keys.chunk(recording_id, chunk)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    before = metrics.REGISTRY.get_sample_value("callreel_integrity_failures_total") or 0
    made = make_film(data_dir, redis_url, recording_id)
    assert made.status is Status.COMPLETED
    assert (metrics.REGISTRY.get_sample_value("callreel_integrity_failures_total") or 0) > before
    assert made.window_keys == [window.key for window in make.windows]
    assert {item["participantId"] for item in made.manifest["leftOut"]} == {chunk.participant_id}
    assert "not those that were uploaded" in made.manifest["leftOut"][0]["reason"]


def test_the_last_resort_is_a_window_of_cards_with_everybodys_sound(
    data_dir: Path, redis_url: str, call: Capture
) -> None:
    recording_id = build_recording(data_dir, call)
    bench = make_bench(settings_for(data_dir, redis_url))
    for key in store_plans(bench.storage, plan_now(bench, recording_id)):
        assert render_window(bench.storage, bench.settings, recording_id, key, cards_only=True)
    made = make_film(data_dir, redis_url, recording_id)
    findings, _ = examine(made.film, call)
    for name, found in findings.items():
        assert found.heard[0] == found.heard[1], name
        assert found.seen[0] == 0, name
    assert {item["participantId"] for item in made.manifest["leftOut"]} == set(findings)


def test_work_that_never_ends_is_given_up_and_says_so(
    data_dir: Path, redis_url: str, call: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A window whose ffmpeg always fails, or kills its worker: the recording fails, and its chunks are still there."""
    recording_id = build_recording(data_dir, call)
    monkeypatch.setenv("CALLREEL_STORAGE", f"file://{data_dir}")
    monkeypatch.setenv("CALLREEL_REDIS_URL", redis_url)
    monkeypatch.setenv("CALLREEL_FFMPEG", "/bin/false")
    tools = make_bench()
    advance(tools, recording_id)
    key = store_plans(tools.storage, plan_now(tools, recording_id))[0]

    def attempts() -> float:
        return metrics.REGISTRY.get_sample_value("callreel_job_attempts_sum", {"kind": "render"}) or 0

    before = attempts()
    for _ in range(8):
        with pytest.raises(RenderFailed):
            jobs.render(recording_id, key)
    assert tools.control.state(recording_id).status is Status.PROCESSING
    jobs.render(recording_id, key)
    assert attempts() - before == 9
    state = tools.control.state(recording_id)
    assert (state.status, state.error_code) == (Status.FAILED, "render_failed")
    assert len(repository.read_chunks(tools.storage, recording_id)) == sum(len(run.chunks) for run in call.runs)
    monkeypatch.delenv("CALLREEL_FFMPEG")
    jobs.advance(recording_id)
    assert tools.control.state(recording_id).status is Status.FAILED, "nothing came since, so nothing is tried again"


def test_exports_that_were_lost_are_asked_for_again(
    data_dir: Path, redis_url: str, call: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording_id = build_recording(data_dir, call)
    make_film(data_dir, redis_url, recording_id)
    monkeypatch.setenv("CALLREEL_STORAGE", f"file://{data_dir}")
    monkeypatch.setenv("CALLREEL_REDIS_URL", redis_url)
    with Redis.from_url(redis_url) as client:
        client.flushall()
    tools = make_bench()
    jobs.advance(recording_id)
    asked = {tuple(job.args) for job in tools.queue._queues["export"].jobs}
    tracks = {(recording_id, run.participant, run.track_id) for run in call.runs}
    assert asked == {*tracks, (recording_id,)}, "and the previews"
    for job in tracks:
        jobs.export(*job)
    jobs.previews(recording_id)
    assert {a.status for a in tools.control.state(recording_id).artifacts} == {"ready"}
    assert advancing.waiting_exports(tools.control.state(recording_id)) == []
    assert not advancing.waiting_previews(tools.control.state(recording_id))


def test_one_advance_at_a_time_and_none_is_forgotten(redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        turns, looked = Turns(client), 0
        for _ in turns.advance("r"):
            looked += 1
            if looked == 1:
                assert list(Turns(client).advance("r")) == [], "somebody else is at it"
        assert looked == 2, "and looks again, for something came meanwhile"
        assert len(list(turns.advance("r"))) == 1
