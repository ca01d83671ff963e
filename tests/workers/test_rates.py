"""Sound of any rate, in mono and stereo, from every container: right pitch, right place, right level, right side."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soxr

from callreel import keys, repository
from callreel.storage.local import LocalStorage
from tests.kit import ears
from tests.kit.build import build_recording
from tests.kit.line import settings_for
from tests.kit.voices import RATE_HZ, Samples, recorded, sound_call, voice
from workers.planning import plan, store_plans
from workers.render import read_input
from workers.sound import mix

LENGTH_S = 6
PLACE_MS = 2.0  #: what the client itself does not know of its clock better
LEVEL_DB = 0.3


def mixed(root: Path, data: bytes, mime_type: str) -> Samples:
    """What the first window's mix is made of, with its gain taken away."""
    storage = LocalStorage(root, fsync=False)
    recording_id = build_recording(storage, sound_call({"ada": data}, LENGTH_S * 1000, mime_type=mime_type))
    build = plan(storage, settings_for(root, "redis://never-asked"), repository.load(storage, recording_id))
    store_plans(storage, build)
    stored = json.loads(storage.get(keys.window_plan(recording_id, build.windows[0].key)))
    (item,) = stored["plan"]["audio"]
    found, failed = mix(
        [({**item, "gain": [[0, 0]]}, read_input(storage, item, stored["objects"]))], 0, LENGTH_S * RATE_HZ, RATE_HZ, 2
    )
    assert failed == []
    return found


def lag(heard: Samples, truth: Samples) -> int:
    size = 1 << (len(heard) + len(truth)).bit_length()
    found = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(truth, size)))
    at = int(found.argmax())
    return at if at < size // 2 else at - size


CASES = [
    ("webm", "libopus", 48_000, 1),
    ("webm", "libopus", 48_000, 2),
    ("webm", "libopus", 8_000, 1),
    ("ogg", "libopus", 48_000, 2),
    ("mp4", "libopus", 48_000, 2),
    ("mp4", "aac", 8_000, 1),
    ("mp4", "aac", 22_050, 1),
    ("mp4", "aac", 44_100, 2),
    ("mp4", "aac", 96_000, 2),
    ("matroska", "pcm_f32le", 44_100, 1),
    ("matroska", "pcm_f32le", 96_000, 2),
    ("ogg", "flac", 32_000, 1),
]


@pytest.mark.parametrize(("form", "codec", "rate_hz", "channels"), CASES)
def test_sound_of_any_rate_is_right(form: str, codec: str, rate_hz: int, channels: int, tmp_path: Path) -> None:
    left = voice([(0.5, 5.5)], LENGTH_S, seed=1, rms_db=-24)
    right = voice([(0.5, 5.5)], LENGTH_S, seed=2, rms_db=-30)
    truth = np.stack([left, right][:channels])
    source = soxr.resample(truth.T, RATE_HZ, rate_hz).T if rate_hz != RATE_HZ else truth
    data = recorded(source.astype(np.float32), form=form, codec=codec, rate_hz=rate_hz)
    heard = mixed(tmp_path, data, f"audio/{'webm' if form == 'matroska' else form}")

    # where a plain decoder has it, whatever encoder and container did to it
    first_ms, plain = ears.decode_placed(data)
    plain = np.pad(plain, (max(0, round(first_ms * 48)), 0))[max(0, -round(first_ms * 48)) :]
    off = lag(heard.mean(axis=0), plain[: heard.shape[1]]) / 48
    inside = slice(RATE_HZ, 5 * RATE_HZ)
    shift = lag(heard[0], truth[0])
    alike = np.corrcoef(np.roll(heard[0], -shift)[inside], soxr_band(truth[0], rate_hz)[inside])[0, 1]
    print(
        f"{form} {codec} {rate_hz} Hz x{channels}: {off:+.2f} ms from a plain decoder's, {shift / 48:+.2f} ms, "
        f"alike {alike:.3f}"
    )
    assert abs(off) <= PLACE_MS
    assert alike > 0.97, "the same sound, at the same pitch"
    for side in range(2):
        own = truth[min(side, channels - 1)]
        ratio = (np.roll(heard[side], -shift)[inside] ** 2).mean() / (soxr_band(own, rate_hz)[inside] ** 2).mean()
        assert abs(10 * np.log10(ratio)) <= LEVEL_DB + (0.7 if codec in ("libopus", "aac") else 0), side


def soxr_band(samples: Samples, rate_hz: int) -> Samples:
    """What of it a rate can carry."""
    if rate_hz >= RATE_HZ:
        return samples
    found: Samples = soxr.resample(soxr.resample(samples, RATE_HZ, rate_hz), rate_hz, RATE_HZ)[: len(samples)]
    return np.pad(found, (0, len(samples) - len(found)))
