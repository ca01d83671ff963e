"""Objects as files below one folder, shared by any number of processes.

Temporary file → fsync → `link()` → fsync of the folder. `link()` is exclusive where `rename()` would overwrite
(POSIX.1-2024, link: EEXIST). Where the system knows files without a name (Linux, open(2): O_TMPFILE) what was never
linked is gone by itself; elsewhere it is litter in `tmp/`.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import InsufficientStorage, ObjectMissing, Unavailable
from ..failpoints import failpoint
from . import Entry

#: Folders that are remembered. A process meets new ones for as long as it lives; one forgotten is only synced again.
_FOLDERS = 10_000

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class LocalStorage:
    def __init__(self, root: Path, *, fsync: bool = True, nameless: bool = True) -> None:
        """`nameless=False` does without files that have no name, as on systems that do not know them."""
        self.root = root
        self.tmp = root / "tmp"
        self._fsync = fsync
        self._folders: set[str] = set()  #: folders known to exist and to be durable themselves
        new = not root.exists()
        self.tmp.mkdir(parents=True, exist_ok=True)
        self._nameless = nameless and _knows_nameless(self.tmp)
        if new:
            self._sync(root.parent)

    def path(self, key: str) -> Path:
        return self.root / key

    def new_temporary(self) -> Path:
        """A name for a file that `put_if_absent` can take over without a copy."""
        return self.tmp / uuid.uuid4().hex

    def put_if_absent(self, key: str, data: bytes | Path) -> bool:
        if self._nameless and isinstance(data, bytes):
            try:
                return self._put_nameless(key, data)
            except OSError as error:
                raise refused(key, error) from error
        temporary = data if isinstance(data, Path) else self.new_temporary()
        try:
            if isinstance(data, bytes):
                self._write(temporary, data)
            else:
                temporary = self._here(temporary)
                self._sync(temporary)
            return self._publish(key, lambda target: _link(temporary, target))
        except OSError as error:
            raise refused(key, error) from error
        finally:
            temporary.unlink(missing_ok=True)
            if isinstance(data, Path):
                data.unlink(missing_ok=True)

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        try:
            with open(self.path(key), "rb", buffering=0) as file:
                if start:
                    file.seek(start)
                if length is None:
                    return file.read()
                rest = os.fstat(file.fileno()).st_size - start  # `os.read` allocates what it is asked for
                return _read_exactly(file.fileno(), min(length, rest))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise ObjectMissing(f"There is no object {key}.") from error
        except OSError as error:
            raise Unavailable(f"The disk could not read {key}: {error.strerror}.") from error

    def list(self, prefix: str) -> Iterator[Entry]:
        yield from self._walk(self.root / prefix, prefix.rstrip("/"))

    def delete(self, key: str) -> None:
        try:
            path = self.path(key)
            path.unlink(missing_ok=True)
            for folder in path.parents:  # their names tell of what was in them
                if folder == self.root:
                    break
                folder.rmdir()
        except (NotADirectoryError, IsADirectoryError, FileNotFoundError):
            return
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return
            raise Unavailable(f"The disk could not delete {key}: {error.strerror}.") from error

    def sign(self, key: str, seconds: int) -> str | None:
        return None

    def _put_nameless(self, key: str, data: bytes) -> bool:
        """Beside its final place from the beginning: all processes making names in one `tmp/` wait for each other."""
        folder = key.rpartition("/")[0]
        parent = f"{self.root}/{folder}"  # a `Path` costs a chunk as much as the link does
        self._ensure_folder(folder)
        try:
            fd = _open_nameless(parent)
        except FileNotFoundError:  # the folder was deleted under us: a deleted recording, or derived data swept away
            self._make_folder(Path(parent))
            fd = _open_nameless(parent)
        try:
            self._fill(fd, data)
            return self._publish(key, lambda target: _link_nameless(fd, target))
        finally:
            os.close(fd)

    def _write(self, path: Path, data: bytes) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            self._fill(fd, data)
        finally:
            os.close(fd)

    def _fill(self, fd: int, data: bytes) -> None:
        failpoint("storage.write")
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        failpoint("storage.written")
        self._flush(fd)  # of this descriptor: another one may never hear that a write behind it failed

    def _here(self, file: Path) -> Path:
        """The file, or a copy of it where it lies on another file system: links do not reach across."""
        if file.stat().st_dev == self.tmp.stat().st_dev:
            return file
        return copied(file, self.new_temporary())

    def _publish(self, key: str, link: Callable[[str], bool]) -> bool:
        """Give a durable file its name, and make that durable."""
        folder, target = key.rpartition("/")[0], f"{self.root}/{key}"
        self._ensure_folder(folder)
        failpoint("storage.link")
        try:
            stored = link(target)
        except FileNotFoundError:  # the folder was deleted under us: a deleted recording, or derived data swept away
            self._make_folder(self.root / folder)
            stored = link(target)
        failpoint("storage.linked")
        # Also where the key was taken: its writer may have died between link and here, and False means "is stored" too.
        if self._fsync:
            self._sync(self.root / folder)
        return stored

    def _ensure_folder(self, folder: str) -> None:
        if folder in self._folders:
            return
        self._make_folder(self.root / folder)
        if len(self._folders) >= _FOLDERS:
            self._folders.clear()
        self._folders.add(folder)

    def _make_folder(self, folder: Path) -> None:
        """Make a folder and its parents, each durable in its own parent, for a lost folder loses its files.

        Folders that are there already are synced too: who made them may not have come to it yet.
        """
        folder.mkdir(parents=True, exist_ok=True)
        while folder != self.root:
            folder = folder.parent
            self._sync(folder)

    def _sync(self, path: Path) -> None:
        """Make a file's content, or a folder's names, outlive a loss of power."""
        if self._fsync:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                self._flush(fd)
            finally:
                os.close(fd)

    def _flush(self, fd: int) -> None:
        if self._fsync:
            failpoint("storage.sync")
            os.fsync(fd)

    def _walk(self, folder: Path, prefix: str) -> Iterator[Entry]:
        try:
            with os.scandir(folder) as found:
                # a folder sorts as its name with a slash, so that the order is that of the whole keys
                entries = sorted(found, key=lambda e: e.name + "/" if e.is_dir() else e.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise Unavailable(f"The disk could not list {prefix}: {error.strerror}.") from error
        for entry in entries:
            key = f"{prefix}/{entry.name}" if prefix else entry.name
            if entry.is_dir():
                if key != "tmp":
                    yield from self._walk(Path(entry.path), key)
            else:
                try:
                    yield Entry(key, entry.stat().st_size)
                except FileNotFoundError:  # deleted since the listing
                    continue


def _read_exactly(fd: int, length: int) -> bytes:
    parts = []
    while length > 0:
        part = os.read(fd, length)
        if not part:
            break
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def copied(file: Path, copy: Path) -> Path:
    """Copy a file, whole or not at all. Raises `InsufficientStorage`, `Unavailable`."""
    try:
        shutil.copyfile(file, copy)
    except OSError as error:
        copy.unlink(missing_ok=True)
        raise refused(f"a copy of {file.name}", error) from error
    return copy


def refused(key: str, error: OSError) -> InsufficientStorage | Unavailable:
    """What the contract calls a write that failed."""
    kind = InsufficientStorage if error.errno in _FULL else Unavailable
    return kind(f"The disk refused {key}: {error.strerror}.")


def _open_nameless(folder: Path | str) -> int:
    """A new file below a folder that has no name yet."""
    if sys.platform != "linux":
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    return os.open(folder, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o640)


def _link_nameless(fd: int, target: str) -> bool:
    try:
        # The way of open(2). It takes linkat(2), which Python calls only if a folder is named, here without a meaning.
        os.link(f"/proc/self/fd/{fd}", target, src_dir_fd=fd, follow_symlinks=True)
    except FileExistsError:
        return False
    return True


def _knows_nameless(folder: Path) -> bool:
    """Try it: it takes a kernel, a file system and a `/proc` that go along."""
    name = folder / uuid.uuid4().hex
    try:
        fd = _open_nameless(folder)
        try:
            return _link_nameless(fd, str(name))
        finally:
            os.close(fd)
    except OSError:
        return False
    finally:
        name.unlink(missing_ok=True)


def _link(file: Path, target: str) -> bool:
    try:
        os.link(file, target)
    except FileExistsError:
        return False
    return True
