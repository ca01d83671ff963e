"""Who may what: tokens, roles, other calls, signatures, and pages of other origins."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from callreel import tokens
from callreel.errors import Unauthorized
from callreel.settings import load_settings
from ingest.app import create_app

from .desk import CALL, SECRET, Desk, application, bearer, refused, said, token

PAGE = "https://calls.example"


def test_an_expired_token_is_told_apart(desk: Desk) -> None:
    recording_id = desk.begun()
    desk.as_who = bearer(ttl_s=-1)
    assert "expired" in refused(desk.chunk(recording_id, 0), 401, "unauthorized")["detail"]
    desk.as_who = bearer(ttl_s=1)
    said(desk.chunk(recording_id, 0), 201)
    time.sleep(1.1)  # remembered tokens expire too
    assert "expired" in refused(desk.chunk(recording_id, 1), 401, "unauthorized")["detail"]


def test_a_service_for_every_call(desk: Desk) -> None:
    desk.as_who = bearer("service", "backend", call="*")
    assert desk.start("c1")
    assert desk.start("c2")


def test_a_token_in_the_query_opens_events_and_files_only(desk: Desk) -> None:
    recording_id = desk.begun()
    query = f"?token={token('viewer')}"
    assert desk.client.head(f"/video-calls/{CALL}/events{query}").status_code == 200
    refused(desk.client.get(desk.url(recording_id, f"/files/x.mp4{query}")), 404, "unknown_file")
    refused(desk.client.get(desk.url(recording_id, query)), 401, "unauthorized")
    refused(desk.client.post(f"/video-calls/{CALL}/recording/stop?token={token()}"), 401, "unauthorized")


def test_participants_watch_where_they_may(redis_url: str, data_dir: Path) -> None:
    with application(redis_url, data_dir, participants_watch=True) as desk:
        recording_id = desk.begun()
        desk.as_who = bearer("participant", "bob")
        refused(desk.get(desk.url(recording_id, "/files/composition.mp4")), 404, "unknown_file")
        desk.as_who = bearer("participant", "bob", call="another")
        refused(desk.get(desk.url(recording_id, "/files/composition.mp4")), 403, "forbidden")


# ── the secret ───────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("secret", ["", "x" * 31])
def test_without_a_secret_nothing_starts(monkeypatch: pytest.MonkeyPatch, secret: str, data_dir: Path) -> None:
    monkeypatch.setenv("CALLREEL_JWT_SECRET", secret)
    monkeypatch.setenv("CALLREEL_STORAGE", f"file://{data_dir}")
    with pytest.raises(SystemExit, match="CALLREEL_JWT_SECRET"):
        create_app()


def test_a_signed_address_covers_one_name_or_one_prefix() -> None:
    def check(name: str, query: str, now_s: float) -> None:
        values = dict(part.split("=") for part in query.split("&"))
        tokens.check_signed_file(SECRET, "c", "rec_c_1", name, values["expires"], values["signature"], now_s=now_s)

    now_s = 1_800_000_000.0
    path, query = tokens.sign_file(SECRET, "c", "rec_c_1", "composition.mp4", now_s=now_s).split("?")
    assert path == "/video-calls/c/recording/rec_c_1/files/composition.mp4"
    check("composition.mp4", query, now_s)
    check("composition.mp4", query, now_s + 12 * 3600)
    refusals = [
        ("manifest.json", query, now_s),
        ("composition.mp4", query, now_s + 12 * 3600 + 301),
        ("composition.mp4", query.replace("expires=18", "expires=19"), now_s),
        ("composition.mp4", query.replace("expires=", "expires=x"), now_s),
        ("composition.mp4", query[:-1] + ("0" if query[-1] != "0" else "1"), now_s),
        ("composition.mp4", query[:-1] + "\udcff", now_s),
    ]
    for refusal in refusals:
        with pytest.raises(Unauthorized):
            check(*refusal)
    _, query = tokens.sign_file(SECRET, "c", "rec_c_1", "hls/index.m3u8", now_s=now_s).split("?")
    check("hls/7.m4s", query, now_s)
    with pytest.raises(Unauthorized):
        check("dash/7.m4s", query, now_s)
    with pytest.raises(Unauthorized):
        check("composition.mp4", query, now_s)


# ── pages of other origins ───────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def open_desk(redis_url: str, data_dir: Path) -> Iterator[Desk]:
    with application(redis_url, data_dir, cors_origins=f"{PAGE}, http://localhost:5173/") as desk:
        yield desk


def preflight(desk: Desk, origin: str, method: str = "POST", headers: str = "authorization,chunk") -> httpx.Response:
    asked = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return desk.client.options(f"/video-calls/{CALL}/recording/start", headers=asked)


def test_a_page_that_is_named_may_ask(open_desk: Desk) -> None:
    wanted = "authorization,content-type,content-digest,chunk,range,last-event-id,idempotency-key"
    for origin in (PAGE, "http://localhost:5173"):
        for method in ("GET", "POST", "PUT", "DELETE"):
            answer = preflight(open_desk, origin, method, wanted)
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] == origin
            assert method in answer.headers["access-control-allow-methods"]
            allowed = {name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")}
            assert set(wanted.split(",")) <= allowed
            assert answer.headers["access-control-max-age"] == "86400"


def test_a_page_that_is_not_named_may_not(open_desk: Desk) -> None:
    for origin in ("https://evil.example", f"{PAGE}.evil.example", "null", PAGE.replace("https", "http")):
        assert "access-control-allow-origin" not in preflight(open_desk, origin).headers
        answer = open_desk.client.get("/livez", headers={"Origin": origin})
        assert "access-control-allow-origin" not in answer.headers


def test_refusals_and_failures_can_be_read_by_the_page(open_desk: Desk) -> None:
    recording_id = open_desk.begun()
    open_desk.as_who["Origin"] = PAGE
    answers = [
        open_desk.chunk(recording_id, 0),
        open_desk.chunk(recording_id, 0, b"\x1a\x45\xdf\xa3 other"),
        open_desk.chunk(recording_id, 1, headers={"Authorization": ""}),
        open_desk.chunk(recording_id, 1, headers={"Chunk": "x"}),
        open_desk.get("/nowhere"),
        open_desk.client.put(f"/video-calls/{CALL}/recording/start", headers=open_desk.as_who),
    ]
    assert [answer.status_code for answer in answers] == [201, 409, 401, 400, 404, 405]
    # a journal that no Callreel wrote: nobody thought of it
    folder = Path(open_desk.settings.storage.removeprefix("file://"))
    (folder / "recordings" / recording_id / "journal" / "00000003.json").write_text("{}")
    answers.append(open_desk.get(open_desk.url(recording_id)))
    problem = refused(answers[-1], 500, "internal_error")
    assert problem["retryable"] is True
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == PAGE
        exposed = {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")}
        assert exposed == {"Retry-After", "ETag", "Content-Range", "Location"}


def test_time_and_library_are_for_every_origin(desk: Desk) -> None:
    for path in ("/time", "/client/callreel.js"):
        answer = desk.client.get(path, headers={"Origin": "https://anybody.example"})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*")
    answer = desk.client.get("/time")
    assert answer.headers["cache-control"] == "no-store"
    server_ms = said(answer, 200)["serverTimeMs"]
    assert isinstance(server_ms, float)
    assert abs(server_ms - time.time() * 1000) < 1000


def test_pages_say_what_they_may_load(desk: Desk) -> None:
    page = desk.client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    library = desk.client.get("/client/callreel.js")
    assert library.headers["content-type"].startswith("text/javascript")
    for answer in (page, library):
        assert answer.headers["x-content-type-options"] == "nosniff"
    again = desk.client.get("/client/callreel.js", headers={"If-None-Match": library.headers["etag"]})
    assert again.status_code == 304
    for path in ("/client/nothing.js", "/client/../ingest/app.py", "/client/%2e%2e/index.html", "/demo/nothing.js"):
        refused(desk.client.get(path), 404, "not_found")


def test_settings_split_origins() -> None:
    assert load_settings(cors_origins=" https://a.example/ ,https://b.example").origins == [
        "https://a.example",
        "https://b.example",
    ]
