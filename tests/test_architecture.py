"""The rules of the house, checked: who imports whom, what a job's name leads to, how long a module may be."""

from __future__ import annotations

import ast
import importlib
import re
import sys
import tomllib
from importlib import metadata, resources
from pathlib import Path

import pytest
from redis import Redis

from callreel.queue import QUEUES, WORKER_COMMAND, WORKS

ROOT = Path(__file__).parents[1]
PACKAGES = ("callreel", "ingest", "workers")
MODULES = [path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py"))]

#: package → what it may not import. `ingest → callreel ← workers`; processes and jobs are started by name instead.
FORBIDDEN = {
    "callreel": {"ingest", "workers", "starlette", "uvicorn", "av", "ffmpeg"},
    "ingest": {"workers", "av", "ffmpeg", "subprocess"},
    "workers": {"ingest", "starlette", "uvicorn"},
}

LONGEST = 400


def imported(path: Path) -> set[str]:
    """Top-level packages that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.ImportFrom):
            depth = len(path.relative_to(ROOT).parts) - node.level
            assert depth >= 1, f"{path}: a relative import leaves the package"
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_imports_what_it_must_not_know(package: str) -> None:
    for path in MODULES:
        if path.relative_to(ROOT).parts[0] == package:
            assert not imported(path) & FORBIDDEN[package], path


def test_what_is_imported_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[^\w.-]", requirement)[0].lower() for requirement in project["dependencies"]}
    providers = metadata.packages_distributions()
    for path in MODULES:
        for name in imported(path) - set(sys.stdlib_module_names) - set(PACKAGES):
            assert {provider.lower().replace("_", "-") for provider in providers.get(name, [])} & declared, (
                f"{path} imports {name}"
            )


def test_only_one_module_of_the_workers_starts_processes() -> None:
    starters = {path.name for path in MODULES if path.parent.name == "workers" and "subprocess" in imported(path)}
    assert starters <= {"ffmpeg.py"}


def test_every_job_name_leads_to_a_function() -> None:
    for work in WORKS.values():
        module, _, name = work.function.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name)), work
        assert work.queue in QUEUES


def test_the_worker_command_names_what_is_there(redis_url: str) -> None:
    words = WORKER_COMMAND.split()
    settings = importlib.import_module(words[words.index("-c") + 1])
    module, _, name = words[words.index("-w") + 1].rpartition(".")
    worker_class = getattr(importlib.import_module(module), name)
    assert tuple(settings.QUEUES) == QUEUES
    worker = worker_class(settings.QUEUES, connection=Redis.from_url(redis_url))
    assert worker.queue_names() == list(QUEUES)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_are_short_and_say_what_they_are_for(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST
    assert ast.get_docstring(ast.parse(text)), "a module begins with its reason and its rule"


def test_environment_is_read_in_few_places() -> None:
    # settings reads it, checks looks for names that are none; the others start processes and hand it on, or ask what
    # RQ left in it
    allowed = {f"callreel/{name}.py" for name in ("settings", "checks", "folder", "up", "cli")} | {
        "workers/settings.py"
    }
    readers = {str(path.relative_to(ROOT)) for path in MODULES if "os.environ" in path.read_text()}
    assert readers <= allowed | {"workers/ffmpeg.py"}


def test_web_client_is_found_as_data_of_the_installation() -> None:
    assert (resources.files("web_client") / "src" / "callreel.js").is_file()


def test_locks_pin_everything_and_tell_nothing_of_where_it_came_from() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name, wanted in (
        ("requirements.lock", project["dependencies"]),
        ("requirements-dev.lock", project["dependencies"] + project["optional-dependencies"]["dev"]),
    ):
        text = (ROOT / name).read_text()
        assert "://" not in text
        assert "--index" not in text
        assert "--find-links" not in text
        pinned = {line.partition("==")[0].lower() for line in text.splitlines() if "==" in line}
        for requirement in wanted:
            distribution = requirement.partition(">")[0].partition("[")[0].lower()
            assert distribution in pinned, f"{requirement} is not in {name}; scripts/lock makes it anew"
