"""More films of one recording: what can be asked for, what is told of it, and how few windows each of them lacks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from callreel import control, journal
from callreel.compositions import MOST, Compositions
from callreel.cuts import of_composition, plan_film
from callreel.errors import InvalidOption, InvalidState, NoActiveRecording, RecordingDeleted, UnknownFile
from callreel.events import fold_events
from callreel.manifest import Film
from callreel.model import Composition, Recording
from callreel.outputs import DEFAULT
from callreel.scans import RunScan
from callreel.states import Status
from callreel.timeline import Timeline, arranged, plan_timeline
from callreel.windows import Window, plan_windows
from tests.unit.domain import DRAINED, World, artifact, completed, world_at
from tests.unit.test_timeline import PROFILE, ZERO_MS, recording, run, segment, track

WHOLE = {"regions": [{"name": "a", "x": 0, "y": 0, "width": 100, "height": 100, "source": {"participantId": "ada"}}]}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return world_at(tmp_path)


def stopped(world: World, length_ms: int = 60_000) -> str:
    recording_id = world.control.start("call", "host", {}).recording_id
    for who in ("ada", "bob"):
        for kind in ("cam", "mic"):
            world.control.put_track(recording_id, f"{who}-{kind}", who, who.title(), "camera", "video", "")
    world.clock.ms += length_ms
    world.control.stop("call")
    return recording_id


def ask(world: World, recording_id: str, **asked: Any) -> Recording:
    return Compositions(world.control).add(recording_id, asked)[0]


def refused(world: World, recording_id: str, **asked: Any) -> str:
    with pytest.raises(InvalidOption) as error:
        ask(world, recording_id, **asked)
    field = error.value.extra["field"]
    assert isinstance(field, str)
    assert field in error.value.detail
    return field


# ── the layout of what runs ──────────────────────────────────────────────────────────────────────────────────────────
def test_a_layout_changes_at_the_servers_instant_and_not_back(world: World) -> None:
    recording_id = world.control.start("call", "host", {}).recording_id
    world.clock.ms += 10_000
    assert world.control.change_layout("call", "pip").layout == "pip"
    world.clock.ms += 2_000
    world.control.pause("call")
    world.clock.ms += 5_000
    world.control.change_layout("call", WHOLE)
    world.clock.ms += 5_000
    world.control.resume("call")
    world.clock.ms += 1_000
    state = world.control.change_layout("call", WHOLE)
    assert [(fact.type) for fact in journal.read(world.storage, recording_id)].count("layout_changed") == 2, "no news"
    assert state.options.layout == "grid"
    assert state.layout == WHOLE
    assert arranged(world.control.stop("call")) == [(0, "grid"), (10_000_000, "pip"), (12_000_000, WHOLE)]
    told = [event.type for event in fold_events(recording_id, journal.read(world.storage, recording_id))]
    assert told == ["recordingstarted", "recordingpaused", "recordingresumed", "recordingstopped"]


def test_only_what_runs_has_a_layout_to_be_changed(world: World) -> None:
    with pytest.raises(NoActiveRecording):
        world.control.change_layout("call", "grid")
    world.control.start("call", "host", {})
    for wrong, field in (
        (None, "layout"), ("mosaic", "layout"), ([], "layout"), ({"regions": []}, "layout.regions"),
        ({"regions": [{**WHOLE["regions"][0], "x": 1}]}, "layout.regions[0].width"),
    ):  # fmt: skip
        with pytest.raises(InvalidOption) as error:
            world.control.change_layout("call", wrong)
        assert error.value.extra["field"] == field
    world.control.stop("call")
    with pytest.raises(NoActiveRecording):
        world.control.change_layout("call", "pip")


def test_changes_have_an_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "LAYOUTS_OF_RECORDING", 2)
    world.control.start("call", "host", {})
    for layout in ("pip", "grid"):
        world.control.change_layout("call", layout)
    with pytest.raises(InvalidOption) as error:
        world.control.change_layout("call", "pip")
    assert error.value.extra["limit"] == 2


# ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_what_nobody_says_is_all_of_it_as_it_was(world: World) -> None:
    recording_id = stopped(world)
    state = ask(world, recording_id, name="again")
    (made,) = state.compositions
    assert (made.from_ms, made.to_ms, made.layout, made.participants, made.tracks) == (0, 60_000, None, None, None)
    assert made.preset == "720p"
    assert made.output == {**DEFAULT, "name": "again"}
    assert [(a.name, a.kind, a.status, a.mime_type) for a in state.artifacts] == [
        ("again.mp4", "composition", "pending", "video/mp4")
    ]
    assert state.owes


def test_the_same_said_again_is_the_same(world: World) -> None:
    recording_id = stopped(world)
    asked = {"name": "a", "participants": ["bob", "ada"], "fromMs": 0, "slices": []}
    first = ask(world, recording_id, **asked)
    world.clock.ms += 1_000
    assert ask(world, recording_id, name="a", participants=["ada", "bob"]) == first
    assert refused(world, recording_id, name="a") == "name"
    assert refused(world, recording_id, name="A", participants=["ada"]) == "name"
    assert refused(world, recording_id, name="Composition") == "name", "of the recording's own film"


def test_only_what_was_stopped_has_other_films(world: World) -> None:
    recording_id = world.control.start("call", "host", {}).recording_id
    with pytest.raises(InvalidState):
        ask(world, recording_id, name="early")
    world.clock.ms += 5_000
    world.control.stop("call")
    ask(world, recording_id, name="stopping")
    world.control.append(recording_id, lambda _: DRAINED)
    ask(world, recording_id, name="processing")
    world.control.append(recording_id, lambda _: completed(artifact("composition.mp4")))
    assert [each.name for each in ask(world, recording_id, name="completed").compositions] == [
        "stopping", "processing", "completed"
    ]  # fmt: skip
    world.control.delete(recording_id)
    state = world.control.state(recording_id)
    assert (state.compositions, state.artifacts, state.layouts) == ((), (), ())
    with pytest.raises(RecordingDeleted):
        ask(world, recording_id, name="late")
    with pytest.raises(RecordingDeleted):
        remove(world, recording_id, "completed")


def test_of_what_failed_there_is_no_other_film(world: World) -> None:
    recording_id = stopped(world)
    world.control.append(recording_id, lambda _: DRAINED)
    world.control.append(recording_id, lambda _: ("failed", {"code": "no_media", "message": ""}))
    with pytest.raises(InvalidState):
        ask(world, recording_id, name="none")


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("name", {"name": ""}),
        ("name", {"name": "a/b"}),
        ("name", {"name": None}),
        ("colour", {"colour": "blue"}),
        ("layout", {"layout": "mosaic"}),
        ("layout.regions[0].width", {"layout": {"regions": [{**WHOLE["regions"][0], "x": 50}]}}),
        ("preset", {"preset": "8k"}),
        ("output", {"output": "mp4"}),
        ("output.name", {"output": {"name": "b", "container": "mp4"}}),
        ("output.trackId", {"output": {"trackId": "ada-cam", "container": "mp4"}}),
        ("output.container", {"output": {}}),
        ("output.videoCodec", {"output": {"container": "webm", "videoCodec": "h264"}}),
        ("fromMs", {"fromMs": -1}),
        ("fromMs", {"fromMs": 60_001}),
        ("fromMs", {"fromMs": 1.5}),
        ("fromMs", {"fromMs": True}),
        ("toMs", {"toMs": 60_001}),
        ("toMs", {"toMs": "60"}),
        ("toMs", {"fromMs": 30_000, "toMs": 30_000}),
        ("toMs", {"fromMs": 30_000, "toMs": 30_099}),
        ("participants", {"participants": []}),
        ("participants", {"participants": "ada"}),
        ("participants[1]", {"participants": ["ada", "eve"]}),
        ("participants[0]", {"participants": [{}]}),
        ("tracks[0]", {"tracks": ["eve-cam"]}),
        ("tracks[1]", {"participants": ["ada"], "tracks": ["ada-cam", "bob-cam"]}),
        ("slices", {"slices": {}}),
        ("slices[0]", {"slices": ["grid"]}),
        ("slices[0].colour", {"slices": [{"fromMs": 0, "toMs": 9, "layout": "grid", "colour": 1}]}),
        ("slices[0].layout", {"slices": [{"fromMs": 0, "toMs": 9}]}),
        ("slices[0].layout.regions", {"slices": [{"fromMs": 0, "toMs": 9, "layout": {}}]}),
        ("slices[0].toMs", {"slices": [{"fromMs": 0, "toMs": 61_000, "layout": "grid"}]}),
        ("slices[0].fromMs", {"fromMs": 5, "slices": [{"fromMs": 4, "toMs": 9, "layout": "grid"}]}),
        ("slices[0].toMs", {"slices": [{"fromMs": 9, "toMs": 9, "layout": "grid"}]}),
        ("slices[1].fromMs", {"slices": [{"toMs": 9, "layout": "grid"}, {"fromMs": 8, "toMs": 20, "layout": "pip"}]}),
    ],
)
def test_what_does_not_fit_is_named(world: World, field: str, asked: dict[str, Any]) -> None:
    assert refused(world, stopped(world), **{"name": "x", **asked}) == field


def test_what_no_worker_can_encode_is_refused(world: World) -> None:
    recording_id, asked = stopped(world), {"name": "x", "output": {"container": "webm"}}
    with pytest.raises(InvalidOption) as error:
        Compositions(world.control).add(recording_id, asked, encoders={"h264", "aac"})
    assert error.value.extra["field"] == "output.videoCodec"


def test_there_is_an_end_to_it(world: World) -> None:
    recording_id = stopped(world)
    for number in range(MOST):
        ask(world, recording_id, name=f"film-{number}")
    with pytest.raises(InvalidOption) as error:
        ask(world, recording_id, name="one-more")
    assert error.value.extra["limit"] == MOST
    remove(world, recording_id, "film-3")
    assert len(ask(world, recording_id, name="one-more").compositions) == MOST


# ── made, and taken back ─────────────────────────────────────────────────────────────────────────────────────────────
def remove(world: World, recording_id: str, name: str) -> Recording:
    return Compositions(world.control).remove(recording_id, name)


def test_one_that_is_made_is_told_and_one_that_is_taken_back_leaves_the_others(world: World) -> None:
    recording_id = stopped(world)
    world.control.append(recording_id, lambda _: DRAINED)
    for name in ("a", "b"):
        ask(world, recording_id, name=name)
    state = world.control.append(recording_id, lambda _: completed(artifact("composition.mp4")))
    assert [(a.name, a.status) for a in state.artifacts] == [
        ("a.mp4", "pending"), ("b.mp4", "pending"), ("composition.mp4", "ready")
    ]  # fmt: skip
    made = {**completed(artifact("a.mp4"), type_="updated")[1], "compositions": {"a": {"build": "k", "leftOut": []}}}
    state = world.control.append(recording_id, lambda _: ("updated", made))
    assert [(each.name, each.build) for each in state.compositions] == [("a", "k"), ("b", "")]
    assert (state.status, state.build) == (Status.COMPLETED, "b1")
    state = remove(world, recording_id, "a")
    assert [a.name for a in state.artifacts] == ["b.mp4", "composition.mp4"]
    assert state.discarded == {"a.mp4"}
    with pytest.raises(UnknownFile):
        remove(world, recording_id, "a")
    assert ask(world, recording_id, name="a", toMs=5_000).discarded == frozenset()
    told = [event.type for event in fold_events(recording_id, journal.read(world.storage, recording_id))]
    assert told.count("recordingupdated") == 1
    assert told[-2:] == ["recordingcompleted", "recordingupdated"]


# ── an hour, planned ─────────────────────────────────────────────────────────────────────────────────────────────────
# Scans made by hand, a picture each 100 ms: what a key is made of is there, and no minute of it has to be rendered.
HOUR_MS, CHUNKS = 3_600_000, 1_800
PEOPLE = ("ada", "chen")
Scanned = dict[tuple[str, str, int], list[RunScan]]


@dataclass(frozen=True, slots=True)
class Hour:
    """Two people with a camera for an hour."""

    state: Recording
    scans: Scanned
    timeline: Timeline

    def film(self, *layouts: tuple[int, str]) -> list[Window]:
        state = replace(self.state, layouts=layouts)
        return plan_windows(self.timeline, self.scans, PROFILE, arranged(state), 8_000)

    def more(self, **asked: Any) -> Film:
        usual: dict[str, Any] = {"layout": None, "preset": "480p", "output": {**DEFAULT, "name": "x"}, "from_ms": 0}
        usual |= {"to_ms": HOUR_MS, "participants": None, "tracks": None, "slices": (), "name": "x", "file": "x.mp4"}
        return plan_film(self.state, self.timeline, self.scans, Composition(**{**usual, **asked}), 8_000)


def hour(lost: tuple[str, int] | None = None) -> Hour:
    """With one chunk lost, or none."""
    scans, tracks = Scanned(), []
    for who in PEOPLE:
        cuts = [lost[1]] if lost and lost[0] == who else []
        firsts, ends = [0, *(seq + 1 for seq in cuts)], [*cuts, CHUNKS]
        scans[who, who, 0] = [_own(run(a, b - a), who) for a, b in zip(firsts, ends, strict=True)]
        kept = segment([seq for seq in range(CHUNKS) if seq not in cuts])
        tracks.append(track(kept, participant=who, track_id=who))
    state = recording(*tracks, length_ms=HOUR_MS)
    return Hour(state, scans, plan_timeline(state, scans))


def _own(scan: RunScan, who: str) -> RunScan:
    """With bytes that are nobody else's."""
    return replace(scan, chunk_sha256=tuple(f"{who}{digest[len(who) :]}" for digest in scan.chunk_sha256))


