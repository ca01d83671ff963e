"""A storage whose operations are counted and timed, whatever it is made of."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import CallreelError
from ..metrics import STORAGE, STORAGE_S
from . import Entry, Storage


def counted(storage: Storage, backend: str) -> Storage:
    """The same object, not one around it: what it can do beyond the promises may still be asked of it."""
    for op, operation in (("put", storage.put_if_absent), ("get", storage.get), ("delete", storage.delete)):
        setattr(storage, operation.__name__, _call(operation, backend, op))
    setattr(storage, storage.list.__name__, _listing(storage.list, backend))
    return storage


def _call(operation: Callable[..., Any], backend: str, op: str) -> Callable[..., Any]:
    took = STORAGE_S.labels(backend, op)  # looked up once: a chunk is acknowledged behind this
    ok = STORAGE.labels(backend, op, "ok")

    def call(*args: Any, **more: Any) -> Any:
        begun_s = time.monotonic()
        try:
            answer = operation(*args, **more)
        except Exception as error:
            STORAGE.labels(backend, op, _result(error)).inc()
            raise
        finally:
            took.observe(time.monotonic() - begun_s)
        if answer is False:
            STORAGE.labels(backend, op, "taken").inc()
        else:
            ok.inc()
        return answer

    return call


def _listing(operation: Callable[[str], Iterator[Entry]], backend: str) -> Callable[[str], Iterator[Entry]]:
    """A listing goes on while it is read, so what its reader does meanwhile is left out."""

    def call(prefix: str) -> Iterator[Entry]:
        took_s, result, entries = 0.0, "ok", operation(prefix)
        try:
            while True:
                begun_s = time.monotonic()
                entry = next(entries, None)
                took_s += time.monotonic() - begun_s
                if entry is None:
                    return
                yield entry
        except Exception as error:
            result = _result(error)
            raise
        finally:
            STORAGE_S.labels(backend, "list").observe(took_s)
            STORAGE.labels(backend, "list", result).inc()

    return call


def _result(error: Exception) -> str:
    return error.code if isinstance(error, CallreelError) else CallreelError.code
