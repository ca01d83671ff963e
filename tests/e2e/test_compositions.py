"""A host changes the layout of a call that runs, and asks for another film of it afterwards; all of it over HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx

from tests.kit import eyes
from tests.kit.call_generator import generate_call
from tests.kit.replay import Server, new_client, replay
from tests.stack import Stack

CALL = "films"
CAPTURE = generate_call(seed=31, count=2, length_ms=4_900)  # both are there, nobody comes back
ALONE = {"regions": [{"name": "a", "x": 0, "y": 0, "width": 100, "height": 100, "source": {"participantId": "p1"}}]}
FPS = 30


async def hold(server: Server) -> str:
    """The call, whose layout the host changes after 2.5 s."""

    async def change() -> None:
        await asyncio.sleep(2.5)
        changed = await server.send("POST", "/layout", body={"layout": ALONE})
        assert (changed["layout"], changed["status"]) == (ALONE, "recording")

    said, _ = await asyncio.gather(replay(server, CAPTURE, options={"preset": "480p"}), change())
    await server.finished(said.recording_id, 120)
    return said.recording_id


async def made(server: Server, recording_id: str, name: str) -> dict[str, Any]:
    """The composition's file, once it is there."""
    deadline_s = time.monotonic() + 120
    while time.monotonic() < deadline_s:
        listed = (await server.send("GET", f"/{recording_id}/compositions"))["items"]
        (found,) = [each["artifact"] for each in listed if each["name"] == name]
        if found["status"] != "pending":
            return dict(found)
        await asyncio.sleep(0.2)
    raise AssertionError(f"{name} is not made after 120 s")


def looked_at(data: bytes, folder: Path) -> eyes.View:
    path = folder / "film.mp4"
    path.write_bytes(data)
    return eyes.watch(path, {who: CAPTURE.rgb_of(who) for who in CAPTURE.participants})


def told(stack: Stack, recording_id: str) -> list[str]:
    """Types of events so far, behind the first one, up to the update."""
    found: list[str] = []
    headers = {**stack.headers("host", CALL), "Last-Event-ID": f"evt_{recording_id}_1"}
    with httpx.stream("GET", f"{stack.url}/video-calls/{CALL}/events", headers=headers, timeout=30) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                event = json.loads(line.removeprefix("data: "))
                if event["data"]["recordingId"] == recording_id:
                    found.append(event["type"])
            if "recordingupdated" in found:
                return found
    return found


async def story(stack: Stack, folder: Path) -> None:
    async with new_client() as client:
        server = Server(stack.url, stack.token, CALL, client)
        recording_id = await hold(server)
        manifest = await server.json_file(recording_id, "manifest.json")
        ((at_ms, layout),) = manifest["layoutChanges"]
        assert layout == ALONE
        view = looked_at(await server.file(recording_id, "composition.mp4"), folder)
        picture = (at_ms * FPS + 500) // 1000  # `tests/workers` looks at it to the picture
        p0 = view.sights["p0"].visible()
        assert all(p0[20:picture])
        # within a flash nobody can be told from anybody: everything is white
        assert not any(p0[picture + 4 :])

        asked = {"name": "grid", "layout": "grid", "fromMs": 1_000, "toMs": 4_000}
        first = await server.send("POST", f"/{recording_id}/compositions", body=asked)
        assert first["artifact"]["status"] in ("pending", "ready")
        again = await server.send("POST", f"/{recording_id}/compositions", body=asked)
        assert again["requestedAt"] == first["requestedAt"]
        artifact = await made(server, recording_id, "grid")
        assert artifact["status"] == "ready", artifact
        async with httpx.AsyncClient(base_url=stack.url) as anybody:
            answer = await anybody.get(artifact["url"])
        assert answer.status_code == 200
        view = looked_at(answer.content, folder)
        assert len(view.times_ms) == 3 * FPS
        assert all(view.sights["p0"].visible())
        assert told(stack, recording_id)[-2:] == ["recordingcompleted", "recordingupdated"]

        await server.send("DELETE", f"/{recording_id}/compositions/grid")
        answer = await client.get(stack.url + artifact["url"])
        assert answer.json()["code"] == "unknown_file"
        state = await server.send("GET", f"/{recording_id}")
        assert "composition.mp4" in {each["name"] for each in state["artifacts"] if each["status"] == "ready"}
        await server.send("DELETE", f"/{recording_id}")


def test_layouts_change_and_films_follow(stack: Stack, tmp_path: Path) -> None:
    asyncio.run(story(stack, tmp_path))