def lacking(windows: Iterable[Window], stored: list[Window]) -> list[int]:
    """The windows that are to be rendered where these are stored."""
    there = {window.key for window in stored}
    return [window.k for window in windows if window.key not in there]


@pytest.fixture(scope="module")
def planned() -> Hour:
    return hour()


@pytest.fixture(scope="module")
def stored(planned: Hour) -> list[Window]:
    windows = planned.film()
    assert len(windows) == 450
    return windows


def test_asked_for_again_an_hour_lacks_nothing(planned: Hour, stored: list[Window]) -> None:
    assert lacking(planned.more(layout="grid", participants=PEOPLE, tracks=PEOPLE).windows, stored) == []


def test_another_layout_of_five_minutes_lacks_the_windows_of_these_five_minutes(
    planned: Hour, stored: list[Window]
) -> None:
    piece = {"fromMs": 600_000, "toMs": 900_000, "layout": "single-speaker"}
    film = planned.more(slices=(piece,))
    found = lacking(film.windows, stored)
    print(f"minutes 10 to 15 of an hour in another layout: {len(found)} windows of {len(stored)}")
    assert found == list(range(75, 113))
    assert [piece["pictures"] for piece in film.windows[112].plan["slices"]] == [120, 120]
    # and it is the film that there would have been, had the host changed it then
    changed = planned.film((ZERO_MS + 600_000, "single-speaker"), (ZERO_MS + 900_000, "grid"))
    assert [window.key for window in changed] == [window.key for window in film.windows]


