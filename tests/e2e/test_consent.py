"""Somebody withdraws behind a finished recording, over HTTP: everything is made anew without them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from callreel import keys
from tests.kit import ears, eyes
from tests.kit.build import by_track
from tests.kit.call_generator import generate_call
from tests.kit.capture import Capture
from tests.kit.replay import Replayed, Server, new_client, replay
from tests.stack import Stack

WITHIN_S = 90


class Call:
    """Two people; the second one withdraws."""

    def __init__(self, server: Server, capture: Capture, folder: Path) -> None:
        self.server, self.capture, self.folder = server, capture, folder
        self.stays, self.goes = capture.participants
        self.recording_id = ""

    async def answer(self, agreed: bool, fact_id: str) -> None:
        for track_id, runs in by_track(self.capture).items():
            if runs[0].participant == self.goes:
                fact = {"id": fact_id, "type": "consent", "atMs": round(time.time() * 1000), "data": {"agreed": agreed}}
                path = f"/{self.recording_id}/tracks/{track_id}/facts"
                await self.server.send("POST", path, self.goes, body={"facts": [fact]})

    async def until(self, build_without: bool) -> tuple[dict[str, Any], dict[str, Any]]:
        """The recording and its manifest, once all of both is made so."""
        deadline = time.monotonic() + WITHIN_S
        while True:
            await self.server.finished(self.recording_id, WITHIN_S)
            manifest = await self.server.json_file(self.recording_id, "manifest.json")
            state = await self.server.finished(self.recording_id, WITHIN_S)  # asked last, so never older than that
            out = {track["withheld"] for p in manifest["participants"] for track in p["tracks"]}
            if (True in out) == build_without and all(a["status"] == "ready" for a in state["artifacts"]):
                return state, manifest
            assert time.monotonic() < deadline, state
            await asyncio.sleep(0.25)

    async def film(self) -> tuple[dict[str, float], dict[str, int]]:
        """Of everybody the share of pictures in which they are seen, and how many beeps are heard."""
        path = self.folder / "film.mp4"
        path.write_bytes(await self.server.file(self.recording_id, "composition.mp4"))
        view = eyes.watch(path, {name: self.capture.rgb_of(name) for name in self.capture.participants})
        seen = {name: sum(sight.visible()) / len(sight.state) for name, sight in view.sights.items()}
        _, samples = ears.decode_placed(path)
        tones = {name: self.capture.tone_of(name) for name in self.capture.participants}
        return seen, {name: len(ears.onsets_ms(samples, tone)) for name, tone in tones.items()}


def test_who_withdraws_is_in_no_result_any_more(stack: Stack, tmp_path: Path) -> None:
    asyncio.run(_withdraw(stack, tmp_path))


async def _withdraw(stack: Stack, folder: Path) -> None:
    async with new_client() as client:
        server = Server(stack.url, stack.token, "withdrawn", client)
        call = Call(server, generate_call(seed=11, count=2, length_ms=6_000), folder)
        done: Replayed = await replay(server, call.capture, options={"preset": "480p"})
        call.recording_id = done.recording_id
        before, listed = await call.until(build_without=False)
        seen, heard = await call.film()
        assert seen[call.goes] > 0.3
        assert heard[call.goes] > 1
        assert all(who["consent"] is None for who in before["participants"])
        segments = [s for p in listed["participants"] for track in p["tracks"] for s in track["segments"]]
        assert segments

        await call.answer(agreed=False, fact_id="no")
        after, manifest = await call.until(build_without=True)
        seen, heard = await call.film()
        assert seen[call.goes] == 0
        assert heard[call.goes] == 0
        assert seen[call.stays] > 0.3
        assert heard[call.stays] > 1
        said = {who["participantId"]: who for who in after["participants"]}
        assert said[call.goes]["consent"]["agreed"] is False
        assert all(track["withheld"] for track in said[call.goes]["tracks"])
        told = {who["participantId"]: who for who in manifest["participants"]}[call.goes]
        assert told["speech"] == []
        assert all(track["withheld"] and track["segments"] == [] for track in told["tracks"])
        assert (after["complete"], after["gaps"]) == (True, [])
        mine = f"tracks/{call.goes}/"
        assert not [artifact for artifact in after["artifacts"] if artifact["name"].startswith(mine)]
        for old in before["artifacts"]:
            if old["name"].startswith(mine):
                with pytest.raises(httpx.HTTPStatusError, match="404"):
                    await server.file(done.recording_id, old["name"])
        await _nothing_is_left(stack.data, done.recording_id, before, listed)

        await call.answer(agreed=True, fact_id="yes")
        again, _ = await call.until(build_without=False)
        digests = {a["name"]: a["sha256"] for a in before["artifacts"] if a["kind"] == "composition"}
        assert {a["name"]: a["sha256"] for a in again["artifacts"] if a["kind"] == "composition"} == digests


async def _nothing_is_left(data: Path, recording_id: str, before: dict[str, Any], manifest: dict[str, Any]) -> None:
    """Of what showed both of them: not the film, not its windows, not the tracks of who withdrew."""
    films = [
        data / keys.artifact(recording_id, artifact["name"], artifact["sha256"])
        for artifact in before["artifacts"]
        if artifact["kind"] in ("composition", "manifest")
    ]
    windows = [
        data / key_of(recording_id, key)
        for film in manifest["films"]
        for key in film["windows"]
        for key_of in (keys.window, keys.window_glance)
    ]
    deadline = time.monotonic() + WITHIN_S
    while left := [path for path in (*films, *windows) if path.exists()]:
        assert time.monotonic() < deadline, left
        await asyncio.sleep(0.25)
