"""Backup and restore with the lines of `docs/operations.md`: taken while a call is recorded, put back elsewhere."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.e2e.test_smoke import smoke
from tests.plain import bare_environment, blocks, processes
from tests.stack import Stack, running
from workers import dummies

_TAKE, _PUT_BACK = blocks("operations.md", "sh", "Backup and restore")
_QUICK = {"CALLREEL_DRAIN_S": "1"}


def test_a_backup_put_back_elsewhere_is_what_the_index_is_made_of(stack: Stack, tmp_path: Path) -> None:
    """The lines alone, over a folder whose server runs; what comes of it is the next test's."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    (here / "callreel-data").symlink_to(stack.data)
    path, headers = "/video-calls/backup/recording", stack.headers("host", "backup", "ann")
    with httpx.Client(base_url=stack.url, headers=headers, timeout=30) as client:
        recording_id = client.post(f"{path}/start").raise_for_status().json()["data"]["recordingId"]
        track = f"{path}/{recording_id}/tracks/camera"
        client.put(track, json={"source": "camera", "kind": "video"}).raise_for_status()
        files = {"chunk": ("chunk", dummies.camera(dummies.PEOPLE[0], 500)[-1].data, "video/webm")}
        client.post(f"{track}/chunks", files=files, data={"seg": 0, "seq": 0, "startMs": 1}).raise_for_status()
    run(_TAKE, here)
    for name in ("facts.tar.gz", "media.tar", "secret"):
        shutil.move(here / name, there)
    assert run(_PUT_BACK, there).splitlines()[-1] == "Index and storage agree."
    data = there / "callreel-data"
    assert chunks(data, "backup") == 1
    assert (data / "secret").read_text() == (stack.data / "secret").read_text()
    assert stat.S_IMODE((data / "secret").stat().st_mode) == 0o600


@pytest.mark.slow  # two servers, two calls
def test_a_backup_of_a_running_server_becomes_the_same_server_elsewhere(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    with running(here / "callreel-data", "--workers", "1", env=_QUICK) as stack, processes(here) as started:
        done = smoke(stack.url, stack.token("service", "finished"), "--keep")
        assert done.returncode == 0, done.stderr
        film = film_of(stack, "finished")
        line = [sys.executable, "-P", "-m", "callreel.cli", "smoke", "--url", stack.url, "--seconds", "8", "--keep"]
        started.start("call", [*line, "--token", stack.token("service", "running")], bare_environment(here))
        started.wait_for(lambda: chunks(stack.data, "running") >= 6)
        run(_TAKE, here)
        assert started.started["call"].wait(120) == 0, started.said("call")  # whoever records has noticed nothing
    for name in ("facts.tar.gz", "media.tar", "secret"):
        shutil.move(here / name, there)
    shutil.rmtree(here)

    told = run(_PUT_BACK, there)
    assert told.splitlines()[-1] == "Index and storage agree."
    data = there / "callreel-data"
    assert not list(data.glob("recordings/*/derived"))
    assert chunks(data, "running") >= 6
    with running(data, "--workers", "1", env=_QUICK) as stack:
        assert film_of(stack, "finished") == film
        # what was recording is recording still; its film is made of what came before the copy was taken
        headers = stack.headers("host", "running")
        assert recordings(stack, "running")[0]["status"] == "recording"
        httpx.post(f"{stack.url}/video-calls/running/recording/stop", headers=headers).raise_for_status()
        deadline = time.monotonic() + 120
        while recordings(stack, "running")[0]["status"] != "completed":
            assert time.monotonic() < deadline, recordings(stack, "running")
            time.sleep(0.3)
        found = dummies.look(film_of(stack, "running"))
    assert all(count > 0 for count in (*found.seen.values(), *found.heard.values())), found


def run(block: str, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=folder,
        env=bare_environment(folder),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def chunks(data: Path, call: str) -> int:
    return sum(path.is_file() for path in data.glob(f"recordings/rec_{call}_*/chunks/**/*"))


def recordings(stack: Stack, call: str) -> list[dict[str, str]]:
    answer = httpx.get(f"{stack.url}/video-calls/{call}/recordings", headers=stack.headers("host", call), timeout=30)
    items: list[dict[str, str]] = answer.raise_for_status().json()["data"]["items"]
    return items


def film_of(stack: Stack, call: str) -> bytes:
    recording_id = recordings(stack, call)[0]["recordingId"]
    url = f"{stack.url}/video-calls/{call}/recording/{recording_id}/files/composition.mp4"
    return httpx.get(url, headers=stack.headers("host", call), timeout=30).raise_for_status().content
