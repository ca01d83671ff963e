"""Jobs that a test can watch from outside."""

from __future__ import annotations

import os
import time
from pathlib import Path


def nap(folder: str, seconds: float) -> None:
    """Leave a file named by this process, sleep, and leave another one."""
    begun = Path(folder) / f"begun-{os.getpid()}"
    begun.write_text(str(time.time()))
    time.sleep(seconds)
    (Path(folder) / f"ended-{os.getpid()}").write_text(str(time.time()))


def note(folder: str) -> None:
    (Path(folder) / "noted").write_text(str(time.time()))
