"""What every storage promises, and what a disk promises beyond it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obstore.store import MemoryStore

from callreel.errors import ObjectMissing, StorageUnsupported, Unavailable
from callreel.storage import Entry, Storage, open_storage
from callreel.storage.local import LocalStorage
from callreel.storage.objects import ObjectStorage

#: A new adapter is one line here.
ADAPTERS: dict[str, Callable[[Path], Storage]] = {
    "local": lambda folder: LocalStorage(folder / "data"),
    "local with names": lambda folder: LocalStorage(folder / "data", nameless=False),
    "local without fsync": lambda folder: LocalStorage(folder / "data", fsync=False),
    "memory": lambda folder: ObjectStorage(MemoryStore()),
}


@pytest.fixture(params=list(ADAPTERS))
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return ADAPTERS[str(request.param)](tmp_path)


def keys_of(storage: Storage, prefix: str) -> list[str]:
    return [entry.key for entry in storage.list(prefix)]


# ── every storage ────────────────────────────────────────────────────────────────────────────────────────────────────
def test_what_was_put_can_be_got(storage: Storage) -> None:
    assert storage.put_if_absent("a/b/c.json", b"hello")
    assert storage.get("a/b/c.json") == b"hello"


def test_an_empty_object_is_an_object(storage: Storage) -> None:
    assert storage.put_if_absent("a/empty", b"")
    assert storage.get("a/empty") == b""
    assert list(storage.list("a/")) == [Entry("a/empty", 0)]


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        (0, 3, b"012"),
        (3, 4, b"3456"),
        (3, None, b"3456789"),
        (8, 100, b"89"),
        (0, 10**12, b"0123456789"),
        (9, 1, b"9"),
        (10, 1, b""),
        (10, None, b""),
        (99, 1, b""),
        (99, None, b""),
        (4, 0, b""),
        (0, 0, b""),
    ],
)
def test_ranges_end_where_the_object_ends(storage: Storage, start: int, length: int | None, expected: bytes) -> None:
    storage.put_if_absent("a/digits", b"0123456789")
    assert storage.get("a/digits", start, length) == expected


def test_what_was_there_first_stays(storage: Storage) -> None:
    assert storage.put_if_absent("a/b", b"first")
    assert not storage.put_if_absent("a/b", b"second and longer")
    assert not storage.put_if_absent("a/b", b"first")
    assert storage.get("a/b") == b"first"


def test_of_fifty_threads_one_wins(storage: Storage) -> None:
    ready = threading.Barrier(50)

    def put(number: int) -> bool:
        ready.wait()
        return storage.put_if_absent("race/slot", b"%d" % number)

    with ThreadPoolExecutor(50) as pool:
        won = list(pool.map(put, range(50)))
    assert won.count(True) == 1
    assert storage.get("race/slot") == b"%d" % won.index(True)
    assert keys_of(storage, "race/") == ["race/slot"]


def test_a_listing_is_in_order_of_whole_keys_and_of_the_prefix_only(storage: Storage) -> None:
    names = ["x/1.json", "x/1/2", "x/1/10", "x/10", "x/9", "x/a-b/c", "x/a.b/c", "x/a/c", "x/a/b/d", "x/ab"]
    for key in [*reversed(names), "xy/1", "w/1", "x0"]:
        storage.put_if_absent(key, key.encode())
    assert keys_of(storage, "x/") == sorted(names)
    assert keys_of(storage, "x/a/") == ["x/a/b/d", "x/a/c"]
    assert keys_of(storage, "nothing/here/") == []
    assert {entry.key: entry.size_bytes for entry in storage.list("x/")} == {key: len(key) for key in names}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.text("ab1-._", min_size=1, max_size=3), min_size=1, max_size=3), max_size=12))
def test_any_listing_is_in_order(tmp_path_factory: pytest.TempPathFactory, paths: list[list[str]]) -> None:
    local: Storage = LocalStorage(tmp_path_factory.mktemp("order"), fsync=False)
    memory: Storage = ObjectStorage(MemoryStore())
    # A folder and a file cannot have one name on a disk, and keys are never made so: hence the last letters.
    keys = {"/".join(["k", *(f"{part}d" for part in parts[:-1]), f"{parts[-1]}f"]) for parts in paths}
    for key in keys:
        assert local.put_if_absent(key, b"")
        assert memory.put_if_absent(key, b"")
    assert keys_of(local, "k/") == keys_of(memory, "k/") == sorted(keys)


def test_a_file_is_taken_over(storage: Storage, tmp_path: Path) -> None:
    file = tmp_path / "window.mp4"
    file.write_bytes(b"film" * 1000)
    assert storage.put_if_absent("w/1.mp4", file)
    assert storage.get("w/1.mp4") == b"film" * 1000
    assert not file.exists()
    file.write_bytes(b"other")
    assert not storage.put_if_absent("w/1.mp4", file)
    assert storage.get("w/1.mp4", 0, 4) == b"film"
    assert not file.exists()


def test_a_file_that_is_not_there_is_refused(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        storage.put_if_absent("w/1.mp4", tmp_path / "never")
    assert keys_of(storage, "w/") == []


def test_deleting_happens_once_and_harms_nobody(storage: Storage) -> None:
    storage.put_if_absent("a/b", b"1")
    storage.put_if_absent("a/c", b"2")
    storage.delete("a/b")
    storage.delete("a/b")
    storage.delete("never/was")
    storage.delete("a/c/below")
    assert keys_of(storage, "a/") == ["a/c"]
    assert storage.put_if_absent("a/b", b"again")
    assert storage.get("a/b") == b"again"


@pytest.mark.parametrize("length", [None, 0, 5])
@pytest.mark.parametrize("key", ["never/was", "a", "a/b/c"])
def test_what_is_not_there_is_missing(storage: Storage, key: str, length: int | None) -> None:
    storage.put_if_absent("a/b", b"1")
    with pytest.raises(ObjectMissing):
        storage.get(key, 0, length)


def test_only_we_can_serve_these(storage: Storage) -> None:
    storage.put_if_absent("a/b", b"1")
    assert storage.sign("a/b", 60) is None


# ── the disk ─────────────────────────────────────────────────────────────────────────────────────────────────────────
RACER = """
import sys, time
from pathlib import Path
from callreel.storage.local import LocalStorage
storage = LocalStorage(Path(sys.argv[1]), fsync=False)
print("ready", flush=True)
sys.stdin.readline()
print("".join(str(int(storage.put_if_absent(f"race/{n:03d}", sys.argv[2].encode()))) for n in range(200)))
"""


def test_of_two_processes_one_wins_every_slot(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in ("one", "two")
    ]
    for racer in racers:
        assert racer.stdout
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("go\n")
        racer.stdin.flush()
    one, two = (racer.communicate(timeout=60)[0].strip() for racer in racers)
    assert [int(a) + int(b) for a, b in zip(one, two, strict=True)] == [1] * 200
    storage = LocalStorage(tmp_path)
    assert [storage.get(f"race/{n:03d}") for n in range(200)] == [b"one" if won == "1" else b"two" for won in one]


CRASHER = """
import os, sys
from pathlib import Path
from callreel.storage.local import LocalStorage
class Crashing(LocalStorage):
    def _fill(self, fd, data):
        super()._fill(fd, data)
        os._exit(9)
