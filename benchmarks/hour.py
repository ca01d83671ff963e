"""An hour of four people whose clocks run wrong, of which some windows are rendered and held against the truth.

Two clients have clocks 5 s off that run 500 ppm fast and slow, two have right ones and sound cards that run 500 ppm
fast and slow; deliveries are late by 0 to 300 ms. Media is sparse: a picture a second, but where somebody looks.
"""

from __future__ import annotations

import hashlib
import pickle
import statistics
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np

from callreel import keys, repository
from callreel.manifest import Build
from callreel.settings import load_settings
from callreel.storage.local import LocalStorage
from callreel.sync import Sync
from tests.kit import call_generator, detect, ears, eyes, recorders, timecode
from tests.kit.build import STARTED_MS, Place, build_recording, plan_uploads
from tests.kit.call_generator import Person, generate_call
from tests.kit.capture import Capture, Run
from tests.kit.clocks import Clock, retimed
from tests.kit.forms import Recorder
from workers import planning, render
from workers.runscan import scan_run

SEED = 4
WINDOW_MS = 8_000
SKEW_MS = (5_000, -5_000, 5_000, -5_000)
CLOCK_PPM = (500.0, -500.0, 0.0, 0.0)
SOUND_PPM = (0.0, 0.0, 500.0, -500.0)  #: of the sound card, against the client's clock
#: 60 pictures a second, so that a picture is shown within 8 ms of its time.
_OUTPUTS = [{"name": "film", "container": "mp4", "width": 320, "height": 180, "fps": 60}]
#: A drift behind such deliveries is known after two minutes; its slope is asked for afterwards.
_SETTLED_MS = 300_000
_AROUND_MS = 500
_LAG_MS = 55  #: 52 to 62, measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What is off in one window, ms late; of everybody who could be measured."""

    at_ms: int
    sound_ms: dict[str, float]
    picture_ms: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    across_ms: float  #: p95 of how far beeps of two people are apart that were at once
    av_ms: float  #: p95 of how far somebody's sound is from their picture
    slope_ppm: float  #: the steepest line through anybody's errors, once settled
    certificate_ms: float  #: the most that a certificate's own line is off, at any moment of any track
    within: float  #: share of errors within the stated uncertainty
    uncertainty_ms: int  #: the largest


def call(minutes: int, numbers: list[int]) -> Capture:
    """The call, as its clients recorded it; made once and kept in the folder for temporary files."""
    sources = "".join(Path(module.__file__ or "").read_text() for module in (recorders, call_generator))
    digest = hashlib.sha256(f"{sources} {minutes} {numbers} {SEED}".encode()).hexdigest()[:16]
    kept = Path(tempfile.gettempdir()) / f"callreel-hour-{digest}.pickle"
    if kept.exists():
        found: Capture = pickle.loads(kept.read_bytes())  # our own
        return found
    length_ms = minutes * 60_000
    dense = tuple((number * WINDOW_MS - _AROUND_MS, (number + 1) * WINDOW_MS + _AROUND_MS) for number in numbers)

    def change(person: Person) -> Person:
        clock_ppm, sound_ppm = CLOCK_PPM[person.index], SOUND_PPM[person.index]
        return replace(
            person,
            recorder=Recorder.WEBM_VP8_SPLIT,
            skew_ms=SKEW_MS[person.index],
            size=(160, 90),
            fps=30,
            timeslice_ms=2000,
            spans_ms=((20 * person.index, length_ms + 50),),
            picture_ppm=clock_ppm,
            sound_ppm=clock_ppm + sound_ppm,
            dense=dense,
        )

    capture = generate_call(SEED, count=4, length_ms=length_ms, change=change, floor=False)
    kept.write_bytes(pickle.dumps(capture))
    return capture


def measure(folder: Path, minutes: int, count: int) -> Hour:
    """Render `count` windows of the call, evenly spread, and look at them."""
    whole = minutes * 60_000 // WINDOW_MS
    numbers = sorted({round((number + 0.5) * whole / count) for number in range(count)})
    capture = call(minutes, numbers)
    clocks = {name: Clock(ppm=ppm) for name, ppm in zip(capture.participants, CLOCK_PPM, strict=True)}
    settings = load_settings(storage=f"file://{folder}", fsync="never")
    storage = LocalStorage(folder, fsync=False)
    arrange = partial(retimed, started_ms=STARTED_MS, clocks=clocks, seed=SEED, ready_ms=_ready_ms(capture))
    recording_id = build_recording(storage, capture, arrange=arrange, options={"outputs": _OUTPUTS})
    build = planning.plan(storage, settings, repository.load(storage, recording_id))
    planning.store_plans(storage, build)
    seen = []
    for number in numbers:
        window = build.windows[number]
        render.render_window(storage, settings, recording_id, window.key)
        path = folder / keys.window(recording_id, window.key, window.form)
        seen.append(_look(path, capture, number * WINDOW_MS))
    return _figures(seen, build, capture)


