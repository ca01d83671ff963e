"""Windows that share a browser, come back, go away or lose their worker; and how well their sources are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, Playwright

from tests.kit.browser import FLAGS, until
from tests.kit.lab import Lab, lab, open_lab
from tests.kit.lab_call import Call, hexed, logged, record
from tests.stack import Stack


@pytest.fixture(scope="module")
def browser(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    """With its back/forward cache, which Playwright turns off."""
    without = ["--disable-back-forward-cache"]
    with playwright.chromium.launch(executable_path=chromium, args=list(FLAGS), ignore_default_args=without) as browser:
        yield browser


@pytest.fixture
def way(stack: Stack) -> Iterator[Lab]:
    with lab(stack.url) as way:
        yield way


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context(permissions=["camera", "microphone"]) as context:
        yield context


def refuse_chunks(method: str, path: str, chunk: str) -> int | None:
    return 503 if method == "POST" and path.endswith("/chunks") else None


def let_through(method: str, path: str, chunk: str) -> None:
    return None


def kept(page: Page) -> dict[tuple[str, int, int], str]:
    """Every chunk that is on this browser's disk: place → SHA-256."""
    return {(c["trackId"], c["seg"], c["seq"]): hexed(c["digest"]) for c in logged(page, "chunk")}


def sent(page: Page) -> set[tuple[str, int, int]]:
    return {(c["trackId"], c["seg"], c["seq"]) for c in logged(page, "acknowledged")}


def seen(page: Page, expression: str) -> Any:
    """Its value; None in the moment between two pages."""
    try:
        return page.evaluate(expression)
    except Error:
        return None


def test_what_a_window_left_is_sent_by_one_of_the_others_for_all(
    context: BrowserContext, way: Lab, stack: Stack
) -> None:
    call = Call(stack, "tabs")
    recording_id = call.start()
    way.fault = refuse_chunks
    first = open_lab(context, way.url)
    record(first, call, "{ timesliceMs: 500 }", "camera,microphone")
    until(lambda: len({track for track, _, _ in kept(first)}) == 2 and len(kept(first)) >= 6, 60, "chunks on disk")
    left = kept(first)
    first.close()
    others = [open_lab(context, way.url) for _ in range(3)]
    for page in others:
        record(page, call, "{ follow: false }", "")
        page.evaluate("void recorder.recoverPending()")
    until(lambda: way.faults and any(logged(page, "retry") for page in others), 60, "that one of them tries")
    time.sleep(1)  # whoever else wanted to would have begun by now
    trying = [page for page in others if logged(page, "retry")]
    assert len(trying) == 1
    trying[0].close()  # and what it had not sent goes to another
    others.remove(trying[0])
    way.fault = let_through
    deadline = time.monotonic() + 60
    while not left.keys() <= call.stored(recording_id).keys():
        for page in others:
            page.evaluate("void recorder.recoverPending()")
        assert time.monotonic() < deadline, "another window goes on"
        time.sleep(0.2)
    stored = call.stored(recording_id)
    assert {place: stored[place] for place in left} == left
    until(lambda: any(logged(page, "completed") for page in others), 30, "complete")
    told = [page for page in others if sent(page)]
    assert len(told) == 1
    assert not [entry for entry in logged(told[0], "acknowledged") if entry["duplicate"]]
    call.say("stop")


def test_a_page_that_goes_still_sends_what_fits(context: BrowserContext, way: Lab, stack: Stack) -> None:
    call = Call(stack, "going")
    recording_id = call.start()
    way.fault = refuse_chunks
    page = open_lab(context, way.url)
    record(page, call, "{ timesliceMs: 500 }", "microphone")
    until(lambda: len(kept(page)) >= 3, 60, "chunks on disk")
    left = kept(page)
    assert not call.stored(recording_id)
    way.fault = let_through
    # the uploader waits for its next try; only what outlives the page can bring anything
    page.evaluate("lab.log.length = 0; history.pushState(null, ''); location.href = '/lab.js'")
    until(lambda: left.keys() <= call.stored(recording_id).keys(), 30, "what the page sent while it went")
    stored = call.stored(recording_id)
    assert {place: stored[place] for place in left} == left
    # a page that records is not kept (`mediastream`), so this is a new one, and it goes on with the same track
    page.goto(way.url)
    until(lambda: page.title() == "ready", 30, "the library")
    record(page, call, "{ timesliceMs: 500 }", "microphone")
    until(lambda: kept(page), 60, "that it records again")
    assert page.evaluate("recorder.end({ drainTimeoutMs: 30000 })")["drained"]
    stored = call.stored(recording_id)
    assert len({track for track, _, _ in stored}) == 1
    assert {seg for _, seg, _ in stored} == {0, 1}
    call.say("stop")


