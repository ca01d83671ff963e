"""The access log: one JSON line for whatever somebody did to a recording, or wanted to, and was refused.

Which routes are written down stands in one table, by the names of their endpoints. Lines are appended whole, so any
number of processes may share a file, and it may be moved away at any time: each line opens it anew.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import Any

from starlette.datastructures import QueryParams
from starlette.types import Scope

from callreel.control import now_ms
from callreel.errors import InvalidSettings
from callreel.wire import instant

from .doors import caller_of

log = logging.getLogger(__name__)

#: name of the endpoint → what it does to a recording
ACTIONS = {
    "start": "start",
    "stop": "stop",
    "pause": "pause",
    "resume": "resume",
    "layout": "layout",
    "compose": "compose",
    "discard": "discard",  # a film that was composed
    "delete": "delete",
    "close": "close",
    "reopen": "reopen",
    "remove": "remove",  # a participant
    "file": "view",
}
DOWNLOAD = "download"  #: what viewing is called where the file is to be kept

#: These are many, and a film that was seen can be seen again: their lines may wait for the disk.
_LOOKING = {"view", DOWNLOAD}

OFF, STDOUT = "off", "stdout"


class AccessLog:
    def __init__(self, where: str, *, fsync: bool) -> None:
        """Raises `InvalidSettings` where the file cannot be written."""
        self._where = where
        self._fsync = fsync
        if self._to_file:
            try:
                os.close(self._open())
            except OSError as error:
                raise InvalidSettings(
                    f"CALLREEL_ACCESS_LOG: {where} cannot be written: {error.strerror}. "
                    f"Name a file in a folder that is there, `{STDOUT}` or `{OFF}`."
                ) from error

    @property
    def is_on(self) -> bool:
        return self._where != OFF

    @property
    def _to_file(self) -> bool:
        return self._where not in (OFF, STDOUT)

    def write(self, line: dict[str, Any]) -> None:
        """Blocks until the line is durable, or handed to the system where it tells of looking. Never fails."""
        text = json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n"
        if not self._to_file:
            print(text, end="", flush=True)
            return
        try:
            file = self._open()
            try:
                os.write(file, text.encode(errors="replace"))
                if self._fsync and line["action"] not in _LOOKING:
                    os.fdatasync(file) if sys.platform == "linux" else os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:  # what was done is done; that it is not in the log has to be said somewhere
            log.error("access log: a line is lost: %s: %s", error.strerror, text.rstrip())

    def _open(self) -> int:
        return os.open(self._where, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


def action_of(scope: Scope, route: str | None) -> str | None:
    """What a request does to a recording; None where that is nothing to be written down."""
    action = ACTIONS.get(route or "")
    return DOWNLOAD if action == "view" and "download" in QueryParams(scope["query_string"]) else action


def line_of(scope: Scope, action: str, status: int, said: dict[str, Any], request_id: str) -> dict[str, Any]:
    """Who wanted what, when, and what came of it. `said` is the body of the answer, {} where that is a file."""
    caller = caller_of(scope)
    signed = "signature" in QueryParams(scope["query_string"])
    params = {("file" if name == "name" else name): value for name, value in scope.get("path_params", {}).items()}
    told = said.get("data") if status < 400 else said
    recording_id = told.get("recordingId") if isinstance(told, dict) else None
    line: dict[str, Any] = {
        "at": instant(now_ms()),
        "action": action,
        "result": "ok" if status < 400 else "refused" if status < 500 else "failed",
        "status": status,
        "code": said.get("code"),
        "by": "token" if caller else "signature" if signed else None,
        "sub": caller and caller.subject,
        "role": caller and caller.role,
        "recordingId": recording_id,
        **params,
        "method": scope["method"],
        "requestId": request_id,
    }
    return {name: value for name, value in line.items() if value is not None}
