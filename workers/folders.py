"""Folders in which jobs work: beside the objects where these are files, so that a film becomes one without a copy.

What a killed worker leaves there is swept away with other litter.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from callreel.storage import Storage
from callreel.storage.local import LocalStorage


def job_folder(storage: Storage) -> tempfile.TemporaryDirectory[str]:
    """An empty folder that is gone when its `with` block ends."""
    beside: Path | None = storage.tmp if isinstance(storage, LocalStorage) else None
    return tempfile.TemporaryDirectory(prefix="callreel-", dir=beside)
