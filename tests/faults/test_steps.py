"""Every step of a recording after its chunks: a process dies there, others go on, and nobody can tell from the result.

Each walk begins where its step does, on a copy of a recording that came so far undisturbed; tests of the chunks' own
steps are in `test_acks`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from callreel import journal, keys, rebuild, webhooks
from callreel.control import Control, now_ms
from callreel.failpoints import POINTS
from callreel.index import Index, connect
from callreel.repository import load
from callreel.settings import load_settings
from callreel.states import Status
from callreel.storage.local import LocalStorage
from tests.ingest.desk import SECRET, bearer, litter
from tests.kit.build import NoObserver, build_recording
from tests.kit.call_generator import generate_call
from tests.kit.line import make_film, settings_for
from tests.kit.receiver import receiving
from tests.workers.test_deliver import SECRET as WEBHOOK_SECRET
from workers.export import export
from workers.jobs import bench as make_bench
from workers.previews import make_previews

from .forks import KILLED, House, port
from .oracle import Acked, assert_rebuilds_to_itself, assert_sound
from .roles import close, finish, ingest, job, rebuild_index, sweep
from .test_acks import DEATHS

#: how far a recording came → the job that is due, and the steps of that job
STAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "stopped": (
        "advance",
        ("job.begun", "advance.turn", "journal.decided", "journal.written", "index.noted", "advance.drained",
         "scan.stored", "advance.planned", "advance.expected", "queue.asking", "queue.asked", "advance.drafted",
         "job.done"),
    ),
    "planned": (
        "render",
        ("job.begun", "render.made", "render.noted", "render.glanced", "job.done", "render.stored", "render.last",
         "queue.asking"),
    ),
    "rendered": (
        "join",
        ("join.made", "join.film", "join.manifest", "journal.decided", "journal.written", "index.noted", "join.told",
         "job.done", "queue.asked"),
    ),
    "completed": ("export", ("export.made", "export.stored", "journal.written", "export.told", "job.done")),
    "tracks": ("previews", ("previews.stored", "journal.written", "previews.told", "job.done")),
    "exported": ("advance", ("index.settled", "job.done")),
}  # fmt: skip
#: start, announce, stop and complete are a fact each; the first one is no append
CONTROL = [("control.slot", 1), ("control.started", 1)]
CONTROL += [(name, hit) for name in ("journal.decided", "journal.written") for hit in (1, 2, 3)]
CONTROL += [("index.noted", hit) for hit in (1, 2, 3, 4)]
REBUILD = ["rebuild.begun", "rebuild.emptied", "rebuild.filled", "rebuild.ended"]
DROP = [name for name in POINTS if name.startswith("drop.")]
ERASE = [name for name in POINTS if name.startswith("erase.")]
DELIVER = [name for name in POINTS if name.startswith("deliver.")]
ROOM = [name for name in POINTS if name.startswith("room.")]
SWEEP = [name for name in POINTS if name.startswith("sweep.")]


def test_every_failpoint_is_walked_through() -> None:
    walked = {name for name, _ in (*DEATHS, *CONTROL)} | {name for _, steps in STAGES.values() for name in steps}
    walked |= {*REBUILD, *DROP, *ERASE, *DELIVER, *ROOM, *SWEEP}
    assert walked == set(POINTS)


@dataclass(frozen=True, slots=True)
class Recorded:
    """One recording at every stage, and what came of it undisturbed."""

    recording_id: str
    stages: Path  #: folders by the name of the stage
    jobs: dict[str, tuple[str, ...]]  #: stage → arguments of its job
    acked: Acked
    window_keys: list[str]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, index_server: str) -> Recorded:
    stages = tmp_path_factory.mktemp("stages")
    house = House(index_server, stages / "now", fsync="never")
    house.folder.mkdir()
    with Redis.from_url(index_server) as client:
        client.flushall()
    recording_id = build_recording(
        house.folder, generate_call(seed=4, count=1, length_ms=3600), options={"preset": "480p"}
    )
    storage = LocalStorage(house.folder)
    recording = load(storage, recording_id)
    acked = {
        (recording_id, track.track_id, segment.seg, chunk.seq): storage.get(keys.chunk(recording_id, chunk))
        for track in recording.tracks()
        for segment in track.segments
        for chunk in segment.chunks
    }
    assert len(acked) > 2
    args: dict[str, tuple[str, ...]] = {}
    for stage, (name, _) in STAGES.items():
        args[stage] = (recording_id,)
        if name == "render":
            [window] = (house.folder / keys.window_plan(recording_id, "x")).parent.iterdir()
            args[stage] = (recording_id, window.stem)
        shutil.copytree(house.folder, stages / stage, copy_function=os.link)
        if name == "export":
            tracks = recording.tracks()
            args[stage] = (recording_id, tracks[0].participant_id, tracks[0].track_id)
            for track in tracks[1:]:
                assert house.ended(job, name, recording_id, track.participant_id, track.track_id) == 0
        assert house.ended(job, name, *args[stage]) == 0
    return Recorded(recording_id, stages, args, acked, keys_of(storage, recording_id))


def keys_of(storage: LocalStorage, recording_id: str) -> list[str]:
    """The windows of a finished film."""
    recording = load(storage, recording_id)
    assert recording.status is Status.COMPLETED, recording
    assert recording.complete, recording.gaps
    assert {artifact.status for artifact in recording.artifacts} == {"ready"}
    [told] = [artifact for artifact in recording.artifacts if artifact.name == "manifest.json"]
    manifest: dict[str, Any] = json.loads(storage.get(keys.artifact(recording_id, told.name, told.sha256)))
    for artifact in recording.artifacts:
        assert len(storage.get(keys.artifact(recording_id, artifact.name, artifact.sha256))) == artifact.size_bytes
    return [window["key"] for window in manifest["windows"]]


def put_windows(recorded: Recorded, folder: Path) -> None:
    """Spare those the rendering whose step lies elsewhere: a window that is there under its key is not made again."""
    shutil.copytree(
        recorded.stages / "rendered" / keys.windows_prefix(recorded.recording_id),
        folder / keys.windows_prefix(recorded.recording_id),
        copy_function=os.link,
        dirs_exist_ok=True,
    )


def a_minute_passes(redis_url: str) -> None:
    """What expires within a minute has expired."""
    with Redis.from_url(redis_url) as client:
        for name in client.scan_iter("callreel:*"):
            if 0 <= client.pttl(name) <= 60_000:
                client.delete(name)


@pytest.mark.parametrize("stage", STAGES)
def test_a_job_that_dies_at_any_step_is_done_by_another(
    redis_url: str, data_dir: Path, recorded: Recorded, stage: str
) -> None:
    name, steps = STAGES[stage]
    for step in steps:
        folder = data_dir / step
        shutil.copytree(recorded.stages / stage, folder, copy_function=os.link)
        house = House(redis_url, folder, fsync="never")
        storage, index = LocalStorage(folder), Index(connect(redis_url))
        index.redis.flushall()
        rebuild.ensure(index, storage)
        exitcode = house.ended(job, name, *recorded.jobs[stage], failpoints=f"{step}:1:exit")
        assert exitcode == KILLED, f"{name} did not come by {step}"
        a_minute_passes(redis_url)
        if stage == "stopped":
            put_windows(recorded, folder)
        assert house.ended(finish) == 0, step
        assert keys_of(storage, recorded.recording_id) == recorded.window_keys, step
        assert_sound(redis_url, folder, recorded.acked)
        assert_rebuilds_to_itself(redis_url, folder)
        index.redis.close()


class Persistent:
    """A client that says everything again to the next process, if one dies on it."""

    def __init__(self, house: House, listener: socket.socket, client: httpx.Client, call: str) -> None:
        self._house, self._listener, self._client, self._call = house, listener, client, call
        self.deaths = 0

    @contextlib.contextmanager
    def against(self, failpoints: str) -> Iterator[Persistent]:
        with contextlib.ExitStack() as self._servers:
            self._serve(failpoints)
            yield self

    def say(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON, success or not."""
        url, headers = f"/video-calls/{self._call}/recording{path}", bearer(call=self._call)
        while True:
            try:
                return self._client.request(method, url, json=body, headers=headers).json()
            except httpx.TransportError:
                self._server.join(30)
                assert self._server.exitcode == KILLED
                self.deaths += 1
                self._serve("")

    def _serve(self, failpoints: str) -> None:
        self._server = self._servers.enter_context(self._house.forked(ingest, self._listener, failpoints=failpoints))


