"""A loudness meter that is not ours: ffmpeg's `ebur128` (EBU R128, ITU-R BS.1770)."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from workers.ffmpeg import find_ffmpeg


@dataclass(frozen=True, slots=True, kw_only=True)
class Loudness:
    integrated_lufs: float
    true_peak_dbtp: float


def measured(source: Path, *before: str) -> Loudness:
    """Loudness of a file's sound; `before` are options of the input."""
    command = [find_ffmpeg(), "-hide_banner", "-nostdin", *before, "-i", f"file:{source}", "-map", "0:a:0"]
    command += ["-af", "ebur128=peak=true:framelog=quiet", "-f", "null", "-"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    summary = said[said.rindex("Summary:") :]
    found = {name: float(value) for name, value in re.findall(r"\b(I|Peak):\s+(-?[\d.]+|-?inf|nan)\s", summary)}
    return Loudness(integrated_lufs=found["I"], true_peak_dbtp=found["Peak"])


def measured_samples(samples: npt.NDArray[np.float32], rate_hz: int, folder: Path) -> Loudness:
    """The same of samples (channels, n)."""
    file = folder / "metered.f32"
    file.write_bytes(np.ascontiguousarray(samples.T).tobytes())
    return measured(file, "-f", "f32le", "-ar", str(rate_hz), "-ac", str(samples.shape[0]))
