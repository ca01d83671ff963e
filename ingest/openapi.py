"""`/openapi.json`: the application's own routes, each with its row of `ingest.operations`, as OpenAPI 3.1."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from callreel import __version__, errors
from callreel.errors import CallreelError

from .doors import Door
from .operations import OPERATIONS, PATH, Operation
from .schemas import COMPONENTS, Schema, obj, ref

#: Which refusals follow from the kind of a route alone.
_ALL = (errors.InternalError, errors.MethodNotAllowed)
_GUARDED = (errors.Unauthorized, errors.Forbidden, errors.Unavailable)
_WITH_IDS = (errors.InvalidId, errors.NotFound)
_OF_RECORDING = (errors.UnknownRecording,)
_WITH_BODY = (errors.InvalidRequest, errors.BodyTooLarge, errors.RequestTimeout)

_MEDIA = ("video/webm", "audio/webm", "video/mp4", "audio/mp4", "audio/ogg")
_WAITS = (429, 503, 507)  #: statuses that carry Retry-After


class Description:
    """Made once, when all routes are known."""

    def __init__(self, public_url: str) -> None:
        self._server = public_url.rstrip("/") or "/"
        self._text = b""

    def tell_of(self, routes: Iterable[BaseRoute]) -> None:
        self._text = json.dumps(document(routes, self._server), separators=(",", ":"), ensure_ascii=False).encode()

    async def description(self, request: Request) -> Response:
        headers = {"Cache-Control": "no-cache", "Access-Control-Allow-Origin": "*"}
        return Response(self._text, 200, headers, media_type="application/json")


def document(routes: Iterable[BaseRoute], server: str) -> dict[str, Any]:
    """The whole description."""
    paths: dict[str, dict[str, Any]] = {}
    for door in routes:
        if isinstance(door, Door) and door.name in OPERATIONS:
            path = re.sub(r":\w+}", "}", door.path)
            paths.setdefault(path, {})[door.method.lower()] = _operation(door, OPERATIONS[door.name])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Callreel",
            "version": __version__,
            "description": "Records WebRTC calls in each participant's browser and hands out one finished film.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": server}],
        "tags": [{"name": tag} for tag in dict.fromkeys(row.tag for row in OPERATIONS.values())],
        "paths": paths,
        "components": {
            "schemas": COMPONENTS,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "query": {"type": "apiKey", "in": "query", "name": "token"},
            },
        },
    }


def _operation(door: Door, row: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": door.name,
        "tags": [row.tag],
        "summary": row.summary,
        "parameters": list(_parameters(door, row)),
        "responses": {**_answers(row), **_refusals(door, row)},
    }
    if door.roles is not None:
        found["description"] = f"For: {', '.join(sorted(door.roles))}."
        found["security"] = [{"token": []}, *([{"query": []}] if door.name in ("events", "file") else [])]
    if door.name == "file":
        found["security"].append({})  # a signed address needs no token
    if door.name == "chunk":
        found["requestBody"] = {
            "required": True,
            "content": {
                **{kind: {"schema": {}} for kind in _MEDIA},
                "multipart/form-data": {"schema": ref("ChunkForm")},
            },
        }
    elif row.body is not None:
        content = {"application/json": {"schema": row.body}}
        found["requestBody"] = {"required": row.body_needed, "content": content}
    return found


def _parameters(door: Door, row: Operation) -> Iterable[dict[str, Any]]:
    for name in re.findall(r"{(\w+)", door.path):
        yield {"name": name, "in": "path", "required": True, "schema": PATH[name]}
    for place, group in (("query", row.query), ("header", row.headers)):
        for name, schema in group.items():
            yield {"name": name, "in": place, "required": False, "schema": schema}


def _answers(row: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, answer in row.answers.items():
        found[str(status)] = {"description": row.summary}
        if isinstance(answer, dict):
            schema = obj({"success": {"const": True}, "data": answer})
            found[str(status)]["content"] = {"application/json": {"schema": schema}}
        elif answer:
            found[str(status)]["content"] = {answer: {}}
    return found


def _refusals(door: Door, row: Operation) -> dict[str, Any]:
    """Status → the codes that come with it."""
    possible: list[type[CallreelError]] = [*row.refusals, *_ALL]
    if door.roles is not None:
        possible += _GUARDED
    if "{" in door.path:
        possible += _WITH_IDS
    if "{recordingId}" in door.path:
        possible += _OF_RECORDING
    if row.body is not None:
        possible += _WITH_BODY
    by_status: dict[int, dict[str, str]] = {}
    for kind in possible:
        by_status.setdefault(kind.status, {})[kind.code] = kind("").title
    return {str(status): _refusal(status, by_status[status]) for status in sorted(by_status)}


def _refusal(status: int, codes: dict[str, str]) -> dict[str, Any]:
    told: Schema = {"properties": {"status": {"const": status}, "code": {"enum": sorted(codes)}}}
    found: dict[str, Any] = {
        "description": " ".join(f"`{code}`: {title}." for code, title in sorted(codes.items())),
        "content": {"application/problem+json": {"schema": {"allOf": [ref("Problem"), told]}}},
    }
    if status in _WAITS:
        found["headers"] = {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 0}}}
    if status == 401:
        found["headers"] = {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}}
    return found
