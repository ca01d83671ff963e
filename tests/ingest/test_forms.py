"""The form door: the same chunks as `multipart/form-data`."""

from __future__ import annotations

import hashlib
from pathlib import Path

import httpx
import pytest

from callreel.repository import load, read_chunks

from .desk import Desk, application, litter, media, refused, said, stored

FIELDS = {"seg": "0", "seq": "0", "startMs": "1732259000123", "atMs": "1732259036150", "offsetMs": "-37012"}


def form(desk: Desk, recording_id: str, fields: dict[str, str], content: bytes | None = None) -> httpx.Response:
    url = desk.url(recording_id, "/tracks/cam/chunks")
    content = media(0, 0) if content is None else content
    files = {"chunk": ("blob.webm", content, "video/webm")}
    return desk.client.post(url, data=fields, files=files, headers=desk.as_who)


def test_a_form_is_a_chunk_too(desk: Desk, data_dir: Path) -> None:
    recording_id = desk.begun()
    for seq, size_bytes in enumerate((100, 3_000_000)):
        content = media(0, seq, size_bytes)
        fields = {**FIELDS, "seq": str(seq), "errMs": "9", "sha256": hashlib.sha256(content).hexdigest(), "more": "x"}
        said(form(desk, recording_id, fields, content), 201)
        said(form(desk, recording_id, fields, content), 200)
        said(desk.chunk(recording_id, seq, content), 200)  # the same chunk by the other door
        assert stored(desk, recording_id)[0, seq] == content
    chunk = read_chunks(desk.storage, recording_id)[0]
    assert (chunk.start_ms, chunk.at_ms, chunk.offset_ms, chunk.err_ms) == (1732259000123, 1732259036150, -37012, 9)
    assert litter(data_dir) == []
    segment = load(desk.storage, recording_id).track("cam").segments[0]  # type: ignore[union-attr]
    assert segment.mime_type == "video/webm"


def test_a_form_without_a_digest_is_taken(desk: Desk) -> None:
    recording_id = desk.begun()
    said(form(desk, recording_id, FIELDS), 201)


@pytest.mark.parametrize(
    ("fields", "content", "code"),
    [
        ({**FIELDS, "sha256": "0" * 64}, None, "digest_mismatch"),
        ({**FIELDS, "sha256": "AB" * 32}, None, "malformed_chunk"),
        ({**FIELDS, "seq": "x"}, None, "malformed_chunk"),
        ({**FIELDS, "seg": "x" * 300}, None, "malformed_chunk"),
        ({"seg": "0", "seq": "0"}, None, "malformed_chunk"),
        ({**FIELDS, **{f"n{n}": "x" for n in range(40)}}, None, "malformed_chunk"),
        (FIELDS, b"", "malformed_chunk"),
    ],
)
def test_forms_that_cannot_be(desk: Desk, fields: dict[str, str], content: bytes | None, code: str) -> None:
    recording_id = desk.begun()
    refused(form(desk, recording_id, fields, content), 400, code)
    assert stored(desk, recording_id) == {}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--x--\r\n"),
        ("multipart/form-data; boundary=x", b"nonsense"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=chunk\r\n\r\nabc"),
        ("multipart/form-data; boundary=x", b"--x--\r\n"),
    ],
)
def test_bodies_that_are_no_form(desk: Desk, content_type: str, body: bytes) -> None:
    recording_id = desk.begun()
    url = desk.url(recording_id, "/tracks/cam/chunks")
    answer = desk.client.post(url, content=body, headers={**desk.as_who, "Content-Type": content_type})
    refused(answer, 400, "malformed_chunk")


def test_a_form_with_too_large_a_part_is_refused(redis_url: str, data_dir: Path) -> None:
    with application(redis_url, data_dir, chunk_bytes=2000) as desk:
        recording_id = desk.begun()
        refused(form(desk, recording_id, FIELDS, media(0, 0, 2001)), 413, "chunk_too_large")
        refused(form(desk, recording_id, FIELDS, media(0, 0, 90_000)), 413, "chunk_too_large")
        said(form(desk, recording_id, FIELDS, media(0, 0, 2000)), 201)
