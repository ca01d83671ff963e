"""`callreel smoke` against a whole deployment: a film with two people in it, or a sentence and exit code 1."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import av
import pytest

from callreel.errors import NoFilm
from callreel.tokens import make_token
from tests.stack import ROOT, Stack
from workers import dummies
from workers.smoke import Choices, Smoke


def smoke(url: str, token: str, *options: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("CALLREEL_")}
    return subprocess.run(
        [sys.executable, "-P", "-m", "callreel.cli", "smoke", "--url", url, "--token", token, *options],
        env=env | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.slow  # the same by a service's token: `test_split`
def test_a_deployment_that_works_makes_a_film_of_two_people(stack: Stack) -> None:
    done = smoke(stack.url, stack.token("host", "smoke-host"))
    assert done.returncode == 0, done.stderr
    assert "s with both people in picture and sound" in done.stdout


def test_what_is_wrong_is_one_sentence_and_exit_code_1(stack: Stack) -> None:
    done = smoke(stack.url, stack.token("viewer", "smoke-role"))
    assert done.returncode == 1
    assert done.stderr == "callreel: --token has the role 'viewer'; it takes a service's or a host's\n"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"token": "no token"}, "`callreel token` makes one"),
        ({"url": "callreel.example"}, "write it as https://callreel.example"),
        ({"url": "http://127.0.0.1:9"}, "nobody answers at http://127.0.0.1:9"),
        ({"call": "no id"}, "400 invalid_id"),
    ],
)
def test_every_mistake_has_its_sentence(stack: Stack, changed: dict[str, Any], said: str) -> None:
    asked = Choices(url=stack.url, token=stack.token("service", "*"), call="", seconds=3, timeout_s=1)
    with pytest.raises(NoFilm) as refused:
        Smoke(replace(asked, **changed)).run()
    assert said in refused.value.detail


def test_a_secret_of_another_deployment_is_told_of(stack: Stack) -> None:
    token = make_token("the secret of some other deployment", call="*", role="service", sub="x")
    with pytest.raises(NoFilm, match="401 unauthorized"):
        Smoke(Choices(url=stack.url, token=token, call="", seconds=3, timeout_s=1)).run()


def test_a_film_that_lacks_somebody_is_found_out() -> None:
    """The eye itself: each person's own recording has that person, and nobody else."""
    ada, ben = dummies.PEOPLE
    camera = whole(dummies.camera(ada, 3000))
    found = dummies.look(both(camera, whole(dummies.microphone(ada, 3000))))
    assert found.seen[ada.name] > 0.8 * found.pictures
    assert (found.seen[ben.name], found.heard) == (0, {ada.name: 3, ben.name: 0})
    other = whole(dummies.microphone(replace(ada, tone_hz=2000), 3000))
    assert dummies.look(both(camera, other)).heard == {ada.name: 0, ben.name: 0}


def whole(blobs: list[dummies.Blob]) -> bytes:
    return b"".join(blob.data for blob in blobs)


def both(*recordings: bytes) -> bytes:
    """Recordings of one track each in one file, packets as they are."""
    out = io.BytesIO()
    with contextlib.ExitStack() as open_files:
        sources = [open_files.enter_context(av.open(io.BytesIO(data), "r")) for data in recordings]
        film = open_files.enter_context(av.open(out, "w", format="matroska"))
        targets = [film.add_stream_from_template(source.streams[0]) for source in sources]  # all before any packet
        for source, target in zip(sources, targets, strict=True):
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = target
                    film.mux(packet)
    return out.getvalue()
