"""The call page in real Chromium: two windows, one link, a recording, a film with both in it, seen and heard."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, Playwright, Route

from tests.kit import ears, eyes
from tests.kit.browser import ADA, GRACE, Person, enter, launch, page_elsewhere, sees, until
from tests.stack import Stack, running

RECORDED_S = 10
PAUSED_S = 2
_FILM_WITHIN_S = 150  #: two browsers, two calls and the renderer on two cores; a machine of its own takes some seconds
_MAY_MISS_S = 1.5  #: recorders begin when the event has come, and a browser under load takes its time
_BEEP_EVERY_S = 1


def watch_film(page: Page) -> str:
    """Plays the film in the page; returns its address."""
    player = page.wait_for_selector("video.film-player", timeout=_FILM_WITHIN_S * 1000)
    assert player
    player.evaluate("video => { video.muted = true; return video.play(); }")
    until(lambda: player.evaluate("video => video.currentTime > 2"), 20, "two seconds of film")
    assert player.evaluate("video => [video.videoWidth, video.videoHeight, video.error]") == [1280, 720, None]
    return str(player.evaluate("video => video.currentSrc"))


def assert_seen_and_heard(film: Path, people: list[Person], recorded_s: float) -> None:
    view = eyes.watch(film, {person.name: person.rgb for person in people})
    assert view.times_ms[-1] / 1000 == pytest.approx(recorded_s, abs=0.1)
    _, samples = ears.decode_placed(film)
    boxes = []
    for person in people:
        sight = view.sights[person.name]
        seen_s = sum(sight.visible()) / len(sight.state) * recorded_s
        assert seen_s >= recorded_s - _MAY_MISS_S, f"{person.name} is seen for {seen_s:.1f} of {recorded_s:.1f} s"
        beeps = len(ears.onsets_ms(samples, person.tone_hz))
        expected = (recorded_s - _MAY_MISS_S) / _BEEP_EVERY_S - 1
        assert beeps >= expected, f"{person.name} is heard {beeps} times in {recorded_s:.1f} s"
        boxes.append(next(box for box in reversed(sight.box) if box))
    (left, _, right, _), (other_left, _, other_right, _) = boxes
    assert right <= other_left or other_right <= left, f"side by side: {boxes}"


def pressed(page: Page, button: str) -> tuple[float, float]:
    """When a button was pressed, in seconds of this machine's clock, and how far off that may be: a busy machine lets
    a click wait."""
    began_s = time.monotonic()
    page.click(button)
    ended_s = time.monotonic()
    return (began_s + ended_s) / 2, (ended_s - began_s) / 2


def look_at_what_is_live(page: Page) -> None:
    """The page offers what a recording has of a stream, once it has three segments; these say so and are not there."""

    def with_stream(route: Route) -> None:
        answer = route.fetch()
        body = answer.json()
        body["data"]["artifacts"] = [{"name": "hls/index.m3u8", "status": "ready", "url": "/three/index.m3u8"}]
        route.fulfill(response=answer, json=body)

    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:8\n" + "".join(f"#EXTINF:8,\n{n}.m4s\n" for n in range(3))
    page.route("**/video-calls/*/recording", with_stream)
    page.route("**/three/*", lambda route: route.fulfill(body=playlist, content_type="application/vnd.apple.mpegurl"))
    page.wait_for_selector("#watch-live:not([hidden])", timeout=20_000)
    with page.expect_request(lambda request: request.resource_type == "media" and "/three/" in request.url):
        page.click("#watch-live")
    assert page.is_visible("#panel")
    page.click("#panel-close")
    page.unroute_all(behavior="wait")


def film_of_a_call(
    playwright: Playwright, chromium: str, link: str, folder: Path, length_s: float = RECORDED_S, *, live: bool = False
) -> str:
    """Ada and Grace open the same link, she who came first records; the film is looked at. Returns its address."""
    with launch(playwright, chromium, ADA, folder) as first, launch(playwright, chromium, GRACE, folder) as second:
        ada = enter(first.new_context(), link, ADA.name)
        grace = enter(second.new_context(), link, GRACE.name)
        for page in (ada, grace):
            until(lambda page=page: sees(page, 2), 20, "both in the call")  # type: ignore[misc]  # mypy cannot type a lambda with a default
        assert grace.is_hidden("#record")
        pressed_s = [pressed(ada, "#record")]
        for page in (ada, grace):
            page.wait_for_selector("#rec:not([hidden])")
        began_s = time.monotonic()
        if live:
            look_at_what_is_live(grace)
        time.sleep(max(0, began_s + length_s / 2 - time.monotonic()))
        assert grace.is_hidden("#pause")
        pressed_s.append(pressed(ada, "#pause"))
        for page in (ada, grace):
            page.wait_for_selector("#rec.paused")
        time.sleep(PAUSED_S)
        pressed_s.append(pressed(ada, "#pause"))
        for page in (ada, grace):
            page.wait_for_selector("#rec:not(.paused)")
        time.sleep(length_s / 2)
        pressed_s.append(pressed(ada, "#record"))
        address = watch_film(ada)
        grace.wait_for_selector("video.film-player", timeout=10_000)
        recorded_s = ada.evaluate("document.querySelector('video.film-player').duration")
        assert "Ada · Camera" in ada.inner_text("#panel")
        assert "Grace · Microphone" in ada.inner_text("#panel")
    (began_s, a), (paused_s, b), (resumed_s, c), (ended_s, d) = pressed_s
    assert recorded_s == pytest.approx(ended_s - resumed_s + paused_s - began_s, abs=2 + a + b + c + d)
    film = folder / "composition.mp4"
    film.write_bytes(httpx.get(address).content)
    assert_seen_and_heard(film, [ADA, GRACE], recorded_s)
    return address


def test_the_printed_link_in_two_windows_makes_a_film_with_both(
    playwright: Playwright, chromium: str, stack: Stack, tmp_path: Path
) -> None:
    address = film_of_a_call(playwright, chromium, stack.demo_link, tmp_path, live=True)
    assert address.startswith(stack.url)


def test_page_and_server_may_live_on_different_origins(playwright: Playwright, chromium: str, tmp_path: Path) -> None:
    with (
        page_elsewhere() as origin,
        running(tmp_path / "data", "--workers", "1", env={"CALLREEL_CORS_ORIGINS": origin}) as stack,
    ):
        token = stack.token("host", "elsewhere", "host")
        link = f"{origin}/#call=elsewhere&token={token}&endpoint={quote(stack.url, safe='')}"
        address = film_of_a_call(playwright, chromium, link, tmp_path, length_s=6)
        assert address.startswith(stack.url)


def wait_for_locks(context: BrowserContext, address: str) -> None:
    """Until no window of an address's origin holds a lock: the browser lets go of them some time after it closed it."""
    looking = context.new_page()
    looking.goto(address)
    until(
        lambda: not looking.evaluate("navigator.locks.query().then(({ held }) => held.length)"), 30, "no lock is held"
    )
    looking.close()


