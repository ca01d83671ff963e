"""The browser library in real Firefox, where CALLREEL_FIREFOX names one: recorded, changed, sent, and in the film."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.kit import ears, eyes
from tests.kit.browser import ADA, until
from tests.kit.firefox import FirefoxPage, firefox
from tests.kit.lab import lab
from tests.kit.lab_call import Call, hexed, logged, record
from tests.stack import Stack

_PROGRAM = os.environ.get("CALLREEL_FIREFOX", "")

_TONE = "(async () => (await navigator.mediaDevices.getUserMedia({ audio: true, fake: true })).getAudioTracks()[0])"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not _PROGRAM, reason="CALLREEL_FIREFOX names no Firefox"),
]


@pytest.fixture(scope="module")
def page(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with lab(stack.url) as way, firefox(_PROGRAM, way.url, tmp_path_factory.mktemp("firefox") / "profile") as page:
        yield page


def test_a_call_is_recorded_changed_and_in_the_film(page: Any, stack: Stack, tmp_path: Path) -> None:
    call = Call(stack, "firefox")
    recording_id = call.start(preset="480p")
    record(page, call, "{ timesliceMs: 1000 }", "camera")
    # where there is no loudspeaker Firefox lets no AudioContext run: its own test tone then
    page.evaluate(f"""{_TONE}().then(async (track) => {{
      await recorder.addTrack((window.microphone = track), {{ source: "microphone" }});
    }})""")
    until(lambda: len(logged(page, "acknowledged")) >= 4, 60, "chunks at the server")
    page.evaluate("window.second = lab.camera(); cameraFeed.replace(second.track)")
    time.sleep(2)
    page.evaluate("recorder.pause()")
    time.sleep(1)
    page.evaluate("recorder.resume()")
    time.sleep(2)
    page.evaluate("second.still()")  # as a shared screen that does not move
    time.sleep(2)
    result = page.evaluate("recorder.end({ drainTimeoutMs: 30000 })")
    assert (result["drained"], result["pendingChunks"]) == (True, 0)
    kept = {(c["trackId"], c["seg"], c["seq"]): hexed(c["digest"]) for c in logged(page, "chunk")}
    assert call.stored(recording_id) == kept
    assert {c["mimeType"].split(";")[0] for c in logged(page, "chunk")} == {"video/webm", "audio/webm"}
    assert not logged(page, "degraded")
    finished = call.finished(recording_id)
    assert finished["complete"] is True, finished["gaps"]
    film = tmp_path / "film.mp4"
    address = next(a["url"] for a in finished["artifacts"] if a["name"] == "composition.mp4")
    film.write_bytes(httpx.get(httpx.URL(stack.url).join(address)).content)
    sight = eyes.watch(film, {"Ada": ADA.rgb}).sights["Ada"]
    _, samples = ears.decode_placed(film)
    duration_s = finished["durationMs"] / 1000
    seen_s = sum(sight.visible()) / len(sight.state) * duration_s
    loud_s = float((np.abs(samples[: len(samples) // 480 * 480].reshape(-1, 480)).max(axis=1) > 0.01).sum()) / 100
    print(page.evaluate("navigator.userAgent"))
    print(f"Firefox: seen for {seen_s:.1f} of {duration_s:.1f} s, heard for {loud_s:.1f} s")
    assert seen_s >= duration_s - 4
    assert loud_s >= duration_s - 4


def test_what_its_recorder_does_is_what_the_trace_says(page: FirefoxPage) -> None:
    """`web_client/test/traces/` has what this Firefox did; printed, so that a new one can be kept."""
    found = page.evaluate(_TRACE)
    print(json.dumps(found, separators=(",", ":")))
    kept = json.loads((Path(__file__).parents[2] / "web_client/test/traces/firefox.json").read_text())
    assert found["types"] == kept["types"]
    for name, trace in kept["runs"].items():
        if name == "late":  # `flushed` as it comes now and then
            continue
        assert found["runs"][name]["mimeType"] == trace["mimeType"], name
        assert [type_ for type_, *_ in found["runs"][name]["events"]].count("stop") == 1, name


_TRACE = """
(async () => {
  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const tone = async () => (await navigator.mediaDevices.getUserMedia({ audio: true, fake: true })).getAudioTracks()[0];
  const run = async (track, mimeType, during) => {
    const recorder = new MediaRecorder(new MediaStream([track]), { mimeType });
    const events = [];
    const calledMs = performance.now();
    for (const name of ["start", "pause", "resume", "dataavailable", "error", "stop"])
      recorder.addEventListener(name, ({ data }) => events.push([name, Math.round(performance.now() - calledMs), ...(data ? [data.size] : [])]));
    recorder.start(1000);
    await during(recorder);
    if (recorder.state !== "inactive") {
      const stopped = new Promise((resolve) => recorder.addEventListener("stop", resolve));
      recorder.stop();
      await stopped;
    }
    await wait(50);
    return { mimeType: recorder.mimeType, events };
  };
  const types = ["video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm", "video/mp4", "audio/webm;codecs=opus", "audio/webm", "audio/ogg;codecs=opus", "audio/mp4"];
  const runs = {};
  runs.video = await run(lab.camera().track, "video/webm;codecs=vp8", () => wait(4500));
  runs.audio = await run(await tone(), "audio/webm;codecs=opus", () => wait(4500));
  const still = lab.camera();
  runs.still = await run(still.track, "video/webm;codecs=vp8", async () => { await wait(500); still.still(); await wait(4500); });
  const ended = lab.camera();
  runs.ended = await run(ended.track, "video/webm;codecs=vp8", async () => { await wait(1500); ended.track.stop(); await wait(1500); });
  const off = await tone();
  off.enabled = false;
  runs.disabled = await run(off, "audio/webm;codecs=opus", () => wait(3500));
  runs.flushed = await run(await tone(), "audio/webm;codecs=opus", async (recorder) => { await wait(1300); recorder.requestData(); await wait(1000); });
  return { userAgent: navigator.userAgent, types: types.filter((type) => MediaRecorder.isTypeSupported(type)), runs };
})()
"""  # noqa: E501  # a script of the page
