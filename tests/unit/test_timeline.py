"""Clips, gaps and slices from scans made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from callreel.layouts import LAYOUTS
from callreel.model import Chunk, Participant, Recording, Segment, Track
from callreel.profiles import PROFILES
from callreel.scans import Packets, RunScan
from callreel.slices import cut_slices
from callreel.states import Status
from callreel.timeline import Timeline, plan_timeline
from callreel.windows import plan_windows

ZERO_MS = 1_000_000
PROFILE = PROFILES["480p"]


def chunk(seq: int, *, start_ms: int = 0, participant: str = "p", track: str = "cam", seg: int = 0) -> Chunk:
    return Chunk(
        participant_id=participant,
        track_id=track,
        seg=seg,
        seq=seq,
        received_ms=ZERO_MS + start_ms + 2_000 * (seq + 1) + 100,
        start_ms=start_ms,
        at_ms=start_ms + 2_000 * (seq + 1),
        offset_ms=ZERO_MS,
        err_ms=3,
        sha256=f"{seq:064d}",
        size_bytes=1000,
    )


def run(first_seq: int, count: int, *, sound: bool = False, error: str = "") -> RunScan:
    """Chunks of 2 s at 1000 bytes, a packet every 100 ms, a key frame every 2 s."""
    times = np.arange(first_seq * 2_000_000, (first_seq + count) * 2_000_000, 100_000, dtype=np.int64)
    at = np.arange(len(times), dtype=np.int64) * 50
    key = (times % 2_000_000 == 0).astype(np.int64)
    found = Packets(pts_us=times, duration_us=np.full_like(times, 100_000), from_byte=at, to_byte=at + 50, key=key)
    return RunScan(
        first_seq=first_seq,
        chunk_sha256=tuple(f"{seq:064d}" for seq in range(first_seq, first_seq + count)),
        chunk_bytes=(1000,) * count,
        starts=at[::20],
        head=b"head",
        width_px=640,
        height_px=360,
        error=error,
        **{} if error else {"audio" if sound else "video": found},  # type: ignore[arg-type]
    )


def recording(*tracks: Track, length_ms: int = 20_000) -> Recording:
    names = dict.fromkeys(track.participant_id for track in tracks)
    return Recording(
        recording_id=f"rec_c_{ZERO_MS}",
        call_id="c",
        status=Status.PROCESSING,
        started_ms=ZERO_MS,
        started_by="h",
        stopped_ms=ZERO_MS + length_ms,
        participants=tuple(
            Participant(participant_id=n, name=n, tracks=tuple(t for t in tracks if t.participant_id == n))
            for n in names
        ),
    )


def track(*segments: Segment, participant: str = "p", track_id: str = "cam", complete: bool = True) -> Track:
    return Track(
        track_id=track_id,
        participant_id=participant,
        source="camera",
        kind="video",
        complete=complete,
        segments=segments,
    )


def segment(seqs: list[int], *, start_ms: int = 0, expected: int | None = None, seg: int = 0) -> Segment:
    chunks = tuple(chunk(seq, start_ms=start_ms, seg=seg) for seq in seqs)
    return Segment(seg=seg, mime_type="video/webm", chunks=chunks, expected_chunks=expected)


def shown(timeline: Timeline, scans: dict[tuple[str, str, int], list[RunScan]]) -> list[tuple[int, int, int]]:
    count = timeline.duration_us * 30 // 1_000_000
    return [(s.first, s.end, len(s.tiles)) for s in cut_slices(timeline, scans, PROFILE, [(0, LAYOUTS["grid"])], count)]


def test_a_clip_lies_where_its_start_and_offset_say() -> None:
    scans = {("p", "cam", 0): [run(0, 3)]}
    timeline = plan_timeline(recording(track(segment([0, 1, 2], start_ms=1_500))), scans)
    (clip,) = timeline.clips
    assert (clip.from_us, clip.to_us, clip.line.placed_us(0)) == (1_500_000, 7_500_000, 1_500_000)
    assert timeline.gaps == ()
    assert shown(timeline, scans) == [(0, 45, 0), (45, 225, 1), (225, 600, 0)]


def test_media_outside_of_start_and_stop_is_cut() -> None:
    scans = {("p", "cam", 0): [run(0, 3)]}
    timeline = plan_timeline(recording(track(segment([0, 1, 2], start_ms=-1_000)), length_ms=4_000), scans)
    assert [(clip.from_us, clip.to_us) for clip in timeline.clips] == [(0, 4_000_000)]


def test_a_paused_span_is_in_no_clip() -> None:
    scans = {("p", "cam", 0): [run(0, 5)]}
    paused = replace(recording(track(segment([0, 1, 2, 3, 4]))), pauses=((ZERO_MS + 3_000, ZERO_MS + 5_000),))
    timeline = plan_timeline(paused, scans)
    assert [(c.from_us, c.to_us, c.line.placed_us(0)) for c in timeline.clips] == [
        (0, 3_000_000, 0),
        (3_000_000, 8_000_000, -2_000_000),
    ]
    assert timeline.duration_us == 18_000_000


def test_a_lost_chunk_is_a_gap_and_its_owner_stays_with_a_card() -> None:
    scans = {("p", "cam", 0): [run(0, 1), run(3, 2)]}
    timeline = plan_timeline(recording(track(segment([0, 3, 4], expected=5))), scans)
    (gap,) = timeline.gaps
    assert (gap.from_us, gap.to_us, gap.chunks, gap.reason) == (2_000_000, 6_000_000, ((1, 2),), "lost")
    # the last picture is held for a second, then the card, then the picture again
    assert shown(timeline, scans) == [(0, 90, 1), (90, 180, 1), (180, 300, 1), (300, 600, 0)]


def test_chunks_that_were_declared_and_never_came_are_told() -> None:
    scans = {("p", "cam", 0): [run(0, 2)]}
    timeline = plan_timeline(recording(track(segment([0, 1], expected=4))), scans)
    assert [(g.chunks, g.from_us, g.to_us) for g in timeline.gaps] == [(((2, 3),), 4_000_000, 8_000_000)]


def test_unreadable_media_is_told_with_its_reason() -> None:
    scans = {("p", "cam", 0): [run(0, 2, error="no media")]}
    timeline = plan_timeline(recording(track(segment([0, 1]))), scans)
    assert [(g.reason, g.chunks, g.detail) for g in timeline.gaps] == [("unreadable", ((0, 1),), "no media")]
    assert timeline.clips == ()


def test_a_track_that_never_said_complete_is_unconfirmed() -> None:
    scans = {("p", "cam", 0): [run(0, 2)]}
    timeline = plan_timeline(recording(track(segment([0, 1]), complete=False)), scans)
    assert [(g.reason, g.from_us) for g in timeline.gaps] == [("unconfirmed", 4_000_000)]
    nobody = plan_timeline(recording(track(complete=False)), {})
    assert [(g.reason, g.from_us, g.to_us) for g in nobody.gaps] == [("unconfirmed", 0, 20_000_000)]


def test_coming_late_leaving_and_coming_back_are_no_gaps() -> None:
    first, second = segment([0, 1], expected=2), segment([0, 1], start_ms=9_000, expected=2, seg=1)
    scans = {("p", "cam", 0): [run(0, 2)], ("p", "cam", 1): [run(0, 2)]}
    timeline = plan_timeline(recording(track(first, second)), scans)
    assert timeline.gaps == ()
    assert shown(timeline, scans) == [(0, 120, 1), (120, 270, 0), (270, 390, 1), (390, 600, 0)]


def test_no_card_flashes_up_between_microphone_and_camera() -> None:
    sound = replace(track(segment([0, 1], start_ms=1_000), track_id="mic"), kind="audio")
    picture = track(segment([0, 1], start_ms=1_060))
    scans = {("p", "mic", 0): [run(0, 2, sound=True)], ("p", "cam", 0): [run(0, 2)]}
    timeline = plan_timeline(recording(sound, picture), scans)
    assert shown(timeline, scans)[:2] == [(0, 32, 0), (32, 152, 1)]


def paused(*tracks: Track, length_ms: int = 20_000) -> Recording:
    """With the span [5 s, 8 s) cut out."""
    return replace(recording(*tracks, length_ms=length_ms), pauses=((ZERO_MS + 5_000, ZERO_MS + 8_000),))


def test_gaps_behind_a_pause_are_told_in_the_films_time() -> None:
    scans = {("p", "cam", 0): [run(0, 5), run(6, 4)]}
    (gap,) = plan_timeline(paused(track(segment([0, 1, 2, 3, 4, 6, 7, 8, 9]))), scans).gaps
    assert (gap.from_us, gap.to_us, gap.chunks) == (7_000_000, 9_000_000, ((5, 5),))


def test_what_was_lost_in_a_pause_is_no_gap_and_what_reaches_out_of_it_is_one() -> None:
    scans = {("p", "cam", 0): [run(0, 3), run(4, 6)]}
    assert plan_timeline(paused(track(segment([0, 1, 2, 4, 5, 6, 7, 8, 9]))), scans).gaps == ()
    scans = {("p", "cam", 0): [run(0, 2), run(4, 6)]}
    (gap,) = plan_timeline(paused(track(segment([0, 1, 4, 5, 6, 7, 8, 9]))), scans).gaps
    assert (gap.from_us, gap.to_us, gap.chunks) == (4_000_000, 5_000_000, ((2, 3),))


def test_who_is_recorded_again_right_after_a_pause_is_shown_without_a_break() -> None:
    before, after = segment([0, 1]), segment([0, 1, 2, 3, 4, 5], start_ms=8_240, seg=1)
    scans = {("p", "cam", 0): [replace(run(0, 2))], ("p", "cam", 1): [run(0, 6)]}
    early = replace(before, chunks=tuple(replace(c, start_ms=880) for c in before.chunks))
    timeline = plan_timeline(paused(track(early, after)), scans)
    # there until 4.88 s, cut at 5 s, there again from 5.24 s on
    assert timeline.cuts_us == (5_000_000,)
    assert shown(timeline, scans) == [(0, 26, 0), (26, 150, 1), (150, 510, 1)]


def test_who_is_there_from_the_start_is_shown_from_the_first_picture_on() -> None:
    one, two = track(segment([0, 1], start_ms=60)), track(segment([0, 1], start_ms=190), participant="q")
    scans = {("p", "cam", 0): [run(0, 2)], ("q", "cam", 0): [run(0, 2)]}
    timeline = plan_timeline(recording(one, two), scans)
    assert shown(timeline, scans) == [(0, 122, 2), (122, 126, 1), (126, 600, 0)]


def test_who_is_there_until_shortly_before_the_end_is_shown_to_the_last_picture() -> None:
    one, two = track(segment([0, 1, 2])), track(segment([0, 1, 2]), participant="q")
    scans = {("p", "cam", 0): [run(0, 3)], ("q", "cam", 0): [run(0, 3)]}
    for length_ms, expected in ((6_400, [(0, 192, 2)]), (6_600, [(0, 180, 2), (180, 198, 0)])):
        timeline = plan_timeline(recording(one, two, length_ms=length_ms), scans)
        assert shown(timeline, scans) == expected
    early = plan_timeline(
        recording(one, track(segment([0, 1]), participant="q"), length_ms=6_400), scans | {("q", "cam", 0): [run(0, 2)]}
    )
    assert shown(early, scans) == [(0, 120, 2), (120, 192, 1)]


def test_a_camera_that_is_off_is_a_card_and_its_owner_stays() -> None:
    """Instants of facts are on the client's clock; here it runs a second behind the recording's."""
    on = track(segment([0, 1, 2, 3, 4], start_ms=1_000))
    off = replace(on, muted=((5_000, 8_000), (10_000, None)))
    scans = {("p", "cam", 0): [run(0, 5)]}
    timeline = plan_timeline(recording(off), scans)
    assert [(c.from_us, c.to_us, c.kind) for c in timeline.clips] == [
        (1_000_000, 5_000_000, "video"),
        (8_000_000, 10_000_000, "video"),
    ]
    assert [(p.from_us, p.to_us) for p in timeline.presences] == [(1_000_000, 11_000_000)]
    # the last picture is held for a second, as over any hole
    assert shown(timeline, scans) == [
        (0, 30, 0), (30, 180, 1), (180, 240, 1), (240, 330, 1), (330, 600, 0)
    ]  # fmt: skip
    heard = replace(off, track_id="mic", kind="audio")
    assert len(plan_timeline(recording(heard), {("p", "mic", 0): [run(0, 5, sound=True)]}).clips) == 1


def test_a_still_screen_stands_until_its_recorder_ended() -> None:
    still = replace(run(0, 3), video=Packets(**{n: getattr(run(0, 1).video, n)[:5] for n in Packets.__slots__}))
    timeline = plan_timeline(recording(track(segment([0, 1, 2]))), {("p", "cam", 0): [still]})
    assert timeline.clips[0].to_us == 5_940_000


def test_before_a_hole_the_last_picture_stands_no_longer_than_those_before_it() -> None:
    """MP4 is delivered seconds late, so the delivery says nothing; a slow screen's pictures are far apart anyway."""
    first, second = segment([0, 1]), segment([4, 5])
    late = tuple(replace(c, at_ms=(c.at_ms or 0) + 2_500) for c in (*first.chunks, *second.chunks))
    scans = {("p", "cam", 0): [run(0, 2), run(4, 2)]}
    timeline = plan_timeline(recording(track(replace(first, chunks=late, expected_chunks=6))), scans)
    assert [(clip.from_us, clip.to_us) for clip in timeline.clips] == [(0, 4_000_000), (8_000_000, 14_440_000)]
    video = run(0, 2).video
    slow = replace(run(0, 2), video=Packets(**{n: getattr(video, n)[::16] for n in Packets.__slots__}))
    timeline = plan_timeline(
        recording(track(replace(first, chunks=late, expected_chunks=6))), {("p", "cam", 0): [slow]}
    )
    assert timeline.clips[0].to_us == 4_800_000  # pictures at 0, 1.6 and 3.2 s