def test_a_page_from_the_back_forward_cache_goes_on(context: BrowserContext, way: Lab, stack: Stack) -> None:
    call = Call(stack, "returned")
    page = open_lab(context, way.url)
    page.evaluate("addEventListener('pageshow', ({ persisted }) => (window.persisted = persisted))")
    record(page, call, "{ follow: false, timesliceMs: 500 }", "")
    until(lambda: page.evaluate("recorder.clock.belief !== null"), 30, "the server's time")
    page.evaluate("window.believed = 0; recorder.clock.on('belief', () => believed++); null")
    page.evaluate("setTimeout(() => (location.href = '/lab.js'), 0)")
    until(lambda: seen(page, "location.pathname") == "/lab.js", 30, "another page")
    page.evaluate("setTimeout(() => history.back(), 0)")
    until(lambda: seen(page, "document.title") == "ready", 30, "the page again")
    assert page.evaluate("window.persisted") is True, "it was loaded anew, so nothing of this was tried"
    until(lambda: page.evaluate("believed") > 0, 30, "that the clock is asked for again")
    recording_id = call.start()
    page.evaluate(
        "window.microphone = lab.microphone();"
        "recorder.addTrack(microphone.track, { source: 'microphone' }).then(() => null)"
    )
    until(lambda: len(sent(page)) >= 2, 60, "chunks of a page that came back")
    assert page.evaluate("recorder.end({ drainTimeoutMs: 30000 })")["drained"]
    assert call.stored(recording_id).keys() == kept(page).keys()
    call.say("stop")


@pytest.mark.parametrize(
    ("how", "ends"),
    [
        ("dies", "throw new Error('out of memory')"),
        pytest.param("hangs", "for (;;);", marks=pytest.mark.slow),  # that takes twenty seconds to be sure of
    ],
)
def test_a_worker_that_ends_costs_nothing(context: BrowserContext, way: Lab, stack: Stack, how: str, ends: str) -> None:
    call = Call(stack, f"worker-{how}")
    recording_id = call.start()
    way.fault = refuse_chunks
    page = open_lab(context, way.url)
    record(page, call, "{ timesliceMs: 500 }")
    until(lambda: len(kept(page)) >= 6, 60, "chunks on disk")
    (worker,) = page.workers
    worker.evaluate(f"setTimeout(() => {{ {ends} }}, 0)")
    until(lambda: page.title() and not page.workers, 60, "that it is gone")
    before = len(kept(page))
    until(lambda: len(kept(page)) >= before + 4, 60, "that recording goes on")
    assert not call.stored(recording_id)
    way.fault = let_through
    assert page.evaluate("recorder.end({ drainTimeoutMs: 60000 })")["drained"]
    assert [segment["reason"] for segment in logged(page, "segment")] == ["begun", "begun"], "no recorder was stopped"
    assert call.stored(recording_id) == kept(page)
    call.say("stop")


def test_the_host_sees_who_is_at_risk(context: BrowserContext, way: Lab, stack: Stack) -> None:
    call = Call(stack, "health")
    call.start()
    page = open_lab(context, way.url)
    # looked at every ten seconds; tests have less patience
    page.evaluate("const real = setInterval; window.setInterval = (f, ms) => real(f, ms === 10_000 ? 400 : ms); null")
    record(page, call, "{ timesliceMs: 500 }", "microphone")
    page.evaluate(
        """async () => {
          const [camera] = (await navigator.mediaDevices.getUserMedia({ video: true })).getVideoTracks();
          await recorder.addTrack(camera, { source: "camera" });
          window.camera = camera;
        }"""
    )

    def told(source: str) -> dict[str, Any]:
        answer = httpx.get(f"{call.url}/participants", headers=call.headers).json()["data"]["items"]
        found = [t["health"] for who in answer for t in who["tracks"] if t["source"] == source and t["health"]]
        return dict(found[0]["data"]) if found else {}

    until(lambda: told("microphone").get("levelDb", -100) > -20, 30, "how loud it is")
    assert told("microphone")["clipping"] is False
    until(lambda: told("camera").get("frozen") is False, 30, "that the camera delivers")
    assert told("camera")["onDisk"] is True
    assert told("camera")["freeBytes"] > 0
    page.evaluate("microphone.loud(4)")
    until(lambda: told("microphone").get("clipping") is True, 30, "that it is too loud")
    page.evaluate("Object.defineProperty(camera, 'stats', { value: { totalFrames: 7 } })")  # as a driver that hangs
    until(lambda: told("camera").get("frozen") is True, 30, "that it is frozen")
    page.evaluate("microphone.loud(0)")
    until(lambda: told("microphone").get("levelDb") == -100, 30, "that nothing is heard")
    way.fault = refuse_chunks
    until(lambda: told("camera").get("pendingMs", 0) > 1500 and told("camera")["pendingBytes"] > 0, 30, "the backlog")
    assert any(entry["atRisk"] for entry in logged(page, "health") if entry["source"] == "camera")
    way.fault = let_through
    assert page.evaluate("recorder.end({ drainTimeoutMs: 30000 })")["drained"]
    call.say("stop")
