"""More films of one recording, and layouts that change: seen and heard in the films, and counted in windows."""

from __future__ import annotations

import os
import shutil
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import pytest

from callreel import consent, journal, keys, rebuild, repository
from callreel.compositions import Compositions
from callreel.control import Control
from callreel.errors import RenderFailed
from callreel.events import fold_events
from callreel.index import Index, connect
from callreel.manifest import Build, Film
from callreel.model import Artifact
from callreel.storage.local import LocalStorage
from tests.kit import ears, eyes
from tests.kit.build import ManualClock, NoObserver, build_recording, plan_uploads, put_upload
from tests.kit.call_generator import generate_call
from tests.kit.capture import Capture
from tests.kit.line import Made, make_film, make_more, plan_now, settings_for
from workers import advance as advancing
from workers import compose as composing
from workers import join as joining
from workers.bench import Bench
from workers.jobs import bench as make_bench
from workers.tidy import windows_of
from workers.withhold import forget_withheld

FPS = 30
LENGTH_MS = 18_500  #: two whole windows and a part of one
CHANGED_MS = 11_240  #: within the second one, nearest to picture 337
SHOWN_AT = 337
ALONE = {"regions": [{"name": "a", "x": 0, "y": 0, "width": 100, "height": 100, "source": {"participantId": "p1"}}]}
FROM_MS, TO_MS = 2_055, 17_120  #: 61.65 and 513.6 pictures
CUT = {"fromMs": FROM_MS, "toMs": TO_MS, "layout": "grid"}


@dataclass(frozen=True, slots=True)
class Recorded:
    """A finished recording, and what its film was made of."""

    root: Path
    redis_url: str
    recording_id: str
    capture: Capture
    made: Made

    @property
    def storage(self) -> LocalStorage:
        return LocalStorage(self.root, fsync=False)

    @property
    def calls(self) -> Compositions:
        ended_ms = repository.load(self.storage, self.recording_id).ended_ms
        return Compositions(Control(self.storage, NoObserver(), ManualClock(ended_ms + 1_000)))

    def ask(self, name: str, **asked: Any) -> None:
        self.calls.add(self.recording_id, {"name": name, **asked})

    def make(self) -> list[str]:
        """Of how many windows were which encoded."""
        return make_more(self.root, self.redis_url, self.recording_id)[0]

    def artifact(self, file: str) -> Artifact:
        state = repository.load(self.storage, self.recording_id)
        return next(each for each in state.artifacts if each.name == file)

    def path(self, file: str) -> Path:
        found = self.artifact(file)
        assert found.status == "ready", found
        return self.root / keys.artifact(self.recording_id, file, found.sha256, found.edition)

    def objects(self) -> dict[str, bytes]:
        """All that is derived or made, by its key."""
        prefixes = (f"recordings/{self.recording_id}/{part}/" for part in ("derived", "artifacts"))
        return {entry.key: self.storage.get(entry.key) for prefix in prefixes for entry in self.storage.list(prefix)}

    def files(self) -> dict[str, str]:
        state = repository.load(self.storage, self.recording_id)
        return {each.name: each.status for each in state.artifacts}

    def colors(self) -> Mapping[str, eyes.Rgb]:
        return {who: self.capture.rgb_of(who) for who in self.capture.participants}


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory, index_server: str) -> Recorded:
    root = tmp_path_factory.mktemp("compositions") / "data"
    root.mkdir()
    capture = generate_call(seed=31, count=2, length_ms=LENGTH_MS)
    options = {"preset": "480p", "outputs": [{"name": "film", "container": "mp4", "width": 426, "height": 240}]}
    recording_id = build_recording(root, capture, options=options, layouts=[(CHANGED_MS, ALONE)])
    return Recorded(root, index_server, recording_id, capture, make_film(root, index_server, recording_id))


@pytest.fixture
def recorded(once: Recorded, tmp_path: Path, redis_url: str) -> Recorded:
    """The same for each test."""
    shutil.copytree(once.root, tmp_path / "data", copy_function=os.link)
    return replace(once, root=tmp_path / "data", redis_url=redis_url)