Crashing(Path(sys.argv[1]), nameless=sys.argv[2] == "nameless").put_if_absent("a/b", b"half")
"""


@pytest.mark.parametrize(("way", "litter"), [("named", 1), ("nameless", 0 if sys.platform == "linux" else 1)])
def test_a_crash_before_the_link_leaves_nothing_to_be_seen(tmp_path: Path, way: str, litter: int) -> None:
    crashed = subprocess.run([sys.executable, "-c", CRASHER, str(tmp_path), way], check=False, timeout=60)
    assert crashed.returncode == 9
    storage = LocalStorage(tmp_path)
    assert len(list(storage.tmp.iterdir())) == litter
    assert list(storage.list("")) == []
    with pytest.raises(ObjectMissing):
        storage.get("a/b")
    assert storage.put_if_absent("a/b", b"whole")


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.put_if_absent("a/b", b"1")
    storage.put_if_absent("a/b", b"2")
    assert list(storage.tmp.iterdir()) == []


def test_a_folder_deleted_meanwhile_is_made_again(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.put_if_absent("derived/windows/1", b"1")
    shutil.rmtree(tmp_path / "derived")
    assert list(storage.list("derived/")) == []
    assert storage.put_if_absent("derived/windows/1", b"2")
    assert storage.get("derived/windows/1") == b"2"


def test_a_file_of_another_file_system_is_copied(tmp_path: Path) -> None:
    class Far(LocalStorage):
        """As if every file came from elsewhere, for a second file system is not to be had everywhere."""

        def _here(self, file: Path) -> Path:
            copy = self.new_temporary()
            shutil.copyfile(file, copy)
            return copy

    for storage, folder in [(Far(tmp_path / "data"), tmp_path), (LocalStorage(tmp_path / "more"), Path("/dev/shm"))]:
        file = (folder if os.access(folder, os.W_OK) else tmp_path) / f"callreel-test-{os.getpid()}"
        file.write_bytes(b"film")
        assert storage.put_if_absent("a/film", file)
        assert storage.get("a/film") == b"film"
        assert not file.exists()
        assert list(storage.tmp.iterdir()) == []


class Watched(LocalStorage):
    """Notes what is flushed, as the names there were at that instant, '' where there was none."""

    def __init__(self, root: Path, *, fsync: bool = True, nameless: bool = True) -> None:
        self.flushed: list[str] = []
        super().__init__(root, fsync=fsync, nameless=nameless)

    def _flush(self, fd: int) -> None:
        inode = os.fstat(fd).st_ino
        places = [self.root, *sorted(self.root.rglob("*"))]
        self.flushed += [str(place.relative_to(self.root)) for place in places if place.stat().st_ino == inode] or [""]
        super()._flush(fd)


@pytest.mark.parametrize("nameless", [True, False])
def test_a_put_is_durable_before_it_returns(tmp_path: Path, nameless: bool) -> None:
    storage = Watched(tmp_path, nameless=nameless)
    storage.put_if_absent("a/b/c", b"1")
    bytes_at = 2 if nameless and sys.platform == "linux" else 0
    file = storage.flushed.pop(bytes_at)
    assert file.startswith("tmp/") or file == ""  # the bytes, before anybody can see them
    assert storage.flushed == ["a", ".", "a/b"]  # the folders' own names, then the link
    storage.flushed.clear()
    storage.put_if_absent("a/b/d", b"1")
    assert storage.flushed[1:] == ["a/b"]


def test_what_another_has_linked_is_durable_before_it_is_called_taken(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"linked by one who died before the folder was flushed")
    storage = Watched(tmp_path)
    assert not storage.put_if_absent("a/b", b"1")
    assert storage.flushed[-1] == "a"


def test_a_full_or_broken_disk_is_told_as_such(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.put_if_absent("a", b"1")
    with pytest.raises(Unavailable):
        storage.put_if_absent("a/below/a/file", b"1")
    with pytest.raises(Unavailable):
        storage.put_if_absent("a" * 300, b"1")


# ── addresses ────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_an_address_opens_its_storage(tmp_path: Path) -> None:
    storage = open_storage(f"file://{tmp_path}/data")
    assert storage.put_if_absent("a/b", b"1")
    assert (tmp_path / "data" / "a" / "b").read_bytes() == b"1"


@pytest.mark.parametrize("url", ["s3://bucket", "gs://bucket", "az://container", "ftp://x", "/plain/path", ""])
def test_an_address_nobody_can_keep_is_refused(url: str) -> None:
    with pytest.raises(StorageUnsupported, match="file://"):
        open_storage(url)