def test_an_index_that_is_flushed_all_the_while_changes_no_film(
    redis_url: str, data_dir: Path, recorded: Recorded
) -> None:
    for stage, (name, _) in STAGES.items():
        folder = data_dir / stage
        shutil.copytree(recorded.stages / stage, folder, copy_function=os.link)
        house, storage = House(redis_url, folder, fsync="never"), LocalStorage(folder)
        with Redis.from_url(redis_url) as client, house.forked(job, name, *recorded.jobs[stage]) as process:
            while process.exitcode is None:
                client.flushall()
                process.join(0.01)
        if stage == "stopped":
            put_windows(recorded, folder)
        assert house.ended(finish) == 0, stage
        assert keys_of(storage, recorded.recording_id) == recorded.window_keys, stage
        assert_sound(redis_url, folder, recorded.acked)
        assert_rebuilds_to_itself(redis_url, folder)


def test_a_control_call_that_dies_at_any_step_is_made_once(redis_url: str, data_dir: Path) -> None:
    house, storage = House(redis_url, data_dir, fsync="never"), LocalStorage(data_dir)
    with port() as (listener, client):
        for point, hit in CONTROL:
            call = f"{point.replace('.', '-')}-{hit}"
            with Persistent(house, listener, client, call).against(f"{point}:{hit}:exit") as host:
                host.say("POST", "/start")
                recording_id = host.say("GET", "")["data"]["recordingId"]
                track = f"/{recording_id}/tracks/cam"
                assert host.say("PUT", track, {"source": "camera", "kind": "av"})["success"]
                assert host.say("POST", "/stop")["data"]["status"] == "stopping"
                assert host.say("POST", f"{track}/complete", {"segments": []})["success"]
                [listed] = host.say("GET", "s")["data"]["items"]
                assert (listed["recordingId"], listed["status"]) == (recording_id, "stopping"), "begun twice"
                assert host.deaths == 1, f"nobody came by {point} for the {hit}. time"
            types = [fact.type for fact in journal.read(storage, recording_id)]
            assert types == ["started", "track_added", "stopped", "track_completed"]
    assert_sound(redis_url, data_dir, {})
    a_minute_passes(redis_url)
    assert house.ended(finish) == 0
    assert_sound(redis_url, data_dir, {})
    assert_rebuilds_to_itself(redis_url, data_dir)


