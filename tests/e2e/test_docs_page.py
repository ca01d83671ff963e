"""The page of the routes, in a real browser: read, tried, and nothing fetched from elsewhere."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import sync_playwright

from ingest.operations import OPERATIONS
from tests.ingest.desk import application, token


def test_routes_can_be_read_and_tried(redis_url: str, data_dir: Path, chromium: str) -> None:
    complaints, elsewhere = [], []
    with application(redis_url, data_dir) as desk, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        here = str(desk.client.base_url).rstrip("/")
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith(here) else elsewhere.append(request.url))
        page.goto(f"{here}/docs#start")
        page.locator("main[aria-busy=false]").wait_for()
        assert page.locator("details").count() == len(OPERATIONS)
        page.fill("#token", token("host", "alice", "tried"))
        assert page.locator("#who").inner_text().startswith("host alice, call tried")
        start = page.locator("#start")
        assert "recording_active" in start.inner_text()
        start.get_by_label("callId").fill("tried")
        start.get_by_label("Body").fill('{"metadata": {"title": "Trial"}}')
        start.get_by_role("button").click()
        start.locator("pre[role=status]").filter(has_text="201").wait_for()
        events = page.locator("#events")
        events.locator("summary").click()
        events.get_by_label("callId").fill("tried")
        events.get_by_role("button").click()
        events.locator("pre[role=status]").filter(has_text='"Trial"').wait_for()  # the stream goes on
        browser.close()
    assert (complaints, elsewhere) == ([], [])
