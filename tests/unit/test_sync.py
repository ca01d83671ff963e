"""The sync certificate: against clients whose truth is known, and as a page."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from html import escape

import numpy as np
import pytest
from numpy.typing import NDArray

from callreel import certificate
from callreel.anchors import Frame, place_segment
from callreel.clock import Anchor
from callreel.drift import KNOT_US, measure
from callreel.gaps import Gap
from callreel.model import Participant, Recording, Segment, Track
from callreel.scans import RunScan
from callreel.states import Status
from callreel.straight import Pause
from callreel.sync import Sync, of_segment
from callreel.timeline import Timeline
from tests.unit.test_drift import ZERO_MS, Client

CLOCKS = [(0, 0, 0.3), (40, 0, 0.3), (500, 0, 0.3), (-500, 0, 0.3), (0, 500, 0.3), (0, -500, 0.3), (300, -150, 0.05)]


def anchor(segment: Segment, *runs: RunScan) -> Anchor:
    whole = Frame(from_ms=ZERO_MS, to_ms=ZERO_MS + 4 * 3_600_000)
    return place_segment(Participant(participant_id="p", name="p"), segment, runs, whole)[0]


def certified(client: Client, length_s: float) -> tuple[Sync, NDArray[np.float64], NDArray[np.float64]]:
    """The certificate; what the film is off and what the certificate's own line is off, ms, every 8 s."""
    segment, run = client.record(length_s)
    drift = measure(segment, [run])
    sync = of_segment(("p", "mic", 0), segment, [run], anchor(segment, run), drift, 0, 30)
    assert segment.chunks[0].offset_ms is not None
    first_ms = segment.chunks[0].offset_ms + 5_000_000 + client.skew_ms - ZERO_MS
    media_us = np.arange(0, int(length_s * 1e6), KNOT_US)
    true_us = media_us / ((1 + client.clock_ppm * 1e-6) * (1 + client.media_ppm * 1e-6))
    told_us = media_us * (1 + sync.drift_ppm * 1e-6) + sync.best_us + first_ms * 1000
    return sync, client.errors_ms(drift, length_s, first_ms), (told_us - true_us) / 1000


@pytest.mark.parametrize("length_s", [16, 60, 200, 900])
@pytest.mark.parametrize(("clock_ppm", "media_ppm", "jitter_s"), CLOCKS)
def test_what_is_off_lies_within_the_uncertainty(
    clock_ppm: float, media_ppm: float, jitter_s: float, length_s: float
) -> None:
    for seed in range(3):
        client = Client(clock_ppm=clock_ppm, media_ppm=media_ppm, jitter_s=jitter_s, skew_ms=4_000, seed=seed)
        sync, film_ms, _ = certified(client, length_s)
        assert np.abs(film_ms).max() <= sync.uncertainty_us / 1000, f"{client}: {sync}"


@pytest.mark.parametrize(("clock_ppm", "media_ppm", "jitter_s"), CLOCKS)
def test_an_hour_is_known_to_milliseconds_afterwards(clock_ppm: float, media_ppm: float, jitter_s: float) -> None:
    client = Client(clock_ppm=clock_ppm, media_ppm=media_ppm, jitter_s=jitter_s, skew_ms=-5_000, seed=7)
    sync, film_ms, told_ms = certified(client, 3600)
    assert np.abs(told_ms).max() <= 2, sync
    assert sync.drift_ppm == pytest.approx(-clock_ppm - media_ppm, abs=1)
    assert sync.residual_us / 1000 == pytest.approx(np.abs(film_ms).max(), abs=3)


def test_an_uncertainty_names_what_it_consists_of() -> None:
    sync, _, _ = certified(Client(), 120)
    assert sum(part_us for _, part_us in sync.parts_us) == pytest.approx(sync.uncertainty_us)
    assert {name for name, _ in sync.parts_us} <= set(certificate._WORDS)
    told = sync.to_json()
    assert told["uncertaintyMs"] >= sync.uncertainty_us / 1000
    assert told["trusted"] == "probe"


def test_who_tells_nothing_is_not_claimed_to_be_known() -> None:
    segment, run = Client().record(60)
    silent = tuple(replace(chunk, at_ms=None, offset_ms=None, err_ms=None) for chunk in segment.chunks)
    bare = replace(segment, chunks=silent)
    sync = of_segment(("p", "mic", 0), bare, [run], anchor(bare, run), measure(bare, [run]), 0, 30)
    assert sync.trusted == "media"
    assert sync.uncertainty_us >= 10_000_000
    nothing = of_segment(("p", "mic", 0), bare, [], anchor(bare), measure(bare, []), 0, 30)
    assert nothing.uncertainty_us >= 10_000_000


def test_a_pause_that_was_told_makes_nothing_less_sure() -> None:
    segment, run = Client(jitter_s=0.1).record(120)
    pause = Pause(at_us=60_500_000, length_us=2_000_000)
    for pauses in ((), (pause,)):
        drift = measure(segment, [run], pauses)
        sync = of_segment(("p", "mic", 0), segment, [run], anchor(segment, run), drift, 0, 30, pauses)
        assert sync.residual_us < 10_000
        assert "steps" not in dict(sync.parts_us)
    assert drift.placed_us(70_000_000) - drift.placed_us(50_000_000) == pytest.approx(22_000_000, abs=10_000)


def a_page(name: str = "Ada", label: str = "", *, gaps: int = 0) -> str:
    track = Track(track_id="mic", participant_id="p", source="microphone", kind="audio", label=label)
    who = Participant(participant_id="p", name=name, tracks=(track,))
    recording = Recording(
        recording_id="rec_call_1700000000000",
        call_id="call",
        status=Status.COMPLETED,
        started_ms=1_700_000_000_000,
        started_by="host",
        participants=(who,),
    )
    gap = Gap(
        participant_id="p", track_id="mic", seg=0, from_us=1_000_000, to_us=2_000_000, chunks=((1, 1),), reason="lost"
    )
    timeline = Timeline(
        duration_us=60_000_000,
        participants=(who,),
        clips=(),
        gaps=(gap,) * gaps,
        presences=(),
        cuts_us=(),
        anchors={},
        drifts={},
    )
    return certificate.page(recording, timeline, [certified(Client(), 60)[0]])


def test_the_page_says_it_all_and_fetches_nothing() -> None:
    text = a_page(gaps=1)
    sync = certified(Client(), 60)[0]
    assert f"± {sync.to_json()['uncertaintyMs']} ms" in text
    assert "1.000 s to 2.000 s, lost" in text
    assert not re.search(r"<script|<link|<img|https?:|url\(|@import|\son\w+=|\sstyle=", text)


def test_the_page_allows_its_own_style_and_nothing_else() -> None:
    text = a_page()
    style = text[text.index("<style>") + 7 : text.index("</style>")]
    digest = b64encode(sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in certificate.POLICY
    assert "default-src 'none'" in certificate.POLICY
    assert escape(certificate.POLICY) in text


def test_names_cannot_become_markup() -> None:
    text = a_page(name="<script>alert(1)</script>", label='"><img src=x>')
    assert "<script" not in text
    assert "<img" not in text