def test_a_rebuild_that_dies_at_any_step_is_made_by_another(redis_url: str, data_dir: Path, recorded: Recorded) -> None:
    folder = data_dir / "folder"
    shutil.copytree(recorded.stages / "exported", folder, copy_function=os.link)
    Control(LocalStorage(folder), NoObserver()).start("another", "host", {})
    house = House(redis_url, folder)
    assert house.ended(rebuild_index) == 0
    for point in REBUILD:
        assert house.ended(rebuild_index, failpoints=f"{point}:1:exit") == KILLED, point
        a_minute_passes(redis_url)
        assert house.ended(sweep) == 0
        assert_sound(redis_url, folder, recorded.acked)
        assert_rebuilds_to_itself(redis_url, folder)


def test_dropping_what_lies_in_a_pause_dies_at_any_step_and_is_done_by_another(redis_url: str, data_dir: Path) -> None:
    made = House(redis_url, data_dir / "made", fsync="never")
    made.folder.mkdir()
    capture = generate_call(seed=3, count=2, length_ms=16_000)
    recording_id = build_recording(made.folder, capture, pauses=((3_700, 11_900),), options={"preset": "480p"})
    make_film(made.folder, redis_url, recording_id)
    bench = make_bench(settings_for(made.folder, redis_url))
    for track in load(bench.storage, recording_id).tracks():
        export(bench, recording_id, track.participant_id, track.track_id)
    make_previews(bench, recording_id)
    window_keys = keys_of(LocalStorage(made.folder), recording_id)
    for point in DROP:
        house = House(redis_url, data_dir / point, fsync="never")
        shutil.copytree(made.folder, house.folder, copy_function=os.link)
        storage, index = LocalStorage(house.folder), Index(connect(redis_url))
        index.redis.flushall()
        rebuild.ensure(index, storage)
        assert house.ended(job, "advance", recording_id, failpoints=f"{point}:1:exit") == KILLED, point
        a_minute_passes(redis_url)
        assert house.ended(finish) == 0
        recording = load(storage, recording_id)
        dropped = [chunk for track in recording.tracks() for segment in track.segments for chunk in segment.dropped]
        assert len(dropped) >= 3
        there = {entry.key for entry in storage.list(keys.chunks_prefix(recording_id))}
        assert not there & {keys.chunk(recording_id, chunk) for chunk in dropped}
        assert keys_of(storage, recording_id) == window_keys
        assert_sound(redis_url, house.folder, {})
        assert_rebuilds_to_itself(redis_url, house.folder)
        index.redis.close()


def test_a_deletion_that_dies_at_any_step_is_brought_to_its_end(
    redis_url: str, data_dir: Path, recorded: Recorded
) -> None:
    for point, hit in [*((name, 1) for name in ERASE), ("erase.object", 5), ("journal.written", 1)]:
        folder = data_dir / f"{point}-{hit}"
        shutil.copytree(recorded.stages / "exported", folder, copy_function=os.link)
        house = House(redis_url, folder, fsync="never")
        storage, index = LocalStorage(folder), Index(connect(redis_url))
        index.redis.flushall()
        rebuild.ensure(index, storage)
        Control(storage, index).delete(recorded.recording_id)
        assert house.ended(job, "delete", recorded.recording_id, failpoints=f"{point}:{hit}:exit") == KILLED, point
        a_minute_passes(redis_url)
        assert house.ended(finish) == 0
        assert load(storage, recorded.recording_id).status is Status.DELETED
        assert [path.name for path in (folder / "recordings" / recorded.recording_id).iterdir()] == ["journal"]
        assert_sound(redis_url, folder, {})
        assert_rebuilds_to_itself(redis_url, folder)
        index.redis.close()