def _ready_ms(capture: Capture) -> dict[Place, float]:
    """When each chunk's last media was recorded, and what Chromium's sound is behind that, always.

    The generator cuts by bytes, which have nothing to do with time where a beep is louder than what is around it.
    """
    found: dict[Place, float] = {}
    uploads = plan_uploads(capture, STARTED_MS)
    for run in capture.runs:
        own = sorted((u for u in uploads if u.run is run), key=lambda u: u.chunk.seq)
        scanned = scan_run([u.chunk for u in own], run.data, None)
        packets = scanned.audio if len(scanned.audio) else scanned.video
        borders = np.cumsum([u.chunk.size_bytes for u in own])
        index = np.minimum(np.searchsorted(borders, packets.to_byte, "left"), len(own) - 1)
        begin_ms = STARTED_MS + run.start_true_ms - capture.true_epoch_ms
        for number, end_us in zip(index, packets.pts_us + packets.duration_us, strict=True):
            at_ms = begin_ms + end_us / 1000 / (1 + _ppm(capture, run) * 1e-6) + _LAG_MS
            place = own[int(number)].place
            found[place] = max(found.get(place, 0.0), float(at_ms))
    return found


def _ppm(capture: Capture, run: Run) -> float:
    """How much faster than true time a run's media is stamped."""
    index = capture.participants.index(run.participant)
    return CLOCK_PPM[index] + (SOUND_PPM[index] if run.has_audio else 0)


def _look(path: Path, capture: Capture, begin_ms: int) -> Window:
    names = capture.participants
    view = eyes.watch(path, {name: capture.rgb_of(name) for name in names}, clocks=True)
    zero_ms = begin_ms - view.times_ms[0]
    first_ms, samples = ears.decode_placed(path)
    sound, picture = {}, {}
    for name in names:
        beeps = detect.by_beat(
            capture, [at + first_ms + zero_ms for at in ears.onsets_ms(samples, capture.tone_of(name))]
        )
        sound[name] = detect.median(list(beeps.values()))
        picture[name] = _late_ms(view, name, zero_ms)
    return Window(at_ms=begin_ms, sound_ms=sound, picture_ms=picture)


def _late_ms(view: eyes.View, name: str, zero_ms: float) -> float:
    """How late pictures are, by the clocks drawn into them: when each is first shown, less when it was taken. A film
    shows it at the nearest of its own pictures, so the median is that of where it was put."""
    found: list[float] = []
    before = None
    for time_ms, drawn_ms in zip(view.times_ms, view.sights[name].clock_ms, strict=True):
        if drawn_ms is not None and before is not None and drawn_ms != before:
            way = (time_ms + zero_ms - drawn_ms + timecode.WRAP_MS / 2) % timecode.WRAP_MS - timecode.WRAP_MS / 2
            found.append(way)
        before = drawn_ms if drawn_ms is not None else before
    return statistics.median(found) if found else float("nan")


def _figures(seen: list[Window], build: Build, capture: Capture) -> Hour:
    across = [
        abs(window.sound_ms[a] - window.sound_ms[b]) for window in seen for a, b in combinations(window.sound_ms, 2)
    ]
    av = [abs(window.sound_ms[name] - window.picture_ms[name]) for window in seen for name in window.sound_ms]
    slopes = []
    settled = [window for window in seen if window.at_ms >= _SETTLED_MS] or seen
    for name in capture.participants:
        for kind in ("sound_ms", "picture_ms"):
            off = [getattr(window, kind)[name] for window in settled]
            slopes.append(np.polyfit([window.at_ms for window in settled], off, 1)[0] * 1e6)
    runs = {(run.participant, run.track_id): run for run in capture.runs}
    bounds = {(sync.participant_id, sync.track_id): sync for sync in build.syncs}
    inside = [
        abs(window.sound_ms[run.participant] if run.has_audio else window.picture_ms[run.participant])
        <= bounds[place].to_json()["uncertaintyMs"]
        for window in seen
        for place, run in runs.items()
    ]
    return Hour(
        across_ms=float(np.percentile(across, 95)),
        av_ms=float(np.percentile(av, 95)),
        slope_ppm=float(np.abs(slopes).max()),
        certificate_ms=max(_told_wrong_ms(bounds[place], run, capture) for place, run in runs.items()),
        within=sum(inside) / len(inside),
        uncertainty_ms=max(sync.to_json()["uncertaintyMs"] for sync in build.syncs),
    )


def _told_wrong_ms(sync: Sync, run: Run, capture: Capture) -> float:
    """The most that a certificate's line is from where media was recorded."""
    ppm = _ppm(capture, run)
    media_ms = np.arange(0, capture.length_ms, WINDOW_MS)
    told_ms = sync.best_us / 1000 + media_ms * (1 + sync.drift_ppm * 1e-6)
    true_ms = run.start_true_ms - capture.true_epoch_ms + media_ms / (1 + ppm * 1e-6)
    return float(np.abs(told_ms - true_ms).max())
