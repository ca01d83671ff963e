"""What others build on: the npm package in an empty project, its size, the examples as they stand."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Playwright, sync_playwright

from tests.kit import ears, eyes
from tests.kit.browser import ADA, WEB_CLIENT, launch, until
from tests.stack import Stack
from workers.ffmpeg import find_ffmpeg

_MODULES = WEB_CLIENT / "node_modules"
_MUST_BYTES, _AIM_BYTES = 16 * 1024, 12 * 1024

pytestmark = pytest.mark.skipif(not (_MODULES / "esbuild").is_dir(), reason="needs Node.js and `npm ci` in web_client")


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, timeout=180)


def bundle(entry: Path, out: Path, *options: str) -> bytes:
    """One file of it all, minified, as an application's bundler would make it."""
    made = run(
        _MODULES / ".bin" / "esbuild",
        entry,
        "--bundle",
        "--minify",
        "--format=esm",
        f"--outfile={out}",
        *options,
        cwd=WEB_CLIENT,
    )
    assert made.returncode == 0, made.stderr
    return out.read_bytes()


def test_the_library_is_small(tmp_path: Path) -> None:
    size_bytes = len(gzip.compress(bundle(WEB_CLIENT / "src" / "callreel.js", tmp_path / "out.js"), 9))
    print(f"callreel.js: {size_bytes} bytes minified and compressed; must {_MUST_BYTES}, aim {_AIM_BYTES}")
    assert size_bytes <= _MUST_BYTES


def test_the_package_installs_and_type_checks_in_an_empty_project(tmp_path: Path) -> None:
    packed = run("npm", "pack", "--silent", "--pack-destination", tmp_path, cwd=WEB_CLIENT)
    assert packed.returncode == 0, packed.stderr
    archive = packed.stdout.split()[-1]
    project = tmp_path / "project"
    project.mkdir()
    (project / "package.json").write_text('{"private": true, "type": "module"}')
    installed = run("npm", "install", "--offline", "--no-audit", "--no-fund", f"../{archive}", cwd=project)
    assert installed.returncode == 0, installed.stderr
    assert json.loads((project / "package-lock.json").read_text())["packages"].keys() == {"", "node_modules/callreel"}
    for name in ("@types/react", "csstype"):  # what a project with React has
        shutil.copytree(_MODULES / name, project / "node_modules" / name)
    options = {"strict": True, "noEmit": True, "module": "esnext", "moduleResolution": "bundler", "target": "es2022"}
    options |= {"lib": ["es2022", "dom"], "types": [], "jsx": "react-jsx"}
    (project / "tsconfig.json").write_text(json.dumps({"compilerOptions": options}))
    (project / "right.ts").write_text(
        """import { createControl, createRecorder, type Recording } from "callreel";
import { useCallRecorder } from "callreel/react";
const recorder = createRecorder({ endpoint: "https://x", callId: "c", token: async () => "t", timesliceMs: 2000 });
recorder.on("acknowledged", ({ seg, duplicate }) => void ((seg satisfies number) || (duplicate satisfies boolean)));
recorder.on("error", ({ source }) => void (source === "camera"));
export const feed = (track: MediaStreamTrack) => recorder.addTrack(track, { source: "screen", label: "me" });
export const control = createControl({ callId: "c", token: "t" });
export const status: Promise<Recording | null> = control.status();
export const state = () => useCallRecorder(null).status === "recording";
"""
    )
    checked = run(_MODULES / ".bin" / "tsc", "-p", ".", cwd=project)
    assert checked.returncode == 0, checked.stdout
    (project / "wrong.ts").write_text(
        """import { createRecorder } from "callreel";
createRecorder({ callId: "c", token: 7 });
createRecorder({ callId: "c", token: "t" }).on("acknowledge", () => {});
createRecorder({ callId: "c", token: "t" }).on("progress", ({ nothing }) => nothing);
"""
    )
    checked = run(_MODULES / ".bin" / "tsc", "-p", ".", cwd=project)
    assert checked.stdout.count("error TS") == 3, checked.stdout
    # Node may load it too: servers that render pages do.
    loaded = run("node", "-e", 'import("callreel").then((c) => console.log(typeof c.createRecorder))', cwd=project)
    assert loaded.stdout.strip() == "function", loaded.stderr


