"""What is documented, checked: no route, event, error, setting, command or module without its line, no dead link."""

from __future__ import annotations

import ast
import re
import tempfile
import tomllib
from pathlib import Path

import pytest
import typer.main
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from callreel import cli, errors, settings
from callreel.events import EVENT_TYPES
from callreel.index import Index, connect
from callreel.storage.local import LocalStorage
from ingest.app import Express, build_app
from ingest.doors import Door
from ingest.operations import OPERATIONS as DESCRIBED
from ingest.operations import PATH

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PROTOCOL = (DOCS / "protocol.md").read_text()
DESIGN = (DOCS / "design.md").read_text()
ERRORS = (DOCS / "errors.md").read_text()
OPERATIONS = (DOCS / "operations.md").read_text()

#: Folders whose pages are not ours.
FOREIGN = {"node_modules", "build", "dist"}
PAGES = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part in FOREIGN or part.startswith(".") for part in path.relative_to(ROOT).parts)
)


class NoJobs:
    """A queue for an application that nobody calls."""

    def advance(self, recording_id: str) -> bool:
        return False

    def delete(self, recording_id: str) -> bool:
        return False

    def export(self, recording_id: str, participant_id: str, track_id: str) -> bool:
        return False

    def deliver(self, recording_id: str, endpoint_id: str) -> bool:
        return False


def section(page: str, title: str) -> str:
    """What stands below a heading, up to the next one of its level or above."""
    head = re.search(rf"^(#+) {re.escape(title)}$\n", page, re.MULTILINE)
    assert head, f"there is no heading {title!r}"
    rest = page[head.end() :]
    end = re.search(rf"^#{{1,{len(head[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def rows(text: str) -> list[list[str]]:
    """Cells of every table, headings left out."""
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return [cells for cells in found if cells[0].startswith("`")]


def application_routes() -> list[BaseRoute]:
    """Every route of the application."""
    chosen = settings.Settings(jwt_secret="s" * 32)
    with tempfile.TemporaryDirectory() as folder:
        app = build_app(chosen, LocalStorage(Path(folder)), Index(connect(chosen.redis_url)), NoJobs())
    assert isinstance(app, CORSMiddleware)
    assert isinstance(app.app, Express)
    assert isinstance(app.app.app, Starlette)
    return app.app.app.routes


def page_path(route: BaseRoute) -> str:
    """A route's address as the page writes it."""
    assert isinstance(route, Mount | Route | WebSocketRoute)
    return re.sub(r":\w+}", "}", route.path)


def routes() -> set[str]:
    found = set()
    for route in application_routes():
        if isinstance(route, Mount):
            found.add(f"GET {route.path}/…")
        elif isinstance(route, WebSocketRoute):
            found.add(f"WEBSOCKET {route.path}")
        else:
            assert isinstance(route, Door)
            found.add(f"{route.method} {page_path(route)}")
    return found


def test_every_route_is_in_the_contract_and_every_route_of_the_contract_is_there() -> None:
    assert {cells[0].strip("`") for cells in rows(section(PROTOCOL, "Routes"))} == routes()


def test_every_route_is_described_for_programs_and_nothing_else_is() -> None:
    names = {route.name for route in application_routes() if isinstance(route, Door)}
    assert names == DESCRIBED.keys(), "a route is one row of ingest/operations.py"
    parameters = {name for route in routes() for name in re.findall(r"{(\w+)}", route)}
    assert parameters <= PATH.keys()


def test_every_event_is_in_the_contract() -> None:
    assert {cells[0].strip("`") for cells in rows(section(PROTOCOL, "Events"))} == {"snapshot", *EVENT_TYPES}


def test_every_error_is_in_the_contract_as_it_is() -> None:
    documented = {cells[0].strip("`"): (cells[1], cells[2]) for cells in rows(section(PROTOCOL, "Errors"))}
    classes = {cls.code: cls for cls in errors.error_classes() if cls not in (errors.CallreelError,)}
    assert documented.keys() == classes.keys()
    for code, (status, retry) in documented.items():
        inside = classes[code].status == 500 and code != "internal_error"
        assert status == ("–" if inside else str(classes[code].status)), code
        assert retry == ("yes" if classes[code].retryable else "no"), code


def test_every_error_is_explained_where_it_belongs() -> None:
    inside = {cls.code for cls in errors.error_classes() if cls.status == 500} - {"internal_error"}
    outside = {cls.code for cls in errors.error_classes()} - inside
    for title, codes in (("Refusals", outside), ("Never an answer", inside)):
        explained = {cells[0].strip("`"): cells[1:] for cells in rows(section(ERRORS, title))}
        assert explained.keys() == codes
        for code, (when, remedy) in explained.items():
            assert when == "reserved" or (when and remedy), f"docs/errors.md: {code} is not explained"


def test_the_page_of_settings_is_what_the_settings_are() -> None:
    told = "docs/settings.md is stale: python -m callreel.settings > docs/settings.md"
    assert (DOCS / "settings.md").read_text() == settings.as_markdown(), told


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_settings_that_a_page_names_exist(page: Path) -> None:
    known = {f"CALLREEL_{name.upper()}" for name in settings.Settings.model_fields}
    known |= {
        "CALLREEL_CAPTURES",
        "CALLREEL_CHROMIUM",
        "CALLREEL_FFMPEG_OTHER",
        "CALLREEL_FIREFOX",
        "CALLREEL_SEED",
        "CALLREEL_SLOW",
    }  # the tests' own
    text = page.read_text()
    if page.name == "protocol.md":
        text = text.replace(section(PROTOCOL, "Not in this version"), "")
    assert set(re.findall(r"CALLREEL_[A-Z_]+[A-Z]", text)) <= known


def test_every_command_and_option_is_described() -> None:
    commands = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]  # it is a group
    for name, command in commands.items():
        text = section(OPERATIONS, f"`callreel {name}`")
        for option in command.params:
            assert f"`{option.opts[0]}`" in text, f"callreel {name}: {option.opts[0]}"


