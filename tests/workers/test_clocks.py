"""Recorders that were paused, clocks that lie: in the film everything is where it happened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from callreel import facts, repository
from callreel.facts import TrackFact
from callreel.storage.local import LocalStorage
from tests.kit import ears, eyes
from tests.kit.build import STARTED_MS, Upload, build_recording, plan_uploads
from tests.kit.call_generator import Person, generate_call
from tests.kit.capture import Capture
from tests.kit.detect import by_beat
from tests.kit.forms import Recorder
from tests.kit.line import Made, make_film, plan_now, settings_for
from workers.jobs import bench as make_bench

OUTPUTS = {"outputs": [{"name": "film", "container": "mp4", "width": 320, "height": 180}]}
LENGTH_MS = 16_000
ERROR_MS = 20
STEP_MS = 1000 / 30


@cache
def call(recorder: Recorder, *stood: tuple[int, int]) -> Capture:
    def change(person: Person) -> Person:
        return replace(
            person,
            recorder=recorder,
            size=(160, 90),
            fps=30,
            spans_ms=((0, LENGTH_MS + 50),),
            timeslice_ms=500,
            stood=stood,
            hum=True,
        )

    return generate_call(9, count=1, length_ms=LENGTH_MS, change=change)


def tell(folder: Path, recording_id: str, capture: Capture, stood: Sequence[tuple[int, int]]) -> None:
    """What the page says of its pauses, on its own clock."""
    storage = LocalStorage(folder, fsync=False)
    starts = {upload.run.track_id: upload.chunk.start_ms for upload in plan_uploads(capture, STARTED_MS)}
    for track in repository.load(storage, recording_id).tracks():
        before_ms = starts[track.track_id]
        told = []
        for number, (at_ms, length_ms) in enumerate(stood):
            for kind, instant_ms in (("paused", before_ms + at_ms), ("resumed", before_ms + at_ms + length_ms)):
                told.append(
                    TrackFact(id=f"{kind}{number}", type=kind, at_ms=instant_ms, received_ms=STARTED_MS + at_ms)
                )
            before_ms += length_ms
        facts.put(storage, recording_id, track, told)


def errors_ms(made: Made, capture: Capture, stood: Sequence[tuple[int, int]]) -> tuple[list[float], list[float]]:
    """How wrong the pictures are, and how far apart the beeps before and behind a pause; nothing is asked in it."""
    who = capture.participants[0]
    pauses = [(at_ms + sum(b for _, b in stood[:n]), length_ms) for n, (at_ms, length_ms) in enumerate(stood)]

    def in_pause(at_ms: float) -> bool:
        return any(a - 150 < at_ms < a + length_ms + 150 for a, length_ms in pauses)

    view = eyes.watch(made.film, {who: capture.rgb_of(who)}, clocks=True, still=True)
    pictures = [
        shown_ms - at_ms
        for at_ms, shown_ms in zip(view.times_ms, view.sights[who].clock_ms, strict=True)
        if shown_ms is not None and 200 < at_ms < LENGTH_MS - 200 and not in_pause(at_ms)
    ]
    first_ms, samples = ears.decode_placed(made.film)
    beats = by_beat(capture, [at + first_ms for at in ears.onsets_ms(samples, capture.tone_of(who))])
    beeps = [off for beat, off in beats.items() if not in_pause(beat) and 200 < beat < LENGTH_MS - 300]
    return pictures, beeps


@pytest.mark.parametrize(
    ("recorder", "stood"),
    [
        pytest.param(Recorder.WEBM_VP8, ((4_000, 300), (7_000, 3_000)), id="WebM"),
        pytest.param(Recorder.MP4_H264_SPLIT, ((5_000, 700),), id="MP4", marks=pytest.mark.slow),
        pytest.param(Recorder.WEBM_VP8_OGG, ((5_000, 400), (6_000, 2_000)), id="Ogg", marks=pytest.mark.slow),
    ],
)
def test_a_recorder_that_its_page_paused_goes_on_where_it_is(
    recorder: Recorder, stood: tuple[tuple[int, int], ...], data_dir: Path, redis_url: str
) -> None:
    capture = call(recorder, *stood)
    recording_id = build_recording(data_dir, capture, options=OUTPUTS)
    tell(data_dir, recording_id, capture, stood)
    made = make_film(data_dir, redis_url, recording_id)
    assert made.manifest["gaps"] == [], "nothing is missing"
    pictures, beeps = errors_ms(made, capture, stood)
    assert len(pictures) > LENGTH_MS / STEP_MS * 0.6
    # a picture held back by the camera is up to 67 ms old; those that are wrong by a pause are off by 300
    assert np.percentile(np.abs(pictures), 95) <= STEP_MS + ERROR_MS
    assert max(map(abs, pictures)) < 120
    assert len(beeps) >= 10
    assert np.ptp(beeps) <= ERROR_MS
    # silence was kept: the hum stops where the recorder did
    first_ms, samples = ears.decode_placed(made.film)
    level = ears.envelope(samples, capture.tone_of(capture.participants[0]))
    before_ms = 0
    for at_ms, length_ms in stood:
        a, b = (round(at_ms + before_ms + edge - first_ms) for edge in (30, length_ms - 30))
        assert level[a:b].max() < np.median(level) / 2
        before_ms += length_ms


def without_offset(change: Callable[[Upload], dict[str, int]]) -> Callable[[Sequence[Upload]], list[Upload]]:
    """The same uploads of a client that never asked what time it is."""

    def arrange(uploads: Sequence[Upload]) -> list[Upload]:
        found = []
        for upload in uploads:
            more: dict[str, Any] = change(upload)
            found.append(replace(upload, chunk=replace(upload.chunk, offset_ms=None, err_ms=None, **more)))
        return found

    return arrange


HOUR_MS = 3_600_000
LIES: dict[str, Callable[[Upload], dict[str, int]]] = {
    "hours ahead": lambda u: {"start_ms": u.chunk.start_ms + 5 * HOUR_MS, "at_ms": (u.chunk.at_ms or 0) + 5 * HOUR_MS},
    "1970": lambda u: {"start_ms": 1_000, "at_ms": (u.chunk.at_ms or 0) - u.chunk.start_ms + 1_000},
    "its start alone in 1970": lambda u: {"start_ms": 0},
    "its start alone ahead": lambda u: {"start_ms": u.chunk.start_ms + 2 * HOUR_MS},
    "set back while it recorded": lambda u: {"at_ms": (u.chunk.at_ms or 0) - (HOUR_MS if u.chunk.seq > 8 else 0)},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_client_that_lies_about_time_is_placed_by_what_is_received(lie: str, data_dir: Path) -> None:
    """In the plan, which is what a film is made of; `received` and `media` are late by an upload and a delivery."""
    capture = call(Recorder.WEBM_VP8_SPLIT)
    recording_id = build_recording(data_dir, capture, options=OUTPUTS, arrange=without_offset(LIES[lie]))
    build = plan_now(make_bench(settings_for(data_dir, "redis://never-asked")), recording_id)
    assert len(build.timeline.clips) == 2
    for clip in build.timeline.clips:
        anchor = build.timeline.anchors[clip.place]
        assert anchor.trusted == ("media" if "alone" in lie else "received")
        run = next(run for run in capture.runs if run.track_id == clip.track_id)
        true_us = (run.start_true_ms - capture.true_epoch_ms) * 1000
        # generated chunks of so little hold up to 300 ms more or less than the instant of their delivery says
        assert clip.line.placed_us(0) == pytest.approx(true_us, abs=300_000)
        assert clip.line.placed_us(12_000_000) == pytest.approx(true_us + 12_000_000, abs=300_000)
        assert clip.to_us == pytest.approx(LENGTH_MS * 1000, abs=300_000)
