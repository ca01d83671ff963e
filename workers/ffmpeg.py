"""The only module that starts a process: ffmpeg, bounded, and gone with whoever started it.

What it reads is hostile. So: demuxers are forced by the caller, names are ours and begin with `file:`, protocols
restricted; memory, processor time, output and wall clock are limited; at the deadline the whole process group is
killed for good, for ffmpeg has been seen to ignore SIGTERM for minutes.
"""

from __future__ import annotations

import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import imageio_ffmpeg
import structlog

from callreel.errors import InvalidSettings, RenderFailed
from callreel.lifeline import tied

from .cores import taken

log = structlog.get_logger(__name__)

OLDEST = (5, 1)  #: older ones lack `-fps_mode`
#: 25 decoders of 720p and an encoder use about 600 MB; addresses are cheaper than memory, so twice that and room.
_ADDRESS_BYTES = 6 * 1024**3
_OUTPUT_BYTES = 8 * 1024**3
NICE = 5  #: how far renders and exports stand behind ingest
_TAIL = 2000  #: characters of stderr that an error carries


@cache
def find_ffmpeg(configured: str = "") -> str:
    """The ffmpeg to use: the configured one, PATH's if it is new enough, or the one that came as a wheel."""
    if configured:
        return configured
    found = shutil.which("ffmpeg")
    if found and version(found) >= OLDEST:
        return found
    return str(imageio_ffmpeg.get_ffmpeg_exe())


def check(configured: str) -> None:
    """For a process that starts. Raises `InvalidSettings` where the setting names none that will do."""
    if configured:
        oldest = ".".join(map(str, OLDEST))
        try:
            found = version(configured)
        except OSError as error:
            raise InvalidSettings(
                f"CALLREEL_FFMPEG={configured}: {error.strerror}. Name an ffmpeg of {oldest} or newer, or leave it out."
            ) from error
        if found < OLDEST:
            raise InvalidSettings(
                f"CALLREEL_FFMPEG={configured} is no ffmpeg of {oldest} or newer. Name another one, or leave it out."
            )


@cache
def version(path: str) -> tuple[int, int]:
    """(major, minor); (0, 0) where it does not tell, (99, 0) for a build from a branch without a number."""
    told = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=20, check=False).stdout
    match = re.match(r"ffmpeg version n?(\d+)\.(\d+)", told)
    if match:
        return int(match[1]), int(match[2])
    return (99, 0) if told.startswith("ffmpeg version") else (0, 0)


@cache
def encoders(configured: str = "") -> frozenset[str]:
    """The names of what it can encode to, as `-c` takes them."""
    command = [find_ffmpeg(configured), "-hide_banner", "-encoders"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout
    return frozenset(words[1] for line in told.splitlines() if len(words := line.split()) > 1)


def run(arguments: list[str], *, timeout_s: float, configured: str = "", cores: int = 0) -> None:
    """Run ffmpeg with these arguments to its end, on so many cores if a number is given.

    Raises `RenderFailed` with the end of what it said.
    """
    command = [find_ffmpeg(configured), "-hide_banner", "-nostdin", "-loglevel", "warning", "-y", *arguments]
    log.debug("ffmpeg", command=shlex.join(command))
    with tempfile.TemporaryFile() as said, taken(cores) as chosen:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            preexec_fn=_limits(timeout_s, chosen),
            process_group=0,
        )
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            code = -int(signal.SIGKILL)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        said.seek(0)
        tail = said.read()[-_TAIL:].decode(errors="replace").strip()
    if code != 0:
        raise RenderFailed(f"ffmpeg ended with {code} (limit {timeout_s:.0f} s): {tail or 'it said nothing'}")


def _limits(timeout_s: float, cores: frozenset[int]) -> Callable[[], None]:
    """What the child does before it becomes ffmpeg; made ready here, for little may be done between fork and exec."""
    tie = tied()
    linux = sys.platform.startswith("linux")
    processor_s = int(timeout_s * (os.cpu_count() or 1)) + 1

    def apply() -> None:
        tie()
        if linux:
            resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_BYTES, _ADDRESS_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (processor_s, processor_s))
        resource.setrlimit(resource.RLIMIT_FSIZE, (_OUTPUT_BYTES, _OUTPUT_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if cores:
            os.sched_setaffinity(0, cores)
        os.nice(max(0, NICE - os.nice(0)))  # a film may wait; the processes that take chunks may not

    return apply


def named(path: Path) -> str:
    """A path as an input or output that cannot be taken for an option, a pattern or another protocol."""
    return f"file:{path}"
