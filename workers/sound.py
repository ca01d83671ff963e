"""The sound of a window: decoded to float, placed by absolute position, summed; in numpy, to the sample.

Where a sample goes follows from its packet's place alone, never from where reading began. So two windows agree on
every sample they share, and nothing is heard at their border.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import av
import numpy as np
import soxr
from av.codec.context import Flags2
from numpy.typing import NDArray

from callreel.errors import MediaUnreadable

from . import demux, limiter

Samples = NDArray[np.float32]  #: (channels, samples)

#: Ends of clips and of holes fade in and out over 5 ms: shorter clicks, longer is heard as a fade.
_RAMP_S = 0.005
#: Packets within this of their neighbour's end are continuous; the scan's slewing moves them by 0.1 % at most.
_SEAM = 0.002
#: A window's sound may be this much longer than twice the window before it is refused: packets of a minute exist.
_MORE_S = 60
#: Half the taps of the interpolation where a track's clock is followed: −80 dB up to 18 kHz.
_HALF = 16


@dataclass(frozen=True, slots=True)
class Stretch:
    """Continuous sound: decoded samples and where they go."""

    data: Samples  #: at the film's rate
    knots: list[tuple[float, float]]  #: (index in `data`, sample of the film), increasing; straight between them
    first: bool  #: nothing is heard right before it
    last: bool  #: nothing is heard right behind it


def mix(
    inputs: list[tuple[dict[str, Any], bytes]], from_sample: int, to_sample: int, rate_hz: int, channels: int
) -> tuple[Samples, list[tuple[int, str]]]:
    """The film's samples [from, to) as the sum of all inputs (plan item, bytes), and which inputs could not be read."""
    margin = limiter.reach(rate_hz)
    begin = from_sample - margin
    total = np.zeros((channels, to_sample + margin - begin), np.float32)
    failed: list[tuple[int, str]] = []
    for index, (item, data) in enumerate(inputs):
        try:
            for stretch in _stretches(item, data, rate_hz, channels, 2 * total.shape[1] + _MORE_S * rate_hz):
                _add(total, stretch, item, begin, rate_hz)
        except (av.FFmpegError, MediaUnreadable, ValueError, MemoryError) as error:
            failed.append((index, f"{type(error).__name__}: {error}"[:200]))
    limiter.limit(total, begin, rate_hz)
    return total[:, margin:-margin], failed


def decode(item: dict[str, Any], data: bytes, channels: int) -> Iterator[tuple[int, int, Samples]]:
    """(pts in µs, rate in Hz, samples) of every packet from the warm-up on."""
    with demux.opened(item["container"], data) as file:
        if not file.streams.audio:
            raise MediaUnreadable("there is no sound in it")
        stream = file.streams.audio[0]
        # Pre-skip is not skipped: media time is that of the packets, and Chromium's MP4 announces 80 ms it never wrote.
        stream.codec_context.flags2 |= Flags2.skip_manual
        for packet in demux.packets(file, stream):
            pts_us = demux.pts_us(packet)
            if pts_us < item["warmUs"]:
                continue
            try:
                found: list[object] = list(packet.decode())
                frames = [frame for frame in found if isinstance(frame, av.AudioFrame)]
                parts = [_floats(frame, channels) for frame in frames]
            except av.FFmpegError:  # one bad packet is a hole of 20 ms, not the end
                continue
            if parts:
                yield pts_us, frames[0].sample_rate, parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _floats(frame: av.AudioFrame, channels: int) -> Samples:
    """A frame as planar floats in −1 … 1 with so many channels; one channel is heard on both sides."""
    data = frame.to_ndarray()
    if not frame.format.is_planar:
        data = data.reshape(-1, frame.layout.nb_channels).T
    if data.dtype.kind == "i":
        data = data.astype(np.float32) / float(1 << (8 * data.dtype.itemsize - 1))
    elif data.dtype.kind == "u":
        data = (data.astype(np.float32) - 128) / 128
    samples = data.astype(np.float32, copy=False)
    if samples.shape[0] == 1:
        return np.repeat(samples, channels, axis=0)
    if samples.shape[0] > channels:  # front left and right lead every layout that browsers record
        return samples[:channels]
    return samples


