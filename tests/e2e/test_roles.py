"""What the image runs, run without an engine: the entrypoint in each of its roles, with the environment of compose."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis import Redis
from rq import Queue as RqQueue
from rq.serializers import JSONSerializer

from tests.e2e.test_smoke import smoke
from tests.plain import Processes, bare_environment, free_port, is_ready, processes
from tests.unit.test_image import ENTRYPOINT, SERVICES, last

GIVEN = {"CALLREEL_JWT_SECRET": "b2d8f4e61c9a7305", "REDIS_PASSWORD": "9f31c07ab45d2e86"}
GIVEN = {name: value * 4 for name, value in GIVEN.items()}


def interpolated(text: str) -> str:
    """`${NAME:-default}` and `${NAME:?message}` as compose fills them in."""
    return re.sub(r"\$\{(\w+):([-?])([^}]*)\}", lambda m: GIVEN.get(m[1], m[3] if m[2] == "-" else "missing"), text)


def command_of(name: str) -> list[str]:
    """What an engine would start, as the first process of a container."""
    words: list[str] = json.loads(last("ENTRYPOINT")) + [interpolated(word) for word in SERVICES[name]["command"]]
    words[words.index("callreel-entrypoint")] = str(ENTRYPOINT)
    if shutil.which(words[0]) is None:  # tini, which buries orphans and hands signals on
        words = words[words.index(str(ENTRYPOINT)) :]
    return words


@dataclass
class Containers:
    processes: Processes
    env: dict[str, str]
    redis_url: str
    url: str


@pytest.fixture
def containers(tmp_path: Path) -> Iterator[Containers]:
    """Every service of compose, two workers; addresses and volumes are this machine's."""
    redis_port, port = free_port(), free_port()
    bare = bare_environment(tmp_path)
    put_in = {"@redis:6379": f"@127.0.0.1:{redis_port}", "file:///data": f"file://{tmp_path}/recordings"}
    env = dict(bare)
    for name, value in SERVICES["ingest"]["environment"].items():
        text = interpolated(value)
        for old, new in put_in.items():
            text = text.replace(old, new)
        env[name] = text
    with processes(tmp_path) as started:
        redis = [interpolated(word) for word in SERVICES["redis"]["command"]]
        started.start("redis", [*redis, "--port", str(redis_port)], bare)
        # the last word counts: the port of a container is its own, that of this machine is not
        started.start("ingest", [*command_of("ingest"), "--host", "127.0.0.1", "--port", str(port)], env)
        started.start("sweep", command_of("sweep"), env)
        for number in (1, 2):
            started.start(f"worker {number}", command_of("worker"), env)
        url = f"http://127.0.0.1:{port}"
        started.wait_for(lambda: is_ready(url))
        started.wait_for(lambda: all("Listening on" in started.said(f"worker {number}") for number in (1, 2)))
        yield Containers(processes=started, env=env, redis_url=env["CALLREEL_REDIS_URL"], url=url)


def test_every_role_ends_within_the_ten_seconds_of_docker(containers: Containers, tmp_path: Path) -> None:
    started = containers.processes
    with Redis.from_url(containers.redis_url) as client:
        queue = RqQueue("render", connection=client, serializer=JSONSerializer)
        queue.enqueue("tests.workers.chores.nap", str(tmp_path), 60)
    started.wait_for(lambda: bool(list(tmp_path.glob("begun-*"))))  # one worker is in the middle of a long job
    began_s = time.monotonic()
    codes = started.end(within_s=10)
    print(f"all roles ended within {time.monotonic() - began_s:.1f} s: {codes}")
    assert set(codes.values()) <= {0, -signal.SIGTERM, 128 + signal.SIGTERM}, codes


@pytest.mark.slow  # the same call as in `test_split`, through the entrypoint
def test_the_roles_together_make_a_film(containers: Containers) -> None:
    asked = ["token", "--call", "*", "--role", "service", "--sub", "smoke"]
    made = subprocess.run([str(ENTRYPOINT), *asked], env=containers.env, capture_output=True, text=True, check=True)
    done = smoke(containers.url, made.stdout.strip())
    assert done.returncode == 0, done.stderr


def test_other_words_are_commands(tmp_path: Path) -> None:
    env = bare_environment(tmp_path)

    def said(*words: str) -> str:
        return subprocess.run([str(ENTRYPOINT), *words], env=env, capture_output=True, text=True, check=True).stdout

    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", said("--version"))
    assert said("echo", "any program") == "any program\n"
    assert "--data" in said("check", "--help")


def test_without_a_word_it_is_all_of_it_on_its_volume(tmp_path: Path) -> None:
    """`up` on /data and port 3000, which this machine may not give: seen at the command that it becomes."""
    env = bare_environment(tmp_path)
    shown = tmp_path / "programs" / "callreel"
    shown.write_text('#!/bin/sh\necho "$0" "$@"\n')
    shown.chmod(0o755)
    done = subprocess.run([str(ENTRYPOINT)], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == f"{shown} up --host 0.0.0.0 --port 3000 --data /data\n"
