"""What `docs/backend.md` tells a backend to do, done: its own code, in Python and in Node, against all of Callreel."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from callreel.tokens import check_token
from tests.e2e.test_webhooks import until, with_webhooks
from tests.kit.receiver import Receiver, Sent, receiving
from tests.stack import ROOT, running

PAGE = (ROOT / "docs" / "backend.md").read_text()
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()

#: What a test asks of the page's JavaScript: calls, one a line, each answered by one line.
DRIVER = """
import { createInterface } from "node:readline";
const calls = { token, recording, film, webhook };
const said = console.log;
console.log = () => {};
receiver.listen(0, "127.0.0.1", async () => {
  said(JSON.stringify(receiver.address().port));
  for await (const line of createInterface({ input: process.stdin })) {
    const [name, ...args] = JSON.parse(line);
    try {
      said(JSON.stringify({ answer: await calls[name](...args) }));
    } catch (error) {
      said(JSON.stringify({ error: error.message }));
    }
  }
  process.exit();
});
"""


def blocks(language: str) -> str:
    """All code of the page in a language, as one program."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(found) == 4, f"tokens, start and stop, another film, webhooks in {language}"
    return "\n".join(found)


class Node:
    """The page's JavaScript, running."""

    def __init__(self, folder: Path, server: str, env: dict[str, str]) -> None:
        node = shutil.which("node")
        modules = ROOT / "web_client" / "node_modules"
        assert node, "Node.js is missing; scripts/test installs it, or says how"
        assert (modules / "standardwebhooks").is_dir(), "scripts/test installs it: npm ci in web_client"
        (folder / "node_modules").symlink_to(modules)
        program = folder / "backend.mjs"
        program.write_text(blocks("js").replace("http://127.0.0.1:3000", server) + DRIVER)
        self.process = subprocess.Popen(
            [node, str(program)], env=os.environ | env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.port = int(self._line())

    def call(self, *call: object) -> Any:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(call) + "\n")
        self.process.stdin.flush()
        said = json.loads(self._line())
        if "error" in said:
            raise RuntimeError(said["error"])
        return said["answer"]

    def _line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline()

    def end(self) -> None:
        self.process.communicate(timeout=20)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def test_every_line_of_the_page_works(
    receiver: Receiver,
    data_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    secrets = f"{SECRET},{OTHER}"  # as while it is being changed
    with running(data_dir, "--workers", "1", env=with_webhooks(receiver, CALLREEL_WEBHOOK_SECRET=secrets)) as stack:
        jwt_secret = (data_dir / "secret").read_text().strip()
        env = {"CALLREEL_JWT_SECRET": jwt_secret, "CALLREEL_WEBHOOK_SECRET": SECRET}
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        python: dict[str, Any] = {}
        exec(blocks("python").replace("http://127.0.0.1:3000", stack.url), python)
        node = Node(tmp_path, stack.url, {**env, "CALLREEL_WEBHOOK_SECRET": OTHER})
        try:
            person = ("standup", "host", "ann", "Ann")
            for made in (python["token"](*person), node.call("token", *person)):
                caller = check_token(jwt_secret, made)
                assert (caller.call, caller.role, caller.subject, caller.name) == ("standup", "host", "ann", "Ann")
            for call, recording, film in (
                ("in-python", python["recording"], python["film"]),
                ("in-node", lambda *args: node.call("recording", *args), lambda *args: node.call("film", *args)),
            ):
                begun = recording(call, "start", {"metadata": {"booking": 4711}})
                assert begun["status"] == "recording"
                with pytest.raises(RuntimeError, match="recording_active"):
                    recording(call, "start")
                with pytest.raises(RuntimeError, match="invalid_state"):  # it runs; `test_compositions` makes some
                    film(call, begun["recordingId"], {"name": "short"})
                assert recording(call, "stop")["recordingId"] == begun["recordingId"]
            until(lambda: len(receiver.taken) >= 6, 60, "started, stopped and failed, twice")
            told = list(receiver.taken)
            for sent in told:
                assert_verified(python["webhook"], sent)
                assert_verified(lambda headers, body: node.call("webhook", headers, body.decode()), sent)
            assert_files_are_named(python["webhook"], capsys)
            # the page's own server, told by Callreel's bytes
            assert forwarded(node.port, told[0]) == 204
        finally:
            node.end()
    assert {sent.event["data"].get("metadata", {}).get("booking", 4711) for sent in told} == {4711}
    assert len(python["known"]) == 7


def assert_verified(webhook: Any, sent: Sent) -> None:
    """Taken, twice; refused where a single byte or header is another."""
    assert webhook(sent.headers, sent.body) == 204
    assert webhook(sent.headers, sent.body) == 204
    assert webhook(sent.headers, sent.body[:-1] + b" }") == 401
    changed = {
        "webhook-id": "evt_2",
        "webhook-timestamp": str(int(sent.headers["webhook-timestamp"]) + 1),
        "webhook-signature": re.sub(r"v1,(.)", _another, sent.headers["webhook-signature"]),
    }
    for name, value in changed.items():
        assert webhook({**sent.headers, name: value}, sent.body) == 401, name
        assert webhook({key: kept for key, kept in sent.headers.items() if key != name}, sent.body) == 401, name


def _another(signature: re.Match[str]) -> str:
    return "v1," + ("A" if signature[1] != "A" else "B")


def assert_files_are_named(webhook: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A completed recording's files are told, as the page's code does it."""
    artifact = {"name": "composition.mp4", "status": "ready", "url": "https://callreel.example/f"}
    event = {"id": "evt_1", "type": "recordingcompleted", "data": {"artifacts": [artifact]}}
    body, at = json.dumps(event), datetime.now(UTC).replace(microsecond=0)
    headers = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("evt_1", at, body),
    }
    capsys.readouterr()
    assert webhook(headers, body.encode()) == 204
    assert capsys.readouterr().out == "composition.mp4 ready https://callreel.example/f\n"


def forwarded(port: int, sent: Sent) -> int:
    names = ("webhook-id", "webhook-timestamp", "webhook-signature", "content-type")
    headers = {name: sent.headers[name] for name in names}
    return httpx.post(f"http://127.0.0.1:{port}/", content=sent.body, headers=headers).status_code
