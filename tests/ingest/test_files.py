"""Files with ranges, by token and by signed address."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from callreel import keys
from callreel.errors import RangeNotSatisfiable
from ingest.files import parse_range
from ingest.streams import Span

from .desk import CALL, Desk, application, bearer, refused, said

FILM = bytes(range(256)) * 12_000  # three pieces of a MiB
SHA256 = hashlib.sha256(FILM).hexdigest()


def finished(desk: Desk, name: str = "composition.mp4", mime_type: str = "video/mp4") -> str:
    """A recording with a film."""
    recording_id = desk.begun()
    desk.stop()
    desk.storage.put_if_absent(keys.artifact(recording_id, name, SHA256), FILM)
    artifact = {
        "name": name,
        "kind": "composition",
        "status": "ready",
        "mime_type": mime_type,
        "size_bytes": len(FILM),
        "duration_ms": 1000,
        "sha256": SHA256,
        "error": "",
    }
    done = {"complete": True, "gaps": [], "build": "b", "artifacts": [artifact]}
    desk.write(recording_id, ("drained", {}), ("completed", done))
    return recording_id


def test_a_page_among_the_files_may_only_be_read(desk: Desk) -> None:
    recording_id = finished(desk, "certificate.html", "text/html")
    answer = desk.get(desk.url(recording_id, "/files/certificate.html"))
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert policy.endswith("; sandbox")


def test_how_well_segments_are_placed_is_told(desk: Desk) -> None:
    recording_id = desk.begun()
    assert said(desk.get(desk.url(recording_id)), 200)["sync"] == []
    desk.stop()
    placed = {"participantId": "alice", "trackId": "t", "seg": 0, "uncertaintyMs": 7, "trusted": "probe"}
    done = {"complete": True, "gaps": [], "sync": [placed], "build": "b", "artifacts": []}
    desk.write(recording_id, ("drained", {}), ("completed", done))
    assert said(desk.get(desk.url(recording_id)), 200)["sync"] == [placed]


def test_a_film_is_handed_out_whole(desk: Desk) -> None:
    recording_id = finished(desk)
    answer = desk.get(desk.url(recording_id, "/files/composition.mp4"))
    assert (answer.status_code, answer.content) == (200, FILM)
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["etag"] == f'"{SHA256}"'
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"] == 'inline; filename="composition.mp4"'
    answer = desk.get(desk.url(recording_id, "/files/composition.mp4?download"))
    assert answer.headers["content-disposition"] == 'attachment; filename="composition.mp4"'


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-1", 0, 1),
        ("bytes=1000-1048575", 1000, 1048575),
        ("bytes=1048570-2097160", 1048570, 2097160),
        ("bytes=3071999-", 3071999, 3071999),
        ("bytes=5-", 5, 3071999),
        ("bytes=0-99999999999", 0, 3071999),
        ("bytes=-1", 3071999, 3071999),
        ("bytes=-99999999999", 0, 3071999),
    ],
)
def test_ranges(desk: Desk, asked: str, first: int, last: int) -> None:
    url = desk.url(finished(desk), "/files/composition.mp4")
    answer = desk.get(url, Range=asked)
    assert answer.status_code == 206
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(FILM)}"
    assert answer.content == FILM[first : last + 1]
    head = desk.client.head(url, headers={**desk.as_who, "Range": asked})
    assert (head.status_code, head.content) == (206, b"")
    assert head.headers["content-length"] == str(last + 1 - first)


@pytest.mark.parametrize("asked", ["bytes=3072000-", "bytes=9999999999-9999999999", "bytes=-0"])
def test_ranges_outside_of_the_file(desk: Desk, asked: str) -> None:
    answer = desk.get(desk.url(finished(desk), "/files/composition.mp4"), Range=asked)
    refused(answer, 416, "range_not_satisfiable")
    assert answer.headers["content-range"] == f"bytes */{len(FILM)}"


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "bytes=5-4", "bytes=-", "lines=1-2", "bytes=a-b", "nonsense"])
def test_what_is_no_single_range_is_answered_with_everything(desk: Desk, asked: str) -> None:
    answer = desk.get(desk.url(finished(desk), "/files/composition.mp4"), Range=asked)
    assert (answer.status_code, len(answer.content)) == (200, len(FILM))


def test_parsing_ranges_is_exact() -> None:
    assert parse_range(None, 10) is None
    assert parse_range("bytes=2-4", 10) == Span(2, 5)
    assert parse_range("bytes=-4", 10) == Span(6, 10)
    with pytest.raises(RangeNotSatisfiable):
        parse_range("bytes=0-", 0)


def test_what_is_known_is_not_sent_again(desk: Desk) -> None:
    url = desk.url(finished(desk), "/files/composition.mp4")
    etag = f'"{SHA256}"'
    for known in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        answer = desk.get(url, **{"If-None-Match": known})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)
    assert desk.get(url, **{"If-None-Match": '"x"'}).status_code == 200
    assert desk.get(url, **{"Range": "bytes=0-1", "If-Range": etag}).status_code == 206
    assert desk.get(url, **{"Range": "bytes=0-1", "If-Range": '"old"'}).status_code == 200


def test_the_signed_address_plays_without_a_token(desk: Desk) -> None:
    recording_id = finished(desk)
    [artifact] = said(desk.get(desk.url(recording_id)), 200)["artifacts"]
    assert artifact == {**artifact, "status": "ready", "bytes": len(FILM), "sha256": SHA256, "durationMs": 1000}
    answer = desk.client.get(artifact["url"], headers={"Range": "bytes=0-9"})
    assert (answer.status_code, answer.content) == (206, FILM[:10])
    assert desk.client.get(artifact["url"] + "&download").headers["content-disposition"].startswith("attachment")
    assert desk.client.head(artifact["url"]).status_code == 200
    refused(desk.client.get(artifact["url"].replace("composition.mp4", "manifest.json")), 401, "unauthorized")
    refused(desk.client.get(artifact["url"][:-2]), 401, "unauthorized")
    other = artifact["url"].replace(f"rec_{CALL}_1", f"rec_{CALL}_2")
    refused(desk.client.get(other), 401, "unauthorized")


@pytest.mark.parametrize(
    ("role", "watch", "signed"), [("participant", False, False), ("participant", True, True), ("viewer", False, True)]
)
def test_a_signed_address_is_given_only_to_who_may_watch(
    redis_url: str, data_dir: Path, role: str, watch: bool, signed: bool
) -> None:
    with application(redis_url, data_dir, participants_watch=watch) as desk:
        recording_id = finished(desk)
        desk.as_who = bearer(role, "bob")
        [artifact] = said(desk.get(desk.url(recording_id)), 200)["artifacts"]
        assert (artifact["url"] is not None) is signed


def test_addresses_are_absolute_where_the_server_knows_its_own(redis_url: str, data_dir: Path) -> None:
    with application(redis_url, data_dir, public_url="https://media.example/") as desk:
        [artifact] = said(desk.get(desk.url(finished(desk))), 200)["artifacts"]
        assert artifact["url"].startswith(f"https://media.example/video-calls/{CALL}/recording/")


def test_files_that_are_not_there(desk: Desk) -> None:
    recording_id = finished(desk)
    for name in ("manifest.json", "../journal/00000001.json", "composition.mp4/x", "%2e%2e/x", "x" * 300):
        assert desk.get(desk.url(recording_id, f"/files/{name}")).status_code == 404
    refused(desk.get(f"/video-calls/{CALL}/recording/rec_{CALL}_1732259000123/files/a"), 404, "unknown_recording")
    assert desk.jobs.exported == []


def test_a_track_nobody_asked_for_yet_is_made_on_demand(desk: Desk) -> None:
    recording_id = finished(desk)
    problem = refused(desk.get(desk.url(recording_id, "/files/tracks/alice/cam.webm")), 404, "unknown_file")
    assert "being made" in problem["detail"]
    assert desk.jobs.exported == [(recording_id, "alice", "cam")]
    refused(desk.get(desk.url(recording_id, "/files/tracks/bob/cam.webm")), 404, "unknown_file")
    assert len(desk.jobs.exported) == 1


@pytest.mark.parametrize("name", ["tracks/alice/cam.webm", "tracks/alice/cam.7.mp4"])
def test_a_track_whose_export_was_lost_is_asked_for_again(desk: Desk, name: str) -> None:
    recording_id = finished(desk)
    fact = {"name": name, "kind": "track", "status": "pending", "mime_type": "video/webm"}
    desk.write(recording_id, ("artifact", fact))
    for times in (1, 2):
        problem = refused(desk.get(desk.url(recording_id, f"/files/{name}")), 404, "unknown_file")
        assert "being made" in problem["detail"]
        assert desk.jobs.exported == [(recording_id, "alice", "cam")] * times
    refused(desk.get(desk.url(recording_id, "/files/tracks/alice/cam.ogg")), 404, "unknown_file")
    desk.write(recording_id, ("artifact", {**fact, "status": "failed", "error": "broken"}))
    assert "failed" in refused(desk.get(desk.url(recording_id, f"/files/{name}")), 404, "unknown_file")["detail"]
    assert len(desk.jobs.exported) == 2


def test_cues_of_thumbnails_carry_the_rights_that_they_were_asked_with(desk: Desk) -> None:
    recording_id = finished(desk)
    text = "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\nsprite-000.jpg#xywh=0,0,160,90\n"
    facts = []
    for name, kind, data in (
        ("thumbnails/sprite.vtt", "text/vtt", text.encode()),
        ("thumbnails/sprite-000.jpg", "image/jpeg", b"JPEG"),
    ):
        digest = hashlib.sha256(data).hexdigest()
        desk.storage.put_if_absent(keys.artifact(recording_id, name, digest), data)
        told = {"name": name, "kind": "thumbnails", "status": "ready", "mime_type": kind}
        facts.append({**told, "size_bytes": len(data), "sha256": digest})
    desk.write(recording_id, ("artifacts", {"artifacts": [{**fact, "status": "pending"} for fact in facts]}))
    problem = refused(desk.get(desk.url(recording_id, "/files/thumbnails/sprite.vtt")), 404, "unknown_file")
    assert "being made" in problem["detail"]
    desk.write(recording_id, ("artifacts", {"artifacts": facts}))

    artifacts = {each["name"]: each for each in said(desk.get(desk.url(recording_id)), 200)["artifacts"]}
    signed_url = artifacts["thumbnails/sprite.vtt"]["url"]
    own_expiry = signed_url.partition("expires=")[2].partition("&")[0]
    asked = {signed_url: desk.client.get(signed_url)}
    token_url = desk.url(recording_id, "/files/thumbnails/sprite.vtt")
    asked[token_url] = desk.get(token_url)
    for url, answer in asked.items():
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/vtt; charset=utf-8")
        assert answer.headers["cache-control"] == "no-store"
        [image] = [line for line in answer.text.splitlines() if line.startswith("sprite-")]
        address, _, region = image.partition("#")
        assert region == "xywh=0,0,160,90"
        assert f"expires={own_expiry}&" in address, "no longer than what it was asked with"
        assert desk.client.get(f"{url.partition('sprite.vtt')[0]}{address}").content == b"JPEG"
        refused(desk.client.get(f"{url.partition('sprite.vtt')[0]}{address[:-1]}x"), 401, "unauthorized")
    assert desk.get(token_url + "?download").content == text.encode(), "as its digest says"


def test_the_files_of_a_deleted_recording_are_gone(desk: Desk) -> None:
    recording_id = finished(desk)
    [artifact] = said(desk.get(desk.url(recording_id)), 200)["artifacts"]
    desk.write(recording_id, ("delete_requested", {}))
    refused(desk.client.get(artifact["url"]), 410, "recording_deleted")
    desk.as_who = bearer("viewer")
    refused(desk.get(desk.url(recording_id, "/files/composition.mp4")), 410, "recording_deleted")


def test_whoever_goes_away_in_the_middle_leaves_no_file_open(desk: Desk) -> None:
    recording_id = finished(desk)
    path = desk.url(recording_id, "/files/composition.mp4")
    for seen_bytes in (1, 100_000, 1_500_000, len(FILM) - 1) * 5:
        with desk.client.stream("GET", path, headers=desk.as_who) as answer:
            pieces = answer.iter_bytes(4096)
            while seen_bytes > 0:
                seen_bytes -= len(next(pieces))
    deadline = time.monotonic() + 10
    while any(str(open_file).endswith(SHA256) for open_file in _open_files()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    gc.collect()  # what was left open without a name would be told now, and warnings are errors


def _open_files() -> Iterator[Path]:
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            yield each.readlink()
