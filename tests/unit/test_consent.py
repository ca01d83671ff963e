"""Who agreed and who did not, as a fold of words, and what is left of a recording then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from callreel import consent, journal
from callreel.consent import answer, say, withheld
from callreel.errors import InvalidOption, RecordingDeleted
from callreel.manifest import Build
from callreel.model import Recording, Word
from callreel.profiles import PROFILES
from callreel.rolling import settled_us
from callreel.timeline import plan_timeline
from callreel.windows import plan_windows
from tests.unit.domain import START_MS, artifact, completed, facts_of, track_added, world_at
from tests.unit.test_timeline import ZERO_MS, recording, run, segment, track

Said = tuple[str, bool, int]  #: track, agreed, the client's clock


def spoken(*said: Said) -> Recording:
    """Ada with a camera and a screen, Bob with a camera; what they said, in the order in which the server heard it."""
    words = [
        ("consent", {"trackId": track_id, "id": f"f{n}", "agreed": agreed, "clientMs": at_ms})
        for n, (track_id, agreed, at_ms) in enumerate(said)
    ]
    tracks = track_added("ada", "cam"), track_added("ada", "screen"), track_added("bob", "bob-cam")
    return journal.fold("rec_call_1", facts_of(*tracks, *words))


@pytest.mark.parametrize(
    ("said", "out"),
    [
        ((), ""),
        ((("cam", True, 10), ("screen", True, 11), ("bob-cam", True, 9)), ""),
        ((("cam", True, 10), ("cam", False, 20)), "cam screen"),  # a person's no is for all that is theirs
        ((("cam", False, 20), ("screen", True, 30)), "cam"),  # agreed again: the track that was withdrawn stays out
        ((("cam", False, 20), ("cam", True, 30)), ""),
        ((("cam", False, 20), ("screen", True, 10)), "cam screen"),  # a yes that was long under way
        ((("cam", True, 10**13), ("cam", False, 20)), "cam screen"),  # a clock that was far ahead
        ((("cam", False, 20), ("cam", True, 20)), "cam screen"),
        ((("cam", False, 20), ("bob-cam", True, 30)), "cam screen"),
    ],
)
def test_a_no_stands_until_a_later_yes(said: Sequence[Said], out: str) -> None:
    assert withheld(spoken(*said)) == set(out.split())


def test_tracks_that_come_behind_a_no_are_withheld_as_well() -> None:
    state = journal.fold(
        "rec_call_1",
        facts_of(
            track_added("ada", "cam"),
            ("consent", {"trackId": "cam", "id": "a", "agreed": False, "clientMs": 5}),
            ("consent", {"trackId": "never", "id": "b", "agreed": False, "clientMs": 5}),
            track_added("ada", "mic", "audio"),
        ),
    )
    assert withheld(state) == {"cam", "mic"}
    assert answer(state, "ada") == (False, START_MS + 2000)
    assert answer(state, "bob") is None
    assert journal.forget(state).words == ()


def test_words_are_told_once_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consent, "OF_TRACK", 3)
    control = world_at(tmp_path).control
    recording_id = control.start("call", "host", {}).recording_id
    control.put_track(recording_id, "cam", "ada", "Ada", "camera", "video", "")
    for _ in range(2):
        state = say(control, recording_id, "cam", "f", at_ms=7, agreed=False)
    assert [(word.agreed, word.at_ms, word.told_ms) for word in state.words] == [(False, 7, START_MS)]
    for n in range(2):
        say(control, recording_id, "cam", f"f{n}", at_ms=n, agreed=True)
    with pytest.raises(InvalidOption, match="3 words"):
        say(control, recording_id, "cam", "one-more", at_ms=9, agreed=True)
    control.delete(recording_id)
    with pytest.raises(RecordingDeleted):
        say(control, recording_id, "cam", "later", at_ms=9, agreed=False)


def test_who_does_not_agree_is_in_no_window_gap_or_track() -> None:
    mine, other = track(segment([0, 2, 3])), track(segment([0, 1, 2]), participant="q", track_id="q-cam")
    scans = {("p", "cam", 0): [run(0, 1), run(2, 2)], ("q", "q-cam", 0): [run(0, 3)]}
    both = recording(mine, other)
    no = Word(participant_id="p", track_id="cam", fact_id="f", agreed=False, at_ms=1, told_ms=1)
    alone = replace(both, words=(no,))
    before, after = plan_timeline(both, scans), plan_timeline(alone, scans)
    assert before.gaps
    assert not after.gaps
    assert {c.participant_id for c in after.clips} == {p.participant_id for p in after.presences} == {"q"}
    builds = [
        Build(recording=one, scans=scans, timeline=timeline, films=())
        for one, timeline in ((both, before), (alone, after))
    ]
    assert len({build.digest for build in builds}) == 2
    without = plan_timeline(recording(other), {("q", "q-cam", 0): [run(0, 3)]})
    keys = [
        [window.key for window in plan_windows(timeline, scans, PROFILES["480p"], [(0, "grid")], 8000)]
        for timeline in (before, after, without)
    ]
    assert keys[1] == keys[2]
    assert keys[0] != keys[1]


def test_nobody_waits_for_who_does_not_agree() -> None:
    mine, other = track(segment([0]), complete=False), track(segment([0, 1, 2, 3]), participant="q", track_id="q-cam")
    scans = {("p", "cam", 0): [run(0, 1)], ("q", "q-cam", 0): [run(0, 4)]}
    both = recording(mine, other)
    no = Word(participant_id="p", track_id="cam", fact_id="f", agreed=False, at_ms=1, told_ms=1)
    ready = [
        settled_us(one, scans, plan_timeline(one, scans), ZERO_MS + 8_000, 60_000)
        for one in (both, replace(both, words=(no,)))
    ]
    assert ready == [2_000_000, 8_000_000]


def test_an_update_tells_all_track_files_anew() -> None:
    files = [{**artifact(f"tracks/{who}/cam.webm"), "kind": "track"} for who in "pq"]
    before, after = completed(artifact("composition.mp4"), *files), completed(*files[1:], type_="updated")
    drained = [("stopped", {"reason": "host"}), ("drained", {})]
    state = journal.fold("rec_call_1", facts_of(*drained, before, after))
    assert [artifact.name for artifact in state.artifacts] == ["composition.mp4", "tracks/q/cam.webm"]
