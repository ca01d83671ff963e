"""What tests of every kind share: an index server of their own, a data folder, and the whole of Callreel, running."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from redis import Redis

from callreel.embedded import start_index
from tests.stack import Stack, running

TESTS = Path(__file__).parent

# What an example may take says nothing on a machine that others use too. Where CI is set Hypothesis's own profile is.
if "CI" not in os.environ:
    hypothesis.settings.register_profile(
        "shared", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile("shared")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("CALLREEL_SLOW") == "1":
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="slow: set CALLREEL_SLOW=1"))


@pytest.fixture(scope="session")
def index_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real index server that lives as long as the run."""
    with start_index(tmp_path_factory.mktemp("index")) as url:
        yield url


@pytest.fixture
def redis_url(index_server: str) -> str:
    """An empty index server."""
    with Redis.from_url(index_server) as client:
        client.flushall()
    return index_server


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """An empty data folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """All of Callreel, running, for every test that harms nobody: take a call id of your own."""
    with running(tmp_path_factory.mktemp("stack") / "data", "--workers", "2") as stack:
        yield stack


@pytest.fixture
def own_stack(data_dir: Path) -> Iterator[Stack]:
    """All of Callreel, running, for a test that breaks some of it."""
    with running(data_dir, "--workers", "2") as stack:
        yield stack


@pytest.fixture(scope="session")
def captures() -> Path:
    """Recorded uploads of real browsers: a folder of folders."""
    return Path(os.environ.get("CALLREEL_CAPTURES") or TESTS / "data")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium for Playwright's `executable_path`."""
    named = os.environ.get("CALLREEL_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert found, "Chromium is missing; scripts/test installs it, or says how"
    return found


class AtOnce:
    """Says at once what failed: should a run not come to its end, its summary is never printed."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None and report.outcome in ("failed", "rerun"):
            terminal.write(f"\n{report.outcome}: {report.nodeid} ({report.when})\n{report.longreprtext}\n")


def pytest_configure(config: pytest.Config) -> None:
    if "CI" in os.environ and not hasattr(config, "workerinput"):  # not in the processes of pytest-xdist
        config.pluginmanager.register(AtOnce(config))