def _stretches(item: dict[str, Any], data: bytes, rate_hz: int, channels: int, most: int) -> Iterator[Stretch]:
    """Raises `MediaUnreadable` where more than `most` samples come out of it: a packet can claim to be hours long."""
    places = {int(pts_us): int(sample) for pts_us, sample in item["packets"]}
    parts: list[Samples] = []
    knots: list[tuple[int, int]] = []  # as a stretch's, but at the source's rate
    length, rate, first = 0, 0, bool(item["begins"])
    for pts_us, source_hz, samples in decode(item, data, channels):
        most -= samples.shape[1] * rate_hz // source_hz
        if most < 0:
            raise MediaUnreadable("more sound comes out of it than time has passed")
        place = places.get(pts_us)
        if place is None:
            continue
        if parts:
            lasts = parts[-1].shape[1] * rate_hz // rate
            if source_hz != rate or abs(place - knots[-1][1] - lasts) > max(2, _SEAM * lasts):
                yield _stretch(parts, knots, rate, rate_hz, first, last=True)
                parts, knots, length, first = [], [], 0, True
        rate = source_hz
        knots.append((length, place))
        parts.append(samples)
        length += samples.shape[1]
    if parts:
        yield _stretch(parts, knots, rate, rate_hz, first, last=item["ends"])


def _stretch(
    parts: list[Samples], knots: list[tuple[int, int]], source_hz: int, rate_hz: int, first: bool, *, last: bool
) -> Stretch:
    """Packets that follow each other, at the film's rate."""
    data = np.concatenate(parts, axis=1)
    even: list[tuple[float, float]] = list(knots)
    if source_hz != rate_hz:
        data = np.ascontiguousarray(soxr.resample(np.ascontiguousarray(data.T), source_hz, rate_hz).T)
        even = _even(knots, source_hz, rate_hz)
        # all of it one and the same part of a sample aside: delayed by that, and copied from then on
        shifts = {place - index for index, place in even}
        if len(shifts) == 1:
            (shift,) = shifts
            data = _delayed(data, shift - floor(shift))
            even = [(index, index + floor(shift)) for index, _ in even]
    due = even[-1][1] + data.shape[1] - even[-1][0]
    return Stretch(data, [*even, (data.shape[1], due)], first, last)


def _even(knots: list[tuple[int, int]], source_hz: int, rate_hz: int) -> list[tuple[float, float]]:
    """Knots at another rate. Where packets are no whole number of samples long, their places are rounded, and what only
    that makes differ by a sample is one stretch: else each packet would have a pitch of its own. The mean of many such
    places is right to some hundredths of a sample, and so the same in two windows that do not read the same packets.
    """
    found: list[tuple[float, float]] = []
    group: list[tuple[float, float]] = []  # (index, how far its place is behind that)
    for index, place in knots:
        at = index * rate_hz / source_hz
        if group and abs(place - at - group[0][1]) > 1:
            found += _together(group)
            group = []
        group.append((at, place - at))
    return found + _together(group)


def _together(group: list[tuple[float, float]]) -> list[tuple[float, float]]:
    shift = round(sum(behind for _, behind in group) / len(group), 3)
    whole = [(float(floor(at)), shift) for at, _ in group]
    return [(at, at + behind) for at, behind in whole]


def _delayed(data: Samples, part: float) -> Samples:
    """Samples a part of one later, and as many of them."""
    if not part:
        return data
    taps = interpolate(
        np.eye(1, 2 * _HALF + 1, _HALF, dtype=np.float32), np.arange(2 * _HALF + 1, dtype=np.float64) - part
    )[0]
    found: Samples = np.stack([np.convolve(channel, taps, "same") for channel in data]).astype(np.float32)
    return found


