"""A recording that is deleted: from any state, with things on their way, for good; and what is still told of it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Redis, RedisError
from rq import Queue as RqQueue
from rq import SimpleWorker
from rq.serializers import JSONSerializer

from callreel import journal, keys, metrics, rebuild
from callreel.events import fold_events
from callreel.journal import Draft
from callreel.queue import Queue
from callreel.settings import Settings, load_settings
from callreel.states import Status
from workers.bench import Bench
from workers.erase import erase
from workers.jobs import bench as make_bench
from workers.jobs import delete as delete_job
from workers.sweep import Sweeper

from .desk import CALL, Desk, application, bearer, media, refused, said

DONE: Draft = ("completed", {"complete": True, "gaps": [], "build": "b", "artifacts": []})
FAILED: Draft = ("failed", {"code": "no_media", "message": "Nothing."})

#: state → how a recording comes there
STATES: dict[str, Callable[[Desk, str], object]] = {
    "recording": lambda desk, recording_id: None,
    "paused": lambda desk, recording_id: desk.client.post(f"/video-calls/{CALL}/recording/pause", headers=desk.as_who),
    "stopping": lambda desk, recording_id: desk.stop(),
    "processing": lambda desk, recording_id: (desk.stop(), desk.write(recording_id, ("drained", {}))),
    "completed": lambda desk, recording_id: (desk.stop(), desk.write(recording_id, ("drained", {}), DONE)),
    "failed": lambda desk, recording_id: (desk.stop(), desk.write(recording_id, ("drained", {}), FAILED)),
}


def tools(desk: Desk, redis_url: str, grace_s: float = 0) -> Bench:
    return make_bench(
        load_settings(storage=desk.settings.storage, redis_url=redis_url, fsync="never", delete_grace_s=grace_s)
    )


def delete(desk: Desk, recording_id: str) -> Any:
    return said(desk.client.delete(desk.url(recording_id), headers=desk.as_who), 202)


def left(desk: Desk, recording_id: str) -> list[str]:
    found = [entry.key for entry in desk.storage.list(keys.recording_prefix(recording_id))]
    return [key for key in found if not key.startswith(keys.journal_prefix(recording_id))]


@pytest.mark.parametrize("state", STATES)
def test_a_recording_is_deleted_from_any_state(desk: Desk, redis_url: str, data_dir: Path, state: str) -> None:
    recording_id = desk.start(metadata={"topic": "secret"})
    desk.as_who = bearer(name="Alice Liddell")
    said(desk.track(recording_id, label="Her camera"), 201)
    said(desk.chunk(recording_id, 0), 201)
    desk.storage.put_if_absent(keys.window(recording_id, "k"), b"a window")
    desk.storage.put_if_absent(keys.artifact(recording_id, "composition.mp4", "aa"), b"a film")
    STATES[state](desk, recording_id)
    assert said(desk.get(desk.url(recording_id)), 200)["status"] == state

    first = delete(desk, recording_id)
    assert (first["recordingId"], first["status"]) == (recording_id, "deleting")
    assert delete(desk, recording_id) == first
    assert desk.jobs.deleted == [recording_id] * 2
    told = desk.get(desk.url(recording_id))
    assert said(told, 200)["status"] == "deleting"
    assert not [word for word in ("secret", "Liddell", "camera", "alice") if word in told.text]
    refused(desk.chunk(recording_id, 1), 410, "recording_deleted")
    refused(desk.get(f"/video-calls/{CALL}/recording"), 404, "no_active_recording")
    refused(desk.get(desk.url(recording_id, "/files/composition.mp4")), 410, "recording_deleted")

    assert erase(tools(desk, redis_url), recording_id)
    assert left(desk, recording_id) == []
    assert [path.name for path in (data_dir / "recordings" / recording_id).iterdir()] == ["journal"]
    refused(desk.get(desk.url(recording_id)), 404, "unknown_recording")
    refused(desk.client.delete(desk.url(recording_id), headers=desk.as_who), 404, "unknown_recording")
    refused(desk.chunk(recording_id, 1), 410, "recording_deleted")
    refused(desk.track(recording_id, "mic"), 410, "recording_deleted")
    assert said(desk.get(f"/video-calls/{CALL}/recordings"), 200)["items"] == []
    events = fold_events(recording_id, journal.read(desk.storage, recording_id))
    assert events[-1].type == "recordingdeleted"
    assert [event.type for event in events].count("recordingstopped") == 1
    assert rebuild.check(desk.index, desk.storage) == []
    assert desk.index.open_recordings() == []
    assert rebuild.rebuild(desk.index, desk.storage, force=True)
    assert rebuild.check(desk.index, desk.storage) == []
    refused(desk.chunk(recording_id, 1), 410, "recording_deleted")
    desk.start()  # nothing stands in the way of the next one


def test_nothing_of_it_is_left_in_the_index(desk: Desk, redis_url: str) -> None:
    recording_id = desk.begun()
    # ids may contain each other: this one is rec_rec_c1_…_…
    started = desk.client.post(f"/video-calls/{recording_id}/recording/start", headers=bearer(call=recording_id))
    other = str(said(started, 201)["recordingId"])
    said(desk.chunk(recording_id, 0), 201)
    queue = Queue(redis_url)
    queue.export(recording_id, "alice", "cam")
    queue.render(recording_id, "window")
    queue.advance(other)
    delete(desk, recording_id)
    assert erase(tools(desk, redis_url), recording_id)
    with Redis.from_url(redis_url, decode_responses=True) as client:
        assert [key for key in client.scan_iter("*") if recording_id in key and other not in key] == [
            keys.index_recording(recording_id)
        ]
        assert set(client.hgetall(keys.index_recording(recording_id))) == {
            *("status", "sequence", "startedMs", "stoppedMs", "deletingMs"),
        }
    jobs = [job for name in ("render", "export") for job in RqQueue(name, connection=queue.redis).get_job_ids()]
    assert [job.split("-")[1] for job in jobs] == [other]
    assert rebuild.check(desk.index, desk.storage) == []


def test_events_of_a_deleted_recording_name_nobody(desk: Desk, redis_url: str) -> None:
    recording_id = desk.start(metadata={"topic": "secret"})
    desk.as_who = bearer(name="Alice Liddell")
    said(desk.track(recording_id), 201)
    desk.stop()
    before = fold_events(recording_id, journal.read(desk.storage, recording_id))
    delete(desk, recording_id)
    erase(tools(desk, redis_url), recording_id)
    after = fold_events(recording_id, journal.read(desk.storage, recording_id))
    assert [event.id for event in after[:-1]] == [event.id for event in before]
    url = f"{desk.client.base_url}/video-calls/{CALL}/events"
    headers = {**desk.as_who, "Last-Event-ID": before[0].id}
    with desk.client.stream("GET", url, headers=headers) as answer:
        text = ""
        for line in answer.iter_lines():
            text += line
            if "recordingdeleted" in line:
                break
    assert "recordingstopped" in text
    assert "trackstarted" in text
    assert not [word for word in ("secret", "Liddell") if word in text]


def test_what_was_on_its_way_is_swept_away_before_it_counts_as_deleted(desk: Desk, redis_url: str) -> None:
    recording_id = desk.begun()
    said(desk.chunk(recording_id, 0), 201)
    bench = tools(desk, redis_url, grace_s=3600)
    delete(desk, recording_id)
    assert not erase(bench, recording_id)
    assert left(desk, recording_id) == []
    late = (keys.window(recording_id, "k"), keys.segment_head(recording_id, "alice", "cam", 0))
    for key in late:  # of a job, and of a process that is dead by now
        desk.storage.put_if_absent(key, b"late")
    assert not erase(bench, recording_id)
    assert left(desk, recording_id) == []
    assert bench.control.state(recording_id).status is Status.DELETING
    assert erase(tools(desk, redis_url), recording_id)


def test_tries_at_a_deletion_are_counted(desk: Desk, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recording_id = desk.begun()
    delete(desk, recording_id)
    monkeypatch.setenv("CALLREEL_STORAGE", desk.settings.storage)

    def tried(result: str) -> float:
        return metrics.REGISTRY.get_sample_value("callreel_deletions_total", {"result": result}) or 0

    for result, url, grace_s in (
        ("failed", "redis://127.0.0.1:1/0", "0"),
        ("waiting", redis_url, "3600"),
        ("deleted", redis_url, "0"),
    ):
        monkeypatch.setenv("CALLREEL_REDIS_URL", url)
        monkeypatch.setenv("CALLREEL_DELETE_GRACE_S", grace_s)
        before = tried(result)
        with pytest.raises(RedisError) if result == "failed" else contextlib.nullcontext():
            delete_job(recording_id)
        assert tried(result) - before == 1, result


def test_a_chunk_that_was_being_stored_when_it_was_deleted_leaves_nothing(
    desk: Desk, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording_id = desk.begun()
    put = desk.storage.put_if_absent

    def deleting_meanwhile(key: str, data: Any) -> bool:
        if "/chunks/" in key:
            monkeypatch.setattr(desk.storage, "put_if_absent", put)
            delete(desk, recording_id)
            assert erase(tools(desk, redis_url), recording_id)
        return put(key, data)

    monkeypatch.setattr(desk.storage, "put_if_absent", deleting_meanwhile)
    refused(desk.chunk(recording_id, 0, media(0, 0)), 410, "recording_deleted")
    assert left(desk, recording_id) == []
    assert rebuild.check(desk.index, desk.storage) == []


def test_what_appears_in_a_deleted_recording_is_found_by_a_check(desk: Desk, redis_url: str) -> None:
    recording_id = desk.begun()
    delete(desk, recording_id)
    erase(tools(desk, redis_url), recording_id)
    desk.storage.put_if_absent(keys.window(recording_id, "k"), b"a ghost")
    assert rebuild.check(desk.index, desk.storage) == [
        f"{recording_id}: deleted, but {keys.window(recording_id, 'k')} is there"
    ]


def test_a_job_that_runs_is_waited_for(desk: Desk, redis_url: str, tmp_path: Path) -> None:
    recording_id = desk.begun()
    queue, noted = Queue(redis_url), tmp_path / "noted"
    render = RqQueue("render", connection=queue.redis, serializer=JSONSerializer)
    args = (redis_url, recording_id, str(noted))
    render.enqueue_call("tests.workers.chores.is_at_work", args=args, job_id=f"render-{recording_id}-x-1")
    assert not queue.is_at_work(recording_id)
    SimpleWorker([render], connection=queue.redis, serializer=JSONSerializer).work(burst=True)
    assert noted.read_text() == "True"
    assert not queue.is_at_work(recording_id)


def test_the_sweeper_asks_until_it_is_done(desk: Desk, redis_url: str) -> None:
    recording_id = desk.begun()
    queue = Queue(redis_url)
    delete(desk, recording_id)
    Sweeper(settings=Settings(), storage=desk.storage, index=desk.index, queue=queue).tick()
    [job] = RqQueue("export", connection=queue.redis, serializer=JSONSerializer).get_jobs()
    assert (job.func_name, job.args) == ("workers.jobs.delete", [recording_id])


def test_another_process_knows_at_once(desk: Desk, redis_url: str, data_dir: Path) -> None:
    recording_id = desk.begun()
    with application(redis_url, data_dir) as other:
        said(other.chunk(recording_id, 0), 201)
        delete(desk, recording_id)
        refused(other.chunk(recording_id, 1), 410, "recording_deleted")
        assert json.loads(other.get(desk.url(recording_id)).text)["data"]["status"] == "deleting"
