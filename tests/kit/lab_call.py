"""A call of one person, recorded by the lab's page, and what the server has of it."""

from __future__ import annotations

import base64
from typing import Any

import httpx
from playwright.sync_api import Page

from tests.stack import Stack

from .browser import until


class Call:
    """One call of one person, recorded by the lab's page."""

    def __init__(self, stack: Stack, name: str) -> None:
        self.stack = stack
        self.name = name
        self.url = f"{stack.url}/video-calls/{name}"
        self.headers = stack.headers("host", name, "host")
        self.token = stack.token("participant", name, "ada", "Ada")

    def start(self, **options: Any) -> str:
        answer = httpx.post(f"{self.url}/recording/start", json=options, headers=self.headers)
        return str(answer.json()["data"]["recordingId"])

    def say(self, what: str) -> None:
        httpx.post(f"{self.url}/recording/{what}", headers=self.headers).raise_for_status()

    def recording(self, recording_id: str) -> dict[str, Any]:
        answer = httpx.get(f"{self.url}/recording/{recording_id}", headers=self.headers)
        return dict(answer.json()["data"])

    def finished(self, recording_id: str) -> dict[str, Any]:
        self.say("stop")
        return self.awaited(recording_id)

    def awaited(self, recording_id: str) -> dict[str, Any]:
        """The recording once its film is made, or cannot be."""
        until(lambda: self.recording(recording_id)["status"] in ("completed", "failed"), 120, "the film")
        return self.recording(recording_id)

    def stored(self, recording_id: str) -> dict[tuple[str, int, int], str]:
        """(track, seg, seq) → SHA-256 of the chunk, as its object's name says."""
        found = {}
        for path in (self.stack.data / "recordings" / recording_id / "chunks").glob("*/*/*/*"):
            seq, *_, digest = path.name.split(".")
            found[path.parts[-3], int(path.parts[-2]), int(seq)] = digest
        return found


def record(page: Page, call: Call, options: str = "{}", sources: str = "camera,microphone") -> None:
    """A recorder in the page, and its sources: `window.recorder`, `window.camera`, `window.microphone`."""
    page.evaluate(
        """([callId, token, options, sources]) => {
          const { createRecorder, watch } = lab;
          window.recorder = watch(createRecorder({ callId, token, WebSocket: null, ...eval(`(${options})`) }));
          return Promise.all(sources.split(",").filter(Boolean).map(async (name) => {
            window[name] = lab[name]();
            window[`${name}Feed`] = await recorder.addTrack(window[name].track, { source: name, label: name });
          }));
        }""",
        [call.name, call.token, options, sources],
    )


def logged(page: Page, name: str) -> list[dict[str, Any]]:
    return list(page.evaluate("name => lab.named(name)", name))


def hexed(digest: str) -> str:
    """`sha-256=:…:` as the storage writes it."""
    return base64.b64decode(digest.removeprefix("sha-256=:").removesuffix(":")).hex()
