"""Firefox without a driver: a page that fetches what it shall evaluate, and says what came of it.

Playwright drives builds of its own only; this takes any Firefox, named by CALLREEL_FIREFOX.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .browser import until

_PREFERENCES = {
    "media.navigator.permission.disabled": True,
    "media.navigator.streams.fake": True,
    "media.autoplay.default": 0,
    "media.autoplay.blocking_policy": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "datareporting.policy.firstRunURL": "",
    "browser.shell.checkDefaultBrowser": False,
    "browser.aboutwelcome.enabled": False,
    "app.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
}

_REMOTE = """
for (;;) {
  const { script, arg } = await (await fetch("%(url)s", { cache: "no-store" })).json();
  let told;
  try {
    let value = (0, eval)(script);
    if (typeof value === "function") value = value(arg);
    told = { value: (await value) ?? null };
  } catch (error) {
    told = { error: String(error) };
  }
  await fetch("%(url)s", { method: "POST", body: JSON.stringify(told) });
}
"""


class FirefoxPage:
    """As much of Playwright's `Page` as the lab's helpers use."""

    def __init__(self) -> None:
        self.asked: queue.Queue[dict[str, Any]] = queue.Queue()
        self.told: queue.Queue[dict[str, Any]] = queue.Queue()

    def evaluate(self, script: str, arg: Any = None) -> Any:
        self.asked.put({"script": script, "arg": arg})
        told = self.told.get(timeout=120)
        if "error" in told:
            raise AssertionError(f"Firefox: {told['error']}\n{script}")
        return told["value"]

    def title(self) -> str:
        return str(self.evaluate("document.title"))


@contextlib.contextmanager
def firefox(program: str, url: str, profile: Path) -> Iterator[FirefoxPage]:
    """The lab's page in Firefox, ready."""
    page = FirefoxPage()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/remote.js":
                self._answer(_REMOTE % {"url": f"{origin}/next"}, "text/javascript")
                return
            self._answer(json.dumps(page.asked.get()), "application/json")

        def do_POST(self) -> None:
            page.told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._answer("", "text/plain")

        def _answer(self, text: str, kind: str) -> None:
            body = text.encode()
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it
            pass

    profile.mkdir()
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in _PREFERENCES.items()]
    (profile / "user.js").write_text("\n".join(lines))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False  # its last question is never answered
        origin = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        process = subprocess.Popen(
            [program, "--headless", "--no-remote", "--profile", str(profile), f"{url}/#{origin}/remote.js"],
            env=os.environ | {"HOME": str(profile)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            until(lambda: page.title() == "ready", 60, "the library in Firefox")
            yield page
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)
            server.shutdown()
