"""What tests with a browser share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Playwright, sync_playwright


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """A module's own: while it is open, nobody in this thread can run a loop of their own."""
    with sync_playwright() as started:
        yield started