def test_the_house_is_described_file_by_file() -> None:
    named = {cells[0].strip("`") for cells in rows(section(DESIGN, "The house"))}
    missing = sorted(name for name in named if not (ROOT / name).is_file())
    assert not missing, f"docs/design.md names files that are not there: {missing}"
    patterns = ("callreel/**/*.py", "callreel/*.lua", "ingest/*.py", "workers/*.py", "web_client/src/*.js")
    there = {path for pattern in patterns for path in ROOT.glob(pattern) if not is_a_package_mark(path)}
    left_out = sorted(str(path.relative_to(ROOT)) for path in there if str(path.relative_to(ROOT)) not in named)
    assert not left_out, f"docs/design.md does not name {left_out}"


def is_a_package_mark(path: Path) -> bool:
    """An `__init__.py` without a definition of its own."""
    if path.name != "__init__.py":
        return False
    kinds = (ast.FunctionDef, ast.ClassDef)
    return not any(isinstance(node, kinds) for node in ast.parse(path.read_text()).body)


def test_every_dependency_has_its_use() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[\[<>=!~ ;]", requirement)[0] for requirement in requirements}

    text = section(DESIGN, "Dependencies")
    assert {cells[0].strip("`") for cells in rows(text)} == names(project["dependencies"])
    assert not {name for name in names(project["optional-dependencies"]["dev"]) if name not in text}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_no_link_is_dead(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(\s*([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        found = (page.parent / name).resolve() if name else page
        assert found.exists(), f"{page.name} → {target}"
        assert not anchor or anchor in anchors(found.read_text()), f"{page.name} → {target}"


def anchors(text: str) -> set[str]:
    """Addresses of headings, as they are made of their words."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
