"""`/openapi.json`, held to what the server really answers: 2,000 requests that nobody thought of (10,000 where
CALLREEL_SLOW is set), none of which may break it or meet an answer that is not told."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from callreel.tokens import ROLES
from ingest.operations import OPERATIONS
from tests.ingest.desk import Desk, application, bearer, chunk_headers, media, said

CASES = 10_000 if os.environ.get("CALLREEL_SLOW") == "1" else 2_000

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
#: An event stream does not end, so there is nothing to wait for; `test_event_stream` follows some.
ENDLESS = {"events"}
#: They look at nothing of a request; the others share what these do not need.
DEAF = {"description", "home", "live", "ready", "time"}
ASKED = sorted(OPERATIONS.keys() - ENDLESS)
_FEW = CASES // 200
_SHARE = -(-(CASES - _FEW * len(DEAF)) // (len(ASKED) - len(DEAF)))
EACH = {name: _FEW if name in DEAF else _SHARE for name in ASKED}

#: What has to be reached of some kinds of routes, or the requests prove nothing.
REACHED = {
    **{name: {200, 401} for name in ("active", "one", "many", "uploads", "have", "complete", "tell", "participants")},
    "start": {201, 409, 422},
    "stop": {202, 403},
    "put": {422},
    "chunk": {201, 400},
    "delete": {202},
}


@schemathesis.serializer("video/webm", "audio/webm", "video/mp4", "audio/mp4", "audio/ogg")
def as_it_is(context: object, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


@pytest.fixture(scope="module")
def desk(index_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One for all requests: what one of them did the next one meets."""
    with application(index_server, tmp_path_factory.mktemp("fuzzed")) as desk:
        yield desk


@pytest.fixture(scope="module")
def api(desk: Desk) -> Any:
    answer = desk.client.get("/openapi.json")
    assert answer.status_code == 200
    return schemathesis.openapi.from_dict(answer.json())


def test_enough_is_asked() -> None:
    assert sum(EACH.values()) >= CASES


@pytest.mark.parametrize("name", ASKED)
def test_no_request_breaks_it_or_meets_what_is_not_told(desk: Desk, api: Any, name: str) -> None:
    desk.as_who = bearer("service", call="*")
    call = f"of-{name}"
    recording_id = desk.start(call)
    track = {"source": "camera", "kind": "av", "participantId": "bob"}
    said(desk.client.put(desk.url(recording_id, "/tracks/cam", call), json=track, headers=desk.as_who), 201)
    real = {"callId": call, "recordingId": recording_id, "trackId": "cam", "participantId": "bob"}

    operation = api.find_operation_by_id(name)
    right, wrong = (
        operation.as_strategy(generation_mode=mode) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    )
    callers = [bearer(role, "bob", call="*") for role in ROLES]
    answers: Counter[int] = Counter()

    @hypothesis.settings(
        max_examples=EACH[name],
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        derandomize=CASES < 10_000,  # few by chance reach nothing that has to be reached
    )
    @given(
        case=st.one_of(right, right, wrong),
        headers=st.sampled_from([*callers, *callers, {}]),
        there=st.sampled_from((True, True, True, False)),
        number=st.integers(0, 20),
    )
    def ask(case: Any, headers: dict[str, str], there: bool, number: int) -> None:
        if there:  # made up, hardly any id is one of what is there
            case.path_parameters = {key: real.get(key, value) for key, value in (case.path_parameters or {}).items()}
        if name == "chunk" and number > 5:
            case.body, case.media_type = media(0, number), "video/webm"
            headers = headers | chunk_headers(0, number, case.body)
        answer = case.call_and_validate(
            base_url=str(desk.client.base_url), headers=headers, checks=CHECKS, timeout=30, session=session
        )
        answers[answer.status_code] += 1

    with requests.Session() as session:
        ask()
    assert sum(answers.values()) >= EACH[name]
    assert REACHED.get(name, set()) <= answers.keys(), answers
