"""How loud is it? Sound decoded once, in pieces, bounded, and only its levels kept.

A piece is named by the bytes it was decoded from, so a run that grew, or was torn in two by a lost chunk, is decoded
again just where it changed.
"""

from __future__ import annotations

from hashlib import sha256

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from callreel import keys, levels
from callreel.errors import MediaUnreadable, ObjectMissing
from callreel.levels import FINE, PIECE_STEPS, QUIETEST, STEP_US, UNKNOWN, Levels
from callreel.model import Chunk
from callreel.scans import RunScan
from callreel.storage import Storage

from . import sound
from .apart import apart

_RATE_HZ = 48_000
_STEP = _RATE_HZ // 10  #: samples in a step …
_FINE = _STEP // FINE  #: … and in a fine one
_PIECE_US = PIECE_STEPS * STEP_US
#: Decoders need a running start, as in windows.
_WARM_US = 100_000
#: A packet whose stamp is this near to the end of the one before it follows it: stamps jitter, samples do not.
_SEAM_MS = 40
#: No browser records more; it bounds the memory that a piece takes.
_FASTEST_HZ = 192_000

_TIMEOUT_S = 60  #: a piece is measured within a second
#: No piece decodes to more than this, whatever its packets claim.
_MOST = 4 * PIECE_STEPS * _STEP


