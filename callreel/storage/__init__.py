"""Where bytes live: five promises, and a table of the addresses that can keep them.

The storage is the truth of Callreel. An object appears whole or not at all, never changes, and what
`put_if_absent` has returned for survives the loss of any process and, unless the operator chose otherwise, of power.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from ..errors import InvalidSettings, StorageUnsupported


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a listing."""

    key: str
    size_bytes: int


class Storage(Protocol):
    """Keys are relative, slash-separated, made by `callreel.keys`; every method may be called from any thread."""

    def put_if_absent(self, key: str, data: bytes | Path) -> bool:
        """Store an object, durably, whole; a `Path` names a local file whose content is taken (and may be moved away).

        True if it was stored, False if the key was taken: what was there first stays. Of any number of callers at
        once, in any number of processes, exactly one gets True. Raises `InsufficientStorage`, `Unavailable`.
        """

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """The bytes [start, start + length) of an object, fewer at its end. Raises `ObjectMissing`, `Unavailable`."""

    def list(self, prefix: str) -> Iterator[Entry]:
        """Every object whose key begins with `prefix` (which ends with a slash), in order of keys."""

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens where there is none."""

    def sign(self, key: str, seconds: int) -> str | None:
        """An address that hands the object out for so long without further rights; None where only we can serve it."""


def _open_local(url: str, fsync: bool) -> Storage:
    from .local import LocalStorage

    try:
        return LocalStorage(Path(urlsplit(url).path), fsync=fsync)
    except OSError as error:
        raise InvalidSettings(
            f"CALLREEL_STORAGE={url}: {error.strerror}. Name a folder that this user may write to, or give it to them."
        ) from error


#: URL scheme → opener. A new storage is one module and one line; `tests/contract/test_storage.py` does the rest.
STORAGES: dict[str, Callable[[str, bool], Storage]] = {
    "file": _open_local,
}


def open_storage(url: str, *, fsync: bool = True) -> Storage:
    """The storage at an address, its operations counted.

    Raises `StorageUnsupported`, `InvalidSettings` where it cannot be written to.
    """
    scheme = urlsplit(url).scheme
    if scheme not in STORAGES:
        known = ", ".join(f"{name}://" for name in sorted(STORAGES))
        raise StorageUnsupported(f"CALLREEL_STORAGE={url}: this version stores at {known} only.")
    from .counted import counted

    return counted(STORAGES[scheme](url, fsync), scheme)