def test_a_window_that_went_away_offline_sends_the_rest_when_it_is_opened_again(
    playwright: Playwright, chromium: str, stack: Stack, tmp_path: Path
) -> None:
    call = "comes-back"
    link = f"{stack.url}/#call={call}&token={stack.token('host', call, 'host')}"
    with launch(playwright, chromium, ADA, tmp_path) as browser:
        context = browser.new_context()
        sockets: list[str] = []
        requests: list[str] = []
        context.on("page", lambda page: page.on("websocket", lambda socket: sockets.append(socket.url)))
        context.on("request", lambda request: requests.append(request.url))
        page = enter(context, link, ADA.name)
        page.click("#record")
        page.wait_for_selector("#rec:not([hidden])")
        time.sleep(3)
        events = f"/video-calls/{call}/events"
        assert any(url.endswith(events) for url in sockets), "events come by a WebSocket"
        assert not any(url.endswith(events) for url in requests), "which takes no connection from the uploads"
        context.set_offline(True)
        until(lambda: "to send" in page.inner_text(".tile.mine"), 30, "that it says what waits")
        page.close(run_before_unload=False)
        context.set_offline(False)
        wait_for_locks(context, f"{stack.url}/livez")
        page = enter(context, link, ADA.name)
        page.wait_for_selector("text=/pieces? from your last visit (was|were) sent/", timeout=20_000)
        page.click("#record")
        watch_film(page)
        headers = stack.headers("host", call, "host")
        recordings = httpx.get(f"{stack.url}/video-calls/{call}/recordings", headers=headers).json()["data"]["items"]
    (recording,) = recordings
    (participant,) = recording["participants"]
    tracks = [track for track in participant["tracks"] if track["source"] == "camera"]
    assert len(tracks) == 1, "a window that comes back goes on with its track"
    assert tracks[0]["segments"] >= 2
    assert recording["complete"] is True, recording["gaps"]