def test_a_hole_in_sound_and_pictures_lasts_until_both_are_back_and_tells_each() -> None:
    def both(first_seq: int, count: int, *, pictures_from: int = 0) -> RunScan:
        found = run(first_seq, count)
        video = Packets(**{n: getattr(found.video, n)[pictures_from:] for n in Packets.__slots__})
        return replace(found, video=video, audio=found.video)

    scans = {("p", "cam", 0): [both(0, 2), both(3, 3, pictures_from=10), both(7, 1, pictures_from=20), both(9, 1)]}
    segments = segment([0, 1, 3, 4, 5, 7, 9], expected=10)
    first, second, third = plan_timeline(recording(replace(track(segments), kind="av")), scans).gaps
    assert (first.from_us, first.to_us, first.chunks) == (4_000_000, 7_000_000, ((2, 2),))
    told = first.to_json()
    assert (told["soundMs"], told["picturesMs"]) == ([4000, 6000], [4000, 7000])
    # the run between the holes has no key frame: it ends as it began, without pictures
    assert (second.from_us, second.to_us, second.to_json()["picturesMs"]) == (12_000_000, 16_000_000, [12_000, 16_000])
    assert (third.from_us, third.to_us) == (16_000_000, 18_000_000)


def test_windows_cover_the_film_and_name_only_what_they_read() -> None:
    scans = {("p", "cam", 0): [run(0, 10)]}
    timeline = plan_timeline(recording(track(segment(list(range(10))))), scans)
    windows = plan_windows(timeline, scans, PROFILE, [(0, "grid")], 8000)
    assert [(w.from_us, w.to_us, w.plan["pictures"]) for w in windows] == [
        (0, 8_000_000, 240),
        (8_000_000, 16_000_000, 240),
        (16_000_000, 20_000_000, 120),
    ]
    named = [[int(digest) for item in w.plan["video"] for digest in item["chunks"]] for w in windows]
    assert named == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_key_frames_are_read_from_and_not_before() -> None:
    scans = {("p", "cam", 0): [run(0, 10)]}
    shifted = plan_timeline(recording(track(segment(list(range(10)), start_ms=500))), scans)
    second = plan_windows(shifted, scans, PROFILE, [(0, "grid")], 8000)[1]
    (item,) = second.plan["video"]
    # the window begins at 7.5 s of media, its key frame is at 6 s, the start of chunk 3
    assert [int(digest) for digest in item["chunks"]] == [3, 4, 5, 6, 7]
    assert item["bytes"][0] == 0
    assert second.plan["slices"][0]["tiles"][0]["firstUs"] == 7_500_000


