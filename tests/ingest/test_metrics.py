"""`/metrics`: for whom, what is counted, and that it makes no difference which process is asked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from redis import Redis

from callreel import gauges, keys, metrics
from callreel.errors import ObjectMissing
from callreel.index import Index, connect
from callreel.storage import open_storage
from tests.ingest.desk import CALL, Desk, application, bearer, chunk_headers, media, refused, said
from tests.ingest.test_event_socket import DONE, hear, listening
from tests.ingest.test_processes import begun, post_chunk, served, talking
from tests.test_docs import OPERATIONS, rows, section

TOKEN = "a token for metrics"
EVERYTHING = bearer("service", "prometheus", call="*")


def samples(text: str) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def value(text: str, name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels."""
    found = [s for s in samples(text) if s.name == f"callreel_{name}" and labels.items() <= s.labels.items()]
    return sum(sample.value for sample in found)


def counted(name: str, **labels: str) -> float:
    """What this process has counted."""
    return metrics.REGISTRY.get_sample_value(f"callreel_{name}", labels) or 0


def told(desk: Desk) -> str:
    answer = desk.client.get("/metrics", headers=EVERYTHING)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    time.sleep(0.3)  # the next answer is a new one
    return answer.text


def test_a_token_of_its_own_opens_metrics_and_nothing_else(redis_url: str, data_dir: Path) -> None:
    with application(redis_url, data_dir, metrics_token=TOKEN) as desk:
        own = {"Authorization": f"Bearer {TOKEN}"}
        assert desk.client.get("/metrics", headers=own).status_code == 200
        refused(desk.client.get("/metrics"), 401, "unauthorized")
        refused(desk.client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}x"}), 401, "unauthorized")
        refused(desk.client.get("/metrics", headers=bearer("service")), 403, "forbidden")
        refused(desk.client.get(f"/video-calls/{CALL}/recordings", headers=own), 401, "unauthorized")


def test_an_empty_setting_is_no_token(desk: Desk) -> None:
    refused(desk.client.get("/metrics", headers={"Authorization": "Bearer"}), 401, "unauthorized")