def _add(total: Samples, stretch: Stretch, item: dict[str, Any], from_sample: int, rate_hz: int) -> None:
    begin, end = ceil(stretch.knots[0][1]), floor(stretch.knots[-1][1])
    a = max(begin, item["fromSample"], from_sample)
    b = min(end, item["toSample"], from_sample + total.shape[1])
    if a >= b:
        return
    heard = place(stretch, a, b)
    ramp = int(_RAMP_S * rate_hz)
    at = np.arange(a, b)
    # A clip's own ends fade too where the recording or a pause cuts it; a window's reading never does.
    never = 1 << 60
    fade_in = max(begin if stretch.first else -never, item["fromSample"] if item["begins"] else -never)
    fade_out = min(end if stretch.last else never, item["toSample"] if item["ends"] else never)
    gain = np.clip(np.minimum((at - fade_in) / ramp, (fade_out - at) / ramp), 0, 1) * _gain(item["gain"], at)
    total[:, a - from_sample : b - from_sample] += heard * gain.astype(np.float32)


def _gain(knots: list[list[int]], at: NDArray[np.int64]) -> NDArray[np.float64] | float:
    """The plan's gain at these samples, as a factor."""
    if len(knots) == 1:
        return float(10 ** (knots[0][1] / 2000))
    samples, gains = np.array(knots).T
    found: NDArray[np.float64] = 10 ** (np.interp(at, samples, gains) / 2000)
    return found


def place(stretch: Stretch, a: int, b: int) -> Samples:
    """The stretch's sound at the film's samples [a, b): copied where its clock runs as ours, else interpolated."""
    indexes = np.array([knot[0] for knot in stretch.knots], np.float64)
    samples = np.array([knot[1] for knot in stretch.knots], np.float64)
    shifts = samples - indexes
    result = np.zeros((stretch.data.shape[0], b - a), np.float32)
    # between two knots of one shift the samples are those of the source; runs of such pieces are copied at once
    same = shifts[1:] == shifts[:-1]
    borders = np.flatnonzero(np.diff(np.concatenate(([~same[0]], same, [~same[-1]])).astype(np.int8)))
    for first, last in itertools.pairwise(borders):
        x, y = max(a, ceil(samples[first])), min(b, ceil(samples[last]))
        if x >= y:
            continue
        if same[first] and float(shifts[first]).is_integer():
            start = x - int(shifts[first])
            piece = stretch.data[:, start : start + y - x]
        else:
            knots = slice(first, last + 1)
            piece = interpolate(stretch.data, np.interp(np.arange(x, y), samples[knots], indexes[knots]))
        result[:, x - a : x - a + piece.shape[1]] = piece
    return result


#: The window of the interpolation by its distance from the middle, in 1/512 of a tap.
_WINDOW = np.i0(8 * np.sqrt(1 - np.linspace(-1, 1, 2 * _HALF * 512 + 1) ** 2)) / np.i0(8.0)


def interpolate(data: Samples, positions: NDArray[np.float64]) -> Samples:
    """Samples between samples: a sinc under a Kaiser window (β 8), evaluated at each position itself."""
    whole = np.floor(positions).astype(np.int64)
    part = positions - whole
    padded = np.pad(data, ((0, 0), (_HALF, _HALF)))
    result = np.zeros((data.shape[0], len(positions)), np.float64)
    # sin(π(x − k)) differs between taps by its sign only
    sine = np.sin(np.pi * part) / np.pi
    exact = part < 1e-9
    for tap in range(-_HALF + 1, _HALF + 1):
        distance = part - tap
        window = _WINDOW[np.rint((distance + _HALF) * 512).astype(np.int64)]
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = np.where(exact, float(tap == 0), (sine if tap % 2 == 0 else -sine) / distance * window)
        result += padded[:, np.clip(whole + tap + _HALF, 0, padded.shape[1] - 1)] * weight
    return result.astype(np.float32)
