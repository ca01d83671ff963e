"""Playlists and segments over HTTP: who gets them, how they are signed, how long they may be kept."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urljoin
from xml.etree import ElementTree as ET

import pytest

from callreel import keys

from .desk import Desk, application, bearer, refused, said

INIT = b"\0\0\0\x0cftypiso5" + b"\0\0\0\x1cmoov....avcC\x01\x64\x00\x1f........"
MPD = "{urn:mpeg:dash:schema:mpd:2011}"


def window(recording_id: str, desk: Desk, k: int, *, edition: int = 0, listed: bool = True) -> str:
    """A window as workers leave it behind, and its place in the live list; its key."""
    key = hashlib.sha256(f"{k}/{edition}".encode()).hexdigest()
    desk.storage.put_if_absent(keys.window(recording_id, key), INIT + media(k, edition))
    if listed:
        told = {"key": key, "firstPicture": k * 240, "pictures": 240}
        desk.storage.put_if_absent(keys.streamed_window(recording_id, k), json.dumps(told).encode())
    return key


def media(k: int, edition: int = 0) -> bytes:
    return b"\0\0\0\x10moof" + bytes(8) + b"\0\0\0\x10mdat" + k.to_bytes(4) + edition.to_bytes(4)


def completed(desk: Desk, recording_id: str, windows: list[str], last: int, *before: dict[str, Any]) -> None:
    """The fact that a film is there, behind others in the manifest."""
    film = {"windows": windows, "windowPictures": [*[240] * (len(windows) - 1), last]}
    told = {"films": [*before, film]}
    body = json.dumps(told).encode()
    sha256 = hashlib.sha256(body).hexdigest()
    desk.storage.put_if_absent(keys.artifact(recording_id, "manifest.json", sha256), body)
    listing = {"name": "manifest.json", "kind": "manifest", "status": "ready", "sha256": sha256, "size_bytes": 1}
    done = {"complete": True, "gaps": [], "build": sha256, "artifacts": [listing]}
    desk.write(recording_id, ("drained", {}), ("completed", done))


def address(desk: Desk, recording_id: str, name: str = "hls/index.m3u8") -> str | None:
    artifacts = said(desk.get(desk.url(recording_id)), 200)["artifacts"]
    return next((str(artifact["url"]) for artifact in artifacts if artifact["name"] == name), None)


def hls(desk: Desk, url: str) -> list[tuple[str, bytes]]:
    """Play a playlist without any header: (URI without its rights, bytes) of init and segments."""
    answer = desk.client.get(url)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/vnd.apple.mpegurl")
    assert answer.headers["cache-control"] == "no-store"
    lines = answer.text.splitlines()
    names = [*re.findall('URI="(.+)"', answer.text), *(line for line in lines if not line.startswith("#"))]
    return [(name.partition("?")[0], _played(desk, urljoin(url, name))) for name in names]


def dash(desk: Desk, url: str) -> list[bytes]:
    answer = desk.client.get(url)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/dash+xml")
    [template] = ET.fromstring(answer.text).iter(f"{MPD}SegmentTemplate")
    count = sum(int(entry.attrib["r"]) + 1 for entry in template.iter(f"{MPD}S"))
    media = [template.attrib["media"].replace("$Number$", str(k)) for k in range(count)]
    return [_played(desk, urljoin(url, name)) for name in (template.attrib["initialization"], *media)]


def _played(desk: Desk, url: str) -> bytes:
    answer = desk.client.get(url)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4")
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    return answer.content


def test_a_stream_has_its_address_from_the_first_window_on_and_grows(desk: Desk) -> None:
    recording_id = desk.begun()
    assert address(desk, recording_id) is None
    refused(desk.get(desk.url(recording_id, "/files/hls/index.m3u8")), 404, "unknown_file")
    a = window(recording_id, desk, 0)
    url = address(desk, recording_id)
    assert url is not None
    assert hls(desk, url) == [(f"init-{a}.mp4", INIT), (f"0-{a}.m4s", media(0))]
    b = window(recording_id, desk, 1)
    window(recording_id, desk, 3)  # nobody sees what has a hole before it
    assert [name for name, _ in hls(desk, url)] == [f"init-{a}.mp4", f"0-{a}.m4s", f"1-{b}.m4s"]
    manifest = address(desk, recording_id, "dash/manifest.mpd")
    assert manifest is not None
    assert dash(desk, manifest) == [INIT, media(0), media(1)]
    assert 'type="dynamic"' in desk.client.get(manifest).text


def test_afterwards_the_same_address_shows_the_film(desk: Desk) -> None:
    recording_id = desk.begun()
    a, stale = window(recording_id, desk, 0), window(recording_id, desk, 1)
    url, manifest = address(desk, recording_id), address(desk, recording_id, "dash/manifest.mpd")
    assert url
    assert manifest
    desk.stop()
    b, c = window(recording_id, desk, 1, edition=1, listed=False), window(recording_id, desk, 2, listed=False)
    assert [name for name, _ in hls(desk, url)][2] == f"1-{stale}.m4s"  # what was seen stays while it is looked at
    completed(desk, recording_id, [a, b, c], last=100)
    assert [name for name, _ in hls(desk, url)] == [f"init-{a}.mp4", f"0-{a}.m4s", f"1-{b}.m4s", f"2-{c}.m4s"]
    text = desk.client.get(url).text
    assert text.endswith("#EXT-X-ENDLIST\n")
    assert "#EXTINF:3.333333,\n" in text
    assert dash(desk, manifest) == [INIT, media(0), media(1, 1), media(2)]
    assert 'type="static"' in desk.client.get(manifest).text
    # whoever still plays what was live finds it
    live = urljoin(desk.url(recording_id, "/files/dash/"), "live/1.m4s")
    assert desk.get(live).content == media(1)


def test_a_signature_opens_its_stream_and_nothing_else_and_does_not_last_longer_for_being_used(desk: Desk) -> None:
    recording_id = desk.begun()
    key = window(recording_id, desk, 0)
    url = address(desk, recording_id)
    assert url
    query = url.partition("?")[2]
    assert f"0-{key}.m4s?{query}\n" in desk.client.get(url).text
    for name in ("dash/manifest.mpd", f"dash/init-{key}.mp4", "manifest.json", "composition.mp4"):
        refused(desk.client.get(desk.url(recording_id, f"/files/{name}?{query}")), 401, "unauthorized")
    for name in ("hls/index.m3u8", f"hls/0-{key}.m4s", "dash/live/0.m4s"):
        refused(desk.client.get(desk.url(recording_id, f"/files/{name}")), 401, "unauthorized")
        refused(
            desk.client.get(desk.url(recording_id, f"/files/{name}"), headers=bearer("participant")), 403, "forbidden"
        )
    # by a token the playlist is signed for whoever has it
    desk.as_who = bearer("viewer")
    text = desk.get(desk.url(recording_id, "/files/hls/index.m3u8")).text
    [name] = [line for line in text.splitlines() if not line.startswith("#")]
    assert desk.client.get(urljoin(desk.url(recording_id, "/files/hls/index.m3u8"), name)).status_code == 200


def test_segments_have_ranges_and_heads(desk: Desk) -> None:
    recording_id = desk.begun()
    key = window(recording_id, desk, 7)
    url = desk.url(recording_id, f"/files/hls/7-{key}.m4s")
    answer = desk.get(url, Range="bytes=4-7")
    assert (answer.status_code, answer.content) == (206, b"moof")
    assert answer.headers["content-range"] == "bytes 4-7/32"
    assert desk.client.head(url, headers=desk.as_who).headers["content-length"] == "32"
    assert desk.get(url, **{"If-None-Match": answer.headers["etag"]}).status_code == 304
    playlist = desk.url(recording_id, "/files/hls/index.m3u8")
    window(recording_id, desk, 0)
    assert desk.client.head(playlist, headers=desk.as_who).status_code == 200


def test_a_segment_that_nobody_needs_any_more_is_gone_though_it_was_known(desk: Desk) -> None:
    recording_id = desk.begun()
    key = window(recording_id, desk, 7)
    url = desk.url(recording_id, f"/files/hls/7-{key}.m4s")
    assert desk.get(url).content == media(7)
    desk.storage.delete(keys.window(recording_id, key))
    refused(desk.get(url), 404, "unknown_file")


@pytest.mark.parametrize("name", ["hls/0-{}.m4s", "hls/init-{}.mp4", "dash/{}/0.m4s"])
def test_segments_that_are_not_there(desk: Desk, name: str) -> None:
    recording_id = desk.begun()
    refused(desk.get(desk.url(recording_id, f"/files/{name.format('0' * 64)}")), 404, "unknown_file")
    refused(desk.get(desk.url(recording_id, "/files/dash/live/0.m4s")), 404, "unknown_file")
    refused(desk.get(desk.url(recording_id, f"/files/{name.format('..')}")), 404, "unknown_file")


def test_of_a_recording_that_failed_what_was_live_can_be_seen_to_its_end(desk: Desk) -> None:
    recording_id = desk.begun()
    window(recording_id, desk, 0)
    desk.stop()
    desk.write(recording_id, ("drained", {}), ("failed", {"code": "render_failed", "message": "no"}))
    url = address(desk, recording_id)
    assert url
    assert desk.client.get(url).text.endswith("#EXT-X-ENDLIST\n")


def test_streams_of_deleted_recordings_are_gone(desk: Desk) -> None:
    recording_id = desk.begun()
    key = window(recording_id, desk, 0)
    url = address(desk, recording_id)
    assert url
    desk.write(recording_id, ("delete_requested", {}))
    refused(desk.client.get(url), 410, "recording_deleted")
    refused(desk.client.get(urljoin(url, f"0-{key}.m4s?{url.partition('?')[2]}")), 410, "recording_deleted")


def test_what_players_do_not_know_is_not_streamed(desk: Desk) -> None:
    recording_id = desk.start(outputs=[{"name": "a", "container": "webm"}])
    assert address(desk, recording_id) is None
    refused(desk.get(desk.url(recording_id, "/files/hls/index.m3u8")), 404, "unknown_file")


def test_of_several_outputs_the_first_one_that_players_know_is_streamed(desk: Desk) -> None:
    recording_id = desk.start(outputs=[{"name": "a", "container": "webm"}, {"name": "b", "container": "mp4"}])
    desk.stop()
    key = window(recording_id, desk, 0, listed=False)
    completed(desk, recording_id, [key], 90, {"windows": ["another"], "windowPictures": [90]})
    url = address(desk, recording_id)
    assert url
    assert hls(desk, url) == [(f"init-{key}.mp4", INIT), (f"0-{key}.m4s", media(0))]


def test_players_of_other_origins_may_read_them(redis_url: str, data_dir: Path) -> None:
    with application(redis_url, data_dir, cors_origins="https://player.example") as desk:
        recording_id = desk.begun()
        key = window(recording_id, desk, 0)
        for name in ("hls/index.m3u8", f"hls/0-{key}.m4s", "dash/manifest.mpd", "dash/live/0.m4s"):
            answer = desk.get(desk.url(recording_id, f"/files/{name}"), Origin="https://player.example")
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] == "https://player.example"
            assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
