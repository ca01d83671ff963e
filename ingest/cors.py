"""Pages of other origins: Starlette's rules, and a refusal that looks like every other one."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from callreel.errors import InvalidRequest

from .errors import problem


class Cors(CORSMiddleware):
    def preflight_response(self, request_headers: Headers) -> Response:
        answer = super().preflight_response(request_headers)
        if answer.status_code < 400:
            return answer
        # all that was decided, without what belonged to the text
        kept = {name: value for name, value in answer.headers.items() if name not in ("content-type", "content-length")}
        return problem(InvalidRequest(f"{bytes(answer.body).decode()}."), kept)
