"""What the benchmarks measure with: the load generator counts what was answered, verdicts say what the figures say."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from benchmarks import calls, footage, generator, kept, live, ready, scene
from benchmarks.measure import cpu_of, table, verdict
from tests.kit.capture import Capture


class _Server(threading.Thread):
    """Answers every request whose body has come, with what it was told to."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(daemon=True)
        self._answer = answer
        self.pause_s = 0.0  #: before each answer
        self.bodies: list[bytes] = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.start()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        # the generator leaves when its time is over, in the middle of what it does
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as file:
            while line := file.readline():
                assert line.startswith(b"PUT ")
                headers = dict(line.strip().lower().split(b": ") for line in iter(file.readline, b"\r\n"))
                body = file.read(size := int(headers[b"content-length"]))
                if len(body) < size:
                    return
                self.bodies.append(body)
                time.sleep(self.pause_s)
                connection.sendall(self._answer)


@pytest.fixture
def answer() -> bytes:
    return b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def server(answer: bytes) -> Iterator[_Server]:
    server = _Server(answer)
    yield server
    server.socket.shutdown(socket.SHUT_RDWR)
    server.socket.close()


def _target(server: _Server, body: bytes) -> generator.Target:
    head = f"PUT /%(connection)d/%(number)d HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
    return generator.Target(host="127.0.0.1", port=server.socket.getsockname()[1], head=head.encode(), body=body)


def test_every_answered_request_is_counted_and_every_body_arrives_whole(server: _Server) -> None:
    body = bytes(range(256)) * 2000
    tally = generator.run(_target(server, body), connections=3, processes=1, warm_s=0, seconds=0.3)
    assert 0 < tally.requests <= len(server.bodies)
    assert set(server.bodies) <= {body}


def test_a_paced_load_sends_what_is_due_and_counts_the_wait_from_then(server: _Server) -> None:
    server.pause_s = 0.05
    waited_ms = paced(server)
    assert len(waited_ms) == 9  # three each; those of the warming are not among them
    assert min(waited_ms) >= 50
    server.pause_s = 0.3
    # too slow for one every 0.2 s: the third one was due 0.2 s before it could be sent, and that counts
    assert max(paced(server)) >= 500


def paced(server: _Server) -> list[float]:
    """Three connections, a request each 0.2 s, those of 0.6 s counted."""
    return generator.pace(
        _target(server, b"x" * 1000), connections=3, processes=1, warm_s=0.2, seconds=0.6, every_s=0.2
    )


@pytest.mark.parametrize("answer", [b"HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n"])
def test_a_refusal_ends_the_run(server: _Server) -> None:
    with pytest.raises(RuntimeError, match="503"):
        generator.run(_target(server, b"x"), connections=1, processes=1, warm_s=0, seconds=5)


def test_uploads_are_under_way_together(server: _Server) -> None:
    seen: list[int] = []
    answers = list(generator.hold_all(_target(server, b"x" * 1000), 5, 2, lambda: seen.append(len(server.bodies))))
    assert seen == [0]
    assert answers == [b"201"] * 5


def test_verdicts_know_which_way_is_better() -> None:
    assert [verdict(r, 1.2, 1.08) for r in (1.0, 1.1, 1.3)] == ["aim reached", "enough", "MISSED"]
    assert [verdict(r, 2, 3, more_is_better=True) for r in (3.5, 2.5, 1.5)] == ["aim reached", "enough", "MISSED"]


def test_processor_time_is_counted() -> None:
    assert cpu_of(lambda: sum(range(3_000_000))) > 0.01


def test_tables_are_aligned() -> None:
    lines = table(("a", "b"), [["long name", "1"], ["x", "1000"]]).splitlines()
    assert len({len(line) for line in lines}) == 1