SMALL = {"width": 426, "height": 240}


def starts(path: Path) -> dict[str, float]:
    """When each stream's first packet begins, ms."""
    with av.open(str(path)) as file:
        return {
            stream.type: float((stream.start_time or 0) * (stream.time_base or 0) * 1000) for stream in file.streams
        }


def beeps_ms(path: Path, capture: Capture, who: str) -> list[float]:
    first_ms, samples = ears.decode_placed(path)
    return [at_ms + first_ms for at_ms in ears.onsets_ms(samples, capture.tone_of(who))]


@pytest.fixture(scope="module")
def seen(once: Recorded) -> eyes.View:
    """Its own film."""
    return eyes.watch(once.made.film, once.colors(), clocks=True)


# ── the layout of what runs ──────────────────────────────────────────────────────────────────────────────────────────
def test_a_layout_changes_at_its_picture_which_is_a_key_frame(once: Recorded, seen: eyes.View) -> None:
    p0, p1 = seen.sights["p0"], seen.sights["p1"]
    assert p0.visible()[60:SHOWN_AT] == [True] * (SHOWN_AT - 60)
    assert not any(p0.visible()[SHOWN_AT:])
    before, behind = p1.box[SHOWN_AT - 1], p1.box[SHOWN_AT]
    assert before
    assert behind
    assert behind[2] - behind[0] > 1.5 * (before[2] - before[0])
    assert p1.box[SHOWN_AT + 1] == behind
    drawn = [p1.clock_ms[number] for number in (SHOWN_AT - 2, SHOWN_AT - 1, SHOWN_AT, SHOWN_AT + 1)]
    assert sorted(at_ms for at_ms in drawn if at_ms) == [at_ms for at_ms in drawn if at_ms], "its time goes on"
    with av.open(str(once.made.film)) as file:
        stream = file.streams.video[0]
        keyed = [
            round(float(packet.pts * packet.time_base) * FPS)
            for packet in file.demux(stream)
            if packet.is_keyframe and packet.pts is not None and packet.time_base
        ]
    assert SHOWN_AT in keyed
    assert SHOWN_AT - 1 not in keyed
    assert once.made.manifest["layoutChanges"] == [[CHANGED_MS, ALONE]]


def test_a_layout_that_changes_is_not_heard(recorded: Recorded) -> None:
    recorded.ask("grid", preset="480p", layout="grid", output={"container": "mp4", **SMALL})
    bench = make_bench(settings_for(recorded.root, recorded.redis_url))
    build = plan_now(bench, recorded.recording_id)
    ((_, grid),) = composing.stale(build, bench.settings.window_ms)
    pairs = list(zip(build.films[0].windows, grid.windows, strict=True))
    assert [window.key == other.key for window, other in pairs] == [True, False, False]
    assert all(window.plan["audio"] == other.plan["audio"] for window, other in pairs)
    p0 = [at_ms for at_ms in beeps_ms(recorded.made.film, recorded.capture, "p0") if at_ms > CHANGED_MS]
    assert len(p0) >= 6, "who is not seen any more is heard"


# ── other films ──────────────────────────────────────────────────────────────────────────────────────────────────────
def test_asked_for_again_unchanged_nothing_is_rendered(recorded: Recorded) -> None:
    before, files = recorded.objects(), recorded.files()
    recorded.ask("again", output={"container": "mp4", **SMALL})
    encoded, took_s = make_more(recorded.root, recorded.redis_url, recorded.recording_id)
    print(f"asked for again unchanged: {len(encoded)} windows, {took_s:.2f} s")
    assert encoded == []
    assert recorded.artifact("again.mp4").sha256 == recorded.artifact("film.mp4").sha256
    after = recorded.objects()
    assert {key: after[key] for key in before} == before
    assert len(after) == len(before) + 1, "its file"
    assert recorded.files() == {**files, "again.mp4": "ready"}, "tracks and previews stay as they are"
    told = fold_events(recorded.recording_id, journal.read(recorded.storage, recorded.recording_id))
    assert [event.type for event in told][-2:] == ["recordingcompleted", "recordingupdated"]
    assert make_more(recorded.root, recorded.redis_url, recorded.recording_id)[0] == []
    state = repository.load(recorded.storage, recorded.recording_id)
    assert state.compositions[0].made_of == state.inputs, "nothing of it is planned while nothing new comes"


