"""Kinds of routes: each knows its name and whom it lets in, so that whoever asks the table knows it as well.

The name is the endpoint's own: the access log, the metrics and `/openapi.json` tell routes apart by it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from callreel.tokens import Caller

from .auth import Auth, Roles, check_may, check_path

Endpoint = Callable[[Request, Caller], Awaitable[Response]]
Free = Callable[[Request], Awaitable[Response]]

#: Kept in the scope, for who stands around the routes.
_ROUTE, _CALLER = "callreel.route", "callreel.caller"


class Door(Route):
    """A route; `roles` says whom it lets in, None: everybody, or whoever it finds out by itself."""

    def __init__(self, method: str, path: str, endpoint: Free | ASGIApp, name: str, roles: Roles | None) -> None:
        super().__init__(path, endpoint, methods=[method], name=name)
        self.method = method
        self.roles = roles

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[_ROUTE] = self.name
        await super().handle(scope, receive, send)


def guarded(
    auth: Auth, method: str, path: str, endpoint: Endpoint, roles: Roles, *, token_in_query: bool = False
) -> Door:
    """A route behind a token of these roles."""

    async def checked(request: Request) -> Response:
        caller = auth.request(request, in_query=token_in_query)
        told(request.scope, caller)
        check_path(request.path_params)
        check_may(caller, request.path_params, roles)
        return await endpoint(request, caller)

    return Door(method, path, checked, endpoint.__name__, roles)


def route_of(scope: Scope) -> str | None:
    """The name of the route that a request has come to, if it has come to one."""
    name: str | None = scope.get(_ROUTE)
    return name


def told(scope: Scope, caller: Caller) -> None:
    """Whose token came with a request, be it good for this one or not."""
    scope[_CALLER] = caller


def caller_of(scope: Scope) -> Caller | None:
    """Who asks, as far as that has been found out."""
    caller: Caller | None = scope.get(_CALLER)
    return caller
