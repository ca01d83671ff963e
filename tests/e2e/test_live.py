"""A call watched while it runs, and on to its end and beyond, by players that nobody told anything but an address."""

from __future__ import annotations

import asyncio
import hashlib
import io
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import av
import httpx
import pytest
from playwright.sync_api import Browser, Page, Playwright

from tests.kit.browser import FLAGS, WEB_CLIENT, enter, until
from tests.kit.call_generator import generate_call
from tests.kit.capture import Capture, load_named
from tests.kit.replay import Replayed, Server, new_client, replay
from tests.stack import Stack
from workers import ffmpeg

_MODULES = WEB_CLIENT / "node_modules"
_WINDOW_S = 8
_RENDER_S = 20  #: a window, on a machine that is busy with other things
_PAGE = """<!doctype html><title>Players</title>
<video id=hls muted></video><video id=dash muted></video>"""
_NATIVE = """(hls) => {
  const video = document.createElement("video")
  Object.assign(video, { id: "native", muted: true, src: hls })
  video.onerror = () => faults.push(`native: ${video.error.message}`)
  document.body.append(video)
  video.play().catch((error) => faults.push(`native: ${error}`))
}"""
_PLAY = """([hls, dash]) => {
  window.faults = []
  const told = (name) => document.getElementById(name)
  const player = new Hls({ enableWorker: false })
  player.on(Hls.Events.ERROR, (_, data) => { if (data.fatal) faults.push(`hls: ${data.type} ${data.details}`) })
  player.loadSource(hls)
  player.attachMedia(told("hls"))
  const other = dashjs.MediaPlayer().create()
  other.on("error", (event) => faults.push(`dash: ${event.error?.code} ${event.error?.message}`))
  other.initialize(told("dash"), dash, true)
  told("hls").play()
  Object.assign(window, { player, other })
}"""

pytestmark = pytest.mark.skipif(not (_MODULES / "hls.js").is_dir(), reason="needs `npm ci` in web_client")


@dataclass
class Watched:
    """What was seen of a stream while its call ran."""

    url: str = ""  #: of the HLS playlist, signed
    dash_url: str = ""
    appeared: list[tuple[float, float]] = field(default_factory=list)  #: (begins at, listed at), seconds of the day
    digests: dict[str, str] = field(default_factory=dict)  #: of a segment by its name
    begun: threading.Event = field(default_factory=threading.Event)

    def look(self, server: httpx.Client, state_url: str, headers: dict[str, str]) -> None:
        if not self.url:
            artifacts = server.get(state_url, headers=headers).json()["data"]["artifacts"]
            urls = {artifact["name"]: artifact["url"] for artifact in artifacts}
            if "hls/index.m3u8" not in urls:
                return
            self.url, self.dash_url = urls["hls/index.m3u8"], urls["dash/manifest.mpd"]
        lines = server.get(self.url).raise_for_status().text.splitlines()
        begins = [datetime.fromisoformat(line.split(":", 1)[1]).timestamp() for line in lines if "DATE-TIME" in line]
        self.appeared += [(at, time.time()) for at in begins[len(self.appeared) :]]
        for name in (line for line in lines if not line.startswith("#")):
            if name not in self.digests:
                self.digests[name] = hashlib.sha256(server.get(urljoin(self.url, name)).content).hexdigest()
        self.begun.set()


@contextmanager
def calling(stack: Stack, capture: Capture) -> Iterator[tuple[Watched, Future[tuple[Replayed, dict[str, Any]]]]]:
    """A call in a thread of its own, said again in real time; and somebody who looks at the playlist."""
    call_id = f"watched-{capture.name}"
    watched, done, over = Watched(), Future[tuple[Replayed, dict[str, Any]]](), threading.Event()

    async def call() -> tuple[Replayed, dict[str, Any]]:
        async with new_client() as client:
            server = Server(stack.url, stack.token, call_id, client)
            said = await replay(server, capture, options={"preset": "480p"})
            return said, await server.finished(said.recording_id, 90)

    def run() -> None:
        try:
            done.set_result(asyncio.run(call()))
        except BaseException as error:  # noqa: BLE001  # the test's own thread raises it
            done.set_exception(error)

    def look() -> None:
        with httpx.Client(base_url=stack.url, trust_env=False) as client:
            headers = stack.headers("viewer", call_id)
            while not over.wait(0.2):
                found = client.get(f"/video-calls/{call_id}/recordings", headers=headers).json()["data"]["items"]
                if found:
                    watched.look(client, f"/video-calls/{call_id}/recording/{found[0]['recordingId']}", headers)

    threads = [threading.Thread(target=work, daemon=True) for work in (run, look)]
    for thread in threads:
        thread.start()
    try:
        yield watched, done
    finally:
        over.set()
        for thread in threads:
            thread.join(120)


def test_a_call_is_watched_while_it_runs_and_to_its_end(
    stack: Stack, playwright: Playwright, chromium: str, tmp_path: Path
) -> None:
    watch(stack, playwright, chromium, tmp_path, load_named("duo-split"), native=False)


@pytest.mark.slow
def test_chromium_itself_watches_a_call_of_which_three_segments_are_there(
    stack: Stack, playwright: Playwright, chromium: str, tmp_path: Path
) -> None:
    watch(stack, playwright, chromium, tmp_path, generate_call(seed=11, count=2, length_ms=48_000), native=True)