@pytest.mark.parametrize("container", ["mp4", pytest.param("webm", marks=pytest.mark.slow)])
def test_a_cut_is_the_same_film_from_another_picture_on(recorded: Recorded, seen: eyes.View, container: str) -> None:
    recorded.ask("cut", fromMs=FROM_MS, toMs=TO_MS, output={"container": container, **SMALL})
    encoded = recorded.make()
    # both windows that are cut through; what is between them is there, if anybody has asked for these codecs before
    assert len(encoded) == (2 if container == "mp4" else 3)
    path, first, end = recorded.path(f"cut.{container}"), 62, 514
    view = eyes.watch(path, recorded.colors(), clocks=True)
    assert len(view.times_ms) == end - first
    assert max(abs(at_ms - n * 1000 / FPS) for n, at_ms in enumerate(view.times_ms)) < 0.6
    for who in ("p0", "p1"):
        own = view.sights[who].clock_ms
        both = [(a, b) for a, b in zip(own, seen.sights[who].clock_ms[first:end], strict=True) if a and b]
        assert len(both) >= (200 if who == "p0" else 350)
        assert sum(a != b for a, b in both) <= len(both) // 100, "a drawn clock may be misread"
        # in the middle of the first beep it is cut
        ours = [at_ms for at_ms in beeps_ms(path, recorded.capture, who) if at_ms > 200]
        theirs = beeps_ms(recorded.made.film, recorded.capture, who)
        nearest = [min((at_ms + first * 1000 / FPS - other for other in theirs), key=abs) for at_ms in ours]
        assert len(ours) >= 10
        assert max(map(abs, nearest)) < 3
    begins = starts(path)
    assert begins["video"] == 0
    assert 0 <= begins["audio"] < 22
    assert abs(recorded.artifact(f"cut.{container}").duration_ms - (end - first) * 1000 / FPS) < 2


@pytest.mark.slow
def test_a_cut_of_sound_alone_begins_with_its_first_sample(recorded: Recorded) -> None:
    for container in ("ogg", "m4a", "wav"):
        recorded.ask(container, fromMs=8_300, toMs=15_000, participants=["p1"], output={"container": container})
    recorded.make()
    for container in ("ogg", "m4a", "wav"):
        path = recorded.path(f"{container}.{container}")
        assert starts(path)["audio"] < 1
        beeps = beeps_ms(path, recorded.capture, "p1")
        theirs = beeps_ms(recorded.made.film, recorded.capture, "p1")
        off = [min((at_ms + 8_300 - other for other in theirs), key=abs) for at_ms in beeps]
        assert len(beeps) >= 6
        assert max(map(abs, off)) < 34, "a frame at most, of PCM a thirtieth of a second"
        assert statistics.pstdev(off) < 2
        assert beeps_ms(path, recorded.capture, "p0") == []


@pytest.mark.slow
@pytest.mark.parametrize(("container", "fps"), [("mp4", 60), ("mp4", 50), ("webm", 60), ("webm", 24)])
def test_a_cut_right_beside_a_border_is_a_film_too(recorded: Recorded, container: str, fps: int) -> None:
    """Windows of one picture have no whole frame of sound."""
    for name, (from_ms, to_ms) in {"begins": (7_985, 8_400), "ends": (7_600, 8_015), "both": (7_985, 16_015)}.items():
        output = {"container": container, "fps": fps, "width": 128, "height": 128}
        recorded.ask(name, fromMs=from_ms, toMs=to_ms, output=output)
        recorded.make()
        path = recorded.path(f"{name}.{container}")
        begins = starts(path)
        assert abs(begins["video"]) < 0.6
        assert begins["audio"] < 22
        with av.open(str(path)) as file:
            assert abs(sum(1 for _ in file.decode(video=0)) - (to_ms - from_ms) * fps / 1000) <= 1


