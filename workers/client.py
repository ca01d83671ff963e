"""What `callreel smoke` says over HTTP: patience with what may succeed later, one sentence for what does not."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any
from urllib.parse import quote, urlsplit

from callreel.errors import NoFilm

_PATIENCE_S = 15  #: for one request, retries included
_AGAIN_S = 0.5

Json = dict[str, Any]


class Server:
    """What a client says to one server, over one connection; not to be shared by threads."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        if parts.scheme not in kinds or not parts.hostname or parts.path.strip("/"):
            raise NoFilm(f"--url {url} is no address of a server; write it as https://callreel.example")
        self._url = url
        self._connection = kinds[parts.scheme](parts.hostname, parts.port, timeout=_PATIENCE_S)
        self._token = token

    def close(self) -> None:
        self._connection.close()

    def ready(self) -> None:
        """Nobody there is told of at once; not ready may pass. Raises `NoFilm`."""
        try:
            self._connection.connect()
        except OSError as error:
            raise NoFilm(f"nobody answers at {self._url}: {error}") from error
        self.ask("GET", "/readyz")

    def ask(self, method: str, path: str, body: bytes | Json | None = None, **headers: str) -> bytes:
        """The answer's body; what may succeed later is tried again for a while. Raises `NoFilm`."""
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        said = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        said |= {name.replace("_", "-"): value for name, value in headers.items()}
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                self._connection.request(method, quote(path), content, said)
                answer = self._connection.getresponse()
                got: bytes = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                problem, again = str(error) or type(error).__name__, True
            else:
                if answer.status < 300:
                    return got
                problem, again = _problem(answer.status, got)
            if not again or time.monotonic() > deadline:
                raise NoFilm(f"{method} {self._url}{path}: {problem}")
            time.sleep(_AGAIN_S)

    def data(self, method: str, path: str, body: bytes | Json | None = None, **headers: str) -> Json:
        """The `data` of an answer. Raises `NoFilm`."""
        got = self.ask(method, path, body, **headers)
        try:
            data: Json = json.loads(got)["data"]
        except (ValueError, KeyError, TypeError) as error:
            raise NoFilm(f"{method} {self._url}{path}: this is no Callreel, it answered {got[:80]!r}") from error
        return data


def _problem(status: int, got: bytes) -> tuple[str, bool]:
    """What a refusal says, and whether to try again."""
    try:
        problem = json.loads(got)
        return f"{status} {problem['code']}: {problem['detail']}", bool(problem["retryable"])
    except (ValueError, KeyError, TypeError):
        return f"{status} {got[:200]!r}", status in (502, 503, 504)  # a proxy whose server is not there yet
