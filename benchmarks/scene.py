"""What is seen and heard of the people in the footage, drawn from seeds."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

WIDTH_PX, HEIGHT_PX = 1280, 720
RATE_HZ = 48_000

Plane = NDArray[np.uint8]


class Picture:
    """Somebody who talks before a bookshelf: head and shoulders sway, the light is steady, the sensor is noisy."""

    def __init__(self, dice: np.random.Generator) -> None:
        self._dice = dice
        self._room = _texture(dice, HEIGHT_PX, WIDTH_PX, 110, 34)
        self._phases = dice.uniform(0, 2 * math.pi, 4)
        rows, columns = np.mgrid[0:620, 0:560].astype(np.float32)
        head = ((columns - 280) / 130) ** 2 + ((rows - 190) / 175) ** 2 < 1
        body = ((columns - 280) / 270) ** 2 + ((rows - 640) / 270) ** 2 < 1
        self._shape = head | body
        self._skin = np.where(head, _texture(dice, 620, 560, 165, 16), _texture(dice, 620, 560, 70, 22)).astype(
            np.uint8
        )
        self._noise = dice.normal(0, 2.2, (4, HEIGHT_PX, WIDTH_PX)).astype(np.int8)
        self._colours = np.full((HEIGHT_PX // 2, WIDTH_PX), 128, np.uint8)
        self._colours += (self._room[::2] // 16).astype(np.uint8)

    def at(self, second: float) -> Plane:
        """The planes of 4:2:0, one below the other."""
        a, b, c, d = self._phases
        x = 360 + int(22 * math.sin(1.1 * second + a) + 7 * math.sin(3.7 * second + b))
        y = 80 + int(9 * math.sin(1.7 * second + c) + 4 * math.sin(5.3 * second + d))
        light = self._room.copy()
        np.copyto(light[y : y + 620, x : x + 560], self._skin, where=self._shape)
        mouth = int(14 + 12 * abs(math.sin(9 * second)) * (math.sin(0.8 * second) > -0.4))
        light[y + 275 : y + 275 + mouth, x + 240 : x + 320] = 60
        grain = np.roll(self._noise[self._dice.integers(4)], int(self._dice.integers(HEIGHT_PX)), axis=0)
        light = (light.astype(np.int16) + grain).astype(np.uint8)
        return np.vstack((light, self._colours))


def _texture(dice: np.random.Generator, height: int, width: int, mean: float, contrast: float) -> Plane:
    """Detail of every size, the finer the fainter, as in photographs."""
    found = np.zeros((height, width), np.float32)
    for octave in range(2, 8):
        cells = 1 << octave
        coarse = dice.standard_normal((cells + 1, cells + 1)).astype(np.float32)
        rows, columns = np.linspace(0, cells, height), np.linspace(0, cells, width)
        i, j = np.minimum(rows.astype(int), cells - 1), np.minimum(columns.astype(int), cells - 1)
        u, v = (rows - i)[:, None], (columns - j)[None, :]
        upper = coarse[i][:, j] * (1 - v) + coarse[i][:, j + 1] * v
        lower = coarse[i + 1][:, j] * (1 - v) + coarse[i + 1][:, j + 1] * v
        found += (upper * (1 - u) + lower * u) / octave
    found *= contrast / float(found.std())
    clipped: Plane = np.clip(found + mean, 24, 228).astype(np.uint8)
    return clipped


def speech(number: int, length_ms: int) -> NDArray[np.float32]:
    """A voice: harmonics of a wandering pitch, four syllables a second, pauses between phrases, a little breath."""
    dice = np.random.default_rng(100 + number)
    at = np.arange(length_ms * RATE_HZ // 1000) / RATE_HZ
    pitch_hz = (110, 205, 180, 125)[number] * (1 + 0.06 * np.sin(2 * np.pi * 0.7 * at + number))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
    voice = sum(np.sin(n * phase) / n**1.2 for n in range(1, 16))
    syllables = np.clip(np.sin(2 * np.pi * 4.1 * at) + 0.4, 0, 1)
    phrases = np.sin(2 * np.pi * at / (5 + number) + 1.7 * number) > -0.2
    breath = dice.standard_normal(len(at)) * 0.02
    sound: NDArray[np.float32] = (0.12 * (voice * syllables * phrases + breath)).astype(np.float32)
    return sound
