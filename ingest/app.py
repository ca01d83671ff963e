"""The application: every address in one table, and everything behind it put together once."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import FrameType

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from callreel import failpoints, rebuild, webhooks
from callreel.calls import Calls
from callreel.checks import start_settings, start_storage
from callreel.control import Control, now_ms
from callreel.errors import CallreelError, Unavailable
from callreel.index import Index, IndexLost, connect
from callreel.logs import configure_logs
from callreel.owed import Teller
from callreel.queue import Queue
from callreel.settings import Settings
from callreel.slots import Limits, Slots
from callreel.storage import Storage
from callreel.storage.local import LocalStorage

from . import pages
from .access import AccessLog
from .auth import EVERYBODY, HOSTS, SERVICES, UPLOADERS, Auth, Roles, watchers
from .bodies import Disk
from .compositions import CompositionCalls
from .control import ControlCalls
from .cors import Cors
from .doors import Door, Free, guarded
from .errors import count, on_callreel_error, on_exception, on_http_exception
from .event_socket import EventSocket
from .events import EventCalls, Wakes
from .files import FileCalls
from .health import HealthCalls
from .journals import Journals
from .metrics import MetricCalls
from .observed import Observed, noted
from .openapi import Description
from .rooms import FactCalls, RoomCalls
from .shell import Jobs, Shell
from .signal import Signal
from .tracks import TrackCalls
from .uploads import ChunkDoor, count_refused
from .webhooks import WebhookCalls

log = logging.getLogger(__name__)

_LOOK_S = 1.0  #: how often a process looks whether the index is still the one that was filled

ALLOWED_HEADERS = (
    *("Authorization", "Content-Type", "Content-Digest", "Chunk", "Range", "Last-Event-ID", "Idempotency-Key"),
)
EXPOSED_HEADERS = ("Retry-After", "ETag", "Content-Range", "Location")
PREFLIGHT_MAX_AGE_S = 86400

_CALL = "/video-calls/{callId}"
_RECORDING = _CALL + "/recording/{recordingId}"
_TRACK = _RECORDING + "/tracks/{trackId}"

Refuse = Callable[[Request, Exception], Awaitable[Response]]


def create_app() -> ASGIApp:
    """For `uvicorn ingest.app:create_app --factory`. Ends the process with a sentence where it cannot start."""
    try:
        settings = start_settings()
        configure_logs(settings)
        failpoints.arm(settings.failpoints)
        storage = start_storage(settings)
        jobs = Queue(settings.redis_url, render_timeout_s=settings.render_timeout_s)
        return build_app(settings, storage, Index(connect(settings.redis_url)), jobs)
    except CallreelError as error:
        sys.exit(f"callreel: {error.detail}")


def build_app(settings: Settings, storage: Storage, index: Index, jobs: Jobs) -> ASGIApp:
    """The application over given parts. Raises `InvalidSettings`."""
    limits = Limits(
        late_ms=int(settings.late_s * 1000),
        track_bytes=settings.track_bytes,
        recording_bytes=settings.recording_bytes,
        seq_ahead=settings.seq_ahead,
    )
    webhooks.subscribe(storage, settings, now_ms())  # before anything happens that they are to be told
    shell = Shell(
        settings=settings,
        auth=Auth(settings.jwt_secret),
        storage=storage,
        index=index,
        slots=Slots(index.redis, limits),
        jobs=jobs,
        control=(control := Control(storage, Teller(index=index, settings=settings, jobs=jobs))),
        calls=Calls(control, limits.late_ms),
        journals=Journals(storage),
        # beside the objects, so that a large chunk becomes one without a copy
        disk=Disk(
            storage.tmp if isinstance(storage, LocalStorage) else Path(tempfile.gettempdir()), settings.min_free_bytes
        ),
    )
    wakes, signalling, chunks = Wakes(settings.redis_url), Signal(settings), ChunkDoor(shell)
    metrics = MetricCalls(shell)
    app = Starlette(
        routes=routes(shell, chunks, wakes, signalling, metrics),
        middleware=[
            Middleware(
                Observed,
                access=AccessLog(settings.access_log, fsync=settings.fsync == "always"),
                pool=shell.pools.control,
            ),
        ],
        lifespan=lambda app: _lifespan(shell, wakes, signalling, metrics),
        exception_handlers={
            CallreelError: _noticing(shell),
            HTTPException: on_http_exception,
            Exception: on_exception,
        },
    )
    # Around all of it, for a browser shows a refusal to nobody if it lacks these headers, and a 500 is one too.
    return Cors(
        Express(app, chunks, _noticing(shell)),
        allow_origins=settings.origins,
        allow_methods=("GET", "HEAD", "POST", "PUT", "DELETE"),
        allow_headers=ALLOWED_HEADERS,
        expose_headers=EXPOSED_HEADERS,
        max_age=PREFLIGHT_MAX_AGE_S,
    )


class Express:
    """A short cut to the chunks' door: the long way is a seventh of all that the loop does for a chunk."""

    def __init__(self, app: ASGIApp, chunks: ChunkDoor, refuse: Refuse) -> None:
        self.app = app
        self._chunks = chunks
        self._refuse = refuse
        self._path = re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", f"{_TRACK}/chunks"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        chunk = scope["type"] == "http" and scope["method"] == "POST" and self._path.fullmatch(scope["path"])
        if not chunk:
            await self.app(scope, receive, send)
            return
        noted(scope)
        scope["path_params"] = chunk.groupdict()
        try:
            await self._chunks(scope, receive, send)
        except CallreelError as error:  # the door answers last, so nothing has been said yet
            count_refused(error)
            response = await self._refuse(Request(scope), error)
            await response(scope, receive, send)
        except Exception as error:  # as Starlette does it: said to the client, and told by whoever runs us
            response = await on_exception(Request(scope), error)
            await response(scope, receive, send)
            raise


