"""One command runs everything, and nothing of it stays behind."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from redis import Redis
from rq import Queue as RqQueue
from rq.serializers import JSONSerializer

from callreel.cli import app
from callreel.queue import WORKER_COMMAND
from callreel.tokens import check_token
from tests.kit.call_generator import generate_call
from tests.kit.detect import examine
from tests.kit.replay import Server, new_client, replay
from tests.stack import ROOT, Stack, descendants, running, start

SHORT_CALL = generate_call(seed=2, count=2, length_ms=6000)


def wait_until_gone(pids: set[int], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while left := living(pids):
        assert time.monotonic() < deadline, f"still there after {within_s} s: {left}"
        time.sleep(0.05)


def living(pids: set[int]) -> dict[int, str]:
    return {pid: line for each in pids for pid, line in descendants(each).items() if pid in pids}


def test_it_prints_where_it_is_a_link_and_the_line_for_one_more_worker(stack: Stack) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", stack.url)
    assert httpx.get(f"{stack.url}/readyz").json()["success"] is True
    link, fragment = stack.demo_link.split("/#")
    assert link == stack.url
    asked = dict(part.split("=", 1) for part in fragment.split("&"))
    assert asked["call"] == "demo"
    secret = (stack.data / "secret").read_text().strip()
    caller = check_token(secret, asked["token"])
    assert (caller.role, caller.call) == ("host", "demo")
    assert WORKER_COMMAND.removeprefix("rq ") in stack.output
    assert str(stack.data / "callreel.env") in stack.output


def test_two_processes_share_the_port_and_all_cores_have_a_worker(stack: Stack) -> None:
    lines = list(stack.started().values())
    assert sum("ingest.app:create_app" in line for line in lines) == 2
    assert sum("workers.settings.Worker" in line for line in lines) == 2
    assert sum("workers.sweep" in line for line in lines) == 1
    assert sum("valkey-server" in line for line in lines) == 1


def test_secrets_are_private_and_in_no_command_line(stack: Stack) -> None:
    secret_file = stack.data / "secret"
    secret = secret_file.read_text().strip()
    assert stat.S_IMODE(secret_file.stat().st_mode) == 0o600
    assert secret not in (stack.data / "callreel.env").read_text()
    assert not any(secret in line for line in stack.children().values())


def test_the_printed_line_starts_one_more_worker(stack: Stack) -> None:
    line = re.search(r"one more worker: (.+)", stack.output)
    assert line
    env = {name: value for name, value in os.environ.items() if not name.startswith("CALLREEL_")}
    process = subprocess.Popen(
        ["bash", "-c", line[1].removesuffix(")") + " --burst)"],
        env=env | {"PYTHONPATH": str(ROOT)},
        cwd=stack.data,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "render, export" in said


def test_a_token_from_the_command_line_is_taken(stack: Stack) -> None:
    asked = ["--call", "cli", "--role", "host", "--sub", "ann", "--data", str(stack.data)]
    token = run_cli("token", *asked).stdout.strip()
    answer = httpx.get(f"{stack.url}/video-calls/cli/recording", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["code"]) == (404, "no_active_recording")


def test_check_tells_whether_index_and_storage_agree_and_rebuild_makes_them(stack: Stack) -> None:
    started = httpx.post(f"{stack.url}/video-calls/check/recording/start", headers=stack.headers("host", "check"))
    assert started.status_code == 201
    assert run_cli("check", "--data", str(stack.data)).returncode == 0
    journal = stack.data / "recordings" / started.json()["data"]["recordingId"] / "journal"
    extra = journal / "00000002.json"
    extra.write_text('{"v":1,"type":"stopped","atMs":1,"data":{"reason":"host"}}')
    found = run_cli("check", "--data", str(stack.data))
    assert found.returncode == 1
    assert "status is recording in the index, stopping in the storage" in found.stdout
    assert run_cli("rebuild", "--data", str(stack.data)).returncode == 0
    assert run_cli("check", "--data", str(stack.data)).returncode == 0


def test_sigterm_ends_everything_within_seconds(data_dir: Path, tmp_path: Path) -> None:
    with running(data_dir, "--workers", "2") as stack:
        assert len(stack.started()) == 6
        keep_a_worker_busy(stack, tmp_path)
        pids = set(descendants(stack.process.pid))
        began_s = time.monotonic()
        assert stack.stop() == 0
        assert time.monotonic() - began_s < 6
        assert not living(pids)
        assert "Traceback" not in stack.output


def test_nothing_survives_when_it_is_killed(data_dir: Path, tmp_path: Path) -> None:
    with running(data_dir, "--workers", "2") as stack:
        keep_a_worker_busy(stack, tmp_path)
        pids = set(descendants(stack.process.pid))
        stack.process.kill()
        stack.process.wait()
        wait_until_gone(pids, within_s=3)
    with running(data_dir, "--workers", "1") as again:  # and nothing of what it left is in the way
        assert httpx.get(f"{again.url}/readyz").status_code == 200


def test_whoever_dies_is_started_again(own_stack: Stack) -> None:
    for wanted in ("ingest.app:create_app", "workers.sweep", "workers.settings.Worker", "valkey-server"):
        pid = next(pid for pid, line in own_stack.started().items() if wanted in line)
        before = sum(wanted in line for line in own_stack.started().values())
        os.kill(pid, signal.SIGKILL)
        wait_until_gone({pid}, within_s=2)
        deadline = time.monotonic() + 15
        while sum(wanted in line for line in own_stack.started().values()) < before:
            assert time.monotonic() < deadline, f"{wanted} did not come back:\n{own_stack.output}"
            time.sleep(0.1)
    deadline = time.monotonic() + 15
    while httpx.get(f"{own_stack.url}/readyz", timeout=10).status_code != 200:
        assert time.monotonic() < deadline, own_stack.output
        time.sleep(0.1)


def test_a_second_one_on_the_same_folder_or_port_refuses(stack: Stack, data_dir: Path) -> None:
    second = start(stack.data)
    assert second.wait(30) == 1
    port = stack.url.rpartition(":")[2]
    third = start(data_dir, "--port", port)
    assert third.wait(30) == 1
    assert "Another `callreel up` runs on" in second.output
    assert f"port {port}" in third.output


def test_settings_of_the_folder_reach_every_process(data_dir: Path) -> None:
    (data_dir / "callreel.env").write_text("# mine\nCALLREEL_CORS_ORIGINS='https://a.example, https://b.example'\n")
    with running(data_dir, "--workers", "1") as stack:
        answer = httpx.get(f"{stack.url}/time", headers={"Origin": "https://b.example"})
        assert answer.headers["access-control-allow-origin"] in ("https://b.example", "*")
        asked = {"Origin": "https://b.example", "Access-Control-Request-Method": "POST"}
        preflight = httpx.options(f"{stack.url}/video-calls/c/recording/start", headers=asked)
        assert preflight.headers["access-control-allow-origin"] == "https://b.example"
    assert "CALLREEL_CORS_ORIGINS='https://a.example, https://b.example'" in (data_dir / "callreel.env").read_text()


def test_a_folder_with_spaces_and_a_very_long_name_will_do(tmp_path: Path) -> None:
    data = tmp_path / "Calls of ours" / ("long " * 20)
    data.parent.mkdir()
    with running(data, "--workers", "1") as stack:
        assert httpx.get(f"{stack.url}/readyz").status_code == 200
        assert run_cli("check", "--data", str(data)).returncode == 0


def test_an_index_server_of_ones_own_is_used(redis_url: str, data_dir: Path) -> None:
    with running(data_dir, "--workers", "1", env={"CALLREEL_REDIS_URL": redis_url}) as stack:
        assert not any("valkey-server" in line for line in stack.children().values())
        assert stack.redis_url != redis_url  # the folder alone would have had its own
        assert f"CALLREEL_REDIS_URL='{redis_url}'" in (data_dir / "callreel.env").read_text()


def test_tls_is_spoken_where_a_certificate_is_given(data_dir: Path, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*made, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    with running(data_dir, "--workers", "1", "--tls-cert", str(certificate), "--tls-key", str(key)) as stack:
        assert stack.url.startswith("https://127.0.0.1:")
        assert httpx.get(f"{stack.url}/readyz", verify=False).status_code == 200


def test_bad_settings_end_it_with_a_sentence(data_dir: Path) -> None:
    stack = start(data_dir, env={"CALLREEL_DRAIN_S": "soon"})
    assert stack.wait(60) == 1
    assert "CALLREEL_DRAIN_S" in stack.output


def test_without_a_folder_there_is_no_token(tmp_path: Path) -> None:
    done = run_cli("token", "--call", "c", "--role", "host", "--sub", "s", "--data", str(tmp_path / "nowhere"))
    assert done.returncode == 1
    assert "There is no secret in" in done.stderr


def test_the_wheel_records_without_the_checkout(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    python = venv / "bin" / "python"
    # The dependencies are those that are installed here. A path in a .pth file is looked into, the .pth files there
    # are not: so the checkout, which is installed there as editable, stays out of sight.
    ours = Path(httpx.__file__).parents[1]
    site = next((venv / "lib").glob("python*/site-packages"))
    (site / "dependencies.pth").write_text(f"{ours}\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--ignore-installed", str(wheel)], check=True, capture_output=True)
    env = {"PYTHONPATH": ""}
    where = "import callreel, ingest, workers, web_client; print(callreel.__file__, *web_client.__path__)"
    found = subprocess.run([str(python), "-P", "-c", where], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert str(ROOT) not in found.stdout
    with running(tmp_path / "data", "--workers", "1", env=env, python=str(python)) as stack:
        assert httpx.get(f"{stack.url}/readyz").status_code == 200
        assert "javascript" in httpx.get(f"{stack.url}/client/callreel.js").headers["content-type"]
        assert httpx.get(f"{stack.url}/").status_code == 200
        programs = [line for line in stack.started().values() if "valkey-server" not in line]
        assert all(line.startswith(str(python)) for line in programs), programs
        film = asyncio.run(record_a_call(stack, tmp_path))
    findings, _ = examine(film, SHORT_CALL)
    for name, person in findings.items():
        assert person.seen[0] == person.seen[1] > 0, name
        assert person.heard[0] == person.heard[1] > 0, name


def test_every_command_of_the_contract_is_there() -> None:
    found = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert found == {"up", "token", "check", "rebuild", "sweep", "smoke"}


@pytest.mark.parametrize("command", ["check", "rebuild"])
def test_a_folder_that_is_not_there_is_not_made(command: str, tmp_path: Path) -> None:
    done = run_cli(command, "--data", str(tmp_path / "mistyped"))
    assert done.returncode == 2
    assert "there is no folder" in " ".join(done.stderr.replace("│", " ").split())
    assert not (tmp_path / "mistyped").exists()


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    assert run_cli("up", "--port", port).returncode == 2


def test_a_free_port_is_taken_where_none_is_named(stack: Stack) -> None:
    with socket.create_connection(("127.0.0.1", int(stack.url.rpartition(":")[2]))):
        pass


async def record_a_call(stack: Stack, folder: Path) -> Path:
    async with new_client() as client:
        server = Server(stack.url, stack.token, "wheel", client)
        done = await replay(server, SHORT_CALL)
        state = await server.finished(done.recording_id, 60)
        assert state["status"] == "completed", state
        film = folder / "film.mp4"
        film.write_bytes(await server.file(done.recording_id, "composition.mp4"))
        return film


def keep_a_worker_busy(stack: Stack, folder: Path) -> None:
    with Redis.from_url(stack.redis_url) as client:
        queue = RqQueue("render", connection=client, serializer=JSONSerializer)
        queue.enqueue("tests.workers.chores.nap", str(folder), 60)
    deadline = time.monotonic() + 20
    while not list(folder.glob("begun-*")):
        assert time.monotonic() < deadline, stack.output
        time.sleep(0.05)


def run_cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("CALLREEL_")}
    return subprocess.run(
        [sys.executable, "-P", "-m", "callreel.cli", *arguments],
        env=env | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
