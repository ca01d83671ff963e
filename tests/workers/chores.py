"""Jobs that a test can watch from outside."""

from __future__ import annotations

import os
import time
from pathlib import Path

from callreel.queue import Queue


def nap(folder: str, seconds: float) -> None:
    """Leave a file named by this process, sleep, and leave another one."""
    begun = Path(folder) / f"begun-{os.getpid()}"
    begun.write_text(str(time.time()))
    time.sleep(seconds)
    (Path(folder) / f"ended-{os.getpid()}").write_text(str(time.time()))


def note(folder: str) -> None:
    (Path(folder) / "nice").write_text(str(os.nice(0)))
    (Path(folder) / "noted").write_text(str(time.time()))


def is_at_work(redis_url: str, recording_id: str, file: str) -> None:
    """Note whether the queue takes this very job for one of the recording that runs."""
    Path(file).write_text(str(Queue(redis_url).is_at_work(recording_id)))
