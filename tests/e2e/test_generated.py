"""Calls from a seed, as films: every picture says when it was taken, so every picture is asked.

A failing seed stands in the test's name; `CALLREEL_SEED=<seed>` runs it alone, `CALLREEL_SLOW=1` runs many more.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.kit.build import build_recording
from tests.kit.call_generator import generate_call
from tests.kit.capture import Capture
from tests.kit.container import facts_of
from tests.kit.detect import added_by_beat, clock_errors_ms, examine
from tests.kit.line import Made, make_film

FPS = 30
FOUND = 0.99  #: of the seconds somebody was there
APART_MS = 20  #: echo threshold of two microphones that hear one voice; also two thirds of a picture
AAC_FRAME_MS = 1024 / 48

_CHOSEN = os.environ.get("CALLREEL_SEED")
_FIXED = (3, 5)  #: four people and a rejoin; seven people and all recorders but MP4
#: A new seed each time somebody runs the tests; whether a change is taken must not be chance.
_NEW = [] if os.environ.get("CI") else [random.randrange(10**6)]
_SEEDS = [int(_CHOSEN)] if _CHOSEN else [_FIXED[0], *_NEW]
_MORE = [] if _CHOSEN else [_FIXED[1], *random.sample(range(10**6), 19)]


@pytest.mark.parametrize("seed", [*_SEEDS, *(pytest.param(seed, marks=pytest.mark.slow) for seed in _MORE)])
def test_generated_call_becomes_its_film(seed: int, data_dir: Path, redis_url: str) -> None:
    capture = generate_call(seed)
    made = make_film(data_dir, redis_url, build_recording(data_dir, capture))
    assert made.manifest["complete"], f"seed {seed}: {made.manifest['gaps']}"
    assert made.manifest["leftOut"] == [], f"seed {seed}"
    check_file(made, capture, seed)
    check_people(made, capture, seed)


def check_file(made: Made, capture: Capture, seed: int) -> None:
    facts = facts_of(made.film)
    told = f"seed {seed}: {facts}"
    assert (facts.video_codec, facts.video_profile, facts.pixel_format) == ("h264", "High", "yuv420p"), told
    assert (facts.audio_codec, facts.audio_profile, facts.audio_rate_hz) == ("aac", "LC", 48000), told
    assert facts.fast_start, told
    assert facts.pictures == round(capture.length_ms * FPS / 1000), told
    assert facts.uniform, told
    assert facts.first_picture_ms == 0, told
    assert abs(facts.sound_ms - facts.pictures * 1000 / FPS) < AAC_FRAME_MS, told


def check_people(made: Made, capture: Capture, seed: int) -> None:
    findings, view = examine(made.film, capture, clocks=True)
    for name, found in findings.items():
        errors, unread = clock_errors_ms(view, capture, name, FPS)
        worst = max(map(abs, errors), default=0)
        added = added_by_beat(capture, name, view, made.film)
        told = f"seed {seed}: {found}; {added}; {len(errors)} pictures, worst {worst:.1f} ms off, {unread} unread"
        print(told)
        assert found.seen[0] >= FOUND * found.seen[1], told
        assert found.heard[0] >= FOUND * found.heard[1], told
        assert found.seen_absent == found.heard_absent == [], told
        assert abs(added.flash_ms) <= APART_MS, told
        assert abs(added.beep_ms) <= APART_MS, told
        assert errors, told
        wrong = [error for error in errors if abs(error) > APART_MS]
        assert len(wrong) <= (1 - FOUND) * len(errors), told
        assert worst <= 3 * 1000 / FPS, told
        # a tile that moves while it is white is looked for where it was before: some pictures at each such change
        assert unread <= 0.02 * len(errors) + 10, told