# ── who speaks ───────────────────────────────────────────────────────────────────────────────────────────────────────
def two_cameras() -> tuple[Timeline, dict[tuple[str, str, int], list[RunScan]]]:
    scans = {("ada", "a", 0): [run(0, 10)], ("bob", "b", 0): [run(0, 10)]}
    pair = [("ada", "a"), ("bob", "b")]
    tracks = [track(segment(list(range(10))), participant=who, track_id=name) for who, name in pair]
    return plan_timeline(recording(*tracks), scans), scans


def test_a_new_speaker_is_large_two_steps_behind_the_one_that_decided_it() -> None:
    timeline, scans = two_cameras()
    turns = [(0, "ada"), (4_000_000, "bob"), (9_000_000, "ada")]
    slices = cut_slices(timeline, scans, PROFILE, [(0, LAYOUTS["speaker"])], 600, turns)
    assert [(s.first, s.end, s.tiles[0].region.participant_id) for s in slices] == [
        (0, 126, "ada"), (126, 276, "bob"), (276, 600, "ada"),
    ]  # fmt: skip


@pytest.mark.parametrize("layout", ["grid", "side-by-side", "audio-only"])
def test_turns_that_change_nothing_cut_nothing(layout: str) -> None:
    timeline, scans = two_cameras()
    turns = [(0, "ada"), (4_000_000, "bob")]
    assert len(cut_slices(timeline, scans, PROFILE, [(0, LAYOUTS[layout])], 600, turns)) == 1


def test_until_somebody_speaks_who_came_first_is_large() -> None:
    timeline, scans = two_cameras()
    (only,) = cut_slices(timeline, scans, PROFILE, [(0, LAYOUTS["speaker"])], 600)
    assert only.tiles[0].region.participant_id == "ada"


def test_who_has_no_place_in_a_layout_is_not_waited_for() -> None:
    timeline, scans = two_cameras()
    nobody = {"regions": [{"name": "a", "x": 0, "y": 0, "width": 9, "height": 9, "source": {"source": "screen"}}]}
    for layout, told in ((nobody, False), ("grid", None)):
        window = plan_windows(timeline, scans, PROFILE, [(0, layout)], 8000)[0]
        assert window.plan["slices"][0].get("waiting") is told