def test_a_delivery_that_dies_at_any_step_is_made_again_in_order_under_the_same_id(
    redis_url: str, data_dir: Path
) -> None:
    for point in DELIVER:
        for hit in (1, 2):
            with receiving() as receiver:
                told = {"webhook_urls": receiver.url, "webhook_secret": WEBHOOK_SECRET, "webhook_allow_private": "true"}
                house = House(redis_url, data_dir / f"{point}-{hit}", fsync="never", more=told)
                storage, index = LocalStorage(house.folder), Index(connect(redis_url))
                index.redis.flushall()
                rebuild.ensure(index, storage)
                settings = load_settings(jwt_secret=SECRET, **told)
                webhooks.subscribe(storage, settings, now_ms())
                [endpoint] = webhooks.endpoints(settings)
                recording_id = Control(storage, index).start("call", "host", {}).recording_id
                Control(storage, index).stop("call")
                exitcode = house.ended(job, "deliver", recording_id, endpoint.id, failpoints=f"{point}:{hit}:exit")
                assert exitcode == KILLED, f"nobody came by {point} for the {hit}. time"
                a_minute_passes(redis_url)
                assert house.ended(finish) == 0
                ids = [sent.headers["webhook-id"] for sent in receiver.all]
                assert list(dict.fromkeys(ids)) == [f"evt_{recording_id}_{number}" for number in (1, 2, 3)], point
                assert len(ids) == (4 if point == "deliver.sent" else 3), "nobody knew that it had been taken"
                assert sorted(ids) == ids
                records = webhooks.read(storage, endpoint.id, recording_id)
                assert [(each.event, each.outcome) for each in records] == [(n, "delivered") for n in (1, 2, 3)]
                assert_sound(redis_url, house.folder, {})
                index.redis.close()


def test_a_close_that_dies_at_any_step_is_obeyed_all_the_same(redis_url: str, data_dir: Path) -> None:
    house, storage, index = House(redis_url, data_dir), LocalStorage(data_dir), Index(connect(redis_url))
    rebuild.ensure(index, storage)
    for point in (*ROOM, "journal.decided", "journal.written"):
        call = point.replace(".", "-")
        recording_id = Control(storage, index).start(call, "host", {}).recording_id
        assert house.ended(close, call, failpoints=f"{point}:1:exit") == KILLED, point
        a_minute_passes(redis_url)
        assert house.ended(finish) == 0
        assert load(storage, recording_id).end_reason == "closed", point
    assert_sound(redis_url, data_dir, {})
    assert_rebuilds_to_itself(redis_url, data_dir)
    index.redis.close()


def test_a_sweeper_that_dies_at_any_step_is_followed_by_another(
    redis_url: str, data_dir: Path, recorded: Recorded
) -> None:
    for point in SWEEP:
        folder = data_dir / point
        shutil.copytree(recorded.stages / "stopped", folder, copy_function=os.link)
        house = House(redis_url, folder, fsync="never")
        storage, index = LocalStorage(folder), Index(connect(redis_url))
        index.redis.flushall()
        rebuild.ensure(index, storage)
        old = Control(storage, index, lambda: now_ms() - 7200_000)
        idle = old.start("idle", "host", {}).recording_id
        over = old.start("over", "host", {"maxDurationS": 60}).recording_id
        Control(storage, index).put_track(over, "cam", "ann", "Ann", "camera", "av", "")  # somebody is there
        for path in (storage.new_temporary(), storage.new_temporary()):
            path.write_bytes(b"half a chunk")
            os.utime(path, (time.time() - 86400,) * 2)
        assert house.ended(sweep, failpoints=f"{point}:1:exit") == KILLED, point
        a_minute_passes(redis_url)
        put_windows(recorded, folder)
        assert house.ended(finish) == 0
        assert litter(folder) == []
        states = {each: load(storage, each) for each in (recorded.recording_id, idle, over)}
        assert [state.status for state in states.values()] == [Status.COMPLETED, Status.FAILED, Status.FAILED]
        assert (states[idle].end_reason, states[over].end_reason) == ("idle", "maxDuration")
        assert_sound(redis_url, folder, recorded.acked)
        assert_rebuilds_to_itself(redis_url, folder)
        index.redis.close()
