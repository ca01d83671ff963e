"""Who asks, and whether they may: token, ids of the path, the token's call, the role. In this order, in one place."""

from __future__ import annotations

import time
from collections.abc import Mapping

from starlette.requests import Request

from callreel import keys, tokens
from callreel.errors import Forbidden, Unauthorized, UnknownRecording
from callreel.settings import Settings
from callreel.tokens import Caller, Role

from .remembered import Remembered

Roles = frozenset[Role]

#: What the roles may, as in the contract's table.
EVERYBODY: Roles = frozenset({"service", "host", "participant", "viewer"})
SERVICES: Roles = frozenset({"service"})
HOSTS: Roles = frozenset({"service", "host"})
UPLOADERS: Roles = frozenset({"service", "host", "participant"})
WATCHERS: Roles = frozenset({"service", "host", "viewer"})


def watchers(settings: Settings) -> Roles:
    """Who may watch the files of a call's recordings."""
    return WATCHERS | {"participant"} if settings.participants_watch else WATCHERS


#: A browser sends the same token with every chunk; so many different ones are remembered.
_REMEMBERED = 4096


class Auth:
    def __init__(self, secret: str) -> None:
        self._secret = tokens.check_secret(secret)
        self._known: Remembered[str, Caller] = Remembered(_REMEMBERED)

    def caller(self, token: str) -> Caller:
        """Raises `Unauthorized`."""
        caller = self._known.get(token)
        if caller is None or caller.expires_s <= time.time():
            caller = tokens.check_token(self._secret, token)
            self._known.put(token, caller)
        return caller

    def bearer(self, authorization: str) -> Caller:
        """The caller behind an `Authorization` header. Raises `Unauthorized`."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized("Send the token as `Authorization: Bearer <JWT>`.")
        return self.caller(token.strip())

    def request(self, request: Request, *, in_query: bool = False) -> Caller:
        """The caller behind a request; `in_query` where a player or an EventSource can send no header."""
        authorization = request.headers.get("authorization")
        if authorization is None and in_query and request.method in ("GET", "HEAD") and "token" in request.query_params:
            return self.caller(request.query_params["token"])
        return self.bearer(authorization or "")


def check_path(params: Mapping[str, str]) -> None:
    """Every id of a path is one, and the recording is the call's. Raises `InvalidId`, `UnknownRecording`."""
    for name in ("callId", "trackId", "participantId", "composition"):
        if name in params:
            keys.check_id(params[name], name)
    recording_id = params.get("recordingId")
    if recording_id is not None and keys.call_of(recording_id) != params["callId"]:
        raise UnknownRecording(f"Call {params['callId']} has no recording {recording_id}.")


def check_may(caller: Caller, params: Mapping[str, str], roles: Roles) -> None:
    """Where the path names no call, the token has to be for all of them. Raises `Forbidden`."""
    if not caller.may_enter(params.get("callId", "*")):
        raise Forbidden("The token is for another call.")
    if caller.role not in roles:
        raise Forbidden(f"The role '{caller.role}' may not do this; it takes {', '.join(sorted(roles))}.")
