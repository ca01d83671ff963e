"""Starting, stopping and describing recordings: once, whoever else tries at the same instant."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from callreel import journal, keys
from callreel.errors import (
    CallreelError,
    InvalidOption,
    InvalidState,
    NoActiveRecording,
    NotYourTrack,
    RecordingActive,
    RecordingDeleted,
    UnknownRecording,
    UnknownTrack,
)
from callreel.events import fold_events
from callreel.model import Recording
from callreel.options import check_options
from callreel.states import Status
from tests.unit.domain import START_MS, World, artifact, completed, track_added, world_at


@pytest.fixture
def world(tmp_path: Path) -> World:
    return world_at(tmp_path)


def together(count: int, act: Callable[[int], object]) -> list[object]:
    """What `count` threads got that did the same at the same instant: an answer or a refusal."""
    ready = threading.Barrier(count)

    def one(number: int) -> object:
        ready.wait()
        try:
            return act(number)
        except CallreelError as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def add_track(world: World, recording_id: str, track_id: str = "cam", participant_id: str = "ada") -> bool:
    return world.control.put_track(recording_id, track_id, participant_id, "Ada", "camera", "video", "")[1]


# ── start ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_start_makes_a_recording_that_others_find(world: World) -> None:
    recording = world.control.start("call", "host", {"metadata": {"lesson": "Ελληνικά"}})
    assert recording.recording_id == f"rec_call_{START_MS}"
    assert (recording.status, recording.started_ms, recording.started_by) == (Status.RECORDING, START_MS, "host")
    assert (recording.options.layout, recording.options.preset) == ("grid", "720p")
    assert recording.options.metadata == {"lesson": "Ελληνικά"}
    assert world.control.active("call") == world.control.state(recording.recording_id) == recording
    assert world.control.ids_of("call") == [recording.recording_id]
    assert world.observer.told == [(recording.recording_id, 1, "started")]


def test_a_start_that_is_overtaken_by_itself_is_the_same_recording(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = world.control.start("call", "host", {}, key="k")
    look, looks = world.control._begun_with, iter([None])  # the first look was before the other one had begun
    monkeypatch.setattr(world.control.__class__, "_begun_with", lambda _, *of: next(looks, look(*of)))
    assert world.control.start("call", "host", {}, key="k") == begun


def test_a_second_start_is_told_which_recording_runs(world: World) -> None:
    first = world.control.start("call", "host", {})
    with pytest.raises(RecordingActive) as refused:
        world.control.start("call", "host", {})
    assert refused.value.extra == {"recordingId": first.recording_id}
    assert world.control.start("other", "host", {}).recording_id != first.recording_id


def test_a_recording_is_paused_and_resumed_at_the_servers_instants(world: World) -> None:
    world.control.start("call", "host", {})
    world.clock.ms += 2_000
    assert world.control.pause("call").status == Status.PAUSED
    with pytest.raises(InvalidState):
        world.control.pause("call")
    world.clock.ms += 500
    resumed = world.control.resume("call")
    assert (resumed.status, resumed.pauses) == (Status.RECORDING, ((START_MS + 2_000, START_MS + 2_500),))
    with pytest.raises(InvalidState):
        world.control.resume("call")
    world.clock.ms += 1_500
    assert world.control.stop("call").duration_ms == 3_500


@pytest.mark.parametrize("step", ["pause", "resume"])
def test_with_nothing_that_runs_there_is_nothing_to_pause_or_resume(world: World, step: str) -> None:
    with pytest.raises(NoActiveRecording):
        getattr(world.control, step)("call")
    world.control.start("call", "host", {})
    world.control.stop("call")
    with pytest.raises(NoActiveRecording):
        getattr(world.control, step)("call")


def test_a_fact_is_never_before_the_one_it_follows(world: World) -> None:
    world.control.start("call", "host", {})
    world.clock.ms += 2_000
    world.control.pause("call")
    world.clock.ms -= 700  # another machine's clock
    assert world.control.resume("call").pauses == ((START_MS + 2_000, START_MS + 2_000),)


def test_a_paused_recording_blocks_a_start_too(world: World) -> None:
    first = world.control.start("call", "host", {})
    world.control.append(first.recording_id, lambda state: ("paused", {}))
    assert world.control.active("call").status == Status.PAUSED
    with pytest.raises(RecordingActive):
        world.control.start("call", "host", {})


def test_after_a_stop_the_next_recording_may_start_in_the_same_millisecond(world: World) -> None:
    ids = []
    for _ in range(3):
        ids.append(world.control.start("call", "host", {}).recording_id)
        world.control.stop("call")
    world.clock.ms -= 60_000  # a clock that was set back must not make an id a second time
    ids.append(world.control.start("call", "host", {}).recording_id)
    assert ids == [f"rec_call_{START_MS + n}" for n in range(4)]
    assert world.control.ids_of("call") == ids
    assert world.control.active("call").recording_id == ids[-1]


@pytest.mark.parametrize("earlier", [0, 1])
def test_of_twenty_starts_at_once_one_wins_and_the_others_are_told_its_id(world: World, earlier: int) -> None:
    for _ in range(earlier):
        world.control.start("call", "host", {})
        world.control.stop("call")
    answers = together(20, lambda number: world.control.start("call", f"host{number}", {}))
    won = [answer for answer in answers if isinstance(answer, Recording)]
    lost = [answer for answer in answers if isinstance(answer, RecordingActive)]
    assert (len(won), len(lost)) == (1, 19)
    assert {error.extra["recordingId"] for error in lost} == {won[0].recording_id}
    assert world.control.active("call") == won[0]
    assert len(world.control.ids_of("call")) == earlier + 1
    assert world.observer.told.count((won[0].recording_id, 1, "started")) == 1


@pytest.mark.parametrize("heal", ["start", "stop", "active"])
def test_a_crash_between_the_slot_and_the_first_fact_is_healed_by_whoever_comes(world: World, heal: str) -> None:
    recording = world.control.start("call", "host", {"metadata": {"a": 1}})
    before = world.storage.get(keys.journal_fact(recording.recording_id, 1))
    world.storage.delete(keys.journal_fact(recording.recording_id, 1))  # as if it had never been written
    world.clock.ms += 7000
    if heal == "start":
        with pytest.raises(RecordingActive) as refused:
            world.control.start("call", "somebody else", {})
        assert refused.value.extra == {"recordingId": recording.recording_id}
    elif heal == "stop":
        assert world.control.stop("call").duration_ms == 7000
    else:
        assert world.control.active("call") == recording
    assert world.storage.get(keys.journal_fact(recording.recording_id, 1)) == before
    assert world.observer.told.count((recording.recording_id, 1, "started")) == 2


# ── options ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_options_are_resolved_to_names() -> None:
    assert check_options({}) == {
        "layout": "grid",
        "preset": "720p",
        "outputs": [{"name": "composition", "container": "mp4", "videoCodec": "h264", "audioCodec": "aac"}],
        "maxDurationS": None,
        "metadata": {},
    }
    assert check_options({"preset": "480p", "maxDurationS": 60})["maxDurationS"] == 60


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("layout", "spiral"),
        ("layout", ["grid"]),
        ("layout", None),
        ("preset", "8k"),
        ("preset", {"a": 1}),
        ("preset", None),
        ("outputs", "mp4"),
        ("maxDurationS", 0),
        ("maxDurationS", 7 * 86400 + 1),
        ("maxDurationS", "60"),
        ("maxDurationS", 60.5),
        ("maxDurationS", True),
        ("metadata", []),
        ("metadata", None),
        ("metadata", "text"),
        ("metadata", {"a": "x" * 16384}),
        ("metadata", {"half": "\ud800"}),
        ("metadata", {"number": float("nan")}),
        ("colour", "blue"),
    ],
)
def test_an_option_that_does_not_fit_is_named_and_nothing_starts(world: World, field: str, value: Any) -> None:
    with pytest.raises(InvalidOption) as refused:
        world.control.start("call", "host", {field: value})
    assert refused.value.extra == {"field": field}
    assert field in refused.value.detail
    assert list(world.storage.list("")) == []


# ── stop ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_stop_is_the_servers_instant_and_said_again_it_is_the_same(world: World) -> None:
    recording_id = world.control.start("call", "host", {}).recording_id
    world.clock.ms += 15_000
    stopped = world.control.stop("call")
    assert (stopped.status, stopped.stopped_ms, stopped.duration_ms) == (Status.STOPPING, START_MS + 15_000, 15_000)
    assert stopped.end_reason == "host"
    world.clock.ms += 5000
    assert world.control.stop("call", reason="idle") == stopped
    assert [fact.type for fact in journal.read(world.storage, recording_id)] == ["started", "stopped"]
    with pytest.raises(NoActiveRecording):
        world.control.active("call")


@pytest.mark.parametrize("end", ["completed", "failed"])
def test_a_stop_said_again_much_later_is_no_error(world: World, end: str) -> None:
    recording_id = world.control.start("call", "host", {}).recording_id
    stopped = world.control.stop("call")
    world.control.append(recording_id, lambda state: ("drained", {}))
    last = completed() if end == "completed" else ("failed", {"code": "no_media", "message": "Nothing was recorded."})
    world.control.append(recording_id, lambda state: last)
    again = world.control.stop("call")
    assert (again.recording_id, again.stopped_ms, again.status) == (recording_id, stopped.stopped_ms, Status(end))


def test_twenty_stops_at_once_are_one_fact_and_one_answer(world: World) -> None:
    recording_id = world.control.start("call", "host", {}).recording_id
    answers = together(20, lambda number: world.control.stop("call"))
    assert answers == [world.control.state(recording_id)] * 20
    assert [fact.type for fact in journal.read(world.storage, recording_id)] == ["started", "stopped"]
    assert world.observer.told.count((recording_id, 2, "stopped")) == 1


def test_with_nothing_to_stop_a_stop_is_refused(world: World) -> None:
    with pytest.raises(NoActiveRecording, match="call"):
        world.control.stop("call")
    recording_id = world.control.start("call", "host", {}).recording_id
    world.control.append(recording_id, lambda state: ("delete_requested", {}))
    with pytest.raises(NoActiveRecording):
        world.control.stop("call")


def test_starts_and_stops_at_once_leave_every_recording_whole(world: World) -> None:
    together(16, lambda n: world.control.stop("call") if n % 2 else world.control.start("call", "host", {}))
    for recording_id in world.control.ids_of("call"):
        facts = journal.read(world.storage, recording_id)
        assert [fact.sequence for fact in facts] == list(range(1, len(facts) + 1))
        assert [fact.type for fact in facts] in (["started"], ["started", "stopped"])
    running = [i for i in world.control.ids_of("call") if world.control.state(i).status == Status.RECORDING]
    assert len(running) <= 1


# ── tracks ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_track_put_twice_is_there_once(world: World) -> None:
    recording_id = world.control.start("call", "host", {}).recording_id
    assert add_track(world, recording_id)
    assert not add_track(world, recording_id)
    assert len(journal.read(world.storage, recording_id)) == 2
    assert [track.track_id for track in world.control.state(recording_id).tracks()] == ["cam"]


def test_a_track_put_by_ten_at_once_belongs_to_one(world: World) -> None:
    recording_id = world.control.start("call", "host", {}).recording_id
    answers = together(10, lambda n: add_track(world, recording_id, participant_id=f"p{n}"))
    assert answers.count(True) == 1
    assert sum(isinstance(answer, NotYourTrack) for answer in answers) == 9
    owner = world.control.state(recording_id).tracks()[0].participant_id
    assert owner == f"p{answers.index(True)}"


def test_the_same_track_put_by_its_owner_ten_times_at_once_is_new_once(world: World) -> None:
    recording_id = world.control.start("call", "host", {}).recording_id
    answers = together(10, lambda n: add_track(world, recording_id))
    assert sorted(map(str, answers)) == ["False"] * 9 + ["True"]
    assert len(journal.read(world.storage, recording_id)) == 2


def test_a_participant_and_a_recording_have_room_for_so_many_tracks(world: World) -> None:
    recording_id = world.control.start("call", "host", {}).recording_id

    def announce(first: int, count: int, who: str) -> None:
        for n in range(first, first + count):
            type_, data = track_added(f"{who}{n // 50}", f"t{n}")
            fact = journal.Fact(sequence=n + 2, type=type_, at_ms=START_MS, data=data)
            world.storage.put_if_absent(keys.journal_fact(recording_id, n + 2), journal.encode(fact))

    for n in range(64):
        assert add_track(world, recording_id, f"t{n}")
    with pytest.raises(InvalidOption) as refused:
        add_track(world, recording_id, "one-more")
    assert refused.value.extra == {"field": "trackId", "limit": 64}
    assert not add_track(world, recording_id, "t63")
    announce(64, 935, "bob")
    assert add_track(world, recording_id, "thousandth", "eve")
    with pytest.raises(InvalidOption) as refused:
        add_track(world, recording_id, "one-more", "eve")
    assert refused.value.extra == {"field": "trackId", "limit": 1000}


@pytest.mark.parametrize(("field", "source", "kind"), [("source", "hologram", "video"), ("kind", "camera", "smell")])
def test_a_track_of_no_known_sort_is_refused(world: World, field: str, source: str, kind: str) -> None:
    recording_id = world.control.start("call", "host", {}).recording_id
    with pytest.raises(InvalidOption) as refused:
        world.control.put_track(recording_id, "cam", "ada", "Ada", source, kind, "")
    assert refused.value.extra == {"field": field}
    assert len(journal.read(world.storage, recording_id)) == 1


@pytest.mark.parametrize(
    ("name", "label", "shown"),
    [("Ada", "Webcam", "Ada"), ("", "Webcam", "Webcam"), ("", "", "ada"), ("A\ud800", "", "A?")],
)
def test_a_participant_is_shown_by_name_else_label_else_id(world: World, name: str, label: str, shown: str) -> None:
    recording_id = world.control.start("call", "host", {}).recording_id
    state, _ = world.control.put_track(recording_id, "cam", "ada", name, "camera", "video", label)
    assert state.participants[0].name == shown
    assert world.control.state(recording_id) == state


def test_tracks_may_come_until_the_recording_is_deleted(world: World) -> None:
    recording_id = world.control.start("call", "host", {}).recording_id
    world.control.stop("call")
    assert add_track(world, recording_id)
    world.control.append(recording_id, lambda state: ("delete_requested", {}))
    with pytest.raises(RecordingDeleted):
        add_track(world, recording_id, "mic")
    with pytest.raises(RecordingDeleted):
        world.control.complete_track(recording_id, "cam", [], "stopped")


def test_a_track_said_to_be_complete_twice_is_one_fact_and_later_words_count(world: World) -> None:
    recording_id = world.control.start("call", "host", {}).recording_id
    add_track(world, recording_id)
    segments = [{"seg": 1, "chunks": 2, "bytes": 9}, {"seg": 0, "chunks": 7, "bytes": 99}]
    first = world.control.complete_track(recording_id, "cam", segments, "stopped")
    assert world.control.complete_track(recording_id, "cam", segments[::-1], "stopped") == first
    assert len(journal.read(world.storage, recording_id)) == 3
    track = world.control.complete_track(recording_id, "cam", [{"seg": 0, "chunks": 8, "bytes": 1}], "stopped").track(
        "cam"
    )
    assert track is not None
    assert [(segment.seg, segment.expected_chunks) for segment in track.segments] == [(0, 8)]
    facts = journal.read(world.storage, recording_id)
    assert [event.type for event in fold_events(recording_id, facts)].count("trackcompleted") == 1


def test_a_track_without_segments_can_be_complete(world: World) -> None:
    recording_id = world.control.start("call", "host", {}).recording_id
    add_track(world, recording_id)
    track = world.control.complete_track(recording_id, "cam", [], "denied").track("cam")
    assert track is not None
    assert (track.complete, track.segments) == (True, ())


def test_a_track_nobody_announced_cannot_be_complete(world: World) -> None:
    recording_id = world.control.start("call", "host", {}).recording_id
    with pytest.raises(UnknownTrack, match="cam"):
        world.control.complete_track(recording_id, "cam", [], "stopped")
    assert len(journal.read(world.storage, recording_id)) == 1


# ── the rest ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_what_was_never_started_is_unknown(world: World) -> None:
    with pytest.raises(UnknownRecording):
        world.control.state("rec_call_1732259000000")
    with pytest.raises(UnknownRecording):
        add_track(world, "rec_call_1732259000000")
    with pytest.raises(NoActiveRecording):
        world.control.active("call")
    assert world.control.ids_of("call") == []


def test_every_fact_is_told_once_it_is_durable_and_never_when_refused(world: World) -> None:
    recording_id = world.control.start("call", "host", {}).recording_id
    add_track(world, recording_id)
    world.control.stop("call")
    world.control.append(recording_id, lambda state: ("artifact", artifact("tracks/ada/cam.webm")))
    with pytest.raises(InvalidState):
        world.control.append(recording_id, lambda state: ("paused", {}))
    facts = journal.read(world.storage, recording_id)
    assert world.observer.told == [(recording_id, fact.sequence, fact.type) for fact in facts]


def test_what_was_said_already_is_told_again(world: World) -> None:
    recording_id = world.control.start("call", "host", {}).recording_id
    for again in ([], [(recording_id, 2)]):  # who was first may have died between the fact and telling of it
        add_track(world, recording_id)
        assert world.observer.again == again
    world.observer.again.clear()
    for again in ([], [(recording_id, 3)]):
        world.control.stop("call")
        assert world.observer.again == again


def test_calls_whose_ids_begin_alike_are_different_calls(world: World) -> None:
    one = world.control.start("a", "host", {}).recording_id
    two = world.control.start("a_1", "host", {}).recording_id
    assert (world.control.ids_of("a"), world.control.ids_of("a_1")) == ([one], [two])
    assert (keys.call_of(one), keys.call_of(two)) == ("a", "a_1")


def test_a_slot_tells_all_that_the_first_fact_needs(world: World) -> None:
    recording_id = world.control.start("call", "host", {}).recording_id
    slot = json.loads(world.storage.get(keys.call_slot("call", 0)))
    assert (slot["recordingId"], slot["atMs"], slot["data"]["startedBy"]) == (recording_id, START_MS, "host")
