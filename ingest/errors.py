"""Refusals as `application/problem+json` (RFC 9457). The only place where errors become HTTP."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from callreel import errors, wire
from callreel.errors import CallreelError
from callreel.metrics import AUTH_FAILURES, REFUSALS

#: Seconds a client should wait where the error itself does not say: a process restarts within that.
_RETRY_AFTER_S = 2

#: What the router says → what the contract calls it.
_BY_STATUS: dict[int, type[CallreelError]] = {
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    413: errors.BodyTooLarge,
}


def count(error: CallreelError) -> None:
    """A refusal, wherever it is said."""
    REFUSALS.labels(error.code).inc()
    if error.status in (401, 403):
        AUTH_FAILURES.labels(error.code).inc()


def document(error: CallreelError) -> dict[str, Any]:
    """The problem document of a refusal."""
    return {
        **{name: value for name, value in error.extra.items() if name != "retryAfterS"},
        "type": f"urn:callreel:error:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "success": False,
        "code": error.code,
        "retryable": error.retryable,
    }


def problem(error: CallreelError, headers: dict[str, str] | None = None) -> Response:
    sent = dict(headers or {})
    if error.status in (429, 503, 507):
        sent["Retry-After"] = str(error.extra.get("retryAfterS", _RETRY_AFTER_S))
    if error.status == 401:
        sent["WWW-Authenticate"] = "Bearer"
    # a refusal is true for this moment only
    sent["Cache-Control"] = "no-store"
    # a field that is named may hold half of a surrogate pair, which JSON can bring and UTF-8 cannot
    body = wire.text(document(error)).encode("utf-8", "replace")
    return Response(body, error.status, sent, media_type="application/problem+json")


async def on_callreel_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, CallreelError)
    headers = {}
    if isinstance(error, errors.RangeNotSatisfiable):
        headers["Content-Range"] = f"bytes */{error.extra.get('size', '*')}"
    return problem(error, headers)


async def on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = _BY_STATUS.get(error.status_code, errors.InvalidRequest)
    details = {
        404: f"There is nothing at {request.url.path[:200]}.",
        405: f"{request.method} is not what this address knows.",
    }
    detail = details.get(error.status_code, error.detail)
    return problem(kind(detail), dict(error.headers or {}))


async def on_exception(request: Request, error: Exception) -> Response:
    """Anything nobody thought of. The traceback goes to the log, never out."""
    return problem(errors.InternalError("Something broke on our side; the log has the details."))
