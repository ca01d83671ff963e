"""When was the first sample taken? `start()` against what a MediaStreamTrackProcessor tells, in real Chromium.

Each run of a recorder is off by some milliseconds: its beeps or flashes, told from the anchor, against the second at
which they were made. What matters is not how much, for all are off alike, but how differently any two runs are.
"""

from __future__ import annotations

import base64
import statistics
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, Playwright

from tests.kit.browser import FLAGS
from tests.kit.capture import CapturedChunk, Run
from tests.kit.detect import run_beeps_ms, run_flashes_ms
from tests.kit.lab import lab, open_lab
from tests.stack import Stack

_RUNS = 10
_MAY_DIFFER_MS = 50  #: on a busy machine; at rest it is half of that


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["audio", "video"])
def test_the_start_call_is_a_good_anchor_and_others_are_no_better(
    playwright: Playwright, chromium: str, stack: Stack, kind: str
) -> None:
    with (
        playwright.chromium.launch(executable_path=chromium, args=list(FLAGS)) as browser,
        lab(stack.url) as way,
    ):
        page = open_lab(browser.new_context(), way.url)
        found = [measured(page, kind, n) for n in range(_RUNS)]
    # timestamps run on a clock of their own: the quickest delivery tells where its zero is
    zero_ms = min(at_ms - stamp_ms for _, first, called_ms in found for at_ms, stamp_ms in [first])
    by_call = [error_ms for error_ms, _, _ in found]
    by_arrival = [error_ms + first[0] - called_ms for error_ms, first, called_ms in found]
    by_stamp = [error_ms + first[1] + zero_ms - called_ms for error_ms, first, called_ms in found]
    told = ", ".join(
        f"{name} {apart_ms(errors):.1f} ms"
        for name, errors in (("start()", by_call), ("first arrival", by_arrival), ("first timestamp", by_stamp))
    )
    print(f"{kind}, {_RUNS} runs, how differently two of them are off, p95: {told}")
    assert apart_ms(by_call) <= _MAY_DIFFER_MS


def measured(page: Page, kind: str, n: int) -> tuple[float, tuple[float, float], float]:
    """How late beeps or flashes are by `start()`; arrival and timestamp of the first sample behind it; that call."""
    got: dict[str, Any] = page.evaluate(_RECORD, [kind, n])
    run = Run(
        participant="",
        track="",
        seg=0,
        has_audio=kind == "audio",
        has_video=kind == "video",
        mime_type="",
        rgb=(104, 0, 0),
        tone_hz=523,
        clock_skew_ms=0,
        start_client_ms=got["called"],
        stop_client_ms=0,
        chunks=(CapturedChunk(seq=0, delivered_client_ms=0, data=base64.b64decode(got["data"])),),
    )
    onsets = run_beeps_ms(run) if kind == "audio" else run_flashes_ms(run)
    errors = [got["called"] + at - round((got["called"] + at) / 1000) * 1000 for at in onsets]
    at_ms, stamp_ms = next(each for each in got["seen"] if each[0] >= got["called"])
    return statistics.median(errors), (at_ms, stamp_ms), got["called"]


def apart_ms(errors: list[float]) -> float:
    return float(np.percentile([abs(a - b) for a, b in combinations(errors, 2)], 95))


_RECORD = """async ([kind, n]) => {
  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const now = () => performance.timeOrigin + performance.now();
  window.source ??= kind === "audio" ? lab.beeping(523) : lab.flashing([104, 0, 0]);
  const copy = source.track.clone();
  const reader = new MediaStreamTrackProcessor({ track: copy }).readable.getReader();
  const seen = [];
  (async () => {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      seen.push([now(), next.value.timestamp / 1000]);
      next.value.close();
    }
  })();
  await wait(300 + ((n * 37) % 90)); // anywhere between two samples
  const mimeType = kind === "audio" ? "audio/webm;codecs=opus" : "video/webm;codecs=vp8";
  const recorder = new MediaRecorder(new MediaStream([source.track]), { mimeType });
  const parts = [];
  recorder.ondataavailable = ({ data }) => parts.push(data);
  const stopped = new Promise((resolve) => (recorder.onstop = resolve));
  const called = now();
  recorder.start(1000);
  await wait(4200);
  recorder.stop();
  await stopped;
  copy.stop();
  const url = await new Promise((resolve) => {
    const file = Object.assign(new FileReader(), { onload: () => resolve(file.result) });
    file.readAsDataURL(new Blob(parts));
  });
  return { called, seen, data: url.split(",")[1] };
}"""
