"""How far off films are: everybody against everybody, sound against pictures, and against what the certificate says.

Calls whose truth is drawn into every picture and beeped at every second, and what real browsers recorded, through the
workers' own functions, and films of them looked at and listened to. Once for each ffmpeg that is there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import hour
from benchmarks.measure import machine, table, verdict
from callreel.embedded import start_index
from callreel.logs import configure_logs
from callreel.settings import load_settings
from tests.kit import cadence, ears
from tests.kit import ffmpegs as found_ffmpegs
from tests.kit.build import build_recording
from tests.kit.call_generator import generate_call
from tests.kit.capture import NAMES, load_named
from tests.kit.container import facts_of
from tests.kit.detect import examine
from tests.kit.figures import figures as figures_of
from tests.kit.forms import Recorder
from tests.kit.line import make_film
from tests.kit.meter import measured
from tests.kit.voices import recorded, sound_call, voice
from tests.unit import test_speakers as bleeding
from tests.workers.test_joins import joins
from tests.workers.test_loudness import CALLS, LENGTH_S, TARGET_LUFS
from workers import ffmpeg as runner

FPS = (24, 25, 30, 50, 60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    what: str
    value: float
    must: float
    aim: float
    unit: str = "ms"
    more_is_better: bool = False
    of: str = ""  #: what was measured, in short

    def cells(self) -> list[str]:
        sign = "≥" if self.more_is_better else "≤"
        said = verdict(self.value, self.must, self.aim, more_is_better=self.more_is_better)
        value = f"{self.value:.3g} {self.unit}".strip()
        return [self.what, value, f"{sign} {self.must:g}", f"{sign} {self.aim:g}", said, self.of]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where a row works."""

    folder: Path  #: empty
    redis_url: str
    quick: bool


def clocks(bench: Bench) -> Iterator[Row]:
    """Clocks that are off and run wrong, behind late deliveries."""
    minutes, count = (10, 6) if bench.quick else (60, 30)
    found = hour.measure(bench.folder, minutes, count)
    of = f"{count} windows of {minutes} minutes, 4 people"
    yield Row(what="people against each other, p95", value=found.across_ms, must=20, aim=10, of=of)
    yield Row(what="sound against pictures, p95", value=found.av_ms, must=20, aim=10, of=of)
    yield Row(what="slope left", value=found.slope_ppm, must=20, aim=5, unit="ppm", of=of)
    yield Row(
        what="certificate against the truth", value=found.certificate_ms, must=5, aim=2, of="8 tracks, worst moment"
    )
    within, of = 100 * found.within, f"{of}; at most ± {found.uncertainty_ms} ms"
    yield Row(what="within the uncertainty", value=within, must=100, aim=100, unit="%", more_is_better=True, of=of)


def captures(bench: Bench) -> Iterator[Row]:
    """What real browsers recorded: what the film adds to it, against what the certificate says of that."""
    for name in NAMES:
        folder = bench.folder / name
        folder.mkdir()
        capture = load_named(name)
        made = make_film(folder, bench.redis_url, build_recording(folder, capture))
        found, view = examine(made.film, capture)
        added, stated = {}, {}
        for person in made.manifest["participants"]:
            who = person["participantId"]
            added[who] = max(abs(found[who].flash_added_ms), abs(found[who].beep_added_ms))
            clocks_of = [segment["clock"] for track in person["tracks"] for segment in track["segments"]]
            stated[who] = max(clock["uncertaintyMs"] for clock in clocks_of)
        within = 100 * sum(added[who] <= stated[who] for who in added) / len(added)
        of = ", ".join(f"{who} {added[who]:.1f} of ± {stated[who]}" for who in added)
        yield Row(what=f"{name}: added", value=max(added.values()), must=20, aim=10, of=of)
        yield Row(
            what=f"{name}: within the uncertainty", value=within, must=100, aim=100, unit="%", more_is_better=True
        )
        score = cadence.of_film(capture, view, *ears.decode_placed(made.film))
        yield Row(
            what=f"{name}: cadence score",
            value=score.score,
            must=80,
            aim=90,
            unit="",
            more_is_better=True,
            of=_score(score),
        )


def rhythm(bench: Bench) -> Iterator[Row]:
    """LiveKit's score of a call of ours."""
    capture = generate_call(5, count=3, length_ms=20_000, change=lambda p: replace(p, spans_ms=((20, 20_050),), fps=30))
    made = make_film(bench.folder, bench.redis_url, build_recording(bench.folder, capture, options={"preset": "480p"}))
    _, view = examine(made.film, capture)
    found = cadence.of_film(capture, view, *ears.decode_placed(made.film))
    yield Row(
        what="cadence score, generated call",
        value=found.score,
        must=90,
        aim=95,
        unit="",
        more_is_better=True,
        of=_score(found),
    )


def _score(found: cadence.Cadence) -> str:
    return (
        f"jitter of beeps {found.beep_jitter_ms:.1f}, of flashes {found.flash_jitter_ms:.1f}, A/V {found.av_ms:+.1f}"
        f" ± {found.av_deviation_ms:.1f}, worst {found.av_worst_ms:.0f} ms"
    )


