"""What the browser loads: the library for any origin, for our own the call page, and the description of the routes.

Files of `web_client` as they are.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",  # asked for each time, by ETag: library and server belong together
}

_LIBRARY = {
    **_EVERYWHERE,
    "Access-Control-Allow-Origin": "*",  # a module script is always fetched with CORS
    "Cross-Origin-Resource-Policy": "cross-origin",
}

#: The call page may talk to a server on another origin, and play films from there; nothing else may come from outside.
_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "font-src": "'self'",
    "img-src": "'self' data: blob:",
    "media-src": "'self' blob: http: https:",
    "connect-src": "*",
    "worker-src": "'self' blob:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}

_PAGE = {
    **_EVERYWHERE,
    "Content-Security-Policy": "; ".join(f"{name} {sources}" for name, sources in _POLICY.items()),
    "Permissions-Policy": "camera=(self), microphone=(self), display-capture=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}


def web_client() -> Path:
    """The folder of the browser's half: in the checkout beside us, in the wheel a package's data."""
    beside = Path(__file__).resolve().parent.parent / "web_client"
    return beside if beside.is_dir() else Path(str(resources.files("web_client")))


def library() -> ASGIApp:
    return WithHeaders(StaticFiles(directory=web_client() / "src", check_dir=False), _LIBRARY)


def demo() -> ASGIApp:
    return WithHeaders(StaticFiles(directory=web_client() / "demo", check_dir=False), _PAGE)


def docs() -> ASGIApp:
    return WithHeaders(StaticFiles(directory=web_client() / "docs", html=True, check_dir=False), _PAGE)


def home() -> ASGIApp:
    return WithHeaders(StaticFiles(directory=web_client(), html=True, check_dir=False), _PAGE)


class WithHeaders:
    """An application whose every answer carries these headers."""

    def __init__(self, app: ASGIApp, headers: dict[str, str]) -> None:
        self._app = app
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        await self._app(scope, receive, send_with_headers)
