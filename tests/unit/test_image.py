"""The image and its deployment, read by tools that know their languages, and held against what is there.

Where there is no Docker engine its own commands run as processes: `tests/e2e/test_roles.py`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from callreel.checks import unknown_names
from callreel.queue import WORKER_COMMAND

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
ENTRYPOINT = ROOT / "deploy" / "entrypoint"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "callreel"}


def instructions() -> list[tuple[str, str]]:
    """Word and rest of each instruction, continued lines joined, comments left out."""
    lines = "\n".join(line for line in DOCKERFILE.splitlines() if not line.startswith("#"))
    joined = re.sub(r"\\\n\s*", "", lines)
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in joined.splitlines() if line.strip()]


def last(word: str) -> str:
    return [rest for what, rest in instructions() if what == word][-1]


def test_the_linter_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_linter_would_say_something(tmp_path: Path) -> None:
    wrong = tmp_path / "Dockerfile"
    wrong.write_text("FROM debian\nRUN cd / && sudo apt-get install x\n")
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), str(wrong)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert {"DL3006", "DL3004"} <= set(re.findall(r"DL\d+", done.stdout))


def test_everything_that_is_copied_is_there_and_reaches_the_build() -> None:
    ignore = (ROOT / ".dockerignore").read_text().split()
    copies = [rest.split() for what, rest in instructions() if what == "COPY" and "--from=" not in rest]
    sources = [word for words in copies for word in words[:-1] if not word.startswith("--")]
    assert {"callreel", "ingest", "workers", "web_client", "requirements.lock", "deploy/entrypoint"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists(), source
        assert f"!{source.split('/')[0]}" in ignore, f"{source} is ignored"


def test_what_the_wheel_is_made_of_is_copied() -> None:
    copied = {word for what, rest in instructions() if what == "COPY" for word in rest.split()[:-1]}
    project = (ROOT / "pyproject.toml").read_text()
    packages = re.search(r'^packages = \["(.+)"\]$', project, re.MULTILINE)
    assert packages
    wanted = set(packages[1].split('", "')) | {"pyproject.toml", "README.md", "LICENSE", "NOTICE"}
    assert wanted <= copied


def test_it_runs_slim_and_as_nobody_special_and_says_how_it_is() -> None:
    assert last("FROM") == "debian:12-slim"
    assert int(last("USER")) > 1000
    assert last("STOPSIGNAL") == "SIGTERM"
    assert "http://127.0.0.1:3000/readyz" in last("HEALTHCHECK")
    assert json.loads(last("ENTRYPOINT")) == ["tini", "--", "callreel-entrypoint"]
    assert json.loads(last("CMD")) == ["up"]
    copied = next(rest for what, rest in instructions() if what == "COPY" and "deploy/entrypoint" in rest)
    assert copied.split()[-1] == "/usr/local/bin/callreel-entrypoint"
    assert ENTRYPOINT.stat().st_mode & 0o111


def test_the_entrypoint_is_good_shell_and_starts_the_commands_of_the_contract() -> None:
    subprocess.run(["sh", "-n", str(ENTRYPOINT)], check=True)
    text = re.sub(r"\\\n\s*", "", ENTRYPOINT.read_text())
    assert WORKER_COMMAND in text
    assert "uvicorn ingest.app:create_app --factory" in text
    assert "exec callreel up " in text
    assert "exec callreel sweep" in text


def test_compose_has_the_parts_that_were_asked_for() -> None:
    assert set(SERVICES) == {"redis", "ingest", "sweep", "worker"}
    assert {name: service["command"][0] for name, service in OURS.items()} == {
        "ingest": "ingest",
        "sweep": "sweep",
        "worker": "worker",
    }
    command = SERVICES["redis"]["command"]
    assert command[command.index("--appendonly") + 1] == "yes"
    assert command[command.index("--requirepass") + 1].startswith("${REDIS_PASSWORD:?")
    for name, service in OURS.items():
        assert service["volumes"] == ["recordings:/data"], name
        assert service["environment"]["CALLREEL_STORAGE"] == "file:///data", name
        assert service["depends_on"] == {"redis": {"condition": "service_healthy"}}, name
        assert service.get("healthcheck") == (None if name == "ingest" else {"disable": True}), name
        assert ("ports" in service, "container_name" in service) == (name == "ingest", False)  # workers can be scaled
    assert set(COMPOSE["volumes"]) == {"index", "recordings"}


@pytest.mark.parametrize("name", OURS)
def test_every_setting_of_compose_is_one(name: str) -> None:
    environment = OURS[name]["environment"]
    assert not unknown_names(environment)
    assert all(setting.startswith("CALLREEL_") for setting in environment)
