"""Levels: what a meter says, from the bytes of a browser, and decoded again only where the bytes are others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from callreel import keys, levels, repository
from callreel.levels import FINE, STEP_US, UNKNOWN, Levels
from callreel.scans import RunScan
from callreel.storage.local import LocalStorage
from tests.kit.build import build_recording
from tests.kit.capture import load_named
from tests.kit.meter import measured_samples
from tests.kit.voices import recorded, sound_call, voice
from tests.workers.test_sound import RATE_HZ, speech, webm
from workers.levels import loudness, measure
from workers.scan import scan_track


def test_the_loudness_of_a_step_is_that_of_a_meter(tmp_path: Path) -> None:
    """Ungated mean of the steps against ffmpeg's meter on sound without pauses, where its gates have nothing to do."""
    dice = np.random.default_rng(4)
    for colour in (1, 8, 40):  # from white to dull
        noise = np.convolve(dice.standard_normal(RATE_HZ * 5), np.ones(colour) / colour, "same").astype(np.float32)
        sound = np.stack([noise * 0.1] * 2)
        mean = -0.691 + 10 * np.log10(loudness(sound).mean())
        assert mean == pytest.approx(measured_samples(sound, RATE_HZ, tmp_path).integrated_lufs, abs=0.1)


def test_levels_of_opus_lie_where_its_sound_does() -> None:
    samples = speech(RATE_HZ * 4)
    samples[RATE_HZ * 2 : RATE_HZ * 3] = 0
    data = webm(samples)
    found = measure(RunScan(first_seq=0, chunk_sha256=("a",), chunk_bytes=(len(data),)), data, -20_000, 0)
    assert (found.loudness[:40] != UNKNOWN).all()
    assert (found.loudness[41:] == UNKNOWN).all()
    assert found.loudness[21:29].max() < -7_000
    assert found.loudness[12:18].max() > -4_500
    assert (found.peak[:40] <= 0).all()
    # what 20 ms say and what 100 ms say is the same
    fine = 10 ** (found.fine[: 20 * FINE].reshape(-1, FINE) / 1000)
    assert 1000 * np.log10(fine.mean(axis=1)) == pytest.approx(found.loudness[:20], abs=2)


def test_bytes_that_do_not_decode_are_of_unknown_loudness() -> None:
    run = RunScan(first_seq=0, chunk_sha256=("a",), chunk_bytes=(9,))
    assert (measure(run, b"\x1a\x45\xdf\xa3garbage", 0, 0).loudness == UNKNOWN).all()


def test_pieces_survive_storage_and_leave_holes_between_them_unknown() -> None:
    def piece(first: int) -> Levels:
        return Levels(
            first=first,
            loudness=np.full(2, -2_000, np.int16),
            peak=np.full(2, -300, np.int16),
            fine=np.arange(2 * FINE, dtype=np.int16),
        )

    again = levels.decode(levels.encode(piece(7)))
    assert (again.first, again.fine.tolist()) == (7, list(range(2 * FINE)))
    both = levels.joined([piece(7), piece(10)])
    assert (both.first, both.loudness.tolist()) == (7, [-2_000, -2_000, UNKNOWN, -2_000, -2_000])
    assert len(both.fine) == 5 * FINE


def test_a_run_is_decoded_again_only_where_its_bytes_are_others(tmp_path: Path) -> None:
    """Pieces of 16 s: a chunk that comes late, or not at all, changes the levels of one or two of them."""
    data = recorded(voice([(0, 50)], 50, seed=3))
    ids = {}
    for name, lose in (("whole", None), ("torn", 12), ("short", 24)):
        storage = LocalStorage(tmp_path / name, fsync=False)
        lost = [] if lose is None else [("ada", "microphone", 0, lose)]
        recording = repository.load(storage, build_recording(storage, sound_call({"ada": data}, 50_000), lose=lost))
        scan_track(storage, recording.recording_id, *recording.tracks())
        prefix = keys.derived_prefix(recording.recording_id) + "levels/"
        ids[name] = {entry.key.removeprefix(prefix) for entry in storage.list(prefix)}
    assert len(ids["whole"]) == 4
    assert len(ids["whole"] & ids["torn"]) == 3
    assert len(ids["whole"] & ids["short"]) >= 2


@pytest.mark.parametrize("name", ["duo-split", "trio-rejoin"])
def test_recordings_of_browsers_have_levels_wherever_they_have_sound(name: str, tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path, fsync=False)
    recording = repository.load(storage, build_recording(storage, load_named(name)))
    for track in recording.tracks():
        for runs in scan_track(storage, recording.recording_id, track).values():
            for run in runs:
                known = run.levels.loudness != UNKNOWN
                assert bool(known.any()) == bool(len(run.audio))
                if len(run.audio):
                    assert known.sum() >= (run.audio.to_us - run.audio.from_us) // STEP_US - 3
