"""What rendering in windows costs: against one plain pass of ffmpeg over the same call, and on two workers against one.

Both passes read the same bytes with the same filter graph, the same encoder and one thread each. What windows pay for
on top is what this shows: key frames sought before a window, lead-in of the sound, stills drawn anew, files, starts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ffmpeg
from redis import Redis
from rq import Worker

from benchmarks import footage
from benchmarks.measure import cpu_of, machine, median, table, verdict
from callreel import keys, repository
from callreel.embedded import start_index
from callreel.logs import configure_logs
from callreel.queue import WORKER_COMMAND, Queue
from callreel.settings import Settings, load_settings
from callreel.storage.local import LocalStorage
from tests.kit.build import build_recording
from workers import codecs, picture, planning, render
from workers import ffmpeg as runner
from workers.due import Due

MUST, AIM = 1.2, 1.08  #: CPU of windows ÷ plain pass
MUST_WALL, AIM_WALL = 0.65, 0.55  #: wall of two workers ÷ one
_BARE_MB = 12_000  #: to be hashed, some seconds' work
_ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One recording, planned, with everything but its windows."""

    root: Path
    settings: Settings
    storage: LocalStorage
    recording_id: str
    window_keys: list[str]
    whole: dict[str, Any]  #: the plan of one window as long as the film
    length_ms: int

    def clear(self) -> None:
        for prefix in (keys.windows_prefix(self.recording_id), keys.glances_prefix(self.recording_id)):
            shutil.rmtree(self.root / prefix, ignore_errors=True)

    def rendered(self) -> int:
        return sum(1 for _ in self.storage.list(keys.windows_prefix(self.recording_id)))


