"""What a browser or a server refuses, in real Chromium: a sentence for people, a code for programs, and what can still
be recorded is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Playwright

from tests.kit.browser import FLAGS, until
from tests.kit.lab import Lab, lab, open_lab
from tests.kit.lab_call import Call, logged, record
from tests.stack import Stack

_ELSEWHERE = "insecure.example"
_ASKS = "--use-fake-ui-for-media-stream"  #: says yes to everything


@pytest.fixture(scope="module")
def browser(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    flags = [flag for flag in FLAGS if flag != _ASKS]
    rules = f"--host-resolver-rules=MAP {_ELSEWHERE} 127.0.0.1"
    with playwright.chromium.launch(executable_path=chromium, args=[*flags, rules]) as browser:
        yield browser


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context(permissions=["microphone"]) as context:
        yield context


@pytest.fixture
def way(stack: Stack) -> Iterator[Lab]:
    with lab(stack.url) as way:
        yield way


def is_told(error: dict[str, Any], code: str) -> None:
    assert error["code"] == code, error
    assert len(error["message"].split()) >= 5, f"a sentence for people: {error}"


def test_no_leave_for_the_camera_and_no_such_device(context: BrowserContext, way: Lab, stack: Stack) -> None:
    call = Call(stack, "no-camera")
    recording_id = call.start()
    page = open_lab(context, way.url)
    ask = """(constraints) => navigator.mediaDevices.getUserMedia(constraints).then(() => null, (cause) => {
      const { name, code, message } = lab.explain(cause);
      return { name, code, message };
    })"""
    context.clear_permissions()
    told = page.evaluate(ask, {"video": True})
    is_told(told, "permission_denied")
    assert told["name"] == "CallreelError"
    context.grant_permissions(["microphone", "camera"])
    is_told(page.evaluate(ask, {"video": {"width": {"exact": 99_999}}}), "impossible_constraints")
    record(page, call, "{ timesliceMs: 500 }", "")  # and who has a microphone alone is heard
    page.evaluate(
        """navigator.mediaDevices.getUserMedia({ audio: true })
          .then((stream) => recorder.addTrack(stream.getAudioTracks()[0])).then(() => null)"""
    )
    until(lambda: logged(page, "acknowledged"), 60, "chunks of the microphone")
    assert page.evaluate("recorder.end({ drainTimeoutMs: 30000 })")["drained"]
    assert call.stored(recording_id)
    call.say("stop")


def test_a_disk_that_is_denied_is_told_and_memory_serves(context: BrowserContext, way: Lab, stack: Stack) -> None:
    call = Call(stack, "no-disk")
    recording_id = call.start()
    page = open_lab(context, way.url)
    page.evaluate(
        "Object.defineProperty(window, 'indexedDB', { get() { throw new DOMException('no', 'SecurityError') } })"
    )
    record(page, call, "{ timesliceMs: 500, worker: false }", "microphone")
    until(lambda: len(logged(page, "acknowledged")) >= 2, 60, "chunks from memory")
    assert page.evaluate("recorder.end({ drainTimeoutMs: 30000 })")["drained"]
    assert len(call.stored(recording_id)) == len(logged(page, "chunk"))
    call.say("stop")


def test_an_insecure_origin_and_a_codec_that_nobody_has(context: BrowserContext, way: Lab, stack: Stack) -> None:
    add = """() => lab.createRecorder({ callId: "c", token: "t", follow: false, recordingId: "rec_c_1" })
      .addTrack(lab.microphone().track).then(() => null, ({ name, code, message }) => ({ name, code, message }))"""
    page = open_lab(context, f"http://{_ELSEWHERE}:{urlsplit(way.url).port}/")
    is_told(page.evaluate(add), "insecure_origin")
    page.close()
    call = Call(stack, "no-codec")
    call.start()
    page = open_lab(context, way.url)
    record(
        page,
        call,
        "{ MediaRecorder: class { static isTypeSupported = () => false; constructor() { throw new Error() } } }",
    )
    until(lambda: len(logged(page, "error")) >= 2, 30, "that nothing records it")
    for entry in logged(page, "error"):
        is_told(entry["error"], "unsupported_codec")
    call.say("stop")


def test_a_token_that_is_worth_nothing_and_a_recording_that_is_not(
    context: BrowserContext, way: Lab, stack: Stack
) -> None:
    call = Call(stack, "refused")
    recording_id = call.start()
    page = open_lab(context, way.url)
    token = call.token.rsplit(".", 1)[0] + ".AAAA"  # signed by nobody
    record(
        page,
        call,
        f"{{ token: '{token}', follow: false, recordingId: '{recording_id}', timesliceMs: 500 }}",
        "microphone",
    )
    until(lambda: logged(page, "refused"), 60, "that it is refused")
    is_told(logged(page, "refused")[0]["error"], "unauthorized")
    until(lambda: len(logged(page, "chunk")) >= 2, 60, "that recording goes on, for a token may come")
    page.evaluate("recorder.close(); lab.log.length = 0")
    record(page, call, "{ follow: false, recordingId: 'rec_refused_1700000000000', timesliceMs: 500 }", "microphone")
    until(lambda: logged(page, "refused"), 60, "that there is none")
    is_told(logged(page, "refused")[0]["error"], "unknown_recording")
    call.say("stop")