def routes(shell: Shell, chunks: ChunkDoor, wakes: Wakes, signalling: Signal, metrics: MetricCalls) -> list[BaseRoute]:
    """Every address of the contract, and those of the call page."""
    control, tracks, files = ControlCalls(shell), TrackCalls(shell), FileCalls(shell)
    events, health = EventCalls(shell, wakes), HealthCalls(shell)
    rooms, facts, description = RoomCalls(shell), FactCalls(shell), Description(shell.settings.public_url)
    hooks, films = WebhookCalls(shell), CompositionCalls(shell)

    call = functools.partial(guarded, shell.auth)

    def free(method: str, path: str, endpoint: Free, roles: Roles | None = None) -> Door:
        return Door(method, path, endpoint, endpoint.__name__, roles)

    found: list[BaseRoute] = [
        # the chunks' door first: it is what is asked for, nearly always; it looks at the token itself
        Door("POST", f"{_TRACK}/chunks",                chunks, "chunk", UPLOADERS),
        call("GET",  f"{_TRACK}/chunks",                tracks.have,     UPLOADERS),
        call("PUT",  f"{_TRACK}",                       tracks.put,      UPLOADERS),
        call("POST", f"{_TRACK}/complete",              tracks.complete, UPLOADERS),
        call("POST", f"{_TRACK}/facts",                 facts.tell,      UPLOADERS),
        call("GET",  f"{_RECORDING}/uploads",           tracks.uploads,  UPLOADERS),
        call("POST", f"{_CALL}/recording/start",        control.start,   HOSTS),
        call("POST", f"{_CALL}/recording/stop",         control.stop,    HOSTS),
        call("POST", f"{_CALL}/recording/pause",        control.pause,   HOSTS),
        call("POST", f"{_CALL}/recording/resume",       control.resume,  HOSTS),
        call("POST", f"{_CALL}/recording/layout",       control.layout,  HOSTS),
        call("GET",  f"{_CALL}/recording",              control.active,  EVERYBODY),
        call("GET",  f"{_CALL}/recordings",             control.many,    EVERYBODY),
        call("GET",  f"{_RECORDING}",                   control.one,     EVERYBODY),
        call("DELETE", f"{_RECORDING}",                 control.delete,  HOSTS),
        call("POST", f"{_RECORDING}/compositions",      films.compose,   HOSTS),
        call("GET",  f"{_RECORDING}/compositions",      films.compositions, EVERYBODY),
        call("DELETE", f"{_RECORDING}/compositions/{{composition}}", films.discard, HOSTS),
        call("POST", f"{_CALL}/close",                  rooms.close,     HOSTS),
        call("DELETE", f"{_CALL}/close",                rooms.reopen,    HOSTS),
        call("GET",  f"{_CALL}/participants",           rooms.participants, HOSTS),
        call("DELETE", f"{_CALL}/participants/{{participantId}}", rooms.remove, HOSTS),
        call("GET",  f"{_CALL}/events",                 events.events,   EVERYBODY, token_in_query=True),
        WebSocketRoute(f"{_CALL}/events",               EventSocket(shell, events).connect),
        free("GET",  f"{_RECORDING}/files/{{name:path}}", files.file, watchers(shell.settings)),  # or by signature
        call("GET",  f"{_CALL}/webhooks",               hooks.webhooks,  SERVICES),
        call("POST", f"{_CALL}/webhooks/{{deliveryId}}/replay", hooks.replay, SERVICES),
        call("GET",  "/recordings",                     control.all_recordings, SERVICES),
        call("GET",  "/webhooks",                       hooks.all_webhooks, SERVICES),
        call("POST", "/webhooks/{deliveryId}/replay",   hooks.replay_any, SERVICES),
        free("GET",  "/time",                           health.time),
        free("GET",  "/livez",                          health.live),
        free("GET",  "/readyz",                         health.ready),
        free("GET",  "/openapi.json",                   description.description),
        free("GET",  "/metrics",                        metrics.metrics, SERVICES),  # of `*`, or by a token of its own
        call("POST", f"{_CALL}/invite",                 signalling.invite, HOSTS),
        WebSocketRoute(f"{_CALL}/signal",               signalling.connect),
        Mount("/client", pages.library()),
        Mount("/demo",   pages.demo()),
        Mount("/docs",   pages.docs()),
        Door("GET",  "/",                               pages.home(), "home", None),
    ]  # fmt: skip
    description.tell_of(found)
    return found


