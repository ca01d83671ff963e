"""Objects in an object store that knows a conditional put (obstore: S3, Azure, and memory for tests).

Exclusive is the store's own `If-None-Match: *`. One difference to a disk stays: where the store did its work and the
answer was lost, the retry behind it finds its own object and says False. So nobody may take False for "somebody
else's": who must know, reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store

from ..errors import ObjectMissing, Unavailable
from . import Entry


class ObjectStorage:
    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def put_if_absent(self, key: str, data: bytes | Path) -> bool:
        try:
            # A condition cannot be put on a multipart upload: the object goes in one request, from memory.
            obstore.put(self._store, key, data, mode="create", use_multipart=False)
        except AlreadyExistsError:
            return False
        except (BaseError, OSError) as error:
            raise Unavailable(f"The store refused {key}: {_first_line(error)}") from error
        finally:
            if isinstance(data, Path):
                data.unlink(missing_ok=True)
        return True

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        try:
            if start == 0 and length is None:
                return obstore.get(self._store, key).bytes().to_bytes()
            # Stores refuse ranges that are empty or begin behind the end; the size says whether this is one.
            size_bytes = obstore.head(self._store, key)["size"]
            length = min(size_bytes - start, size_bytes if length is None else length)
            return obstore.get_range(self._store, key, start=start, length=length).to_bytes() if length > 0 else b""
        except FileNotFoundError as error:
            raise ObjectMissing(f"There is no object {key}.") from error
        except (BaseError, OSError) as error:
            raise Unavailable(f"The store could not read {key}: {_first_line(error)}") from error

    def list(self, prefix: str) -> Iterator[Entry]:
        try:  # the order of a store's listing is not guaranteed
            found = [Entry(meta["path"], meta["size"]) for page in obstore.list(self._store, prefix) for meta in page]
        except (BaseError, OSError) as error:
            raise Unavailable(f"The store could not list {prefix}: {_first_line(error)}") from error
        yield from sorted(found, key=lambda entry: entry.key)

    def delete(self, key: str) -> None:
        try:
            obstore.delete(self._store, key)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise Unavailable(f"The store could not delete {key}: {_first_line(error)}") from error

    def sign(self, key: str, seconds: int) -> str | None:
        if not isinstance(self._store, (AzureStore, GCSStore, S3Store)):
            return None
        try:
            return obstore.sign(self._store, "GET", key, timedelta(seconds=seconds))
        except (BaseError, OSError) as error:
            raise Unavailable(f"The store could not sign {key}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """The rest is the store's debugging output."""
    return str(error).partition("\n")[0]