def run_levels(storage: Storage, recording_id: str, chunks: list[Chunk], run: RunScan) -> Levels:
    """The levels of a run, decoded where they are not known yet; of no length where the run has no sound."""
    packets = run.audio
    if run.error or not len(packets):
        return Levels()
    found = []
    for piece in range(max(0, packets.from_us) // _PIECE_US, (packets.to_us - 1) // _PIECE_US + 1):
        # what begins before the piece and reaches into it belongs to it too
        first = max(0, int(np.searchsorted(packets.pts_us, piece * _PIECE_US, "right")) - 1)
        end = int(np.searchsorted(packets.pts_us, (piece + 1) * _PIECE_US, "left"))
        warm = int(np.searchsorted(packets.pts_us, packets.pts_us[first] - _WARM_US, "left"))
        from_byte, to_byte = int(packets.from_byte[warm:end].min()), int(packets.to_byte[warm:end].max())
        opening = run.opening(from_byte)
        a, b, from_byte, to_byte = run.reading(from_byte, to_byte)
        digest = levels.piece_digest(piece, sha256(opening).hexdigest(), run.chunk_sha256[a:b], from_byte, to_byte)
        key = keys.levels(recording_id, digest)
        try:
            known = levels.decode(storage.get(key))
        except ObjectMissing:
            data = b"".join(storage.get(keys.chunk(recording_id, chunk)) for chunk in chunks[a:b])[from_byte:to_byte]
            has_head = run.first_seq + a == 0 and from_byte == 0
            encoded = _measure_apart(run, data if has_head else opening + data, int(packets.pts_us[warm]), piece)
            storage.put_if_absent(key, encoded)
            known = levels.decode(encoded)
        found.append(known)
    return levels.joined(found)


def _measure_apart(run: RunScan, data: bytes, warm_us: int, piece: int) -> bytes:
    """Levels, encoded; made by a process that may break at it."""
    try:
        return apart(lambda: levels.encode(measure(run, data, warm_us, piece)), timeout_s=_TIMEOUT_S)
    except MediaUnreadable:
        return levels.encode(measure(run, b"", warm_us, piece))


def measure(run: RunScan, data: bytes, warm_us: int, piece: int) -> Levels:
    """The levels of one piece of a run; unknown where nothing decodes."""
    rate, at, decoded = 0, 0, 0
    heard, there = _empty(_RATE_HZ)
    try:
        for pts_us, rate_hz, samples in sound.decode({"container": run.container, "warmUs": warm_us}, data, 2):
            if not rate:
                rate = rate_hz
                heard, there = _empty(rate)
            stamped = (pts_us - piece * _PIECE_US) * rate // 1_000_000
            at = stamped if not decoded or abs(stamped - at) > rate * _SEAM_MS // 1000 else at
            a, b = max(0, at), min(at + samples.shape[1], heard.shape[1])
            if a < b:
                heard[:, a:b] = samples[:, a - at : b - at]
                there[a:b] = True
            at += samples.shape[1]
            decoded += samples.shape[1]
            if rate_hz != rate or decoded > 4 * heard.shape[1]:  # hostile, or too rare to care: unknown from here on
                break
    except (av.FFmpegError, MediaUnreadable, ValueError):
        pass  # what was decoded until then counts; the window that is made of it says what is wrong
    if rate not in (0, _RATE_HZ):
        heard = np.ascontiguousarray(soxr.resample(heard.T, rate, _RATE_HZ).T)
        there = there[np.arange(heard.shape[1]) * rate // _RATE_HZ]
    fine = loudness(heard)
    known = there.reshape(-1, _FINE).sum(axis=1) * 2 > _FINE
    peaks = np.abs(heard).reshape(2, -1, _STEP).max(axis=(0, 2))
    whole = known.reshape(-1, FINE).all(axis=1)
    return Levels(
        first=piece * PIECE_STEPS,
        loudness=_stored(-0.691 + _db(fine.reshape(-1, FINE).mean(axis=1)), whole),
        peak=_stored(2 * _db(peaks), whole),
        fine=_stored(-0.691 + _db(fine), known),
    )


def _empty(rate_hz: int) -> tuple[sound.Samples, NDArray[np.bool_]]:
    """A piece of silence at this rate, and that nothing of it is known."""
    if not 0 < rate_hz <= _FASTEST_HZ:
        raise MediaUnreadable(f"sound of {rate_hz} Hz")
    count = PIECE_STEPS * rate_hz // 10
    return np.zeros((2, count), np.float32), np.zeros(count, bool)


def loudness(samples: sound.Samples) -> NDArray[np.float64]:
    """K-weighted mean square of two channels, one value for each 20 ms of 48 kHz sound.

    Weighted in the spectrum, for numpy has no recursive filter: the curve is smooth, so that cutting frames without a
    window shows in nothing but rumble below 50 Hz.
    """
    channels = samples[:1] if np.array_equal(samples[0], samples[1]) else samples
    spectrum = np.fft.rfft(channels.reshape(channels.shape[0], -1, _FINE))
    power = spectrum.real**2 + spectrum.imag**2
    found: NDArray[np.float64] = (power @ _WEIGHTS).sum(axis=0).astype(np.float64) * (2 / channels.shape[0])
    return found


def _k_curve() -> NDArray[np.float64]:
    """|H|² of the two filters of K-weighting at the frequencies of a frame (ITU-R BS.1770-4, tables 1 and 2)."""
    turns = np.exp(-2j * np.pi * np.arange(_FINE // 2 + 1) / _FINE)
    shelf = np.polyval([1.19839281085285, -2.69169618940638, 1.53512485958697], turns) / np.polyval(
        [0.73248077421585, -1.69065929318241, 1], turns
    )
    high_pass = np.polyval([1, -2, 1], turns) / np.polyval([0.99007225036621, -1.99004745483398, 1], turns)
    return np.abs(shelf * high_pass) ** 2


# Mean square by Parseval: every frequency counts twice but the first and the last.
_WEIGHTS = (_k_curve() * np.array([1, *[2] * (_FINE // 2 - 1), 1]) / _FINE**2).astype(np.float32)


def _db(power: NDArray[np.floating]) -> NDArray[np.float64]:
    return 10 * np.log10(np.maximum(power.astype(np.float64), 1e-13))


def _stored(values_db: NDArray[np.float64], known: NDArray[np.bool_]) -> levels.Levels16:
    return np.where(known, np.maximum(np.rint(values_db * 100), QUIETEST), UNKNOWN).astype(np.int16)
