"""Settings that cannot work, or work and do harm, are refused where a process starts, in a sentence that says why."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from callreel.checks import start_settings, start_storage, unknown_names
from callreel.errors import InvalidSettings, StorageUnsupported
from callreel.queue import WORKER_COMMAND
from callreel.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
SECRET = "Zt4qv8Wm2xKc7RjP5nLs9HbYf3DgT6aQ"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("CALLREEL_"):
            monkeypatch.delenv(name)


def test_the_defaults_start() -> None:
    assert start_settings() == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JWT_SECRET", SECRET),
        ("REDIS_URL", "rediss://:pass@index.example:6380/3"),
        ("REDIS_URL", "unix:///run/callreel/index.sock?db=0"),
        ("STORAGE", "file:///data"),
        ("STORAGE", "file:///mnt/calls of ours"),
        ("PUBLIC_URL", "https://callreel.example"),
        ("PUBLIC_URL", "https://callreel.example:8443/"),
        ("PUBLIC_URL", "http://[::1]:3000"),
        ("CORS_ORIGINS", "https://a.example, http://localhost:5173/"),
        ("WINDOW_MS", "16000"),
        ("LATE_S", "15"),
        ("SLOW", "1"),  # the tests' own
        ("CHROMIUM", "/usr/bin/chromium"),
    ],
)
def test_what_can_work_starts(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"CALLREEL_{name}", value)
    start_settings()


@pytest.mark.parametrize(
    ("name", "value", "what_to_do"),
    [
        ("METRICS_TOKEN", "short", "at least 16 characters.*openssl rand"),
        ("JWT_SECRET", "short", "at least 32 characters.*openssl rand"),
        ("JWT_SECRET", "x" * 64, "can be guessed.*openssl rand"),
        ("JWT_SECRET", "change-me-change-me-change-me-change-me", "can be guessed"),
        ("JWT_SECRET", "MyPassword-2026-for-the-recordings", "can be guessed"),
        ("JWT_SECRET", f"{SECRET}\n", "white space.*remove it"),
        ("REDIS_URL", "http://127.0.0.1:6379", "write redis://"),
        ("REDIS_URL", "127.0.0.1:6379", "write redis://"),
        ("REDIS_URL", "redis://host:port", "write redis://"),
        ("REDIS_URL", "redis://host:6379/0?socket_timeout=soon", "write redis://"),
        ("REDIS_URL", "unix://index.sock", "three slashes"),
        ("REDIS_URL", "redis://h/0?decode_responses=True", "leave out decode_responses"),
        ("STORAGE", "file://data", "three slashes"),
        ("STORAGE", "file:data/recordings", "three slashes"),
        ("STORAGE", "file:///data/../etc", r"without `\.\.`"),
        ("STORAGE", "file:///", "name one below it"),
        ("STORAGE", "file:///etc/", "name one below it"),
        ("STORAGE", "file:///data?x=1", "name another folder"),
        ("PUBLIC_URL", "callreel.example", "write scheme, host"),
        ("PUBLIC_URL", "ftp://callreel.example", "write scheme, host"),
        ("PUBLIC_URL", "https://callreel.example/films", "something behind the host"),
        ("PUBLIC_URL", "http://callreel.example?a=b", "something behind the host"),
        ("PUBLIC_URL", "https://me:secret@callreel.example", "user name"),
        ("PUBLIC_URL", "https://", "names no host"),
        ("PUBLIC_URL", "https://callreel.example:http", "is no address"),
        ("CORS_ORIGINS", "*", "list each origin"),
        ("CORS_ORIGINS", "https://*.example", "list each origin"),
        ("CORS_ORIGINS", "https://a.example,null", "does not begin with https://"),
        ("CORS_ORIGINS", "https://a.example/app", "something behind the host"),
        ("CORS_ORIGINS", "https://A.Example", "write https://a.example"),
        ("CORS_ORIGINS", "https://a.example:443", "write https://a.example"),
        ("WINDOW_MS", "5000", "a multiple of 8000 up to 64000"),
        ("WINDOW_MS", "0", "a multiple of 8000"),
        ("WINDOW_MS", "-8000", "a multiple of 8000"),
        ("WINDOW_MS", "800000", "up to 64000"),
        ("LATE_S", "10", "CALLREEL_DRAIN_S=15 is longer.*make CALLREEL_LATE_S at least as long"),
        ("CHUNK_BYTES", "20000000000", "CALLREEL_TRACK_BYTES.*lower the first or raise the second"),
        ("TRACK_BYTES", "200000000000", "CALLREEL_RECORDING_BYTES.*lower the first or raise the second"),
        ("MIN_FREE_BYTES", "0", "the disk would be full.*raise the first or lower the second"),
        ("DRAIN_S", "nan", "CALLREEL_DRAIN_S"),
        ("LATE_S", "inf", "CALLREEL_LATE_S"),
        ("IDLE_S", "inf", "CALLREEL_IDLE_S"),
        ("LEFT_S", "nan", "CALLREEL_LEFT_S"),
        ("SEQ_AHEAD", "2000000", "CALLREEL_SEQ_AHEAD"),
        ("DRAINS_S", "15", "CALLREEL_DRAINS_S is no setting; CALLREEL_DRAIN_S is"),
        ("PUBLIC_URI", "https://x.example", "CALLREEL_PUBLIC_URI is no setting; CALLREEL_PUBLIC_URL is"),
        ("CORS_ORIGIN", "https://x.example", "CALLREEL_CORS_ORIGIN is no setting; CALLREEL_CORS_ORIGINS is"),
        ("FSNYC", "never", "CALLREEL_FSNYC is no setting; CALLREEL_FSYNC is"),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, what_to_do: str
) -> None:
    monkeypatch.setenv(f"CALLREEL_{name}", value)
    with pytest.raises(InvalidSettings) as refused:
        start_settings()
    assert f"CALLREEL_{name}" in refused.value.detail
    assert re.search(what_to_do, refused.value.detail), refused.value.detail


def test_everything_that_is_wrong_is_said_at_once_and_no_secret_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLREEL_JWT_SECRET", "hunter2hunter2")
    monkeypatch.setenv("CALLREEL_PUBLIC_URL", "https://me:hunter2hunter2@callreel.example")
    monkeypatch.setenv("CALLREEL_REDIS_URL", "http://:hunter2hunter2@index.example")
    monkeypatch.setenv("CALLREEL_WINDOW_MS", "5")
    with pytest.raises(InvalidSettings) as refused:
        start_settings()
    said = refused.value.detail
    assert all(f"CALLREEL_{name}" in said for name in ("JWT_SECRET", "PUBLIC_URL", "REDIS_URL", "WINDOW_MS"))
    assert "hunter2" not in said


def test_a_name_that_is_like_none_is_told_of_and_ignored(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CALLREEL_WEATHER", "fine")
    start_settings()
    assert "CALLREEL_WEATHER is no setting of this version" in caplog.text
    assert unknown_names({"CALLREEL_WEATHER": "", "PATH": "", "callreel_drain_s": ""}) == {"CALLREEL_WEATHER": ""}


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InvalidSettings, match="Name a folder that this user may write to"):
        start_storage(load_settings(storage=f"file://{tmp_path}/file/below"))
    with pytest.raises(InvalidSettings, match="Name a folder that this user may write to"):
        start_storage(load_settings(storage="file:///proc/callreel"))


def test_a_floor_above_the_whole_disk_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="every chunk would be refused"):
        start_storage(load_settings(storage=f"file://{tmp_path}", min_free_bytes=2**60))


def test_a_storage_that_is_not_built_has_its_own_refusal() -> None:
    with pytest.raises(StorageUnsupported):
        start_storage(load_settings(storage="s3://bucket"))


def _program(tmp_path: Path, says: str) -> str:
    path = tmp_path / "ffmpeg"
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit 0\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


_PYTHON = [sys.executable, "-P", "-m"]
PROCESSES = {
    "ingest": [*_PYTHON, "uvicorn", "ingest.app:create_app", "--factory", "--port", "0"],
    "worker": [*_PYTHON, "rq.cli", *WORKER_COMMAND.split()[1:], "--burst"],
    "sweep": [*_PYTHON, "callreel.cli", "sweep"],
}


def started(what: str, redis_url: str, storage: Path, **more: str) -> subprocess.CompletedProcess[str]:
    chosen = {"CALLREEL_JWT_SECRET": SECRET, "CALLREEL_REDIS_URL": redis_url, "CALLREEL_STORAGE": f"file://{storage}"}
    return subprocess.run(
        PROCESSES[what],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | chosen | more,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("what", PROCESSES)
def test_every_process_ends_with_the_sentence_and_nothing_else(what: str, redis_url: str, data_dir: Path) -> None:
    done = started(what, redis_url, data_dir, CALLREEL_WINDOW_MS="5000")
    assert done.returncode == 1, done.stderr
    assert "callreel: CALLREEL_WINDOW_MS=5000" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("what", PROCESSES)
def test_every_process_refuses_a_storage_that_it_cannot_write_to(what: str, redis_url: str) -> None:
    done = started(what, redis_url, Path("/proc/callreel"))
    assert done.returncode == 1, done.stderr
    assert "Name a folder that this user may write to" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_worker_refuses_an_ffmpeg_that_is_none(redis_url: str, data_dir: Path, tmp_path: Path) -> None:
    nowhere = started("worker", redis_url, data_dir, CALLREEL_FFMPEG="/nowhere/ffmpeg")
    old = started("worker", redis_url, data_dir, CALLREEL_FFMPEG=_program(tmp_path, "ffmpeg version 4.4"))
    for done in (nowhere, old):
        assert done.returncode == 1, done.stderr
        assert "Name a" in done.stderr
        assert "5.1 or newer" in done.stderr
        assert "Traceback" not in done.stderr
