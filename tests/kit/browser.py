"""Chromium with a camera and a microphone of our own making: one colour, and a tone that comes and goes.

Colours and tones are those of the captures, so that the same eyes and ears find them in a film.
"""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, BrowserContext, Page, Playwright

from .eyes import Rgb

WEB_CLIENT = Path(__file__).parents[2] / "web_client"

FLAGS = (
    "--no-sandbox",  # CI runs as root
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)

_WIDTH_PX, _HEIGHT_PX, _FPS = 640, 360, 30
_RATE_HZ = 48_000
_BEEP_S = 0.3  #: noise suppression takes away what lasts; a third of a second it takes for speech


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    name: str
    rgb: Rgb
    tone_hz: int


ADA = Person(name="Ada", rgb=(96, 0, 0), tone_hz=523)
GRACE = Person(name="Grace", rgb=(0, 96, 0), tone_hz=784)


def launch(playwright: Playwright, chromium: str, person: Person, folder: Path) -> Browser:
    """A browser before which this person sits."""
    camera, microphone = folder / f"{person.name}.y4m", folder / f"{person.name}.wav"
    write_camera(camera, person.rgb)
    write_microphone(microphone, person.tone_hz)
    devices = (f"--use-file-for-fake-video-capture={camera}", f"--use-file-for-fake-audio-capture={microphone}")
    return playwright.chromium.launch(executable_path=chromium, args=[*FLAGS, *devices])


def write_camera(path: Path, rgb: Rgb) -> None:
    """A second of one colour with a small thing that moves, as YUV4MPEG2; Chromium plays it again and again."""
    red, green, blue = rgb
    luma = round(16 + (65.738 * red + 129.057 * green + 25.064 * blue) / 256)
    blueness = round(128 + (-37.945 * red - 74.494 * green + 112.439 * blue) / 256)
    redness = round(128 + (112.439 * red - 94.154 * green - 18.285 * blue) / 256)
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{_WIDTH_PX} H{_HEIGHT_PX} F{_FPS}:1 Ip A1:1 C420\n".encode())
        for n in range(_FPS):
            picture = np.full((_HEIGHT_PX, _WIDTH_PX), luma, np.uint8)
            left = 40 + 18 * n
            picture[_HEIGHT_PX - 24 : _HEIGHT_PX - 12, left : left + 12] = 200
            chroma = np.ones((_HEIGHT_PX // 2, _WIDTH_PX // 2), np.uint8)
            planes = [picture, (chroma * blueness).astype(np.uint8), (chroma * redness).astype(np.uint8)]
            file.write(b"FRAME\n" + b"".join(plane.tobytes() for plane in planes))


def write_microphone(path: Path, tone_hz: int) -> None:
    """A second that begins with a beep."""
    at_s = np.arange(_RATE_HZ) / _RATE_HZ
    sound = 0.5 * np.sin(2 * np.pi * tone_hz * at_s) * (at_s < _BEEP_S)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE_HZ)
        file.writeframes((sound * 32767).astype("<i2").tobytes())


def until(condition: Callable[[], object], within_s: float, what: str) -> None:
    """Wait in the test's own time: the page's policy forbids Playwright's evaluated conditions."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.1)


def enter(context: BrowserContext, link: str, name: str) -> Page:
    """Open a link, wait for the camera, say a name, join."""
    page = context.new_page()
    page.goto(link)
    until(lambda: page.evaluate("document.querySelector('#preview-video').videoWidth"), 20, "a picture of oneself")
    page.fill("#name", name)
    page.click("#join")
    page.wait_for_selector(".tile.mine")
    return page


def sees(page: Page, people: int) -> bool:
    """Whether so many pictures move in this window."""
    playing = "[...document.querySelectorAll('.tile video')].filter(v => v.videoWidth && v.currentTime > 0).length"
    return bool(page.evaluate(playing) == people)


@contextlib.contextmanager
def page_elsewhere() -> Iterator[str]:
    """The call page on an origin that is not the server's, as any web server would give it out."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def translate_path(self, path: str) -> str:
            path = path.split("?")[0]
            return str(WEB_CLIENT / path.replace("/client/", "src/").lstrip("/"))

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
