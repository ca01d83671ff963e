"""Who may what, of every route there is: the routes are taken from the application, what they should allow from the
contract's page. A new route is in it by itself."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import httpx
import jwt
import pytest

from callreel import tokens
from callreel.tokens import ROLES
from ingest.doors import Door
from tests.ingest.desk import CALL, SECRET, Desk, bearer, refused
from tests.test_docs import PROTOCOL, application_routes, page_path, rows, section

#: Routes that ask for no token, each with the reason. What is not here must name its roles.
FREE = {
    "GET /time": "the clock probe: a browser asks it without a preflight",
    "GET /livez": "asked by what starts and stops processes",
    "GET /readyz": "asked by balancers",
    "GET /": "the call page, a file",
    "GET /openapi.json": "the contract, which is no secret",
}
#: What stands for the parameters of a path; none of it has to exist, for whoever is refused learns nothing of that.
PARAMETERS = {"callId": CALL, "trackId": "cam", "participantId": "alice", "name": "composition.mp4"}


def doors() -> dict[str, Door]:
    """Every route but files of the browser's half and WebSockets, which are tested where they are."""
    return {f"{route.method} {page_path(route)}": route for route in application_routes() if isinstance(route, Door)}


DOORS = doors()
GUARDED = {name: door for name, door in DOORS.items() if door.roles is not None}


def promised() -> Iterator[tuple[str, frozenset[str] | None]]:
    """Route → whom the contract's page lets in."""
    for route, who, _ in (cells[:3] for cells in rows(section(PROTOCOL, "Routes"))):
        always = who.split(";")[0]
        if "anybody" in always:
            yield route.strip("`"), None
        elif always == "all":
            yield route.strip("`"), frozenset(ROLES)
        else:
            owner = {"host", "participant"} if "owner" in always else set()  # whoever may have a track
            yield route.strip("`"), frozenset(owner | {role for role in ROLES if role in always})


def path_of(door: Door, recording_id: str, call_id: str = CALL) -> str:
    values = {**PARAMETERS, "recordingId": recording_id, "callId": call_id}
    return re.sub(r"{(\w+)(?::\w+)?}", lambda match: values.get(match[1], "some"), door.path)


def ask(desk: Desk, door: Door, headers: dict[str, str], recording_id: str) -> httpx.Response:
    # an event stream never ends; what it lets in and what it refuses its head tells as well
    method = "HEAD" if door.name == "events" else door.method
    return desk.client.request(method, path_of(door, recording_id), headers=headers)


def refusal(answer: httpx.Response, status: int, code: str) -> None:
    if answer.request.method == "HEAD":
        assert answer.status_code == status
    else:
        refused(answer, status, code)


def test_what_is_free_is_listed_here_and_nothing_else_is_free() -> None:
    assert {name for name, door in DOORS.items() if door.roles is None} == FREE.keys()


def test_names_of_routes_are_their_own() -> None:
    names = [door.name for door in DOORS.values()]
    assert sorted(names) == sorted(set(names))


def test_the_page_says_whom_a_route_lets_in() -> None:
    pages = dict(promised())
    for name, door in DOORS.items():
        assert pages[name] == door.roles, name


@pytest.mark.parametrize("name", GUARDED)
def test_nobody_comes_in_who_may_not(desk: Desk, name: str) -> None:
    door, recording_id = GUARDED[name], desk.begun()
    for what, authorization in forged():
        answer = ask(desk, door, {"Authorization": authorization} if authorization else {}, recording_id)
        assert answer.status_code == 401, what
        assert answer.headers["www-authenticate"] == "Bearer"
        refusal(answer, 401, "unauthorized")
    refusal(ask(desk, door, bearer(ttl_s=-1), recording_id), 401, "unauthorized")
    for role in ROLES:
        refusal(ask(desk, door, bearer(role, call="another"), recording_id), 403, "forbidden")
        if role not in (door.roles or ()):
            refusal(ask(desk, door, bearer(role), recording_id), 403, "forbidden")
            refusal(ask(desk, door, bearer(role, call="*"), recording_id), 403, "forbidden")
    for role in sorted(door.roles or ()):  # last, for they may change something
        call = CALL if "{callId}" in door.path else "*"
        answer = ask(desk, door, bearer(role, call=call), recording_id)
        assert answer.status_code not in (401, 403), (role, answer.text)


def forged() -> Iterator[tuple[str, str]]:
    """Authorizations that are none: what it is, the header."""
    claims = {"sub": "alice", "call": CALL, "role": "service", "exp": time.time() + 60}
    good = jwt.encode(claims, SECRET, algorithm="HS256")
    yield "none at all", ""
    yield "another scheme", f"Basic {good}"
    yield "no token", "Bearer"
    yield "nonsense", "Bearer nonsense"
    yield "a changed one", f"Bearer {good[:-4]}AAAA"
    yield "another key", f"Bearer {jwt.encode(claims, SECRET + 'x', algorithm='HS256')}"
    yield "another algorithm", f"Bearer {jwt.encode(claims, SECRET * 2, algorithm='HS512')}"
    yield "no algorithm", f"Bearer {jwt.encode(claims, '', algorithm='none')}"
    for claim in ("sub", "call", "role", "exp"):
        rest = {name: value for name, value in claims.items() if name != claim}
        yield f"no {claim}", f"Bearer {jwt.encode(rest, SECRET, algorithm='HS256')}"
    for name, value in (("role", "king"), ("call", 7), ("participant", 7), ("name", [])):
        odd = {**claims, name: value}
        yield f"odd {name}", f"Bearer {jwt.encode(odd, SECRET, algorithm='HS256')}"
    early = {**claims, "nbf": time.time() + 3600}
    yield "not yet", f"Bearer {jwt.encode(early, SECRET, algorithm='HS256')}"
    yield "for somebody else", f"Bearer {jwt.encode({**claims, 'aud': 'shop'}, SECRET, algorithm='HS256')}"


def test_a_signature_opens_its_file_and_nothing_else(desk: Desk) -> None:
    recording_id = desk.begun()
    query = tokens.sign_file(SECRET, CALL, recording_id, "composition.mp4").partition("?")[2]
    for name, door in GUARDED.items():
        answer = desk.client.request(door.method, f"{path_of(door, recording_id)}?{query}")
        assert answer.status_code == (404 if door.name == "file" else 401), name


def test_of_another_call_no_recording_is_found(desk: Desk) -> None:
    """The call of the token, the call of the path, and the recording's own have to be one."""
    elsewhere = desk.start()
    for name, door in GUARDED.items():
        if "{recordingId}" in door.path:
            path = path_of(door, elsewhere, call_id="mine")
            answer = desk.client.request(door.method, path, headers=bearer("service", call="mine"))
            assert refused(answer, 404, "unknown_recording"), name