def _noticing(shell: Shell) -> Refuse:
    """Refusals, and an eye on the one that says the index is gone."""

    async def handle(request: Request, error: Exception) -> Response:
        assert isinstance(error, CallreelError)
        count(error)
        if isinstance(error, IndexLost):
            shell.index_lost.set()
        return await on_callreel_error(request, error)

    return handle


@contextlib.asynccontextmanager
async def _lifespan(shell: Shell, wakes: Wakes, signalling: Signal, metrics: MetricCalls) -> AsyncIterator[None]:
    await _look_after_index(shell)
    await shell.pools.control.run(shell.index.warn_if_forgetful)
    _let_go_on_signal(shell, wakes)
    tasks = [asyncio.create_task(work) for work in (_keep_index(shell), wakes.run(), metrics.share())]
    try:
        yield
    finally:
        shell.closing.set()
        wakes.wake_all()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await signalling.close()
        await shell.pools.probes.run(metrics.leave)
        shell.pools.close()


async def _keep_index(shell: Shell) -> None:
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(shell.index_lost.wait(), _LOOK_S)
        shell.index_lost.clear()
        await _look_after_index(shell)


async def _look_after_index(shell: Shell) -> None:
    def look() -> None:
        if rebuild.ensure(shell.index, shell.storage):
            rebuild.settle(shell.index, shell.storage)

    try:
        await shell.pools.control.run(look)
    except Unavailable as error:
        log.warning("index: %s", error.detail)
    except Exception:  # whatever a storage can hold: the next look may fare better, and ending would help nobody
        log.exception("index: it could not be made anew")


def _let_go_on_signal(shell: Shell, wakes: Wakes) -> None:
    """uvicorn waits for every open answer before it ends the lifespan; an event stream would never end by itself."""
    loop = asyncio.get_running_loop()

    def chained(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(shell.closing.set)
        loop.call_soon_threadsafe(wakes.wake_all)
        before = previous[number]
        if callable(before):
            before(number, frame)

    previous = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(ValueError):  # not the main thread: whoever runs us there ends us otherwise
            previous[int(number)] = signal.getsignal(number)
            signal.signal(number, chained)
