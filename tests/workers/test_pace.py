"""Workers that are too slow: windows are encoded faster, then wait for the end of the call, and it is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from callreel import gauges, keys, metrics, rebuild, repository
from callreel.compositions import Compositions
from callreel.control import Control
from callreel.pace import STEPS, WAITING, Pace
from callreel.states import Status
from callreel.storage.local import LocalStorage
from tests.kit.build import STARTED_MS, ManualClock, NoObserver, build_recording
from tests.kit.call_generator import generate_call
from tests.kit.line import make_film, make_more, settings_for
from workers import advance as advancing
from workers import jobs
from workers.bench import Bench
from workers.jobs import bench as make_bench

WINDOW_MS = 8_000
SMALL = {"name": "small", "container": "mp4", "width": 320, "height": 180}


def searched(window: bytes) -> str:
    """How x264 says it searched: it writes its parameters into the first picture of each stream."""
    for name, subme in (("veryfast", b"subme=2"), ("superfast", b"subme=1"), ("ultrafast", b"subme=0")):
        if subme in window:
            return name
    return ""


def test_a_slow_worker_steps_down_then_windows_wait_and_the_film_tells(
    data_dir: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody is there for 2 s, and then nobody: cards are quickly drawn, so that it is this test that is slow."""
    capture = generate_call(seed=4, count=1, length_ms=2_000)
    recording_id = build_recording(
        data_dir, capture, stop=False, silent=capture.participants, options={"outputs": [SMALL]}
    )
    monkeypatch.setenv("CALLREEL_STORAGE", f"file://{data_dir}")
    monkeypatch.setenv("CALLREEL_REDIS_URL", redis_url)
    clock = ManualClock(STARTED_MS)
    settings = settings_for(data_dir, redis_url)
    control = Control(LocalStorage(data_dir, fsync=False), NoObserver(), clock)
    bench = replace(make_bench(settings), control=control)
    assert rebuild.ensure(bench.index, bench.storage)

    def at(windows: int) -> Pace:
        """The call has gone on for so many windows that could be rendered; look what is due."""
        clock.at_ms = STARTED_MS + windows * WINDOW_MS + int(settings.lateness_s * 1000) + 500
        advancing.advance(bench, recording_id)
        return bench.turns.pace(recording_id)

    def render(k: int) -> str:
        """A worker comes by; the speed it encoded at."""
        [key] = [key for key, number in planned(bench, recording_id).items() if number == k]
        jobs.render(recording_id, key)
        return searched(bench.storage.get(keys.window(recording_id, key)))

    assert [at(count).step for count in (1, 2, 3)] == [0, 0, 0]
    assert render(0) == "veryfast"
    assert at(5).step == 1
    told = {sample.labels["step"]: sample.value for metric in gauges.gauges(bench.index, data_dir)
            for sample in metric.samples if sample.name == "callreel_rolling_recordings"}  # fmt: skip
    assert told == {"full": 0, "faster": 1, "fastest": 0, "waiting": 0}
    assert render(1) == "superfast"
    assert at(10).step == 2
    assert render(2) == "ultrafast"
    assert bench.index.progress(recording_id) < 0.3
    before = bench.queue.redis.llen("rq:queue:render")
    pace = at(20)
    assert (STEPS[pace.step].name, pace.step, pace.behind) == ("waiting", WAITING, 17)
    assert bench.queue.redis.llen("rq:queue:render") == before, "nobody is asked for more"
    [third] = [key for key, number in planned(bench, recording_id).items() if number == 3]
    jobs.render(recording_id, third)
    prefix = keys.windows_prefix(recording_id)
    assert len(list(bench.storage.list(prefix))) == 3, "and who was asked before waits"

    clock.at_ms = STARTED_MS + 5 * WINDOW_MS  # a film of five windows is enough to see what comes of it
    control.stop("call")
    clock.at_ms += 20_000
    made = make_film(data_dir, redis_url, recording_id)
    assert made.status is Status.COMPLETED
    speeds = [searched(bench.storage.get(keys.window(recording_id, key))) for key in made.window_keys]
    assert speeds == ["veryfast", "superfast", "ultrafast", "veryfast", "veryfast"]
    assert [(each["k"], each["speed"]) for each in made.manifest["steppedDown"]] == [(1, "superfast"), (2, "ultrafast")]
    [film] = [each for each in repository.load(bench.storage, recording_id).artifacts if each.kind == "composition"]
    assert film.stepped_down_ms == 2 * WINDOW_MS
    assert bench.turns.pace(recording_id) == Pace()

    output = {name: SMALL[name] for name in ("container", "width", "height")}
    Compositions(control).add(recording_id, {"name": "again", "output": output, "full": True})
    encoded, _ = make_more(data_dir, redis_url, recording_id)
    assert [searched(bench.storage.get(keys.window(recording_id, key))) for key in encoded] == ["veryfast"] * 2
    [again] = [each for each in repository.load(bench.storage, recording_id).artifacts if each.name == "again.mp4"]
    assert (again.status, again.stepped_down_ms) == ("ready", 0)
    assert 5 * WINDOW_MS - 50 <= again.duration_ms <= 5 * WINDOW_MS
    assert metrics.REGISTRY.get_sample_value("callreel_windows_total", {"speed": "ultrafast"})


def planned(bench: Bench, recording_id: str) -> dict[str, int]:
    """Key → number of the windows whose plans are stored."""

    prefix = keys.window_plan(recording_id, "").removesuffix(".json")
    found = {}
    for entry in bench.storage.list(prefix):
        key = entry.key.removeprefix(prefix).removesuffix(".json")
        found[key] = int(json.loads(bench.storage.get(entry.key))["plan"]["k"])
    return found
