"""Real recordings of real browsers, said again over HTTP in real time with their clocks, and what came of them.

Bounds are what must hold; figures are printed, for they are what the README claims. A floor is what a capture itself
is off; nothing but the distance to it is the composition's doing.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from callreel.model import PREVIEWS
from tests.kit.capture import NAMES, Capture, load_named
from tests.kit.container import FileFacts, facts_of
from tests.kit.detect import Findings, examine
from tests.kit.replay import Replayed, Server, new_client, replay
from tests.stack import Stack

FPS = 30
FOUND = 0.99  #: of the seconds somebody was there
ADDED_MS = 20  #: flash and beep beyond the floor
AV_MS = 25  #: sound against picture, with a recorder for each
READY_S = 60  #: after stop, on a machine that is busy with other things


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A capture, what was said, what the server made of it, and what is in it."""

    capture: Capture
    replayed: Replayed
    state: dict[str, Any]
    manifest: dict[str, Any]
    facts: FileFacts
    findings: dict[str, Findings]


@pytest.fixture(scope="module")
def films(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    """All captures at once, each a call of its own: 24 s of real time."""
    folder = tmp_path_factory.mktemp("films")
    return dict(zip(NAMES, asyncio.run(_record(stack, folder)), strict=True))


async def _record(stack: Stack, folder: Path) -> list[Seen]:
    async with new_client() as client:
        servers = [Server(stack.url, stack.token, f"captured-{name}", client) for name in NAMES]
        captures = [load_named(name) for name in NAMES]
        replayed = await asyncio.gather(*(replay(s, c) for s, c in zip(servers, captures, strict=True)))
        found = []
        for server, capture, done in zip(servers, captures, replayed, strict=True):
            state = await server.finished(done.recording_id, READY_S)
            film = folder / f"{capture.name}.mp4"
            film.write_bytes(await server.file(done.recording_id, "composition.mp4"))
            manifest = await server.json_file(done.recording_id, "manifest.json")
            findings, _ = examine(film, capture)
            found.append(
                Seen(
                    capture=capture,
                    replayed=done,
                    state=state,
                    manifest=manifest,
                    facts=facts_of(film),
                    findings=findings,
                )
            )
        return found


@pytest.mark.parametrize("name", NAMES)
def test_everybody_is_seen_and_heard_while_there_and_nobody_else(name: str, films: dict[str, Seen]) -> None:
    for found in films[name].findings.values():
        print(f"{name} {found}")
        assert found.seen[1] > 0, found
        assert found.heard[1] > 0, found
        assert found.seen[0] >= FOUND * found.seen[1], found
        assert found.heard[0] >= FOUND * found.heard[1], found
        assert found.seen_absent == [], found
        assert found.heard_absent == [], found


@pytest.mark.parametrize("name", NAMES)
def test_flashes_and_beeps_are_where_the_capture_has_them(name: str, films: dict[str, Seen]) -> None:
    for found in films[name].findings.values():
        assert abs(found.flash_added_ms) <= ADDED_MS, found
        assert abs(found.beep_added_ms) <= ADDED_MS, found


@pytest.mark.parametrize("name", NAMES)
def test_the_certificate_keeps_its_word(name: str, films: dict[str, Seen]) -> None:
    film = films[name]
    for participant, found in film.findings.items():
        own = [sync["uncertaintyMs"] for sync in film.state["sync"] if sync["participantId"] == participant]
        print(f"{name} {participant}: at most {own} ms off; {found}")
        assert max(abs(found.flash_added_ms), abs(found.beep_added_ms)) <= max(own), found
    assert any(item["name"] == "certificate.html" and item["url"] for item in film.state["artifacts"])


def test_sound_and_picture_of_separate_recorders_are_together(films: dict[str, Seen]) -> None:
    for found in films["duo-split"].findings.values():
        assert abs(found.av_ms) <= AV_MS, found


@pytest.mark.parametrize("name", NAMES)
def test_the_film_is_exactly_what_lies_between_start_and_stop(name: str, films: dict[str, Seen]) -> None:
    film = films[name]
    length_ms = film.replayed.stopped_ms - film.replayed.started_ms
    assert film.state["durationMs"] == film.manifest["durationMs"] == length_ms
    assert film.facts.pictures == round(length_ms * FPS / 1000), film.facts
    assert film.facts.uniform, film.facts
    assert film.facts.first_picture_ms == 0, film.facts
    assert abs(film.facts.sound_ms - length_ms) < 2 * 1024 / 48, film.facts  # two AAC frames


@pytest.mark.parametrize("name", NAMES)
def test_the_film_plays_everywhere(name: str, films: dict[str, Seen]) -> None:
    facts = films[name].facts
    assert (facts.video_codec, facts.video_profile, facts.pixel_format) == ("h264", "High", "yuv420p")
    assert (facts.width_px, facts.height_px) == (1280, 720)
    assert (facts.audio_codec, facts.audio_profile, facts.audio_rate_hz) == ("aac", "LC", 48000)
    assert facts.fast_start, facts.boxes


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_missing(name: str, films: dict[str, Seen]) -> None:
    film = films[name]
    assert film.state["status"] == "completed"
    assert film.state["complete"] is True
    assert film.state["gaps"] == film.manifest["gaps"] == []
    assert {p["participantId"] for p in film.state["participants"]} == set(film.capture.participants)


@pytest.mark.parametrize("name", NAMES)
def test_thumbnails_and_waveforms_follow_the_film(name: str, stack: Stack, films: dict[str, Seen]) -> None:
    url = f"{stack.url}/video-calls/captured-{name}/recording/{films[name].state['recordingId']}"
    deadline = time.monotonic() + READY_S
    while True:
        state = httpx.get(url, headers=stack.headers("viewer")).json()["data"]
        artifacts = {each["name"]: each for each in state["artifacts"] if each["kind"] in PREVIEWS}
        if {each["status"] for each in artifacts.values()} == {"ready"}:
            break
        assert time.monotonic() < deadline, artifacts
        time.sleep(0.2)
    assert artifacts.keys() == {each["name"] for each in films[name].manifest["previews"]}
    cues = httpx.get(stack.url + artifacts["thumbnails/sprite.vtt"]["url"])
    images = {line.partition("#")[0] for line in cues.text.splitlines() if "#xywh=" in line}
    assert [image.partition("?")[0] for image in images] == ["sprite-000.jpg"]
    for image in images:  # as a player asks, which has no token
        answer = httpx.get(f"{url}/files/thumbnails/{image}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
        assert answer.content[:2] == b"\xff\xd8"
