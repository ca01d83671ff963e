"""The web shell under test: in this process for transcripts, as real servers where processes matter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .desk import Desk, application


@pytest.fixture
def desk(redis_url: str, data_dir: Path) -> Iterator[Desk]:
    """An application over an empty index and an empty folder."""
    with application(redis_url, data_dir) as desk:
        yield desk
