"""Scripts asked over one connection a thread: what a chunk costs in Redis is mostly the client's own work.

Measured: half the processor time of a pooled client, which looks at a connection before and behind every command. An
answer that did not come closes its connection, so that nobody reads it as the answer to another question.

The kernel keeps the time (POSIX, SO_RCVTIMEO), for Python's own way is a `poll` before whatever is sent and received,
and each of them lets go of the interpreter, which others then have.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Sequence
from typing import Any

import hiredis
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
            connection = None
            try:
                connection = getattr(self._here, "connection", None) or self._open()
                return _asked(connection, script, keys, args)
            except redis.ResponseError:
                raise  # an answer, if not a welcome one
            except redis.RedisError:  # closed while idle, most likely
                if connection is not None:
                    connection.disconnect()
                self._here.connection = None
                if not again:
                    raise
        raise AssertionError("unreachable")

    def _open(self) -> _Connection:
        connection: _Connection = self._pool.make_connection()
        connection.connect()
        _timed_by_kernel(connection._sock)  # noqa: SLF001  # redis-py hands its socket to nobody
        self._here.connection = connection
        return connection


def _asked(connection: _Connection, script: Script, keys: Sequence[str], args: Sequence[str | int]) -> Any:
    # packed here: the client looks at the type of every argument once more
    said = ("EVALSHA", script.sha, len(keys), *keys, *args)
    command = [hiredis.pack_command(said)]  # type: ignore[arg-type]  # its stub speaks of tuples of one
    connection.send_packed_command(command, check_health=False)
    try:
        return connection.read_response()
    except redis.exceptions.NoScriptError:
        connection.send_command("SCRIPT LOAD", script.script, check_health=False)
        connection.read_response()
        connection.send_packed_command(command, check_health=False)
        return connection.read_response()


def _timed_by_kernel(sock: object) -> None:
    """The socket's own timeout, kept by the kernel; TLS has a protocol to keep between, and stays as it is."""
    if type(sock) is socket.socket and (timeout_s := sock.gettimeout()):
        timeval = struct.pack("@ll", int(timeout_s), int(timeout_s % 1 * 1e6))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)
        sock.settimeout(None)