def test_a_film_of_one_person_with_slices_of_its_own(recorded: Recorded) -> None:
    slices = [{"fromMs": 9_000, "toMs": 10_000, "layout": "audio-only"}]
    recorded.ask("one", participants=["p0"], layout="grid", fromMs=8_000, toMs=12_000, slices=slices,
                 output={"container": "mp4", "fps": 25, **SMALL})  # fmt: skip
    assert len(recorded.make()) == 1
    view = eyes.watch(recorded.path("one.mp4"), recorded.colors())
    assert not any(view.sights["p1"].visible())
    assert view.sights["p0"].visible() == [True] * 25 + [False] * 25 + [True] * 50
    assert beeps_ms(recorded.path("one.mp4"), recorded.capture, "p1") == []


def test_a_late_chunk_renders_what_names_it_in_every_film_and_nothing_else(
    tmp_path: Path, redis_url: str, once: Recorded
) -> None:
    capture = once.capture
    late = next(each for each in plan_uploads(capture, 1_700_000_000_000) if each.place == ("p0", "camera", 0, 14))
    options = {"preset": "480p", "outputs": [{"name": "film", "container": "mp4", **SMALL}]}
    recording_id = build_recording(tmp_path, capture, options=options, lose=[late.place])
    recorded = Recorded(tmp_path, redis_url, recording_id, capture, make_film(tmp_path, redis_url, recording_id))
    recorded.ask("head", toMs=7_000, output={"container": "mp4", **SMALL})
    recorded.ask("tail", fromMs=8_000, output={"container": "mp4", **SMALL})
    assert len(recorded.make()) == 1, "only the first one is cut through"
    before = recorded.objects()
    put_upload(recorded.storage, recording_id, late)
    updated = make_film(tmp_path, redis_url, recording_id)
    again = recorded.make()
    named = [
        key
        for key in updated.window_keys
        if late.chunk.sha256 in recorded.storage.get(keys.window_plan(recording_id, key)).decode()
    ]
    print(f"a late chunk: {len(updated.encoded)} windows for the film, {len(again)} more for two others")
    assert sorted(updated.encoded) == sorted(named)
    assert again == [], "another film has the same windows"
    after = recorded.objects()
    kept = [key for key in before if "/scan/" not in key]  # of two runs of chunks one is scanned, with what joins them
    assert {key: after[key] for key in kept} == {key: before[key] for key in kept}
    told = [event.type for event in fold_events(recording_id, journal.read(recorded.storage, recording_id))]
    assert told.count("recordingupdated") == 2 + 1 + 1, "two made, the film made anew, and one of the two"
    assert recorded.artifact("head.mp4").sha256 in {Path(key).name for key in before}


# ── taken back ───────────────────────────────────────────────────────────────────────────────────────────────────────
def test_what_is_taken_back_leaves_all_that_others_use(recorded: Recorded) -> None:
    for name in ("one", "two"):
        recorded.ask(name, fromMs=8_000, layout="grid", output={"container": "mp4", **SMALL})
    assert len(recorded.make()) == 2, "both films have the same"
    before, gone = recorded.objects(), recorded.path("one.mp4")
    recorded.calls.remove(recorded.recording_id, "one")
    assert recorded.make() == []
    assert not gone.exists()
    key = keys.artifact(recorded.recording_id, "one.mp4", gone.name)
    assert recorded.objects() == {each: data for each, data in before.items() if each != key}
    assert recorded.path("two.mp4").exists()
    recorded.ask("one", fromMs=8_000, layout="grid", output={"container": "mp4", **SMALL})
    assert recorded.make() == [], "its windows are still there"
    assert recorded.path("one.mp4").exists()


