"""All that a running Callreel says, read for what would open a door, and for whom it belongs to."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from callreel.folder import DataFolder
from callreel.tokens import sign_file
from tests.stack import Stack, running

CALL = "quiet"
TALKATIVE = {"CALLREEL_LOG": "json", "CALLREEL_LOG_LEVEL": "debug", "CALLREEL_DRAIN_S": "0"}


def lines(stack: Stack) -> list[dict[str, object]]:
    """The log lines of all its processes."""
    found = []
    for line in list(stack.lines):
        _, bracket, said = line.partition("] {")
        if line.startswith("[") and bracket:
            found.append(json.loads("{" + said))
    return found


def test_no_line_tells_a_secret_and_each_says_what_it_belongs_to(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(data, "--verbose", "--workers", "1", env=TALKATIVE) as stack:
        greeting = [line for line in stack.lines if "#call=" in line]  # the demo link is for whoever started it
        host, viewer = stack.token("host", CALL), stack.token("viewer", CALL)
        secret = DataFolder(data).secret({})
        with httpx.Client(base_url=stack.url, headers={"Authorization": f"Bearer {host}"}, timeout=30) as client:
            path = f"/video-calls/{CALL}/recording"
            begun = client.post(f"{path}/start", headers={"X-Request-Id": "mine-1"}).raise_for_status().json()["data"]
            recording_id = str(begun["recordingId"])
            address = sign_file(secret, CALL, recording_id, "composition.mp4")
            client.post(f"{path}/stop").raise_for_status()
            until(lambda: client.get(f"{path}/{recording_id}").json()["data"]["status"] == "failed")  # nobody came
            # what breaks is logged with all that is known of it
            journal = data / "recordings" / recording_id / "journal"
            (journal / f"{len(list(journal.iterdir())) + 1:08d}.json").write_text("{}")
            asked = [
                client.get(f"{path}/{recording_id}/files/composition.mp4?token={viewer}"),
                httpx.get(f"{stack.url}{path}/{recording_id}/files/composition.mp4?token={viewer}", timeout=30),
                httpx.get(f"{stack.url}{address}", timeout=30),
                client.get(f"{path}/{recording_id}", headers={"X-Request-Id": "mine-2"}),
                httpx.get(f"{stack.url}{path}?token={viewer}", timeout=30),
            ]
            assert [answer.status_code for answer in asked] == [500, 500, 500, 500, 401]
        until(lambda: any(line.get("request_id") == "mine-2" for line in lines(stack)))
        assert stack.stop() == 0
    said = [line for line in stack.lines if line not in greeting]
    assert len(said) > 20, "it was not talkative enough to prove anything"
    text = "\n".join(said) + (data / "access.log").read_text()
    signature = address.rpartition("=")[2]
    for what in (host, viewer, host.split(".")[2], viewer.split(".")[2], secret, signature, "eyJ"):
        assert what not in text
    (broken,) = [line for line in lines(stack) if line.get("request_id") == "mine-2" and "exception" in line]
    assert (broken["call_id"], broken["recording_id"], broken["level"]) == (CALL, recording_id, "error")
    worked = [line for line in lines(stack) if line.get("job_id")]
    assert recording_id in {line["recording_id"] for line in worked}


def until(seen: Callable[[], bool], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not seen():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.1)