def set_up(root: Path, length_ms: int) -> Stage:
    settings = load_settings(storage=f"file://{root}", fsync="never", render_threads=1)
    storage = LocalStorage(root, fsync=False)
    recording_id = build_recording(storage, footage.capture(length_ms))
    recording = repository.load(storage, recording_id)
    build = planning.plan(storage, settings, recording)
    longer = settings.model_copy(update={"window_ms": -(-length_ms // 8000) * 8000})
    (whole,) = planning.plan(storage, longer, recording).windows
    return Stage(
        root=root,
        settings=settings,
        storage=storage,
        recording_id=recording_id,
        window_keys=planning.store_plans(storage, build),
        whole=whole.plan,
        length_ms=length_ms,
    )


def windows_cpu_s(stage: Stage) -> float:
    """All windows, one after the other, in this process and the ones it starts."""
    stage.clear()

    def work() -> None:
        for key in stage.window_keys:
            assert render.render_window(stage.storage, stage.settings, stage.recording_id, key)

    return cpu_of(work)


def plain_cpu_s(stage: Stage) -> float:
    """One ffmpeg for all of it: the same graph over the whole call, the sound from a plain `amix`, one MP4."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        picture.draw_stills(stage.whole, folder)
        command = plain_command(stage, folder)
        spent = cpu_of(lambda: subprocess.run(command, check=True, stdin=subprocess.DEVNULL))
        assert (folder / "film.mp4").stat().st_size > 100_000
        return spent


def plain_command(stage: Stage, folder: Path) -> list[str]:
    plan, files = stage.whole, footage.files(stage.length_ms)
    cameras = {person: camera for person, (camera, _) in zip(footage.PEOPLE, files, strict=True)}
    profile = plan["profile"]
    film = picture.film(plan, [cameras[item["participantId"]] for item in plan["video"]], folder, threads=1)
    voices = [ffmpeg.input(runner.named(voice), f="matroska", threads=1, vn=None).audio for _, voice in files]
    sound = ffmpeg.filter(voices, "amix", inputs=len(voices), normalize=0).filter("atrim", end=stage.length_ms / 1000)
    output = ffmpeg.output(
        film,
        sound,
        runner.named(folder / "film.mp4"),
        **codecs.video_options(plan, threads=1),
        **{"c:a": "aac", "b:a": f"{profile['audio_bitrate_kbps']}k", "ac": profile["audio_channels"]},
        ar=profile["audio_rate_hz"],
        movflags="+faststart",
    ).global_args("-copyts", "-filter_complex_threads", "1")
    compiled: list[str] = ffmpeg.compile(output, cmd=runner.find_ffmpeg(stage.settings.ffmpeg))
    return [compiled[0], "-hide_banner", "-nostdin", "-loglevel", "error", "-y", *compiled[1:]]


_MEASURES = {"windows": windows_cpu_s, "plain pass": plain_cpu_s}


def workers_wall_s(stage: Stage, redis_url: str, count: int) -> float:
    """All windows by real workers that are up and idle when the jobs come: from asking for them to the last window."""
    stage.clear()
    with Redis.from_url(redis_url) as client, _workers(stage, redis_url, client, count):
        queue = Queue(client)
        Due(client, lambda recording_id, fraction: None).expect(stage.recording_id, [*stage.window_keys, "never"], 99)
        begun = time.monotonic()
        assert queue.render_all(stage.recording_id, stage.window_keys) == len(stage.window_keys)
        while stage.rendered() < len(stage.window_keys):
            time.sleep(0.02)
        return time.monotonic() - begun


def bare_wall_s(count: int) -> float:
    """The same work for one or for two, without Callreel: what the machine has left for two at this moment."""
    code = f"import hashlib; data = bytes(1 << 20)\nfor _ in range({_BARE_MB // count}): hashlib.sha256(data).digest()"
    begun = time.monotonic()
    started = [subprocess.Popen([sys.executable, "-c", code], preexec_fn=lambda: os.nice(5)) for _ in range(count)]
    for process in started:
        assert process.wait() == 0
    return time.monotonic() - begun


@contextlib.contextmanager
def _workers(stage: Stage, redis_url: str, client: Redis, count: int) -> Iterator[None]:
    client.flushall()
    env = os.environ | {
        "CALLREEL_REDIS_URL": redis_url,
        "CALLREEL_STORAGE": stage.settings.storage,
        "CALLREEL_FSYNC": "never",
        "CALLREEL_RENDER_THREADS": "1",
        "CALLREEL_LOG_LEVEL": "warning",
        "PYTHONPATH": str(_ROOT),
    }
    command = [sys.executable, "-P", "-m", "rq.cli", *WORKER_COMMAND.split()[1:], "--quiet"]
    started = [subprocess.Popen(command, env=env) for _ in range(count)]
    try:
        while sum(worker.get_state() == "idle" for worker in Worker.all(connection=client)) < count:
            assert all(worker.poll() is None for worker in started)
            time.sleep(0.05)
        yield
    finally:
        for worker in started:
            worker.terminate()
        for worker in started:
            worker.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="length of the call (default 60)")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions, of which medians are shown (default 3)")
    parser.add_argument("--only", choices=("cpu", "wall"), help="one of the two comparisons alone")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    options = parser.parse_args()
    configure_logs(load_settings(log_level="warning"))
    figures: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="callreel-benchmark-") as name:
        stage = set_up(Path(name) / "data", options.seconds * 1000)
        print(f"{machine()}; {runner.find_ffmpeg()}; {len(stage.window_keys)} windows of {options.seconds} s")
        if options.only != "wall":
            for number in range(options.rounds):
                for what in sorted(_MEASURES, reverse=number % 2 == 0):  # whoever comes first meets a colder machine
                    figures.setdefault(what, []).append(_MEASURES[what](stage))
        if options.only != "cpu":
            with start_index(Path(name)) as redis_url:
                for number in range(options.rounds):
                    for count in (1, 2) if number % 2 == 0 else (2, 1):
                        figures.setdefault(f"{count} worker", []).append(workers_wall_s(stage, redis_url, count))
                        figures.setdefault(f"{count} bare process", []).append(bare_wall_s(count))
    _report(figures)
    if options.json:
        options.json.write_text(json.dumps(figures))


def _report(figures: dict[str, list[float]]) -> None:
    rows = [
        [what, "CPU" if what in _MEASURES else "wall", f"{median(values):.2f}", " ".join(f"{v:.2f}" for v in values)]
        for what, values in figures.items()
    ]
    print(table(("", "", "median s", "rounds"), rows))
    for above, below, must, aim in (
        ("windows", "plain pass", MUST, AIM),
        ("2 worker", "1 worker", MUST_WALL, AIM_WALL),
    ):
        if above in figures:
            ratio = _ratio(figures, above, below)
            print(f"{above} ÷ {below}: {ratio:.3f} (must be ≤ {must}, aim {aim}): {verdict(ratio, must, aim)}")
    if "2 bare process" in figures:
        ratio = _ratio(figures, "2 bare process", "1 bare process")
        print(f"2 bare processes ÷ 1: {ratio:.3f}; 0.5 is a machine that does nothing else")


def _ratio(figures: dict[str, list[float]], above: str, below: str) -> float:
    """Of the rounds, for what else the machine does changes from one to the next."""
    return median([a / b for a, b in zip(figures[above], figures[below], strict=True)])


if __name__ == "__main__":
    main()
