"""Whatever a recorder writes, however it is cut: seen and heard when it should be, and tracks are files that play."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from callreel.states import Status
from tests.kit import cuts, timecode
from tests.kit.build import build_recording
from tests.kit.call_generator import Person, generate_call
from tests.kit.capture import Capture, Run
from tests.kit.figures import measure
from tests.kit.forms import ENCODERS, Recorder
from tests.kit.line import make_film, plan_now, settings_for
from workers.export import plan_files, write_file
from workers.jobs import bench as make_bench

LENGTH_MS = 6_000
ERROR_MS = 20
#: Pictures whose clock may be illegible, of 180; a tile that moves is found by its colours alone, which AV1 blurs.
UNREAD, UNREAD_MOVING = 5, 30
OUTPUTS = {"outputs": [{"name": "film", "container": "mp4", "width": 320, "height": 180}]}
#: Sound and pictures of one track file, and what its container rounds stamps to.
TOGETHER_MS = 5


@dataclass(frozen=True, slots=True)
class Case:
    """One way to record."""

    name: str
    recorder: Recorder
    person: dict[str, Any] = field(default_factory=dict)  #: what is unusual about it
    cut: cuts.Cut = cuts.as_they_are
    cheap: bool = False  #: tried by default

    @property
    def moves(self) -> bool:
        """Its tile does not stay as it is."""
        return "later" in self.person


TURNED = {"later": ((2_200, (90, 160)), (4_100, (160, 90)))}
GROWN = {"later": ((2_500, (320, 180)),)}
CASES = (
    *(Case(f"plain {recorder.name}", recorder, cheap=recorder is Recorder.MP4_AV1) for recorder in Recorder),
    *(
        Case(f"turned {recorder.name}", recorder, TURNED, cheap=recorder is Recorder.MP4_AVC3)
        for recorder in Recorder
        # the split ones write pictures as those that share a recorder with sound
        if not recorder.value.split
    ),
    Case("grown VP9", Recorder.WEBM_VP9, GROWN),
    Case("grown H.264 in Matroska", Recorder.MKV_H264, GROWN),
    Case("stereo Opus in WebM", Recorder.WEBM_VP8, {"channels": 2}),
    Case("stereo Opus in Ogg", Recorder.WEBM_VP8_OGG, {"channels": 2}),
    *(
        Case(f"AAC of {rate_hz} Hz, {channels}", Recorder.MP4_H264_AAC, {"rate_hz": rate_hz, "channels": channels})
        for rate_hz, channels in ((8_000, 1), (16_000, 2), (22_050, 1), (44_100, 2), (96_000, 2))
    ),
    Case("odd VP8", Recorder.WEBM_VP8, {"size": (161, 91)}),
    Case("odd VP9", Recorder.WEBM_VP9, {"size": (121, 163)}),
    Case("odd VP9 in MP4", Recorder.MP4_VP9, {"size": (161, 91)}),
    Case("a screen, 0.3 a second", Recorder.WEBM_VP9_SPLIT, {"fps": 0.3}, cheap=True),
    Case("a screen in MP4, 0.3 a second", Recorder.MP4_H264_SPLIT, {"fps": 0.3}),
    *(Case(f"VP8, {fps} a second", Recorder.WEBM_VP8, {"fps": fps}) for fps in (1, 5, 15, 24, 60, 120)),
    *(Case(f"H.264 in MP4, {fps} a second", Recorder.MP4_H264, {"fps": fps}) for fps in (1, 60, 120)),
    *(
        Case(f"{cut.__name__.replace('_', ' ')} {recorder.name}", recorder, cut=cut, cheap=recorder is cheap)
        for cut, cheap in (
            (cuts.with_empty_ones, None),
            (cuts.with_single_bytes, Recorder.MP4_H264),
            (cuts.with_a_header_in_pieces, Recorder.WEBM_VP8_OGG),
        )
        for recorder in (Recorder.WEBM_VP8, Recorder.MKV_H264, Recorder.MP4_H264, Recorder.WEBM_VP8_OGG)
    ),
    Case("50 MB of WebM at once", Recorder.WEBM_VP9, cut=cuts.with_a_huge_one),
    Case("50 MB of MP4 at once", Recorder.MP4_H264, cut=cuts.with_a_huge_one),
)


def parameters() -> Iterator[Any]:
    for case in CASES:
        names = [ENCODERS[codec].name for codec in (case.recorder.picture_codec, case.recorder.sound_codec)]
        lacking = [name for name in names if name not in av.codecs_available]
        marks = [pytest.mark.skipif(bool(lacking), reason=f"PyAV was built without {lacking}")]
        marks += [pytest.mark.slow] * (not case.cheap)
        yield pytest.param(case, id=case.name, marks=marks)


def recorded(case: Case) -> Capture:
    def change(person: Person) -> Person:
        usual = replace(
            person, recorder=case.recorder, size=(160, 90), fps=30, spans_ms=((0, LENGTH_MS + 50),), timeslice_ms=700
        )
        return replace(usual, **case.person)

    return cuts.cut_anew(generate_call(11, count=1, length_ms=LENGTH_MS, change=change), case.cut)


@pytest.mark.parametrize("case", list(parameters()))
def test_it_is_in_the_film_at_the_right_instant_and_its_tracks_play(case: Case, data_dir: Path, redis_url: str) -> None:
    capture = recorded(case)
    recording_id = build_recording(data_dir, capture, options=OUTPUTS)
    made = make_film(data_dir, redis_url, recording_id)
    assert (made.status, made.manifest["gaps"], made.manifest["leftOut"]) == (Status.COMPLETED, [], [])
    found = measure(made, capture, case.name, 11, still=not case.moves)
    print(found)
    assert found.picture_worst_ms <= ERROR_MS, found
    assert found.sound_ms <= ERROR_MS, found
    assert found.unread <= (UNREAD_MOVING if case.moves else UNREAD), found

    bench = make_bench(settings_for(data_dir, redis_url))
    build = plan_now(bench, recording_id)
    for track in build.recording.tracks():
        (run,) = [run for run in capture.runs if run.track_id == track.track_id]
        (file,) = plan_files(build, track)
        assert file.extension == ("mp4" if "avc" in run.mime_type or "mp4a" in run.mime_type else "webm")
        target = data_dir / f"{track.track_id}.{file.extension}"
        write_file(bench.storage, build, track, file, target)
        check_plays(target, run, capture)


def check_plays(target: Path, run: Run, capture: Capture) -> None:
    """Every picture decodes, is of its instant, and the sound is as long as it was."""
    lags, pictures, samples, rate_hz = [], 0, 0, 1
    with av.open(str(target)) as file:
        for frame in file.decode(*file.streams.video[:1], *file.streams.audio[:1]):
            if isinstance(frame, av.AudioFrame):
                samples, rate_hz = samples + frame.samples, frame.sample_rate
            elif isinstance(frame, av.VideoFrame) and frame.time is not None:
                pictures += 1
                shown_ms = timecode.read(frame.to_ndarray(format="gray").astype(np.uint8))
                if shown_ms is not None:
                    lags.append(frame.time * 1000 - shown_ms)
    if run.has_video:
        drawn = [ms for ms in run.drawn_ms if ms <= capture.length_ms]
        assert pictures >= 0.99 * len(drawn) - 1, (target.name, pictures, len(drawn))
        assert len(lags) >= 0.98 * pictures
        assert np.ptp(lags) <= TOGETHER_MS, (target.name, np.ptp(lags))
    if run.has_audio:
        assert samples / rate_hz == pytest.approx(capture.length_ms / 1000, abs=0.15), target.name
