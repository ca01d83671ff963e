"""Log lines: what they belong to, and nothing that opens a door."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from callreel.logs import configure_logs, redacted, take_over
from callreel.settings import Settings
from callreel.tokens import make_token, sign_file

SECRET = "s" * 32


@pytest.fixture
def logs() -> Iterator[io.StringIO]:
    """What is logged, as JSON, for this test alone."""
    configure_logs(Settings(log="json", log_level="info"))
    root = logging.getLogger()
    (ours,) = root.handlers
    assert isinstance(ours, logging.StreamHandler)
    ours.setStream(lines := io.StringIO())
    yield lines
    root.removeHandler(ours)
    root.setLevel(logging.WARNING)
    structlog.contextvars.clear_contextvars()


def test_secrets_are_taken_out_of_texts() -> None:
    token = make_token(SECRET, call="c", role="host", sub="alice")
    address = sign_file(SECRET, "c", "rec_c_1732259000000", "composition.mp4")
    signature = address.rpartition("=")[2]
    texts = {
        f"GET /video-calls/c/events?token={token} HTTP/1.1": token,
        f"no film at {address}": signature,
        f"Authorization: Bearer {token}": token,
        f"got {token!r}": token,
        "{'token': 'abc123'}": "abc123",
        'said {"signature":"abc123"}': "abc123",
        "cannot reach redis://:hunter2@index:6379/0": "hunter2",
        "cannot reach redis://me:hunter2@index:6379/0": "hunter2",
        "signed with whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw": "MfKQ9r8",
        "webhook-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=": "K5oZfz",
    }
    for text, secret in texts.items():
        assert secret not in redacted(text), text
    for harmless in ("index: filled again in 0.2 s", "GET /video-calls/c/recording?limit=3", "at 12:30:15 the token"):
        assert redacted(harmless) == harmless


def test_a_line_says_what_it_belongs_to_and_no_secret(logs: io.StringIO) -> None:
    token = make_token(SECRET, call="c", role="host", sub="alice")
    structlog.contextvars.bind_contextvars(request_id="r1", call_id="c", recording_id=None)
    try:
        raise ValueError(f"bad address: /events?token={token}")
    except ValueError:
        logging.getLogger("some.library").exception("asked with %s", f"Bearer {token}")
    structlog.get_logger("ours").warning("said", header=f"Bearer {token}")
    text = logs.getvalue()
    lines = [json.loads(line) for line in text.splitlines()]
    assert token not in text
    assert len(lines) == 2
    assert "ValueError" in lines[0]["exception"]
    for line in lines:
        assert (line["request_id"], line["call_id"]) == ("r1", "c")
        assert "recording_id" not in line
        assert line["level"]
        assert line["timestamp"].endswith("Z")


def test_what_brings_handlers_of_its_own_goes_our_way_and_what_is_silent_stays_so(logs: io.StringIO) -> None:
    loud, silent = logging.getLogger("uvicorn.error"), logging.getLogger("uvicorn.access")
    before = (loud.handlers, loud.propagate, silent.handlers, silent.propagate)
    level = loud.level
    loud.setLevel(logging.INFO)  # as it comes; a server of another test may have quietened it
    loud.handlers, loud.propagate = [logging.StreamHandler()], False
    silent.handlers, silent.propagate = [], False
    try:
        take_over()
        loud.warning('"WebSocket /video-calls/c/events?token=abc123" [accepted]')
        (line,) = logs.getvalue().splitlines()
        assert json.loads(line)["logger"] == "uvicorn.error"
        assert "abc123" not in line
        assert not silent.propagate
    finally:
        loud.setLevel(level)
        loud.handlers, loud.propagate, silent.handlers, silent.propagate = before