@pytest.mark.parametrize(
    ("span", "lacks"),
    [
        ({"to_ms": 3_300_000}, [412]),
        ({"from_ms": 300_000}, [37]),
        ({"from_ms": 304_000, "to_ms": 3_304_000}, []),
        ({"from_ms": 3_300_001, "to_ms": 3_599_999}, [412]),  # less than half a picture is none
        ({"from_ms": 300_100, "to_ms": 300_900}, [37]),
    ],
)
def test_a_cut_lacks_what_it_cuts_through_and_nothing_else(
    planned: Hour, stored: list[Window], span: dict[str, int], lacks: list[int]
) -> None:
    film = planned.more(**span)
    assert lacking(film.windows, stored) == lacks
    length_ms = span.get("to_ms", HOUR_MS) - span.get("from_ms", 0)
    assert abs(film.duration_us / 1000 - length_ms) < 1000 / 30


def test_a_late_chunk_changes_the_windows_that_name_it_and_no_others(stored: list[Window]) -> None:
    found = lacking(stored, hour(("chen", 700)).film())
    digest = f"chen{700:060d}"
    naming = [w.k for w in stored if any(digest in item["chunks"] for item in w.plan["video"])]
    print(f"one chunk of one person late: {len(found)} windows of {len(stored)}")
    assert found == naming == [175]


