"""Every ffmpeg that is to be had here: windows of one film may be rendered by any of them."""

from __future__ import annotations

import os
import shutil

import imageio_ffmpeg

from workers import ffmpeg as runner


def found() -> list[str]:
    """Paths: that of the wheel, that of PATH, and whatever `CALLREEL_FFMPEG_OTHER` names."""
    paths = [str(imageio_ffmpeg.get_ffmpeg_exe()), shutil.which("ffmpeg"), os.environ.get("CALLREEL_FFMPEG_OTHER")]
    return [path for path in dict.fromkeys(paths) if path and runner.version(path) >= runner.OLDEST]
