"""Scripts asked over one connection a thread: what a chunk costs in Redis is mostly the client's own work.

Measured: half the processor time of a pooled client, which looks at a connection before and behind every command. An
answer that did not come closes its connection, so that nobody reads it as the answer to another question.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import redis
from redis.commands.core import Script

_Connection = Any  #: redis.connection.AbstractConnection, whose methods have no types


class Lanes:
    """One a process; `ask` may be called from any thread, and its scripts must bear being asked twice."""

    def __init__(self, client: redis.Redis) -> None:
        self._pool = client.connection_pool
        self._here = threading.local()

    def ask(self, script: Script, keys: Sequence[str], args: Sequence[str | int]) -> Any:
        """A script's answer. Raises `redis.RedisError`."""
        for again in (True, False):
            connection = getattr(self._here, "connection", None) or self._open()
            try:
                return _asked(connection, script, keys, args)
            except redis.ResponseError:
                raise  # an answer, if not a welcome one
            except redis.RedisError:  # closed while idle, most likely
                connection.disconnect()
                if not again:
                    raise
        raise AssertionError("unreachable")

    def _open(self) -> _Connection:
        self._here.connection = self._pool.make_connection()
        return self._here.connection


def _asked(connection: _Connection, script: Script, keys: Sequence[str], args: Sequence[str | int]) -> Any:
    command = ("EVALSHA", script.sha, len(keys), *keys, *args)
    connection.send_command(*command, check_health=False)
    try:
        return connection.read_response()
    except redis.exceptions.NoScriptError:
        connection.send_command("SCRIPT LOAD", script.script, check_health=False)
        connection.read_response()
        connection.send_command(*command, check_health=False)
        return connection.read_response()