def test_the_react_example_records_in_chromium(
    playwright: Playwright, chromium: str, stack: Stack, tmp_path: Path
) -> None:
    source = WEB_CLIENT / "src"
    bundle(
        WEB_CLIENT / "examples" / "CLIENT_EXAMPLE.tsx",
        tmp_path / "out.js",
        "--jsx=automatic",
        f"--alias:callreel/react={source / 'react.js'}",
        f"--alias:callreel={source / 'callreel.js'}",
        '--define:process.env.NODE_ENV="production"',
    )
    call, token = "in-react", stack.token("host", "in-react", "ada", "Ada")
    address = f"{stack.url}/in-react.html"
    with launch(playwright, chromium, ADA, tmp_path) as browser:
        page = browser.new_context().new_page()
        html = "<!doctype html><body><script type=module src=/in-react.js></script>"
        page.route(address, lambda route: route.fulfill(content_type="text/html", body=html))
        page.route("**/in-react.js", lambda route: route.fulfill(path=tmp_path / "out.js"))
        page.goto(f"{address}#call={call}&token={token}")
        page.wait_for_selector("#toggle")
        page.click("#toggle")
        until(lambda: page.inner_text("#status") == "recording", 30, "recording")
        page.wait_for_timeout(4000)
        page.click("#toggle")
        page.wait_for_selector("#film", timeout=120_000, state="attached")
        assert page.query_selector("[role=alert]") is None
    headers = stack.headers("host", call, "host")
    (recording,) = httpx.get(f"{stack.url}/video-calls/{call}/recordings", headers=headers).json()["data"]["items"]
    assert recording["complete"] is True, recording["gaps"]
    assert {t["source"] for t in recording["participants"][0]["tracks"]} == {"camera", "microphone"}


def test_the_react_native_example_type_checks() -> None:
    checked = run(_MODULES / ".bin" / "tsc", "-p", "examples/react-native", cwd=WEB_CLIENT)
    assert checked.returncode == 0, checked.stdout


def test_files_that_the_react_native_example_sends_are_found_in_the_film(stack: Stack, tmp_path: Path) -> None:
    """Two MP4 files with their index at the end, as phones write them, recorded one after the other."""
    red, green, blue = ADA.rgb
    for seg in (0, 1):
        made = run(
            *(find_ffmpeg(), "-hide_banner", "-loglevel", "error", "-y"),
            *("-f", "lavfi", "-i", f"color=0x{red:02x}{green:02x}{blue:02x}:s=320x180:r=30:d=2"),
            *("-f", "lavfi", "-i", f"sine=f={ADA.tone_hz}:r=48000:d=2,volume='lt(mod(t,1),0.3)':eval=frame"),
            *("-c:v", "libx264", "-pix_fmt", "yuv420p", "-c:a", "aac", f"{seg}.mp4"),
            cwd=tmp_path,
        )
        assert made.returncode == 0, made.stderr
        content = (tmp_path / f"{seg}.mp4").read_bytes()
        assert content.index(b"moov") > content.index(b"mdat")
    bundle(WEB_CLIENT / "examples" / "react-native" / "callreel.ts", tmp_path / "native.mjs")
    (tmp_path / "app.mjs").write_text(
        """import { readFileSync, statSync } from "node:fs";
globalThis.WebSocket ??= class {};
// As React Native's: what is appended may be a file of the phone.
globalThis.FormData = class extends FormData {
  append(name, value) {
    if (value.uri) super.append(name, new Blob([readFileSync(value.uri)], { type: value.type }), value.name);
    else super.append(name, value);
  }
};
const { CallreelNative } = await import("./native.mjs");
const [endpoint, token] = process.argv.slice(2);
const callreel = new CallreelNative({ endpoint, callId: "on-a-phone", token: async () => token });
const { recordingId } = await callreel.start();
const startedMs = Date.now();
await callreel.announce(recordingId, "phone", "camera", "av", "Ada");
await new Promise((resolve) => setTimeout(resolve, 4300));
const files = [0, 1].map((seg) => {
  const startMs = startedMs + 100 + seg * 2000;
  const uri = `${seg}.mp4`;
  return { uri, mimeType: "video/mp4", seg, startMs, atMs: startMs + 2000, sizeBytes: statSync(uri).size };
});
for (const file of files) await callreel.uploadSegment(recordingId, "phone", file);
await callreel.complete(recordingId, "phone", files);
await callreel.stop();
console.log(recordingId);
"""
    )
    app = run("node", "app.mjs", stack.url, stack.token("host", "on-a-phone", "ada", "Ada"), cwd=tmp_path)
    assert app.returncode == 0, app.stderr
    headers = stack.headers("host", "on-a-phone", "host")
    address = f"{stack.url}/video-calls/on-a-phone/recording/{app.stdout.strip()}"
    until(
        lambda: httpx.get(address, headers=headers).json()["data"]["status"] in ("completed", "failed"), 120, "the film"
    )
    recording = httpx.get(address, headers=headers).json()["data"]
    assert (recording["status"], recording["complete"]) == ("completed", True), recording
    film = tmp_path / "film.mp4"
    film.write_bytes(httpx.get(f"{address}/files/composition.mp4", headers=headers).content)
    sight = eyes.watch(film, {"Ada": ADA.rgb}).sights["Ada"]
    seen_s = sum(sight.visible()) / len(sight.state) * recording["durationMs"] / 1000
    assert 3.75 <= seen_s <= 4.75, "four seconds; who stays until the last half second is shown to the end"
    _, samples = ears.decode_placed(film)
    assert len(ears.onsets_ms(samples, ADA.tone_hz)) == 4
