"""Calls of sound alone, from samples: people talk, and what they said is known to the sample.

A voice is made of syllables of a few harmonics with formants, in phrases with pauses between them: it has the crest,
the pauses and the slow swing of level that meters, gains and speakers have to cope with.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt

from .capture import Capture, CapturedChunk, Run

Samples = npt.NDArray[np.float32]

RATE_HZ = 48_000
EPOCH_MS = 1_795_000_000_000
_CHUNK_MS = 2_000

Turns = list[tuple[float, float]]  #: when somebody speaks, seconds


def voice(turns: Turns, length_s: float, *, seed: int, rms_db: float = -26.0) -> Samples:
    """Somebody who speaks in these turns, so loud while speaking, above the faint noise of a room."""
    dice = np.random.default_rng(seed)
    samples = dice.standard_normal(int(length_s * RATE_HZ)).astype(np.float32) * np.float32(1e-4)
    for begin, end in turns:
        at = begin
        while at < end - 0.08:
            length = min(dice.uniform(0.12, 0.28), end - at)
            syllable = _syllable(dice, int(length * RATE_HZ)) * 10 ** (dice.normal(0, 3) / 20)
            first = int(at * RATE_HZ)
            samples[first : first + len(syllable)] += syllable * np.float32(10 ** (rms_db / 20))
            at += length + (dice.uniform(0.01, 0.06) if dice.random() < 0.85 else dice.uniform(0.15, 0.45))
    return samples


def _syllable(dice: np.random.Generator, count: int) -> Samples:
    at = np.arange(count) / RATE_HZ
    pitch = dice.uniform(95, 220) * (1 + dice.uniform(-0.1, 0.1) * at / max(at[-1], 1e-3))
    turning = np.exp(2j * np.pi * np.cumsum(pitch) / RATE_HZ).astype(np.complex64)
    formants = dice.uniform([300, 900, 2300], [800, 2000, 3200])
    sound, harmonic = np.zeros(count, np.float32), np.ones(count, np.complex64)
    for number in range(1, 24):
        harmonic *= turning
        gain = sum(1 / (1 + ((number * 150 - formant) / 180) ** 2) for formant in formants) + 0.02
        sound += (harmonic * np.complex64(gain / np.sqrt(number) * np.exp(1j * dice.uniform(0, 6.28)))).real
    sound *= (np.sin(np.pi * np.linspace(0, 1, count)) ** 0.6).astype(np.float32)
    found: Samples = (sound / np.sqrt((sound**2).mean() + 1e-12)).astype(np.float32)
    return found


def in_turns(names: int, length_s: float, *, seed: int) -> list[Turns]:
    """A conversation: one speaks after another, with short silences, and now and then two at once."""
    dice = np.random.default_rng(seed)
    found: list[Turns] = [[] for _ in range(names)]
    at, last = 0.5, -1
    while at < length_s - 1:
        who = int(dice.integers(names))
        if who == last and names > 1:
            continue
        length = min(dice.uniform(1.5, 6.0), length_s - 0.5 - at)
        found[who].append((at, at + length))
        at += length + dice.uniform(-0.4, 0.9)
        last = who
    return found


def recorded(samples: Samples, *, form: str = "webm", codec: str = "libopus", rate_hz: int = RATE_HZ) -> bytes:
    """Samples (n,) or (channels, n) as one file of a recorder."""
    channels = np.atleast_2d(samples)
    layout = "stereo" if channels.shape[0] == 2 else "mono"
    file = io.BytesIO()
    options = {"movflags": "empty_moov+default_base_moof", "frag_duration": "1000000"} if form == "mp4" else {}
    with av.open(file, "w", format=form, options=options) as out:
        stream = out.add_stream(codec, rate=rate_hz)
        assert isinstance(stream, av.AudioStream)
        stream.layout = layout
        stream.bit_rate = 96_000
        resampler = av.AudioResampler(format=stream.format.name, layout=layout, rate=rate_hz)
        size = rate_hz // 50
        for offset in range(0, channels.shape[1], size):
            block = np.ascontiguousarray(channels[:, offset : offset + size])
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate_hz, offset, Fraction(1, rate_hz)
            for ready in resampler.resample(frame):
                out.mux(stream.encode(ready))
        out.mux(stream.encode(None))
    return file.getvalue()


def sound_call(files: Mapping[str, bytes], length_ms: int, *, mime_type: str = "audio/webm;codecs=opus") -> Capture:
    """One microphone each, from start to stop, all on one clock; files are cut into Blobs anywhere."""
    return Capture(
        name="voices",
        true_epoch_ms=EPOCH_MS,
        length_ms=length_ms,
        runs=tuple(_run(name, data, length_ms, mime_type) for name, data in files.items()),
        floor_ms={},
    )


def _run(name: str, data: bytes, length_ms: int, mime_type: str) -> Run:
    borders = [*range(0, length_ms, _CHUNK_MS), length_ms]
    cuts = [len(data) * at // length_ms for at in borders]
    return Run(
        participant=name,
        track="microphone",
        seg=0,
        has_audio=True,
        has_video=False,
        mime_type=mime_type,
        rgb=None,
        tone_hz=None,
        clock_skew_ms=0,
        start_client_ms=EPOCH_MS,
        stop_client_ms=EPOCH_MS + length_ms,
        chunks=tuple(
            CapturedChunk(seq=seq, delivered_client_ms=EPOCH_MS + borders[seq + 1] + 50, data=data[a:b])
            for seq, (a, b) in enumerate(itertools.pairwise(cuts))
        ),
    )