def test_what_is_taken_back_while_it_is_made_leaves_no_file(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded.ask("one", output={"container": "mp4", **SMALL})
    write = joining.write_artifact

    def slowly(bench: Bench, build: Build, film: Film) -> Artifact:
        made = write(bench, build, film)
        recorded.calls.remove(recorded.recording_id, "one")
        return made

    monkeypatch.setattr(joining, "write_artifact", slowly)
    recorded.make()
    state = repository.load(recorded.storage, recorded.recording_id)
    assert [each.name for each in state.artifacts if each.kind == "composition"] == ["film.mp4"]
    assert not [key for key in recorded.objects() if "/one.mp4/" in key]


def test_who_withdraws_is_in_no_film_any_more(recorded: Recorded) -> None:
    recorded.ask("head", toMs=2_000, output={"container": "mp4", **SMALL})
    recorded.ask("other", toMs=1_000, participants=["p1"], output={"container": "mp4", **SMALL})
    assert len(recorded.make()) == 2
    head, other = recorded.path("head.mp4"), recorded.path("other.mp4")
    consent.say(recorded.calls.control, recorded.recording_id, "p0-camera", "no", at_ms=1, agreed=False)
    make_film(recorded.root, recorded.redis_url, recorded.recording_id)
    assert len(recorded.make()) == 1, "who was not in it changes nothing in it"
    bench = make_bench(settings_for(recorded.root, recorded.redis_url))
    build = plan_now(bench, recorded.recording_id)
    assert forget_withheld(bench, build) > 0
    kinds = ("windows", "glances")
    left = [{Path(key).stem for key in recorded.objects() if f"/derived/{kind}/" in key} for kind in kinds]
    assert left[0] == left[1], "nor in what is looked at before a film"
    assert left[0] == {window.key for window in windows_of(bench, build)}
    assert not head.exists()
    assert other == recorded.path("other.mp4")
    assert other.exists()
    assert not any(eyes.watch(recorded.path("head.mp4"), recorded.colors()).sights["p0"].visible())
    due = make_more(recorded.root, recorded.redis_url, recorded.recording_id)
    assert due[0] == []


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────────────────────────────
def test_one_that_cannot_be_made_says_so_and_harms_nobody(recorded: Recorded) -> None:
    recorded.ask("bad", layout="grid", output={"container": "mp4", **SMALL})
    recorded.ask("good", output={"container": "mp4", **SMALL})
    bench = make_bench(settings_for(recorded.root, recorded.redis_url))
    build = advancing.advance(bench, recorded.recording_id)
    assert build
    assert not composing.advance(bench, build)
    (bad,) = [film for asked, film in composing.stale(build, bench.settings.window_ms) if asked.name == "bad"]
    composing.give_up(bench, recorded.recording_id, RenderFailed("nothing worked"), bad.windows[1].key)
    assert (recorded.artifact("bad.mp4").status, recorded.artifact("bad.mp4").error) == ("failed", "nothing worked")
    assert recorded.make() == []
    assert recorded.artifact("good.mp4").status == "ready"
    assert repository.load(recorded.storage, recorded.recording_id).status == "completed"


def test_somebody_looks_after_it_until_it_is_made(recorded: Recorded) -> None:
    storage, index = recorded.storage, Index(connect(recorded.redis_url))
    assert rebuild.ensure(index, storage)
    bench = make_bench(settings_for(recorded.root, recorded.redis_url))

    def is_looked_after() -> bool:
        return recorded.recording_id in {each.recording_id for each in index.open_recordings()}

    before = repository.load(storage, recorded.recording_id)
    advancing.settle(bench, before)
    assert not is_looked_after()
    ended = ManualClock(before.ended_ms + 1_000)
    Compositions(Control(storage, index, ended)).add(recorded.recording_id, {"name": "one", "fromMs": 16_000})
    assert is_looked_after()
    advancing.settle(bench, before)
    assert is_looked_after(), "whoever did not know of it cannot say that all is made"
    assert rebuild.check(index, storage) == []
    index.redis.srem(keys.INDEX_OPEN, recorded.recording_id)
    assert [line for line in rebuild.check(index, storage) if "one is not made" in line]
    index.redis.flushall()
    assert rebuild.ensure(index, storage)
    assert is_looked_after()
    assert len(recorded.make()) == 1
    advancing.settle(bench, repository.load(storage, recorded.recording_id))
    assert not is_looked_after()