def test_whoever_is_left_out_is_in_no_window(planned: Hour) -> None:
    film = planned.more(participants=("chen",), to_ms=60_000)
    assert {item["participantId"] for window in film.windows for item in window.plan["video"]} == {"chen"}


def test_slices_take_the_place_of_what_was_there_and_give_it_back() -> None:
    state = replace(recording(length_ms=100_000), layouts=((ZERO_MS + 20_000, "pip"), (ZERO_MS + 40_000, "screen")))
    asked = Composition(
        name="x", layout=None, preset="480p", output={}, from_ms=0, to_ms=100_000, participants=None, tracks=None,
        slices=(
            {"fromMs": 0, "toMs": 10_000, "layout": "speaker"},
            {"fromMs": 10_000, "toMs": 30_000, "layout": "side-by-side"},
            {"fromMs": 40_000, "toMs": 100_000, "layout": "audio-only"},
        ),
        file="x.mp4",
    )  # fmt: skip
    second = 1_000_000
    assert of_composition(state, asked) == [
        (0, "speaker"), (10 * second, "side-by-side"), (30 * second, "pip"), (40 * second, "audio-only"),
        (100 * second, "screen"),
    ]  # fmt: skip
    assert of_composition(state, replace(asked, layout="grid"))[2:] == [
        (30 * second, "grid"), (40 * second, "audio-only"), (100 * second, "grid")
    ]  # fmt: skip
