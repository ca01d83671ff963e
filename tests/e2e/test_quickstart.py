"""`docs/quickstart.md`, as printed: its lines in order against a server that was started as it says.

Put in are the port, for 3000 may be taken, and the address that the page calls `callreel.example`.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import httpx
import pytest
from playwright.sync_api import Playwright

from callreel.tokens import check_token
from tests.kit.browser import ADA, launch, until
from tests.plain import bare_environment, blocks
from tests.stack import Stack, running

_PAGE = "quickstart.md"


class _Backend(http.server.BaseHTTPRequestHandler):
    """A page of somebody's application, and the address where that hands out tokens."""

    page, token = "", ""

    def do_GET(self) -> None:
        content = self.token if self.path == "/my-backend/recording-token" else self.page
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(content.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it
        pass


@pytest.fixture(scope="module")
def application() -> Iterator[str]:
    """The origin of somebody's application."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Backend) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, application: str) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("quickstart")
    with running(folder / "callreel-data", env={"CALLREEL_CORS_ORIGINS": application}) as stack:
        yield stack


def test_its_lines_make_a_film_with_curl_alone(server: Stack) -> None:
    folder = server.data.parent
    script = "\n".join(blocks(_PAGE, "sh"))
    assert script.count("127.0.0.1:3000") == 1
    script = script.replace("127.0.0.1:3000", server.url.removeprefix("http://"))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=bare_environment(folder),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    _answers_are_as_printed(script, done.stdout)
    with av.open(str(folder / "film.mp4"), "r") as film:
        assert {stream.type for stream in film.streams} == {"video", "audio"}
        assert 5 <= (film.duration or 0) / 1e6 < 60
        pictures = [frame.reformat(width=64, height=36, format="gray").to_ndarray() for frame in film.decode(video=0)]
    # the clip moves: somewhere in its five seconds two pictures a second apart differ
    assert (
        max(float(abs(a.astype(int) - b.astype(int)).mean()) for a, b in zip(pictures, pictures[30:], strict=False)) > 5
    )


def _answers_are_as_printed(script: str, said: str) -> None:
    """Every line of the page that shows an answer, `…` standing for anything, is among what was said."""
    shown = re.findall(r"^# (\{.*\})$", script, re.MULTILINE)
    assert len(shown) == 3
    for line in shown:
        pattern = ".*".join(re.escape(part) for part in line.split("…"))
        assert re.search(pattern, said), f"{line}\nis not what came:\n{said}"


def test_its_python_makes_a_token_that_the_server_takes(server: Stack) -> None:
    (code,) = blocks(_PAGE, "python")
    asked = f"{code}\nprint(token('standup', 'participant', 'bob', 'Bob'))"
    env = {name: value for name, value in os.environ.items() if not name.startswith("CALLREEL_")}
    done = subprocess.run(
        [sys.executable, "-c", asked], cwd=server.data.parent, env=env, capture_output=True, text=True, check=True
    )
    token = done.stdout.strip()
    caller = check_token((server.data / "secret").read_text().strip(), token)
    assert (caller.role, caller.name) == ("participant", "Bob")
    answer = httpx.get(f"{server.url}/video-calls/standup/recordings", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200


@pytest.mark.slow  # a browser and one more film
def test_its_javascript_records_a_call_and_is_told_of_the_film(
    server: Stack, application: str, playwright: Playwright, chromium: str, tmp_path: Path
) -> None:
    code = "\n".join(blocks(_PAGE, "js")).replace("https://callreel.example", server.url)
    code = code.replace('"standup"', '"quickstart-js"')
    assert "// … the call …" in code
    code = code.replace("// … the call …", "await new Promise((done) => setTimeout(done, 4000));")
    kept = "const show = (text) => (window.shown = text), watch = (artifacts) => (window.watched = artifacts);"
    _Backend.page = f'<!doctype html><script type="module">{kept}\n{code}\nwindow.drained = drained;</script>'
    _Backend.token = server.token("host", "quickstart-js", "ada", "Ada")
    with launch(playwright, chromium, ADA, tmp_path) as browser, contextlib.closing(browser.new_page()) as page:
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(application)

        def told(name: str) -> object:
            assert not errors
            return page.evaluate(f"window.{name} ?? null")

        until(lambda: told("drained") is True, 60, "the page may go")
        assert re.fullmatch(r"\d+ bytes to go", str(told("shown")))
        until(lambda: told("watched"), 120, "the film")
        names = {artifact["name"]: artifact["status"] for artifact in json.loads(json.dumps(told("watched")))}
    assert names["composition.mp4"] == "ready"