def test_chunks_requests_refusals_and_steps_are_counted(desk: Desk) -> None:
    before = told(desk)
    recording_id = desk.begun()
    said(desk.chunk(recording_id, 0), 201)
    said(desk.chunk(recording_id, 0), 200)
    said(desk.chunk(recording_id, 1), 201)
    refused(desk.chunk(recording_id, 1, b"\x1a\x45\xdf\xa3 other"), 409, "chunk_conflict")
    refused(desk.chunk(recording_id, 2, headers={"Authorization": ""}), 401, "unauthorized")
    desk.stop()
    said(desk.chunk(recording_id, 2), 201)
    after = told(desk)

    def more(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    assert more("chunks_total", result="stored") == 3
    assert more("chunks_total", result="duplicate") == 1
    assert more("chunks_total", result="conflict", reason="chunk_conflict") == 1
    assert more("chunks_total", result="rejected", reason="unauthorized") == 1
    assert more("chunk_bytes_total") == sum(len(media(0, seq)) for seq in range(3))
    assert more("chunk_ack_seconds_count") == more("chunk_ack_seconds_bucket", le="+Inf") == 4
    assert more("chunk_fsync_seconds_count") == 3
    assert more("client_lag_seconds_count") == 3
    assert more("late_chunks_total") == 1
    assert more("http_requests_total", route="start", method="POST", status="201") == 1
    assert more("http_request_duration_seconds_count", route="put") == 1
    assert more("http_refusals_total", code="unauthorized") == 1
    assert more("auth_failures_total", kind="unauthorized") == 1
    assert more("recording_transitions_total", **{"from": "", "to": "recording"}) == 1
    assert more("recording_transitions_total", cause="host", **{"from": "recording", "to": "stopping"}) == 1
    assert value(after, "recordings", state="stopping") == 1
    assert value(after, "recording_oldest_seconds", state="stopping") > 0
    put = {"backend": "file", "op": "put"}
    assert more("storage_operations_total", result="ok", **put) >= 3
    assert more("storage_operation_seconds_count", **put) == more("storage_operations_total", **put)
    assert more("storage_operation_seconds_count", backend="file", op="list") > 0
    assert value(after, "redis_up") == 1
    assert value(after, "disk_free_bytes") > 0
    assert 0 < value(after, "disk_free_ratio") < 1


def test_what_a_storage_refuses_is_counted(tmp_path: Path) -> None:
    storage = open_storage(f"file://{tmp_path}")

    def counts() -> list[float]:
        results = (("put", "ok"), ("put", "taken"), ("get", "ok"), ("get", "object_missing"), ("delete", "ok"))
        return [counted("storage_operations_total", backend="file", op=op, result=result) for op, result in results]

    before = counts()
    assert storage.put_if_absent("a/b", b"1")
    assert not storage.put_if_absent("a/b", b"2")
    assert storage.get("a/b", start=0, length=1) == b"1"
    with pytest.raises(ObjectMissing):
        storage.get("a/c")
    storage.delete("a/b")
    assert [b - a for a, b in zip(before, counts(), strict=True)] == [1, 1, 1, 1, 1]


def test_what_lasts_is_looked_up(desk: Desk) -> None:
    recording_id = desk.begun()
    desk.stop()
    gaps = [{"reason": "lost", "fromMs": 1000, "toMs": 3500}]
    before = told(desk)
    desk.write(recording_id, ("drained", {}), ("completed", {**DONE, "gaps": gaps}), ("delete_requested", {}))
    time.sleep(0.01)
    after = told(desk)
    gap_s = [value(text, "gap_seconds_total", reason="lost") for text in (before, after)]
    assert gap_s[1] - gap_s[0] == pytest.approx(2.5)
    assert value(before, "deletion_oldest_pending_seconds") == 0
    assert 0 < value(after, "deletion_oldest_pending_seconds") < 600
    redis = desk.index.redis
    kept = str(redis.config_get("appendonly")["appendonly"])
    try:
        for setting, ok in (("yes", 1), ("no", 0)):
            redis.config_set("appendonly", setting)
            assert value(told(desk), "redis_aof_ok") == ok
    finally:
        redis.config_set("appendonly", kept)


def test_what_processes_hold_is_added_and_goes_with_them(desk: Desk, redis_url: str) -> None:
    assert value(told(desk), "websockets") == 0
    redis = connect(redis_url)
    now_s = int(redis.time()[0])
    redis.hset(
        keys.PRESENT, "other", json.dumps([now_s, {"callreel_inflight_chunk_bytes": 5, "callreel_websockets": 2}])
    )
    redis.hset(keys.PRESENT, "killed", json.dumps([now_s - 60, {"callreel_websockets": 100}]))
    with listening(desk) as ears:
        hear(ears)
        text = told(desk)
        assert value(text, "websockets") == 3
        assert value(text, "inflight_chunk_bytes") == 5
    assert not redis.hexists(keys.PRESENT, "killed")


def test_bytes_on_their_way_in_are_told(desk: Desk) -> None:
    recording_id, content = desk.begun(), media(0, 0, 1000)
    whole = threading.Event()

    def slowly() -> Iterator[bytes]:
        yield content[:600]
        whole.wait(20)
        yield content[600:]

    url, headers = desk.url(recording_id, "/tracks/cam/chunks"), {**desk.as_who, **chunk_headers(0, 0, content)}
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(
            lambda: httpx.post(
                f"{str(desk.client.base_url).rstrip('/')}{url}",
                content=slowly(),
                headers={**headers, "Content-Length": "1000"},
                timeout=30,
            )
        )
        try:
            deadline = time.monotonic() + 20
            while (held := value(told(desk), "inflight_chunk_bytes")) != 600 and time.monotonic() < deadline:
                pass
            assert held == 600
        finally:
            whole.set()
        said(sent.result(), 201)
    assert value(told(desk), "inflight_chunk_bytes") == 0


def test_no_id_is_a_label(desk: Desk) -> None:
    recording_id = desk.begun()
    desk.get(f"/nowhere/{recording_id}")
    desk.get(desk.url(recording_id))
    text = told(desk)
    assert recording_id not in text
    assert "/" not in "".join(label for sample in samples(text) for label in sample.labels.values())


def test_buckets_grow_and_each_histogram_has_all_of_them(desk: Desk) -> None:
    said(desk.chunk(desk.begun()), 201)
    text = told(desk)
    buckets = [s for s in samples(text) if s.name == "callreel_chunk_ack_seconds_bucket"]
    assert [float(s.labels["le"]) for s in buckets] == sorted(float(s.labels["le"]) for s in buckets)
    assert len(buckets) == 11
    values = [s.value for s in buckets]
    assert values == sorted(values)


def test_two_processes_tell_the_same_and_both_of_both(redis_url: str, data_dir: Path) -> None:
    with served(redis_url, data_dir, 2) as servers:
        path = begun(servers[0].url)
        for seq in range(10):
            with talking(servers[seq % 2].url) as client:
                said(post_chunk(client, path, seq, media(0, seq)), 201)
        deadline = time.monotonic() + 30
        while True:
            texts = [httpx.get(f"{server.url}/metrics", headers=EVERYTHING, timeout=20).text for server in servers]
            stored = [value(text, "chunks_total", result="stored") for text in texts]
            if stored == [10, 10] or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        assert stored == [10, 10]
    # what they counted outlives them
    with served(redis_url, data_dir, 1) as servers:
        text = httpx.get(f"{servers[0].url}/metrics", headers=EVERYTHING, timeout=20).text
        assert value(text, "chunks_total", result="stored") == 10
        assert value(text, "http_requests_total", route="start") == 1


def test_jobs_that_wait_and_who_is_there_are_looked_up(redis_url: str, tmp_path: Path) -> None:
    redis = Redis.from_url(redis_url, decode_responses=True)
    redis.rpush("rq:queue:render", "advance-1", "render-1")
    redis.hset("rq:job:advance-1", "enqueued_at", "2026-11-22T09:00:00.000000Z")
    redis.hset("rq:job:render-1", "enqueued_at", "2026-11-22T08:00:00.000000Z")
    redis.sadd("rq:workers", "rq:worker:a", "rq:worker:b", "rq:worker:dead")
    redis.hset("rq:worker:a", "state", "busy")
    redis.hset("rq:worker:b", "state", "idle")
    redis.set("callreel:epoch", 1)
    text = metrics.text_of({}, gauges.gauges(Index(connect(redis_url)), tmp_path)).decode()
    assert value(text, "queue_jobs", queue="render") == 2
    assert value(text, "queue_jobs", queue="deliver") == 0
    assert value(text, "job_queue_oldest_seconds", queue="render") > 3600
    assert [value(text, "workers", state=state) for state in ("busy", "idle")] == [1, 1]
    assert value(text, "sweeper_leads") == 0


def test_without_an_index_that_is_what_is_told(tmp_path: Path) -> None:
    index = Index(connect("redis://127.0.0.1:1/0", timeout_s=1, attempts=1))
    text = metrics.text_of({}, gauges.gauges(index, tmp_path)).decode()
    assert "callreel_redis_up 0.0" in text
    assert value(text, "disk_free_bytes") > 0


def test_every_metric_is_on_the_page_with_its_labels(desk: Desk) -> None:
    page: dict[str, set[str]] = {}
    for cells in rows(section(OPERATIONS, "Metrics")):
        for name in cells[0].split(", "):
            page[name.strip("`")] = {label.strip("` ") for label in cells[1].split(",") if label.strip()}
    said(desk.chunk(desk.begun()), 201)
    endings = {"counter": "_total"}
    there = {family.name + endings.get(family.type, "") for family in text_string_to_metric_families(told(desk))}
    assert there == page.keys()
    for sample in samples(told(desk)):
        name = next(known for known in sorted(page, key=len, reverse=True) if sample.name.startswith(known))
        assert sample.labels.keys() - {"le"} <= page[name], sample
