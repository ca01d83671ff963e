"""Media of a pause is deleted once a recording is completed; nothing that is made of the rest can tell."""

from __future__ import annotations

from pathlib import Path

from redis import Redis

from callreel import journal, keys, rebuild, repository
from callreel.have import of_recording
from callreel.index import Index, connect
from callreel.manifest import Unplanned
from callreel.model import Chunk
from callreel.slots import Limits, Slots
from callreel.storage.local import LocalStorage
from tests.kit.build import build_recording
from tests.kit.call_generator import generate_call
from tests.kit.line import make_film, plan_now, settings_for
from workers import advance as advancing
from workers import export as exporting
from workers import planning
from workers.drop import drop_paused
from workers.jobs import bench as make_bench
from workers.previews import make_previews

FROM_MS, TO_MS = 3_700, 11_900
GIB = 1 << 30


def chunks_of(storage: LocalStorage, recording_id: str) -> dict[tuple[str, int, int], Chunk]:
    return {(c.track_id, c.seg, c.seq): c for c in repository.read_chunks(storage, recording_id)}


def test_what_lies_in_a_pause_is_dropped_and_every_key_stays(data_dir: Path, redis_url: str) -> None:
    capture = generate_call(3, count=2, length_ms=16_000)
    recording_id = build_recording(data_dir, capture, pauses=((FROM_MS, TO_MS),), options={"preset": "480p"})
    made = make_film(data_dir, redis_url, recording_id)
    assert made.manifest["complete"]
    storage, index = LocalStorage(data_dir, fsync=False), Index(connect(redis_url))
    assert rebuild.ensure(index, storage)
    bench = make_bench(settings_for(data_dir, redis_url))
    recording = repository.load(storage, recording_id)
    assert advancing.waiting_exports(recording), "tracks are to be exported first"
    for track in recording.tracks():
        exporting.export(bench, recording_id, track.participant_id, track.track_id)
    assert advancing.is_waiting(repository.load(storage, recording_id)), "and the previews"
    make_previews(bench, recording_id)
    before, have = chunks_of(storage, recording_id), of_recording(recording)
    planned = [window.key for window in plan_now(bench, recording_id).windows]

    build = advancing.advance(bench, recording_id)
    assert build
    count = drop_paused(bench, build)
    after = chunks_of(storage, recording_id)
    gone = {place: chunk for place, chunk in before.items() if place not in after}
    print(f"{count} of {len(before)} chunks were dropped")
    assert len(gone) == count >= 3
    assert len({place[0] for place in gone}) >= 2  # of more than one track
    for chunk in gone.values():  # as its client's clock tells; the last moment of a chunk is a little before that
        assert chunk.at_ms is not None
        assert chunk.offset_ms is not None
        at_ms = chunk.at_ms + chunk.offset_ms - recording.started_ms
        assert FROM_MS < at_ms < TO_MS + 300

    def nobody_can_tell() -> None:
        now = repository.load(storage, recording_id)
        assert [window.key for window in plan_now(bench, recording_id).windows] == planned
        assert plan_now(bench, recording_id).digest == now.build
        assert not [segment.missing() for track in now.tracks() for segment in track.segments if segment.missing()]
        assert of_recording(now) == have
        assert rebuild.check(index, storage) == []

    nobody_can_tell()
    with Redis.from_url(redis_url) as client:
        client.flushall()
    assert rebuild.ensure(index, storage)
    nobody_can_tell()
    # a client that says one of them again hears that it is there, and a second look has nothing to do
    slots = Slots(index.redis, Limits(late_ms=1 << 45, track_bytes=GIB, recording_bytes=GIB, seq_ahead=100))
    again = next(iter(gone.values()))
    assert slots.reserve(recording_id, again, again.participant_id).stored
    build = advancing.advance(bench, recording_id)
    assert build
    assert isinstance(build, Unplanned), "what was dropped is no news"
    assert drop_paused(bench, build) == 0
    assert [fact.type for fact in journal.read(storage, recording_id)].count("dropped") == 1
    # all that is derived can still be made anew, of what is left
    for entry in list(storage.list(keys.derived_prefix(recording_id))):
        storage.delete(entry.key)
    nobody_can_tell()
    planning.store_plans(storage, plan_now(bench, recording_id))
    for window in plan_now(bench, recording_id).windows:
        for item in (*window.plan["video"], *window.plan["audio"]):
            assert not {chunk.sha256 for chunk in gone.values()} & set(item["chunks"])
