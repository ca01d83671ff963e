"""Sound at the joins of windows, of a whole call: against one encoder that runs through, and window against window."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from callreel import keys, repository
from callreel.storage.local import LocalStorage
from tests.kit.build import build_recording
from tests.kit.line import settings_for
from tests.kit.voices import RATE_HZ, Samples, in_turns, recorded, sound_call, voice
from tests.workers.test_sound import decoded, snr
from workers import demux, mux
from workers.planning import plan, store_plans
from workers.render import read_input
from workers.sound import mix

LENGTH_S = 34
WINDOW_MS = 1600  #: more joins than windows of 8 s would have
AROUND = RATE_HZ * 30 // 1000
WORST_DB, LESS_DB, AGREE_DB = 15.0, 3.0, 40.0


def mixes(root: Path, container: str, seed: int) -> list[tuple[dict[str, Any], Samples]]:
    """Every window's plan, and what its encoder is fed."""
    storage = LocalStorage(root, fsync=False)
    turns = in_turns(3, LENGTH_S, seed=seed)
    files = {
        name: recorded(voice(turns[n], LENGTH_S, seed=n, rms_db=-30 + 6 * n), form=form, codec=codec, rate_hz=rate_hz)
        for n, (name, form, codec, rate_hz) in enumerate(
            [("ada", "webm", "libopus", 48_000), ("bob", "mp4", "libopus", 48_000), ("cay", "mp4", "aac", 44_100)]
        )
    }
    outputs = [{"name": "sound", "container": container}]
    recording_id = build_recording(storage, sound_call(files, LENGTH_S * 1000), options={"outputs": outputs})
    settings = settings_for(root, "redis://never-asked", window_ms=WINDOW_MS)
    build = plan(storage, settings, repository.load(storage, recording_id))
    store_plans(storage, build)
    found = []
    for window in build.windows:
        stored = json.loads(storage.get(keys.window_plan(recording_id, window.key)))
        inputs = [(item, read_input(storage, item, stored["objects"])) for item in stored["plan"]["audio"]]
        samples, failed = mix(inputs, *mux.sound_span(stored["plan"]), RATE_HZ, 2)
        assert failed == []
        found.append((stored["plan"], samples))
    return found


def encoded(planned: dict[str, Any], samples: Samples, folder: Path) -> list[demux.Packet]:
    with av.open(str(folder / "x.mkv"), "w", format="matroska") as out:
        return list(mux._encode(planned, mux.add_sound(planned["profile"], out), samples))


@dataclass(frozen=True, slots=True, kw_only=True)
class Joins:
    """Sound ± 30 ms around joins where somebody speaks, dB."""

    less: list[float]  #: than what one encoder that runs through has at the same place
    snr: list[float]
    between: list[float]  #: what one window mixes against what the other one does

    def __str__(self) -> str:
        return (
            f"{len(self.less)} joins, {np.percentile(self.less, 95):.2f} dB less than straight at 95 %, "
            f"worst {min(self.snr):.1f} dB, windows agree to {min(self.between):.0f} dB"
        )


def joins(folder: Path, container: str, form: str, seed: int = 4) -> Joins:
    """Of a conversation of three, as a film of sound alone."""
    windows = mixes(folder, container, seed)
    profile = windows[0][0]["profile"]
    starts = [mux.sound_span(planned)[0] for planned, _ in windows]
    cores = [[frame * mux.codec_of(planned).frame for frame in mux.sound_frames(planned)] for planned, _ in windows]
    truth = np.concatenate(
        [mixed[:, a - at : b - at] for (_, mixed), at, (a, b) in zip(windows, starts, cores, strict=True)], axis=1
    )
    joined = decoded([p for planned, mixed in windows for p in encoded(planned, mixed, folder)], profile, form)

    whole = {**windows[0][0], "pictures": sum(planned["pictures"] for planned, _ in windows)}
    a, b = mux.sound_span(whole)
    straight = decoded(encoded(whole, np.pad(truth, ((0, 0), (-a, b - truth.shape[1]))), folder), profile, form)

    less, worst, between = [], [], []
    for k in range(1, len(windows)):
        border = cores[k][0]
        around = slice(border - AROUND, border + AROUND)
        if (truth[0, around] ** 2).mean() < 1e-6:  # nobody speaks there, and noise has no SNR to speak of
            continue
        less.append(snr(straight[around], truth[0, around]) - snr(joined[around], truth[0, around]))
        worst.append(snr(joined[around], truth[0, around]))
        end = starts[k - 1] + windows[k - 1][1].shape[1]
        before, after = windows[k - 1][1][0, starts[k] - end :], windows[k][1][0, : end - starts[k]]
        between.append(snr(after, before))
    return Joins(less=less, snr=worst, between=between)


# in the seventh call Opus at a free rate has no more than 11 dB where somebody hisses across a join
@pytest.mark.parametrize(("container", "form", "seed"), [("m4a", "adts", 4), ("ogg", "ogg", 7)])
def test_joins_sound_as_if_there_were_none(container: str, form: str, seed: int, tmp_path: Path) -> None:
    found = joins(tmp_path, container, form, seed)
    print(f"{container}: {found}")
    assert len(found.less) >= 8
    assert min(found.snr) >= WORST_DB
    assert min(found.between) >= AGREE_DB
    assert np.percentile(found.less, 95) <= LESS_DB + 0.5, "half a dB for what differs between builds of the encoder"
