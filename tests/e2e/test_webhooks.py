"""A receiver beside all of Callreel: told while every worker renders, and told again what died on its way."""

from __future__ import annotations

import base64
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from redis import Redis
from standardwebhooks import Webhook

from tests.e2e.test_up import keep_a_worker_busy
from tests.kit.receiver import Receiver, receiving
from tests.stack import Stack, running

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def with_webhooks(receiver: Receiver, **more: str) -> dict[str, str]:
    return {
        "CALLREEL_WEBHOOK_URLS": receiver.url,
        "CALLREEL_WEBHOOK_SECRET": SECRET,
        "CALLREEL_WEBHOOK_ALLOW_PRIVATE": "true",
        "CALLREEL_DRAIN_S": "0",
        **more,
    }


def until(condition: Callable[[], object], within_s: float, what: str) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.05)


def record(stack: Stack, call: str, step: str) -> str:
    url = f"{stack.url}/video-calls/{call}/recording/{step}"
    answer = httpx.post(url, headers=stack.headers("service", call), timeout=30)
    assert answer.is_success, answer.text
    return str(answer.json()["data"]["recordingId"])


def test_no_webhook_waits_until_a_window_is_rendered(receiver: Receiver, data_dir: Path, tmp_path: Path) -> None:
    with running(data_dir, "--workers", "1", env=with_webhooks(receiver)) as stack:
        keep_a_worker_busy(stack, tmp_path)
        recording_id = record(stack, "busy", "start")
        until(lambda: receiver.taken, 30, "started is told while the worker is busy")
        record(stack, "busy", "stop")
        until(lambda: len(receiver.taken) == 2, 30, "stopped is told while the worker is busy")
    assert receiver.types() == ["recordingstarted", "recordingstopped"]
    for sent in receiver.taken:
        assert Webhook(SECRET).verify(sent.body, sent.headers)["data"]["recordingId"] == recording_id


@pytest.mark.slow
def test_a_killed_worker_and_a_flushed_index_lose_nothing(receiver: Receiver, data_dir: Path) -> None:
    held, go_on = threading.Event(), threading.Event()

    def hold(_: object) -> tuple[int, dict[str, str]]:
        held.set()
        go_on.wait(60)
        return 204, {}

    receiver.reply = hold
    with running(data_dir, "--workers", "1", env=with_webhooks(receiver)) as stack:
        recording_id = record(stack, "killed", "start")
        assert held.wait(30)
        for pid in [pid for pid, line in stack.children().items() if "workers.settings.Worker" in line]:
            os.kill(pid, signal.SIGKILL)
        with Redis.from_url(stack.redis_url) as client:
            client.flushall()
        go_on.set()
        record(stack, "killed", "stop")
        until(lambda: {1, 2, 3} <= set(receiver.sequences(recording_id)), 120, "started, stopped and failed")
    told = receiver.sequences(recording_id)
    assert list(dict.fromkeys(told)) == [1, 2, 3]
    first = [sent.headers["webhook-id"] for sent in receiver.taken if sent.event["sequence"] == 1]
    assert len(set(first)) == 1