def watch(stack: Stack, playwright: Playwright, chromium: str, folder: Path, capture: Capture, *, native: bool) -> None:
    """`native`: Chromium's own player begins while the call runs, and not after it. It wants three segments then (RFC
    8216, 6.3.3: a client should not begin nearer to the end of what is live)."""
    browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
    try:
        with calling(stack, capture) as (watched, done):
            assert watched.begun.wait(60), "no segment while the call ran"
            assert not done.done()
            page = browser.new_page()
            page.route("**/players", lambda route: route.fulfill(body=_PAGE, content_type="text/html"))
            page.goto(f"{stack.url}/players")
            page.add_script_tag(path=_MODULES / "hls.js" / "dist" / "hls.min.js")
            page.add_script_tag(path=_MODULES / "dashjs" / "dist" / "modern" / "umd" / "dash.all.min.js")
            page.evaluate(_PLAY, [stack.url + watched.url, stack.url + watched.dash_url])
            play(page)
            if native:
                until(lambda: len(watched.appeared) >= 3 or done.done(), 90, "three segments")
                watch_in_the_call(stack, browser, f"watched-{capture.name}", folder)
                page.evaluate(_NATIVE, stack.url + watched.url)
                play(page)
            assert not done.done(), "the call was over before anybody saw it"
            said, state = done.result(120)
            if not native:
                page.evaluate(_NATIVE, stack.url + watched.url)
                play(page)
            # Chromium's own player refuses other rates than 1 of what it took for live
            hurried = "video:not(#native)" if native else "video"
            page.evaluate(f"for (const video of document.querySelectorAll('{hurried}')) video.playbackRate = 4")
            ended = "[...document.querySelectorAll('video')].every(video => video.ended)"
            until(lambda: faults(page) or page.evaluate(ended), 120, "all of it was seen")
            assert faults(page) == []
            durations = page.evaluate("[...document.querySelectorAll('video')].map(video => video.duration)")
            film_s = (said.stopped_ms - said.started_ms) / 1000
            assert all(abs(duration - film_s) < 0.1 for duration in durations), (durations, film_s)
    finally:
        browser.close()
    check_delay(watched)
    check_archive(stack, said, watched, film_s, folder)
    assert {"hls/index.m3u8", "dash/manifest.mpd"} <= {artifact["name"] for artifact in state["artifacts"]}


def watch_in_the_call(stack: Stack, browser: Browser, call_id: str, folder: Path) -> None:
    """Somebody comes into the call page by now, and watches there."""
    link = f"{stack.url}/#call={call_id}&token={stack.token('host', call_id, 'host')}"
    page = enter(browser.new_context(), link, "Ada")
    page.wait_for_selector("#watch-live:not([hidden])", timeout=30_000)
    page.click("#watch-live")
    player = page.wait_for_selector("video.film-player")
    assert player
    until(lambda: player.evaluate("video => video.videoWidth && video.currentTime > 0.5"), 30, "it plays in the page")
    assert player.evaluate("video => video.muted")
    page.screenshot(path=folder / "live.png")
    page.click("#panel-close")
    assert not page.query_selector("video.film-player")
    page.context.close()


def play(page: Page) -> None:
    """Wait until pictures move in every player."""
    until(lambda: faults(page) or all(at > 0.5 for at in times(page)), 60, "pictures move")
    assert faults(page) == []


def times(page: Page) -> list[float]:
    found: list[float] = page.evaluate("[...document.querySelectorAll('video')].map(video => video.currentTime)")
    return found


def faults(page: Page) -> list[str]:
    found: list[str] = page.evaluate("faults")
    return found


def check_delay(watched: Watched) -> None:
    """How far the newest segment's end is behind the clock, at most: just before the next one is listed."""
    listed = watched.appeared[:2]  # what is listed after stop was not live
    assert len(listed) == 2
    after_s = [at - begins - _WINDOW_S for begins, at in listed]
    behind_s = listed[1][1] - listed[0][0] - _WINDOW_S
    print(
        f"listed {', '.join(f'{s:.1f}' for s in after_s)} s after their ends; behind the clock at most {behind_s:.1f} s"
    )
    assert behind_s <= 2 * _WINDOW_S + _RENDER_S


def check_archive(stack: Stack, said: Replayed, watched: Watched, film_s: float, folder: Path) -> None:
    """The same address afterwards: the live segments' bytes, a film that ffmpeg and PyAV read from end to end."""
    with httpx.Client(base_url=stack.url, trust_env=False) as client:
        text = client.get(watched.url).raise_for_status().text
        assert text.endswith("#EXT-X-ENDLIST\n")
        lines = text.splitlines()
        assert abs(sum(float(line[8:-1]) for line in lines if line.startswith("#EXTINF:")) - film_s) < 1 / 30
        names = [line for line in lines if not line.startswith("#")]
        segments = [client.get(urljoin(watched.url, name)).raise_for_status().content for name in names]
        live = [watched.digests[name] for name in names[:2]]
        assert [hashlib.sha256(segment).hexdigest() for segment in segments[:2]] == live
        init = client.get(urljoin(watched.url, text.partition('URI="')[2].partition('"')[0])).content
    with av.open(io.BytesIO(init + b"".join(segments)), "r") as film:
        assert len(list(film.decode(video=0))) == round(film_s * 30)
    for url in (watched.url, watched.dash_url):
        copy = folder / "copy.mp4"
        wanted = ["-protocol_whitelist", "http,tcp,file", "-allowed_extensions", "ALL"] if "m3u8" in url else []
        ffmpeg.run([*wanted, "-i", stack.url + url, "-c", "copy", "-y", str(copy)], timeout_s=60)
        with av.open(str(copy), "r") as film:
            assert film.duration is not None
            assert abs(film.duration / 1_000_000 - film_s) < 0.1
            assert len(film.streams) == 2