def containers(bench: Bench) -> Iterator[Row]:
    """5 % of the chunks late, 1 % lost, and at least one of each track."""
    chosen = (Recorder.WEBM_VP8_SPLIT, Recorder.MP4_H264) if bench.quick else tuple(Recorder)
    for recorder in chosen:
        folder = bench.folder / recorder.name
        folder.mkdir()
        found = figures_of(folder, bench.redis_url, recorder, seed=1, length_ms=12_000)
        shutil.rmtree(folder)
        error = max(found.picture_worst_ms, found.sound_ms)
        border = max(found.picture_border_ms, found.sound_border_ms)
        of = f"{found.gaps} gaps"
        yield Row(what=f"{recorder.name}: off outside of gaps", value=error, must=20, aim=10, of=of)
        yield Row(what=f"{recorder.name}: borders of gaps", value=border, must=50, aim=1000 / 30, of=of)
        kept = 100 * found.kept
        yield Row(
            what=f"{recorder.name}: kept",
            value=kept,
            must=99,
            aim=99,
            unit="%",
            more_is_better=True,
            of="any chunk lost",
        )


def seams(bench: Bench) -> Iterator[Row]:
    """Sound where windows join, against one encoder that runs through."""
    for container, form in (("m4a", "adts"), ("ogg", "ogg")):
        folder = bench.folder / container
        folder.mkdir()
        found = joins(folder, container, form)
        less = float(np.percentile(found.less, 95))
        of = f"{len(found.less)} joins, windows agree to {min(found.between):.0f} dB"
        yield Row(what=f"{container}: less than straight, p95", value=less, must=3, aim=1, unit="dB", of=of)
        yield Row(
            what=f"{container}: worst", value=min(found.snr), must=15, aim=15, unit="dB", more_is_better=True, of=of
        )


def loudness(bench: Bench) -> Iterator[Row]:
    """Films of 66 s, by ffmpeg's meter."""
    for name in list(CALLS)[:1] if bench.quick else CALLS:
        folder = bench.folder / name
        folder.mkdir()
        files = {f"p{n}": recorded(voice(t, LENGTH_S, seed=n, rms_db=db)) for n, (t, db) in enumerate(CALLS[name])}
        options = {"outputs": [{"name": "sound", "container": "m4a"}]}
        recording_id = build_recording(folder, sound_call(files, LENGTH_S * 1000), options=options)
        found = measured(make_film(folder, bench.redis_url, recording_id).film)
        off = abs(found.integrated_lufs - TARGET_LUFS)
        yield Row(what=f"loudness, {name}: off −16", value=off, must=1.5, aim=0.7, unit="LU")
        yield Row(what=f"true peak, {name}", value=found.true_peak_dbtp, must=-1, aim=-1, unit="dBTP")


def counts(bench: Bench) -> Iterator[Row]:
    """Pictures of films, counted and timed."""
    length_ms = 9_500
    capture = generate_call(8, count=2, length_ms=length_ms, floor=False)
    outputs = [{"name": f"at{fps}", "container": "mp4", "width": 320, "height": 180, "fps": fps} for fps in FPS]
    made = make_film(
        bench.folder, bench.redis_url, build_recording(bench.folder, capture, options={"outputs": outputs})
    )
    for fps in FPS:
        facts = facts_of(made.files[f"at{fps}.mp4"])
        wrong = (
            abs(facts.pictures - round(length_ms * fps / 1000)) + (not facts.uniform) + (facts.first_picture_ms != 0)
        )
        yield Row(
            what=f"{fps} fps: wrong counts and stamps",
            value=wrong,
            must=0,
            aim=0,
            unit="",
            of=f"{facts.pictures} pictures",
        )


def doubled(bench: Bench) -> Iterator[Row]:
    """Microphones that hear each other at −3 dB, 3 ms later."""
    events = twice = 0
    for seed in range(1 if bench.quick else 5):
        turns, sounds = bleeding.call(seed, 90, (-26, -26, -28, -24))
        found = bleeding.speakers(bleeding.with_bleed(sounds))
        events += len(bleeding.events(found))
        twice += len(bleeding.doubled(found, turns))
    yield Row(what="doubled speech", value=100 * twice / events, must=2, aim=0, unit="%", of=f"{events} events")


Measure = Callable[[Bench], Iterator[Row]]
#: name → what; those in `_APART` ask no ffmpeg
MEASURES: dict[str, Measure] = {
    "clocks": clocks, "captures": captures, "cadence": rhythm, "containers": containers, "joins": seams,
    "loudness": loudness, "counts": counts, "doubled": doubled,
}  # fmt: skip
_APART = ("joins", "doubled")


def ffmpegs() -> list[str]:
    """The setting's, or all that are to be had."""
    if configured := os.environ.get("CALLREEL_FFMPEG"):
        return [configured]
    return found_ffmpegs.found()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of everything, in about a minute of a quiet machine")
    parser.add_argument("--only", choices=sorted(MEASURES), action="append", help="these alone")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    options = parser.parse_args()
    configure_logs(load_settings(log_level="error"))
    told: dict[str, Any] = {}
    for number, path in enumerate(ffmpegs()):
        os.environ["CALLREEL_FFMPEG"] = path
        version = ".".join(map(str, runner.version(path)))
        begun = time.monotonic()
        names = [name for name in options.only or MEASURES if number == 0 or name not in _APART]
        rows = [row for name in names for row in _rows(MEASURES[name], quick=options.quick)]
        print(f"\n{machine()}; ffmpeg {version}; {time.monotonic() - begun:.0f} s")
        print(table(("", "measured", "must", "aim", "", "of"), [row.cells() for row in rows]))
        told[version] = [asdict(row) for row in rows]
    if options.json:
        options.json.write_text(json.dumps(told, indent=1))


def _rows(measure: Measure, *, quick: bool) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="callreel-benchmark-") as name:
        folder = Path(name) / "data"
        folder.mkdir()
        with start_index(Path(name)) as redis_url:
            return list(measure(Bench(folder=folder, redis_url=redis_url, quick=quick)))


if __name__ == "__main__":
    main()
