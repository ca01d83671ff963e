"""Clocks that are off, run too fast, are set, sleep, or stop: where the media lies all the same.

A simulated client records for an hour, and the truth is known: when each chunk's media really was recorded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from callreel.drift import KNOT_US, Drift, measure
from callreel.model import Chunk, Segment
from callreel.scans import Packets, RunScan
from callreel.straight import straightened, without_pauses_us

CHUNK_S = 2.0
PROBE_S = 10.0
LAG_S = 0.055  #: what Chromium's sound is behind its delivery, always
ZERO_MS = 1_732_000_000_000


@dataclass(frozen=True)
class Client:
    """A browser and its clocks; rates in ppm against the server's clock, or the client's."""

    clock_ppm: float = 0  #: how much faster the client's clock runs than the server's
    media_ppm: float = 0  #: how much faster its media runs than its own clock
    skew_ms: float = 0
    jitter_s: float = 0.3  #: deliveries are late by 0 to this
    round_trip_s: float = 0.06  #: the best of a burst of four is half of it at most, on average a tenth
    seed: int = 1
    chunk_s: float = CHUNK_S

    def record(self, length_s: float) -> tuple[Segment, RunScan]:
        rng = np.random.default_rng(self.seed)
        count = int(length_s / self.chunk_s)
        rate = 1 + self.clock_ppm * 1e-6
        end_s = np.arange(1, count + 1) * self.chunk_s  # true instants of the ends of chunks
        media_us = (end_s * rate * (1 + self.media_ppm * 1e-6) * 1e6).astype(np.int64)
        true_s = end_s + LAG_S + rng.uniform(0, self.jitter_s, count)
        probes_s = np.arange(0, length_s + PROBE_S, PROBE_S)
        err_s = rng.uniform(0.004, self.round_trip_s, (len(probes_s), 4)).min(axis=1) / 2 + 0.001
        belief_s = probes_s - probes_s * rate + rng.uniform(-0.8, 0.8, len(probes_s)) * err_s
        chunks = []
        for seq in range(count):
            probe = int(true_s[seq] / PROBE_S)
            chunks.append(
                Chunk(
                    participant_id="p",
                    track_id="mic",
                    seg=0,
                    seq=seq,
                    received_ms=ZERO_MS + int(true_s[seq] * 1000) + 80,
                    start_ms=int(5_000_000 + self.skew_ms),
                    at_ms=round(5_000_000 + self.skew_ms + true_s[seq] * rate * 1000),
                    offset_ms=round(ZERO_MS - 5_000_000 - self.skew_ms + belief_s[probe] * 1000),
                    err_ms=int(np.ceil(err_s[probe] * 1000)),
                    sha256=f"{seq:064d}",
                    size_bytes=1000,
                )
            )
        at = np.arange(count, dtype=np.int64) * 1000
        begin_us = np.concatenate(([0], media_us[:-1]))
        run = RunScan(
            first_seq=0,
            chunk_sha256=tuple(chunk.sha256 for chunk in chunks),
            chunk_bytes=(1000,) * count,
            audio=Packets(
                pts_us=begin_us,
                duration_us=media_us - begin_us,
                from_byte=at,
                to_byte=at + 1000,
                key=np.ones(count, np.int64),
            ),
        )
        return Segment(seg=0, mime_type="audio/webm", chunks=tuple(chunks)), run

    def errors_ms(self, drift: Drift, length_s: float, first_belief_ms: float = 0) -> NDArray[np.float64]:
        """What the placement is off, every 8 s."""
        media_us = np.arange(0, int(length_s * 1e6), KNOT_US, dtype=np.int64)
        true_us = media_us / ((1 + self.clock_ppm * 1e-6) * (1 + self.media_ppm * 1e-6))
        placed_us = np.array([drift.placed_us(int(m)) for m in media_us])
        return (placed_us - true_us) / 1000 + first_belief_ms


def measured(client: Client, length_s: float) -> tuple[Drift, NDArray[np.float64]]:
    segment, run = client.record(length_s)
    drift = measure(segment, [run])
    assert segment.chunks[0].offset_ms is not None
    first_ms = segment.chunks[0].offset_ms + 5_000_000 + client.skew_ms - ZERO_MS
    return drift, client.errors_ms(drift, length_s, first_ms)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("clock_ppm", "media_ppm", "jitter_s"),
    [(0, 0, 0.3), (20, 0, 0.3), (500, 0, 0.3), (-500, 0, 0.3), (-200, 100, 0.1), (0, 500, 0.3), (0, -500, 0.3)],
)
def test_an_hour_with_a_clock_that_runs_wrong_is_placed_to_milliseconds(
    clock_ppm: float, media_ppm: float, jitter_s: float, seed: int
) -> None:
    client = Client(clock_ppm=clock_ppm, media_ppm=media_ppm, jitter_s=jitter_s, skew_ms=-5_000, seed=seed)
    drift, errors_ms = measured(client, 3600)
    settled = errors_ms[len(errors_ms) // 4 :]
    slope_ppm = np.polyfit(np.arange(len(settled)) * KNOT_US / 1e6, settled, 1)[0] * 1000
    print(f"{client}: p95 {np.percentile(np.abs(errors_ms), 95):.1f} ms, slope {slope_ppm:.2f} ppm, {drift.rate_ppm}")
    assert np.percentile(np.abs(errors_ms), 95) <= 20
    assert abs(slope_ppm) <= 5
    assert drift.rate_ppm == pytest.approx(-clock_ppm - media_ppm, abs=10)


def test_a_steady_delivery_is_believed_within_a_minute() -> None:
    """Sound alone is delivered to some milliseconds; 300 ppm are 1 s in an hour."""
    _, errors_ms = measured(Client(media_ppm=300, jitter_s=0.01, round_trip_s=0.02), 600)
    assert np.abs(errors_ms).max() <= 15
    assert np.abs(errors_ms[12:]).max() <= 6


def test_a_clock_that_runs_right_is_left_alone() -> None:
    drift, errors_ms = measured(Client(jitter_s=0.01, round_trip_s=0.01), 3600)
    assert len(drift.pieces) == 1
    assert np.abs(errors_ms).max() <= 5  # what the first probes were off
    assert drift.rate_ppm == pytest.approx(0, abs=1)


def test_what_comes_later_moves_nothing_before_it() -> None:
    """The first half of an hour is placed by the first half alone."""
    segment, run = Client(clock_ppm=120, media_ppm=-60).record(1800)
    whole = measure(segment, [run])
    count = 450
    part = replace(
        run,
        chunk_sha256=run.chunk_sha256[:count],
        chunk_bytes=run.chunk_bytes[:count],
        audio=Packets(**{name: getattr(run.audio, name)[:count] for name in Packets.__slots__}),
    )
    half = measure(replace(segment, chunks=segment.chunks[:count]), [part])
    for media_us in range(0, 880_000_000, 4_000_000):
        assert half.placed_us(media_us) == whole.placed_us(media_us)


def test_what_is_here_is_placed_for_good_to_its_last_microsecond() -> None:
    """Of the newest chunk it is not known yet whether it is the last, so its delivery tells nothing; its media does."""
    segment, run = Client(media_ppm=300, jitter_s=0.01, round_trip_s=0.02, chunk_s=1.9).record(120)
    whole = measure(segment, [run])
    for count in range(2, 60):
        part = replace(
            run,
            chunk_sha256=run.chunk_sha256[:count],
            chunk_bytes=run.chunk_bytes[:count],
            audio=Packets(**{name: getattr(run.audio, name)[:count] for name in Packets.__slots__}),
        )
        here = measure(replace(segment, chunks=segment.chunks[:count]), [part])
        for media_us in range(part.audio.to_us - 2_000_000, part.audio.to_us, 100_000):
            assert here.placed_us(media_us) == whole.placed_us(media_us), (count, media_us)


def test_a_chunk_that_is_late_rarely_moves_others() -> None:
    segment, run = Client(clock_ppm=15, jitter_s=0.02, round_trip_s=0.02).record(1800)
    whole = measure(segment, [run])
    moved = 0
    for lost in range(100, 500, 20):
        chunks = segment.chunks[:lost] + segment.chunks[lost + 1 :]
        moved += measure(replace(segment, chunks=chunks), [run]).pieces != whole.pieces
    assert moved <= 2


@pytest.mark.parametrize("stood_ms", [2_500, 60_000])
def test_media_that_stood_while_the_clock_ran_goes_on_where_the_clock_is(stood_ms: int) -> None:
    """A recorder that its page paused, or a machine that slept: media time has no hole, the clocks have (E6)."""
    segment, run = Client(jitter_s=0.05).record(120)
    later = tuple(
        replace(chunk, at_ms=(chunk.at_ms or 0) + stood_ms, received_ms=chunk.received_ms + stood_ms)
        for chunk in segment.chunks[30:]
    )
    drift = measure(replace(segment, chunks=segment.chunks[:30] + later), [run])
    assert len(drift.pieces) == 2
    assert drift.pieces[1].from_us == 60_000_000
    assert drift.placed_us(59_000_000) == pytest.approx(59_000_000, abs=25_000)
    assert drift.placed_us(90_000_000) == pytest.approx(90_000_000 + stood_ms * 1000, abs=60_000)


def test_deliveries_that_are_late_by_up_to_a_second_are_no_step() -> None:
    """As from a browser under load: neither some that happen to be prompt, nor some that are late."""
    for seed in range(40):
        segment, run = Client(jitter_s=0.95, seed=seed).record(600)
        assert len(measure(segment, [run]).pieces) == 1


@pytest.mark.parametrize("set_ms", [-3_600_000, 90_000, 700])
def test_a_client_whose_clock_is_set_stays_where_it_is(set_ms: int) -> None:
    """`at` jumps at once, the belief of the offset some chunks later, with the next probe."""
    segment, run = Client(clock_ppm=40, jitter_s=0.05).record(600)
    before = measure(segment, [run])
    chunks = tuple(
        replace(
            chunk,
            at_ms=(chunk.at_ms or 0) + (set_ms if chunk.seq >= 60 else 0),
            offset_ms=(chunk.offset_ms or 0) - (set_ms if chunk.seq >= 63 else 0),
        )
        for chunk in segment.chunks
    )
    drift = measure(replace(segment, chunks=chunks), [run])
    assert len(drift.pieces) == 1
    for media_us in range(0, 600_000_000, 20_000_000):
        assert drift.placed_us(media_us) == pytest.approx(before.placed_us(media_us), abs=15_000)


def test_who_tells_no_instants_runs_as_the_server_does() -> None:
    segment, run = Client(clock_ppm=400).record(60)
    silent = tuple(replace(chunk, at_ms=None, offset_ms=None, err_ms=None) for chunk in segment.chunks)
    drift = measure(replace(segment, chunks=silent), [run])
    assert drift.placed_us(50_000_000) == 50_000_000
    assert measure(replace(segment, chunks=segment.chunks[:1]), [run]).placed_us(7) == 7
    assert measure(segment, []).placed_us(7) == 7


# ── clients that tell no offset: what is received is all there is ────────────────────────────────────────────────────
def unprobed(segment: Segment, from_seq: int, *, at_ms: int, received_ms: int) -> Segment:
    """Without offsets, and from a chunk on with other instants."""
    return replace(
        segment,
        chunks=tuple(
            replace(
                chunk,
                offset_ms=None,
                err_ms=None,
                at_ms=(chunk.at_ms or 0) + (at_ms if chunk.seq >= from_seq else 0),
                received_ms=chunk.received_ms + (received_ms if chunk.seq >= from_seq else 0),
            )
            for chunk in segment.chunks
        ),
    )


@pytest.mark.parametrize("ticks", [True, False])
def test_a_machine_that_slept_goes_on_where_it_is_received(ticks: bool) -> None:
    """`performance.now()` ticks while some machines sleep, and not while others do."""
    segment, run = Client(jitter_s=0.05).record(120)
    slept = unprobed(segment, 30, at_ms=60_000 if ticks else 0, received_ms=60_000)
    drift = measure(slept, [run])
    assert len(drift.pieces) == 2
    assert drift.placed_us(59_000_000) == pytest.approx(59_000_000, abs=25_000)
    assert drift.placed_us(90_000_000) == pytest.approx(150_000_000, abs=60_000)


@pytest.mark.parametrize("set_ms", [-3_600_000, 5_000])
def test_a_clock_that_is_set_moves_nothing_where_it_was_never_compared(set_ms: int) -> None:
    segment, run = Client(jitter_s=0.05).record(120)
    drift = measure(unprobed(segment, 30, at_ms=set_ms, received_ms=0), [run])
    assert len(drift.pieces) == 1
    assert drift.placed_us(90_000_000) == pytest.approx(90_000_000, abs=25_000)


def test_an_outage_and_what_comes_at_once_behind_it_are_no_sleep() -> None:
    segment, run = Client(jitter_s=0.05).record(120)
    back_ms = segment.chunks[40].received_ms
    late = unprobed(segment, 0, at_ms=0, received_ms=0)
    burst = tuple(
        replace(chunk, received_ms=max(chunk.received_ms, back_ms + chunk.seq)) if 20 <= chunk.seq < 40 else chunk
        for chunk in late.chunks
    )
    assert len(measure(replace(late, chunks=burst), [run]).pieces) == 1


# ── pauses that the page told ────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("stood_ms", [120, 400, 2_500, 60_000])
@pytest.mark.parametrize("media_ppm", [0, 300])
def test_a_pause_that_was_told_is_exact_however_short(stood_ms: int, media_ppm: int) -> None:
    segment, run = Client(jitter_s=0.1, media_ppm=media_ppm).record(240)
    at_ms = segment.chunks[0].start_ms + 200_500  # in the midst of chunk 100
    stood = replace(
        segment,
        chunks=tuple(
            replace(chunk, at_ms=(chunk.at_ms or 0) + stood_ms, received_ms=chunk.received_ms + stood_ms)
            if (chunk.at_ms or 0) >= at_ms
            else chunk
            for chunk in segment.chunks
        ),
    )
    straight, pauses = straightened(stood, [run], ((at_ms, at_ms + stood_ms),))
    assert straight == segment
    before, drift = measure(segment, [run]), measure(straight, [run], pauses)
    assert len(drift.pieces) == 2
    assert drift.pieces[1].from_us == pytest.approx(200_500_000 * (1 + media_ppm * 1e-6), abs=10_000)
    for media_us in (1_000_000, 199_000_000):
        assert drift.placed_us(media_us) == before.placed_us(media_us)
    for media_us in (202_000_000, 230_000_000):
        assert drift.placed_us(media_us) == before.placed_us(media_us) + stood_ms * 1000


def test_pauses_that_follow_each_other_add_up() -> None:
    segment, run = Client(jitter_s=0.05).record(60)
    start_ms = segment.chunks[0].start_ms
    spans = ((start_ms + 10_000, start_ms + 10_500), (start_ms + 20_500, start_ms + 23_500))
    moved = tuple(
        replace(chunk, at_ms=(chunk.at_ms or 0) + (500 if chunk.seq >= 5 else 0) + (3_000 if chunk.seq >= 10 else 0))
        for chunk in segment.chunks
    )
    _, pauses = straightened(replace(segment, chunks=moved), [run], spans)
    assert [(pause.at_us, pause.length_us) for pause in pauses] == [(10_000_000, 500_000), (20_000_000, 3_000_000)]
    made = [without_pauses_us(start_ms + at_ms, start_ms, pauses) for at_ms in (5_000, 10_200, 12_000, 22_000, 30_000)]
    assert made == [5_000_000, 10_000_000, 11_500_000, 20_000_000, 26_500_000]


@pytest.mark.parametrize("told", [(58_000, None), (59_900, 62_500), (-5_000, -1_000), (20_000, 30_000)])
def test_pauses_that_are_none_of_a_segments_own_move_nothing(told: tuple[int, int | None]) -> None:
    """With which it ended, which were before it, or during which its media went on all the same."""
    segment, run = Client(jitter_s=0.05).record(60)
    start_ms = segment.chunks[0].start_ms
    span = start_ms + told[0], None if told[1] is None else start_ms + told[1]
    assert straightened(segment, [run], (span,)) == (segment, ())
