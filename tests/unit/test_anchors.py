"""Where media zero lies, whatever a client's clock says: by probes, neighbours, receive times, and media itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from callreel.anchors import Frame, place_segment
from callreel.clock import TRUSTED, Anchor
from callreel.model import Chunk, Participant, Segment
from callreel.scans import RunScan
from callreel.timeline import plan_timeline
from tests.unit.test_drift import ZERO_MS as CLIENT_ZERO_MS
from tests.unit.test_drift import Client
from tests.unit.test_timeline import ZERO_MS, recording, run, track

START_MS = 4_000  #: µs of truth: when the recorder was started, ms behind the recording's start
SOON_MS = 60  #: a recorder delivers so much behind the end of its media
UPLOAD_MS = 30
COUNT = 20  #: chunks of 2 s
HOUR_MS = 3_600_000
FRAME = Frame(from_ms=ZERO_MS, to_ms=ZERO_MS + 60_000)

Clock = Callable[[int], int]  #: ms of truth since the recording's start → what a client's clock shows


def told(clock: Clock, *, offset_ms: int | None = None, start_ms: int | None = None, seg: int = 0) -> Segment:
    """A segment as its client tells it."""
    chunks = []
    for seq in range(COUNT):
        sent_ms = START_MS + 2_000 * (seq + 1) + SOON_MS
        chunks.append(
            Chunk(
                participant_id="p",
                track_id="cam",
                seg=seg,
                seq=seq,
                received_ms=ZERO_MS + sent_ms + UPLOAD_MS + 7 * (seq % 5),
                start_ms=clock(START_MS) if start_ms is None else start_ms,
                at_ms=clock(sent_ms),
                offset_ms=offset_ms,
                err_ms=None if offset_ms is None else 4,
                sha256=f"{seq:064d}",
                size_bytes=1000,
            )
        )
    return Segment(seg=seg, mime_type="audio/webm", chunks=tuple(chunks))


def placed(segment: Segment, runs: list[RunScan] | None = None, *others: Segment) -> Anchor:
    participant = Participant(
        participant_id="p", name="p", tracks=(track(segment), replace(track(*others), track_id="mic"))
    )
    return place_segment(participant, segment, runs if runs is not None else SOUND, FRAME)[0]


SOUND = [run(0, COUNT, sound=True)]


def off_ms(found: Anchor) -> int:
    return found.zero_ms - ZERO_MS - START_MS


def right(at_ms: int) -> int:
    return ZERO_MS + at_ms


def since_1970(at_ms: int) -> int:
    return at_ms + 5_000


def ahead(at_ms: int) -> int:
    return ZERO_MS + at_ms + 7 * HOUR_MS


def behind(at_ms: int) -> int:
    return ZERO_MS + at_ms - 7 * HOUR_MS


def set_in_the_middle(at_ms: int) -> int:
    return ZERO_MS + at_ms + (HOUR_MS if at_ms > 20_000 else 0)


def set_back(at_ms: int) -> int:
    return ZERO_MS + at_ms - (HOUR_MS if at_ms > 20_000 else 0)


CLOCKS = (right, since_1970, ahead, behind, set_in_the_middle, set_back)


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_probe_is_believed_whatever_the_clock_shows(clock: Clock) -> None:
    found = placed(told(clock, offset_ms=ZERO_MS - clock(0)))
    assert (off_ms(found), found.err_ms, found.trusted) == (0, 4, "probe")


def test_the_first_probe_is_taken_and_not_the_best() -> None:
    segment = told(right, offset_ms=7)
    later = replace(segment.chunks[1], offset_ms=0, err_ms=1)
    found = placed(replace(segment, chunks=(segment.chunks[0], later, *segment.chunks[2:])))
    assert (off_ms(found), found.trusted) == (7, "probe")


@pytest.mark.parametrize("clock", CLOCKS)
def test_without_a_probe_the_quickest_upload_tells(clock: Clock) -> None:
    found = placed(told(clock))
    assert found.trusted == "received"
    assert 0 <= off_ms(found) <= 100


@pytest.mark.parametrize("start_ms", [0, 12_345, right(-7 * HOUR_MS), right(7 * HOUR_MS), right(START_MS + 2_500)])
@pytest.mark.parametrize("offset_ms", [None, 0])
def test_a_start_that_cannot_be_is_not_believed(start_ms: int, offset_ms: int | None) -> None:
    """Of another clock than the deliveries: 1970, hours off, or ahead by a little more than media can be."""
    found = placed(told(right, start_ms=start_ms, offset_ms=offset_ms))
    assert found.trusted == "media"
    assert -20 <= off_ms(found) <= 100


@pytest.mark.parametrize("clock", [since_1970, ahead, behind])
def test_a_client_that_believes_its_wrong_clock_is_placed_by_what_was_received(clock: Clock) -> None:
    found = placed(told(clock, offset_ms=0))
    assert found.trusted == "received"
    assert 0 <= off_ms(found) <= 100


def test_a_segment_without_a_probe_takes_that_of_another_of_the_same_client() -> None:
    microphone = told(behind, offset_ms=7 * HOUR_MS, seg=3)
    found = placed(told(behind), SOUND, microphone)
    assert (off_ms(found), found.trusted) == (0, "neighbour")
    # of another clock, as after another device was taken
    assert placed(told(ahead), SOUND, microphone).trusted == "received"


def test_a_screen_that_stood_still_for_long_is_where_its_start_says() -> None:
    still = told(right)
    chunks = tuple(
        replace(chunk, at_ms=chunk.at_ms + 40_000, received_ms=chunk.received_ms + 40_000)  # type: ignore[operator]  # told by all
        for chunk in still.chunks
    )
    found = placed(replace(still, chunks=chunks), [run(0, COUNT)])
    assert (off_ms(found), found.trusted) == (UPLOAD_MS, "received")


def test_a_file_that_was_there_before_is_where_its_start_says() -> None:
    """Its pieces are delivered all at once, long after what they hold."""
    file = told(right)
    chunks = tuple(
        replace(chunk, at_ms=right(50_000 + chunk.seq), received_ms=right(50_030 + chunk.seq)) for chunk in file.chunks
    )
    found = placed(replace(file, chunks=chunks))
    assert (off_ms(found), found.trusted) == (UPLOAD_MS, "received")


def test_a_client_that_tells_no_instants_is_placed_by_its_media() -> None:
    silent = told(right, start_ms=0)
    found = placed(replace(silent, chunks=tuple(replace(chunk, at_ms=None) for chunk in silent.chunks)))
    assert found.trusted == "media"
    assert 0 <= off_ms(found) <= 100


def test_of_what_cannot_be_read_the_arrival_is_all_there_is() -> None:
    silent = told(right, start_ms=0)
    (first, *_) = chunks = tuple(replace(chunk, at_ms=None) for chunk in silent.chunks)
    found = placed(replace(silent, chunks=chunks), [])
    assert (found.zero_ms, found.trusted) == (first.received_ms, "received")


def test_media_a_little_outside_of_the_recording_is_cut_and_not_moved() -> None:
    early = told(lambda at_ms: ZERO_MS + at_ms - 60_000, offset_ms=0)
    chunks = tuple(replace(chunk, received_ms=chunk.received_ms - 60_000) for chunk in early.chunks)
    found = placed(replace(early, chunks=chunks))
    assert (off_ms(found), found.trusted) == (-60_000, "probe")


def test_a_start_that_is_not_believed_moves_nothing_else() -> None:
    """Neither does the last picture stand for hours, nor is a camera taken for one that was off."""
    lying = told(right, start_ms=0)
    off = replace(track(lying), muted=((right(START_MS + 10_000), right(START_MS + 16_000)),))
    timeline = plan_timeline(recording(off, length_ms=60_000), {("p", "cam", 0): [run(0, COUNT)]})
    assert timeline.anchors["p", "cam", 0].trusted == "media"
    borders = [(clip.from_us // 1000, clip.to_us // 1000) for clip in timeline.clips]
    expected = [(START_MS, START_MS + 10_000), (START_MS + 16_000, START_MS + 40_000)]
    for found, wanted in zip(borders, expected, strict=True):
        assert found == pytest.approx(wanted, abs=150)


def test_everything_that_may_be_trusted_is_explained() -> None:
    assert set(TRUSTED) == {"probe", "neighbour", "received", "media"}


@pytest.mark.parametrize(("clock_ppm", "media_ppm"), [(500, 0), (0, 500), (-500, 0), (0, -500)])
def test_hours_of_media_that_run_fast_contradict_no_probe(clock_ppm: float, media_ppm: float) -> None:
    """At 500 ppm media is 3.6 s ahead of the server after two hours, and no less recorded for that."""
    segment, scanned = Client(clock_ppm=clock_ppm, media_ppm=media_ppm, jitter_s=0.05).record(7_200)
    participant = Participant(participant_id="p", name="p", tracks=(track(segment),))
    frame = Frame(from_ms=CLIENT_ZERO_MS, to_ms=CLIENT_ZERO_MS + 7_200_000)
    found, _ = place_segment(participant, segment, [scanned], frame)
    assert found.trusted == "probe"
    assert abs(found.zero_ms - CLIENT_ZERO_MS) <= 30
