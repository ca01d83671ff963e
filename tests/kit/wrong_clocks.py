"""People whose clocks are wrong, recorded in real Chromium: the call as a capture, to hold its film against.

Every page's clock is set wrong and runs wrong from its first moment on; the true one is kept aside, for sources to
flash and beep by it, and for what was recorded to be told in it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from playwright.sync_api import Browser, Page

from callreel import keys, repository
from callreel.model import Segment
from callreel.storage.local import LocalStorage
from tests.stack import Stack

from .browser import until
from .call_generator import COLORS, TONES
from .capture import Capture, CapturedChunk, Run
from .lab import lab, open_lab
from .lab_call import Call, logged

_WRONG = """(() => {
  const origin = performance.timeOrigin, now = performance.now.bind(performance), skewMs = %d, rate = 1 + %d / 1e6;
  window.trueNow = () => origin + now();
  window.trueOrigin = origin;
  performance.now = () => now() * rate;
  Object.defineProperty(performance, "timeOrigin", { value: origin + skewMs });
  Date.now = () => Math.round(origin + skewMs + now() * rate);
})();"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """How wrong somebody's clock is: ahead by `skew_ms`, and fast by `ppm`."""

    skew_ms: int
    ppm: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    name: str
    clock: Clock
    rgb: tuple[int, int, int]
    tone_hz: int

    def true_ms(self, client_ms: float, origin_ms: float) -> float:
        return origin_ms + (client_ms - origin_ms - self.clock.skew_ms) / (1 + self.clock.ppm / 1e6)


def hold_call(
    browser: Browser, stack: Stack, name: str, clocks: Sequence[Clock], length_s: float
) -> tuple[str, Capture]:
    """A call of people with these clocks; its recording, stopped, and what was recorded."""
    people = [Person(name=f"p{n}", clock=clock, rgb=COLORS[n], tone_hz=TONES[n]) for n, clock in enumerate(clocks)]
    call = Call(stack, name)
    with lab(stack.url) as way, _pages(browser, way.url, people) as pages:
        for person, page in zip(people, pages, strict=True):
            token = stack.token("participant", name, person.name, person.name)
            page.evaluate(_JOIN, [name, token, list(person.rgb), person.tone_hz])
        recording_id = call.start(preset="480p")
        for page in pages:
            until(lambda page=page: len(logged(page, "segment")) == 2, 60, "that everybody is recorded")  # type: ignore[misc]  # mypy cannot type a lambda with a default
        time.sleep(length_s)
        call.say("stop")
        for page in pages:
            until(lambda page=page: len(logged(page, "completed")) == 2, 60, "all of it")  # type: ignore[misc]  # as above
        origins_ms = [float(page.evaluate("trueOrigin")) for page in pages]
    return recording_id, _capture(stack, recording_id, call, dict(zip(people, origins_ms, strict=True)))


_JOIN = """([callId, token, rgb, tone]) => {
  window.recorder = lab.watch(lab.createRecorder({ callId, token, WebSocket: null, timesliceMs: 1000, worker: false }));
  window.sources = [lab.flashing(rgb), lab.beeping(tone)];
  return Promise.all([
    recorder.addTrack(sources[0].track, { source: "camera" }),
    recorder.addTrack(sources[1].track, { source: "microphone" }),
  ]).then(() => null);
}"""


@contextlib.contextmanager
def _pages(browser: Browser, url: str, people: Sequence[Person]) -> Iterator[list[Page]]:
    with contextlib.ExitStack() as stack:
        pages = []
        for person in people:
            context = stack.enter_context(browser.new_context())
            context.add_init_script(_WRONG % (person.clock.skew_ms, person.clock.ppm))
            pages.append(open_lab(context, url))
        yield pages


def _capture(stack: Stack, recording_id: str, call: Call, origins_ms: dict[Person, float]) -> Capture:
    storage = LocalStorage(stack.data, fsync=False)
    recording = repository.load(storage, recording_id)
    runs = []
    for person, origin_ms in origins_ms.items():
        own = next(who for who in recording.participants if who.participant_id == person.name)
        for track in own.tracks:
            for segment in track.segments:
                start_ms = segment.chunks[0].start_ms
                data = [storage.get(keys.chunk(recording_id, chunk)) for chunk in segment.chunks]
                runs.append(_run(person, track.kind, segment, data, start_ms - person.true_ms(start_ms, origin_ms)))
    told = call.recording(recording_id)
    epoch_ms = round(datetime.fromisoformat(told["startedAt"]).timestamp() * 1000)
    return Capture(name=call.name, true_epoch_ms=epoch_ms, length_ms=told["durationMs"], runs=tuple(runs), floor_ms={})


def _run(person: Person, kind: str, segment: Segment, data: list[bytes], skew_ms: float) -> Run:
    chunks = [
        CapturedChunk(seq=chunk.seq, delivered_client_ms=float(chunk.at_ms or 0), data=piece)
        for chunk, piece in zip(segment.chunks, data, strict=True)
    ]
    return Run(
        participant=person.name,
        track=kind,
        seg=segment.seg,
        has_audio=kind == "audio",
        has_video=kind == "video",
        mime_type=segment.mime_type,
        rgb=person.rgb if kind == "video" else None,
        tone_hz=person.tone_hz if kind == "audio" else None,
        clock_skew_ms=skew_ms,
        start_client_ms=segment.chunks[0].start_ms,
        stop_client_ms=float(segment.chunks[-1].at_ms or 0),
        chunks=tuple(chunks),
    )