def test_pictures_move_and_are_noisy() -> None:
    picture = scene.Picture(np.random.default_rng(1))
    first, second = picture.at(0.0), picture.at(0.5)
    assert first.shape == (scene.HEIGHT_PX * 3 // 2, scene.WIDTH_PX)
    assert float(np.mean(first != second)) > 0.3


class _Grey:
    """A picture that costs nothing to draw."""

    def __init__(self, dice: np.random.Generator) -> None:
        pass

    def at(self, second: float) -> scene.Plane:
        return np.full((scene.HEIGHT_PX * 3 // 2, scene.WIDTH_PX), int(100 * second), np.uint8)


@pytest.fixture(scope="module")
def long_calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Capture, Capture]]:
    """Two and three minutes of one person, at two seconds to the minute."""
    folder = tmp_path_factory.mktemp("footage")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(footage, "Picture", _Grey)
        patch.setattr(footage, "PEOPLE", ("alice",))
        patch.setattr(footage, "_MINUTE_MS", 2000)
        patch.setattr(footage, "_TIMESLICE_MS", 700)
        jobs = [footage._Job(index=0, kind=kind, length_ms=2000, target=target, height_px=360)
                for kind, target in (("camera", folder / "alice-camera-2000-360p.webm"),
                                     ("microphone", folder / "alice-microphone-2000.webm"))]  # fmt: skip
        for job in jobs:
            footage._make(job)
        yield footage.call(2, folder, height_px=360), footage.call(3, folder, height_px=360)


def test_a_long_call_is_one_recorder_for_each_track(long_calls: tuple[Capture, Capture]) -> None:
    camera, microphone = long_calls[0].runs
    pictures, sounds = (_packets(run.data) for run in (camera, microphone))
    steps_ms = np.diff([pts for pts, _ in pictures])
    assert len(pictures) == 121  # one behind the stop
    assert all(26 <= step_ms <= 41 for step_ms in steps_ms)
    assert [number for number, (_, is_key) in enumerate(pictures) if is_key] == [0, 60]
    assert set(np.diff([pts for pts, _ in sounds])) == {20}
    assert [chunk.seq for chunk in camera.chunks] == list(range(6))
    assert [chunk.delivered_client_ms - footage.EPOCH_MS for chunk in camera.chunks] == [*range(760, 4200, 700), 4060]


def test_a_long_call_begins_like_a_longer_one(long_calls: tuple[Capture, Capture]) -> None:
    for run, longer in zip(long_calls[0].runs, long_calls[1].runs, strict=True):
        assert [chunk.data for chunk in run.chunks[:4]] == [chunk.data for chunk in longer.chunks[:4]]


def _packets(data: bytes) -> list[tuple[int, bool]]:
    with av.open(io.BytesIO(data), "r", format="matroska") as file:
        return [(p.pts, p.is_keyframe) for p in file.demux(file.streams[0]) if p.pts is not None]


def test_windows_are_lent_up_to_an_instant(tmp_path: Path) -> None:
    there, data = tmp_path / "kept", tmp_path / "data"
    for part in ("windows", "glances"):
        (there / part).mkdir(parents=True)
    windows = [{"key": name, "toMs": to_ms} for name, to_ms in (("a", 8000), ("b", 16000), ("c", 20000))]
    (there / "manifest.json").write_text(json.dumps({"windows": windows}))
    for name in "abc":
        (there / "windows" / f"{name}.mp4").write_text(name)
        (there / "glances" / f"{name}.bin").write_text(name)
    assert kept.lend(there, data, "rec_x_1700000000000", 16000) == {"a", "b"}
    assert live.windows_there(data, "rec_x_1700000000000") == {"a", "b"}
    assert len(list(data.glob("recordings/*/derived/glances/*"))) == 2
    (there / "windows" / "a.mp4").unlink()
    with pytest.raises(FileNotFoundError, match="1 windows"):
        kept.lend(there, tmp_path / "more", "rec_x_1700000000000", 16000)
    kept.used({"a", "b"}, set("abc"))
    with pytest.raises(RuntimeError, match="1 of 2"):
        kept.used({"a", "d"}, set("abc"))


def test_what_was_not_made_at_the_stop_counts_when_it_was_over() -> None:
    in_film = {"a": 8000, "b": 16000, "c": 24000, "d": 27000}
    assert live.Seen(made={"a", "made too early"}, in_film=in_film).not_made == 1


def test_figures_of_calls_are_told_beside_what_they_must_be(capsys: pytest.CaptureFixture[str]) -> None:
    found = [
        ready.Figures(
            minutes=minutes,
            live_minutes=3,
            stop_to_film_s=took_s,
            windows=38,
            rendered=25,
            in_vain=0,
            stepped_down=0,
            not_made=0,
            behind_s=11,
            most_behind_s=15,
            cores=0.6,
            job_mb=200,
        )
        for minutes, took_s in ((5, 4.0), (60, 8.0))
    ]
    ready._report(found)
    said = capsys.readouterr().out
    assert "the same, less the shortest: 4.00 (must be ≤ 5, aim 2): enough" in said
    assert [line.split()[0] for line in said.splitlines()[2:4]] == ["5", "60"]


class _Deaf:
    """A server whose playlists fail, of a call whose end is far away."""

    data = Path()

    def started(self) -> dict[int, str]:
        return {}

    async def send(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {}

    async def upload(self, *_: Any) -> None:
        return

    async def finished(self, *_: Any) -> dict[str, Any]:
        await asyncio.sleep(60)
        return {}

    async def file(self, *_: Any) -> bytes:
        return b"no playlist"


def test_who_looks_at_a_call_does_not_end_in_silence() -> None:
    ending = calls.Ending(
        recording_id="rec_x_1", started_ms=round(time.time() * 1000), length_ms=60_000, rest=(), completes={}
    )
    with pytest.raises(ExceptionGroup, match="TaskGroup") as raised:
        asyncio.run(live.follow(_Deaf(), _Deaf(), ending))
    assert raised.group_contains(ValueError, match="without a date")
