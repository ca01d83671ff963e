"""Layouts of what runs and more films of what has ended, over HTTP: shapes, codes, and that they are looked after."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.ingest.desk import CALL, Desk, bearer, refused, said
from tests.unit.domain import DRAINED, artifact, completed


def layout(desk: Desk, body: Any) -> Any:
    return desk.client.post(f"/video-calls/{CALL}/recording/layout", json=body, headers=desk.as_who)


def compose(desk: Desk, recording_id: str, **body: Any) -> Any:
    return desk.client.post(desk.url(recording_id, "/compositions"), json=body, headers=desk.as_who)


def ended(desk: Desk) -> str:
    recording_id = desk.begun()
    time.sleep(0.2)  # so long it is
    desk.stop()
    return recording_id


def test_the_layout_of_what_runs_is_changed_and_told(desk: Desk) -> None:
    refused(layout(desk, {"layout": "pip"}), 404, "no_active_recording")
    recording_id = desk.start()
    regions = {"regions": [{"name": "a", "x": 0, "y": 0, "width": 50, "height": 50, "source": {"speaker": 1}}]}
    for chosen in ("pip", regions):
        answer = said(layout(desk, {"layout": chosen}), 200)
        assert (answer["recordingId"], answer["status"], answer["layout"]) == (recording_id, "recording", chosen)
    assert said(desk.get(desk.url(recording_id)), 200)["layout"] == regions
    for body, field in (({}, "layout"), ({"layout": "mosaic"}, "layout"), ({"layout": "pip", "x": 1}, "x")):
        assert refused(layout(desk, body), 422, "invalid_option")["field"] == field
    odd = {"layout": {"regions": [{**regions["regions"][0], "width": 101}]}}
    assert refused(layout(desk, odd), 422, "invalid_option")["field"] == "layout.regions[0].width"
    said(desk.client.post(f"/video-calls/{CALL}/recording/pause", headers=desk.as_who), 200)
    assert said(layout(desk, {"layout": "grid"}), 200)["status"] == "paused"
    desk.stop()
    refused(layout(desk, {"layout": "pip"}), 404, "no_active_recording")


def test_a_film_is_asked_for_listed_and_taken_back(desk: Desk) -> None:
    recording_id = ended(desk)
    url = desk.url(recording_id, "/compositions")
    assert said(desk.get(url), 200) == {"items": [], "nextCursor": None}
    desk.jobs.advanced.clear()
    asked = {"name": "short", "layout": "pip", "toMs": None}
    assert refused(compose(desk, recording_id, **asked), 422, "invalid_option")["field"] == "toMs"
    assert refused(compose(desk, recording_id, name="short", toMs=10**9), 422, "invalid_option")["field"] == "toMs"
    assert desk.jobs.advanced == []

    told = said(compose(desk, recording_id, name="short", layout="pip", participants=["alice"], fromMs=50), 202)
    length_ms = said(desk.get(desk.url(recording_id)), 200)["durationMs"]
    artifact_of = told.pop("artifact")
    assert told.pop("requestedAt").endswith("Z")
    assert told == {
        "recordingId": recording_id,
        "name": "short",
        "layout": "pip",
        "preset": "720p",
        "output": {"container": "mp4", "videoCodec": "h264", "audioCodec": "aac"},
        "fromMs": 50,
        "toMs": length_ms,
        "participants": ["alice"],
        "tracks": None,
        "slices": [],
        "full": False,
        "leftOut": [],
    }
    assert (artifact_of["name"], artifact_of["status"], artifact_of["url"]) == ("short.mp4", "pending", None)
    assert desk.jobs.advanced == [recording_id]
    (listed,) = said(desk.get(url), 200)["items"]
    assert {name: listed[name] for name in told} == told
    assert artifact_of in said(desk.get(desk.url(recording_id)), 200)["artifacts"]
    refused(desk.get(desk.url(recording_id, "/files/short.mp4")), 404, "unknown_file")

    made = completed(artifact("short.mp4", sha256="a" * 64), type_="updated")[1]
    made["compositions"] = {"short": {"build": "k", "leftOut": []}}
    desk.write(recording_id, DRAINED, completed(artifact("composition.mp4")), ("updated", made))
    (listed,) = said(desk.get(url), 200)["items"]
    assert listed["artifact"]["status"] == "ready"
    assert "/files/short.mp4?expires=" in listed["artifact"]["url"]
    (listed,) = said(desk.client.get(url, headers=bearer("participant")), 200)["items"]
    assert listed["artifact"]["url"] is None, "who may not watch gets no address"

    gone = desk.client.delete(f"{url}/short", headers=desk.as_who)
    assert said(gone, 200) == {"recordingId": recording_id, "name": "short"}
    assert desk.jobs.advanced == [recording_id] * 2
    assert said(desk.get(url), 200)["items"] == []
    refused(desk.get(desk.url(recording_id, "/files/short.mp4")), 404, "unknown_file")
    refused(desk.client.delete(f"{url}/short", headers=desk.as_who), 404, "unknown_file")
    refused(desk.client.delete(f"{url}/a.b", headers=desk.as_who), 400, "invalid_id")


def test_of_what_runs_or_is_deleted_there_is_no_other_film(desk: Desk) -> None:
    recording_id = desk.begun()
    refused(compose(desk, recording_id, name="early"), 409, "invalid_state")
    desk.stop()
    said(desk.client.delete(desk.url(recording_id), headers=desk.as_who), 202)
    refused(compose(desk, recording_id, name="late"), 410, "recording_deleted")
    refused(desk.get(desk.url(recording_id, "/compositions")), 410, "recording_deleted")


@pytest.mark.parametrize("field", ["\ud800", "x" * 5000, "a\nb"])
def test_fields_that_nobody_can_write_are_refused_like_others(desk: Desk, field: str) -> None:
    body = json.dumps({"name": "x", field: 1})
    for url in (desk.url(ended(desk), "/compositions"), f"/video-calls/{CALL}/recording/start"):
        refused(desk.client.post(url, content=body, headers=desk.as_who), 422, "invalid_option")
