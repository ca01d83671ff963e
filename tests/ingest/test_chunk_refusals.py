"""Chunks over HTTP that are refused for what they are: digest, header, sizes, numbers, media."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from callreel.repository import read_chunks
from callreel.sniff import may_be_media, sniff

from .desk import CALL, EBML, Desk, application, chunk_headers, digest, litter, media, refused, said, stored


def test_bytes_that_are_not_those_of_the_digest_are_not_stored(desk: Desk, data_dir: Path) -> None:
    recording_id = desk.begun()
    for size_bytes in (100, 2_000_000):
        content = media(0, 0, size_bytes)
        answer = desk.chunk(recording_id, 0, content, headers={"Content-Digest": digest(content + b"x")})
        assert refused(answer, 400, "digest_mismatch")["retryable"] is True
    assert stored(desk, recording_id) == {}
    assert litter(data_dir) == []
    said(desk.chunk(recording_id, 0), 201)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "sha-256=abc",
        "sha-256=:AAAA:",
        "sha-512=:" + "A" * 86 + "==:",
        "sha-256=:" + "A" * 44 + ":",
        "sha-256=:" + "!" * 43 + "=:",
    ],
)
def test_a_digest_that_says_nothing_is_refused(desk: Desk, value: str) -> None:
    recording_id = desk.begun()
    refused(desk.chunk(recording_id, 0, headers={"Content-Digest": value}), 400, "malformed_chunk")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "seg=0, seq=0",
        "seq=0, start=1",
        "seg=0, start=1",
        "seg=0, seq=-1, start=1",
        "seg=0, seq=1.5, start=1",
        "seg=0, seq=1000000, start=1",
        "seg=0, seq=0, start=-1",
        "seg=0, seq=0, start=1,",
        "seg=0; seq=0; start=1",
        'seg=0, seq="0", start=1',
        "seg=0, seq, start=1",
        "seg=0, seq=0, start=1, err=-1",
        "seg=0, seq=0, start=1, at=x",
        "seg=0, seq=0 start=1",
        "Seg=0, seq=0, start=1",
        "seg=0, seq=9999999999999999, start=1",
        "x" * 2000,
    ],
)
def test_a_chunk_header_that_says_nothing_is_refused(desk: Desk, value: str) -> None:
    recording_id = desk.begun()
    refused(desk.chunk(recording_id, 0, headers={"Chunk": value}), 400, "malformed_chunk")
    assert stored(desk, recording_id) == {}


def test_unknown_keys_of_the_chunk_header_are_ignored(desk: Desk) -> None:
    recording_id = desk.begun()
    more = 'a, b=?0, c="x, seq=9; y", d=(1 "2");e=1, f=:AA==:, g=tok/en:1, h=1.5, *i=@17, seg=0, seq=0;p=1, start=5'
    said(desk.chunk(recording_id, 0, headers={"Chunk": more}), 201)
    [chunk] = read_chunks(desk.storage, recording_id)
    assert (chunk.start_ms, chunk.at_ms, chunk.offset_ms, chunk.err_ms) == (5, None, None, None)


def test_other_digests_beside_ours_are_ignored(desk: Desk) -> None:
    recording_id = desk.begun()
    both = f"sha-512=:{'A' * 86}==:, {digest(media(0, 0))}"
    said(desk.chunk(recording_id, 0, headers={"Content-Digest": both}), 201)


def test_an_empty_chunk_is_refused_for_good(desk: Desk) -> None:
    recording_id = desk.begun()
    assert refused(desk.chunk(recording_id, 1, b""), 400, "malformed_chunk")["retryable"] is False


def test_a_chunk_without_a_length_is_refused(desk: Desk) -> None:
    recording_id = desk.begun()
    headers = {**desk.as_who, **chunk_headers(0, 0, media(0, 0))}
    url = desk.url(recording_id, "/tracks/cam/chunks")
    refused(desk.client.post(url, content=iter([media(0, 0)]), headers=headers), 411, "length_required")


def test_sizes_are_limited_and_the_limit_is_named(redis_url: str, data_dir: Path) -> None:
    limits = {"chunk_bytes": 2000, "track_bytes": 5000, "recording_bytes": 7000}
    with application(redis_url, data_dir, **limits) as desk:
        recording_id = desk.begun()
        answer = said(desk.track(recording_id, "mic"), 201)
        assert answer["limits"] == {
            "chunkBytes": 2000,
            "trackBytes": 5000,
            "recordingBytes": 7000,
            "seqAhead": 4096,
        }
        problem = refused(desk.chunk(recording_id, 0, media(0, 0, 2001)), 413, "chunk_too_large")
        assert problem["limit"] == 2000
        for seq in range(2):
            said(desk.chunk(recording_id, seq, media(0, seq, 2000)), 201)
        problem = refused(desk.chunk(recording_id, 2, media(0, 2, 1001)), 413, "track_too_large")
        assert problem["limit"] == 5000
        said(desk.chunk(recording_id, 2, media(0, 2, 1000)), 201)
        said(desk.chunk(recording_id, 0, media(0, 0, 2000)), 200)  # what is there is there
        said(desk.chunk(recording_id, 0, media(0, 9, 2000), track_id="mic"), 201)
        problem = refused(desk.chunk(recording_id, 1, media(0, 8, 100), track_id="mic"), 413, "recording_too_large")
        assert problem["limit"] == 7000


def test_a_number_too_far_ahead_is_refused(redis_url: str, data_dir: Path) -> None:
    with application(redis_url, data_dir, seq_ahead=10) as desk:
        recording_id = desk.begun()
        refused(desk.chunk(recording_id, 10), 409, "sequence_too_far")
        said(desk.chunk(recording_id, 9), 201)
        refused(desk.chunk(recording_id, 20), 409, "sequence_too_far")
        for seq in (10, 20, 30):  # 0 never comes: what was lost for good must not end the track
            said(desk.chunk(recording_id, seq), 201)
        said(desk.chunk(recording_id, 0, seg=10), 201)
        refused(desk.chunk(recording_id, 0, seg=21), 409, "sequence_too_far")


@pytest.mark.parametrize(
    "content",
    [
        b"<html>",
        b"#EXTM3U\n",
        b"\x00" * 100,
        b"hello, I am no media",
        b"MZ",
        b"\x1a\x45x",
        b"x",
        b"RIFF\x00\x00\x00\x00AVI ",
        b"RIFF\x24\x00\x00\x00WAVEfmt ",
        b"RIFF",
    ],
)
def test_what_is_not_media_is_refused_by_its_first_bytes(desk: Desk, content: bytes) -> None:
    recording_id = desk.begun()
    refused(desk.chunk(recording_id, 0, content), 415, "unsupported_media")
    assert stored(desk, recording_id) == {}
    said(desk.chunk(recording_id, 1, content), 201)  # only the beginning of a segment can tell


@pytest.mark.parametrize("content", [b"\x1a", b"O", b"Og", b"\x00\x00\x00\x20f", b"\x00", b"\x00\x00\x00\x18ftypisom"])
def test_a_beginning_too_short_to_be_certain_passes(desk: Desk, content: bytes) -> None:
    recording_id = desk.begun()
    said(desk.chunk(recording_id, 0, content), 201)


def test_containers_are_told_by_their_marks() -> None:
    assert [
        sniff(head) for head in (EBML + b"..", b"\x00\x00\x00\x18ftypisom", b"OggS\x00", b"RIFF....WAVE", b"ID3")
    ] == [
        "matroska",
        "mp4",
        "ogg",
        None,
        None,
    ]
    assert not may_be_media(b"PK\x03\x04....")


def test_chunks_of_nothing_known_are_refused(desk: Desk) -> None:
    recording_id = desk.begun()
    refused(desk.chunk(recording_id, 0, track_id="mic"), 404, "unknown_track")
    refused(desk.chunk(f"rec_{CALL}_1732259000123", 0), 404, "unknown_recording")
    refused(desk.chunk("rec_c2_1732259000123", 0), 404, "unknown_recording")
    refused(desk.chunk("nonsense", 0), 400, "invalid_id")
    refused(desk.chunk(recording_id, 0, track_id="a.b"), 400, "invalid_id")
    refused(desk.chunk(recording_id, 0, track_id="x" * 65), 400, "invalid_id")


def test_an_answer_has_one_origin_that_may_read_it(redis_url: str, data_dir: Path) -> None:
    page = "https://page.example"
    with application(redis_url, data_dir, cors_origins=page) as desk:
        for path in ("/time", "/livez"):  # the first says of itself that everybody may
            for _ in range(2):
                answer = desk.client.get(path, headers={"Origin": page})
                assert answer.headers.get_list("access-control-allow-origin") == [page]
                assert "Origin" in answer.headers["vary"]
        assert desk.client.get("/time", headers={"Origin": "https://else.example"}).headers.get_list(
            "access-control-allow-origin"
        ) == ["*"]


def test_a_refused_preflight_is_a_problem_and_opens_nothing(redis_url: str, data_dir: Path) -> None:
    page, wanted = "https://page.example", "authorization,chunk"
    with application(redis_url, data_dir, cors_origins=page) as desk:
        url = desk.url(f"rec_{CALL}_1732259000123", "/tracks/cam/chunks")

        def ask(origin: str, method: str, headers: str) -> httpx.Response:
            asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
            return desk.client.options(url, headers={"Origin": origin, **asked})

        assert ask(page, "POST", wanted).status_code == 200
        answer = ask("https://evil.example", "POST", wanted)
        assert "origin" in refused(answer, 400, "invalid_request")["detail"]
        assert "access-control-allow-origin" not in answer.headers
        assert "Origin" in answer.headers["vary"]
        for method, headers, what in (("PATCH", wanted, "method"), ("POST", "x-other", "headers")):
            answer = ask(page, method, headers)
            assert what in refused(answer, 400, "invalid_request")["detail"]
            assert answer.headers["access-control-allow-origin"] == page
            assert len(answer.content) == int(answer.headers["content-length"])
