"""What must be true after every fault, whatever it was. `callreel check`, and what only a test can know."""

from __future__ import annotations

import hashlib
from pathlib import Path

from callreel import events, journal, keys, rebuild
from callreel.index import Index, connect
from callreel.repository import read_chunks
from callreel.states import FINAL, Status
from callreel.storage.local import LocalStorage
from tests.ingest.test_index import dump

Acked = dict[tuple[str, str, int, int], bytes]  #: (recording, track, seg, seq) → bytes that a 2xx was said for


def assert_sound(redis_url: str, folder: Path, acked: Acked) -> None:
    """Acknowledged is stored, digests are right, every recording is final or owned, and says so once; no orphans."""
    storage, index = LocalStorage(folder, fsync=False), Index(connect(redis_url))
    try:
        stored = {}
        for recording_id in rebuild.recording_ids(storage):
            for chunk in read_chunks(storage, recording_id):
                data = storage.get(keys.chunk(recording_id, chunk))
                assert hashlib.sha256(data).hexdigest() == chunk.sha256
                place = (recording_id, chunk.track_id, chunk.seg, chunk.seq)
                assert place not in stored, f"two objects in one slot: {place}"
                stored[place] = data
        assert {place: stored.get(place) for place in acked} == acked
        assert rebuild.check(index, storage) == []
        owned = {each.recording_id for each in index.open_recordings()}
        for recording_id in rebuild.recording_ids(storage):
            facts = journal.read(storage, recording_id)
            told = [event.type for event in events.fold_events(recording_id, facts)]
            status = journal.fold(recording_id, facts).status
            final = status in FINAL
            assert final or recording_id in owned, f"nobody looks after {recording_id}"
            if status is Status.DELETED:
                assert told.count("recordingdeleted") == 1, told
            else:
                assert told.count("recordingcompleted") + told.count("recordingfailed") == final, told
        assert_no_process(str(folder))
    finally:
        index.redis.close()


def assert_rebuilds_to_itself(redis_url: str, folder: Path) -> None:
    """The index is what a rebuild makes of the storage.

    But for hints: how far a film is; and which finished recordings have been looked through, which is done again.
    """
    index = Index(connect(redis_url))
    try:
        before = dump(redis_url)
        assert rebuild.rebuild(index, LocalStorage(folder, fsync=False), force=True)
        after = dump(redis_url)
        assert before.pop(keys.INDEX_OPEN, set()) <= after.pop(keys.INDEX_OPEN, set())
        for entry in before.values():
            if isinstance(entry, dict):
                entry.pop("progress", None)
        assert after == before
    finally:
        index.redis.close()


def assert_no_process(text: str) -> None:
    """No process (an ffmpeg that nobody waits for) has this in its command line."""
    lines = [_command_line(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert [line for line in lines if "ffmpeg" in line and text in line] == []


def _command_line(path: Path) -> str:
    try:
        return path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
