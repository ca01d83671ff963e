"""`/metrics` for Prometheus: the counts of all processes, whichever is asked, and what can be looked up.

They tell how much is recorded and when, so they are not for everybody: `CALLREEL_METRICS_TOKEN` opens them and nothing
else, a service's token for `*` opens everything anyway.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging

from prometheus_client import CONTENT_TYPE_LATEST
from redis import RedisError
from starlette.requests import Request
from starlette.responses import Response

from callreel import gauges, metrics, webhooks
from callreel.errors import Forbidden, Unavailable
from callreel.index import Index, connect
from callreel.present import Presence
from callreel.storage.local import LocalStorage

from .auth import SERVICES
from .doors import told
from .probes import PATIENCE_S, Probe
from .shell import Shell

log = logging.getLogger(__name__)


class MetricCalls:
    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._index = Index(connect(shell.settings.redis_url, timeout_s=PATIENCE_S / 2, attempts=1))
        self._endpoints = [endpoint.id for endpoint in webhooks.endpoints(shell.settings)]
        self._presence = Presence(self._index.redis)
        self._text = Probe(shell.pools.probes, self._collect)

    async def metrics(self, request: Request) -> Response:
        self._check(request)
        try:
            text = await self._text()
        except TimeoutError as error:
            raise Unavailable("What is to be told cannot be found out at the moment.", retryAfterS=1) from error
        return Response(text, 200, {"Cache-Control": "no-store", "Content-Type": CONTENT_TYPE_LATEST})

    def _check(self, request: Request) -> None:
        """Raises `Unauthorized`, `Forbidden`."""
        token = self._shell.settings.metrics_token
        given = request.headers.get("authorization", "").encode()
        if token and hmac.compare_digest(given, f"Bearer {token}".encode()):
            return
        caller = self._shell.auth.request(request)
        told(request.scope, caller)
        if caller.role not in SERVICES or caller.call != "*":
            raise Forbidden("Metrics are for a service of every call (`*`), or for CALLREEL_METRICS_TOKEN.")

    def _collect(self) -> bytes:
        storage, counts = self._shell.storage, {}
        try:
            self._tell()  # what this process has counted lately is told at once
            counts = metrics.totals(self._index.redis)
        except RedisError as error:
            log.info("metrics: counts cannot be told: %s", error)
        folder = storage.root if isinstance(storage, LocalStorage) else self._shell.disk.folder
        return metrics.text_of(counts, gauges.gauges(self._index, folder, self._endpoints))

    async def share(self) -> None:
        """Add what this process counts to what all have counted, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + metrics.PUSH_S
            await asyncio.sleep(metrics.PUSH_S)
            metrics.LOOP_LAG_S.observe(loop.time() - due_s)
            await self._shell.pools.probes.run(self.push)

    def push(self) -> None:
        """Never fails: what cannot be told now is told later."""
        try:
            self._tell()
        except RedisError as error:
            log.info("metrics: counts are added later: %s", error)

    def leave(self) -> None:
        """The last word of a process that ends. Never fails."""
        self.push()
        with contextlib.suppress(RedisError):
            self._presence.leave()

    def _tell(self) -> None:
        """Raises `RedisError`."""
        metrics.push(self._index.redis)
        self._presence.tell()
