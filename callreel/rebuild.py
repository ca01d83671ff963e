"""Making the index anew from the storage, and comparing the two.

One process fills at a time, everybody else answers 503 meanwhile: the epoch key is set last, and without it no script
registers anything, so what the listings saw is all there is.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from redis import Redis, WatchError
from redis.client import Pipeline

from . import journal, keys, metrics
from .errors import PermanentError
from .failpoints import failpoint
from .have import of_recording
from .index import Index, IndexLost, ask
from .model import Recording
from .repository import load
from .slots import facts
from .states import FINAL, Status
from .storage import Storage

log = logging.getLogger(__name__)

#: What reading a recording ends with whose objects are not what was written. `Unavailable` is not among them: another
#: try may find it whole.
DAMAGE = (ValueError, LookupError, TypeError, AttributeError, PermanentError)

#: Renewed at every recording, whose listing takes far less; after a crash the others wait so long.
_LOCK_MS = 30_000


def ensure(index: Index, storage: Storage) -> bool:
    """Fill the index if it was lost; True if it is there now. Cheap when it is. Raises `Unavailable`.

    A server that was started again, or took over from another, has forgotten up to the last second: that is a loss too.
    """
    run_id = ask(lambda: index.redis.info("server"))["run_id"]
    epoch, filled = ask(lambda: index.redis.mget(keys.EPOCH, keys.INDEX_SERVER))
    if epoch and filled == run_id:
        return True
    if epoch:
        ask(lambda: index.redis.delete(keys.EPOCH))
    return rebuild(index, storage)


def rebuild(index: Index, storage: Storage, *, force: bool = False) -> bool:
    """Fill the index from the storage alone; False if somebody else is at it. Raises `Unavailable`."""
    client = index.redis
    token = uuid.uuid4().hex
    if not ask(lambda: client.set(keys.INDEX_LOCK, token, nx=True, px=_LOCK_MS)):
        return False
    try:
        if index.ready() and not force:
            return True
        if not _holding(client, token, lambda pipe: pipe.delete(keys.EPOCH)):
            return False
        failpoint("rebuild.begun")
        began = time.monotonic()
        names = list(ask(lambda: list(client.scan_iter(f"{keys.INDEX_ENTRIES}*", count=1000))))
        if not _holding(client, token, lambda pipe: pipe.delete(*names) if names else pipe):
            return False
        failpoint("rebuild.emptied")
        count = 0
        for recording_id in recording_ids(storage):
            try:
                recording = load(storage, recording_id)
            except DAMAGE as error:  # costs nobody else anything
                log.error("index: %s is left out, for it cannot be read: %r", recording_id, error)
                continue
            if not _holding(client, token, partial(_fill, index, recording)):
                return False
            count += 1
            failpoint("rebuild.filled")
        run_id = ask(lambda: client.info("server"))["run_id"]
        epoch = time.time_ns() // 1_000_000
        if not _holding(client, token, lambda pipe: pipe.mset({keys.INDEX_SERVER: run_id, keys.EPOCH: epoch})):
            return False
        failpoint("rebuild.ended")
        metrics.REBUILDS.inc()
        log.info("index: made anew of %d recordings in %.2f s", count, time.monotonic() - began)
        return True
    finally:
        _holding(client, token, lambda pipe: pipe.delete(keys.INDEX_LOCK))


def _holding(client: Redis, token: str, write: Callable[[Pipeline], object]) -> bool:
    """Write as the one who fills; False, and nothing is written, if by now that is another. Raises `Unavailable`.

    Whoever hangs until its lock has run out must not empty what another one filled, nor say that it is complete.
    """

    def written() -> bool:
        with client.pipeline() as pipe:
            try:
                pipe.watch(keys.INDEX_LOCK)  # type: ignore[no-untyped-call]  # redis-py has no types for it
                if client.get(keys.INDEX_LOCK) != token:
                    return False
                pipe.multi()
                pipe.pexpire(keys.INDEX_LOCK, _LOCK_MS)
                write(pipe)
                pipe.execute()
            except WatchError:
                return False
        return True

    return bool(ask(written))


def settle(index: Index, storage: Storage) -> None:
    """Note what could not be noted when it happened. Raises `Unavailable`."""
    for recording_id in list(index.owed):
        try:
            state = journal.fold(recording_id, journal.read(storage, recording_id))
        except DAMAGE as error:
            log.error("index: %s is not noted, for it cannot be read: %r", recording_id, error)
        else:
            index.note(state)
        index.owed.discard(recording_id)


def check(index: Index, storage: Storage) -> list[str]:
    """Sentences about what index and storage do not agree in. Raises `Unavailable`."""
    try:
        if index.ready():
            return _compared(index, storage)
    except IndexLost:  # while we looked
        pass
    return ["the index is empty or was lost: `callreel rebuild` makes it anew"]


def _compared(index: Index, storage: Storage) -> list[str]:
    slots = {entry.key: recording_of(storage, entry.key) for entry in storage.list("calls/")}
    found = [f"{key}: cannot be read" for key, recording_id in slots.items() if recording_id is None]
    ids = set(recording_ids(storage))
    for recording_id in sorted(ids):
        try:
            recording = load(storage, recording_id)
        except DAMAGE as error:
            found.append(f"{recording_id}: cannot be read: {error!r}")
        else:
            found += [f"{recording_id}: {sentence}" for sentence in _differences(index, recording)]
            found += [
                f"{recording_id}: {name} is said to be ready, but not stored" for name in _lost(storage, recording)
            ]
            if recording.status is Status.DELETED:
                left = [e.key for e in storage.list(keys.recording_prefix(recording_id)) if "/journal/" not in e.key]
                found += [f"{recording_id}: deleted, but {key} is there" for key in left]
    prefix = keys.index_recording("")
    known = {name.removeprefix(prefix) for name in ask(lambda: list(index.redis.scan_iter(f"{prefix}*", count=1000)))}
    found += [f"{recording_id}: in the index, but not in the storage" for recording_id in sorted(known - ids)]
    return found


def _lost(storage: Storage, recording: Recording) -> list[str]:
    """Files that the journal tells as ready and that are not there."""
    ready = [each for each in recording.artifacts if each.status == "ready"]
    there = {entry.key for entry in storage.list(keys.artifacts_prefix(recording.recording_id))} if ready else set()
    stored = (
        (each.name, keys.artifact(recording.recording_id, each.name, each.sha256, each.edition)) for each in ready
    )
    return [name for name, key in stored if key not in there]


def recording_ids(storage: Storage) -> Iterator[str]:
    """Every recording that was begun, whether it can be read or not."""
    for entry in storage.list("calls/"):
        recording_id = recording_of(storage, entry.key)
        # The slot may be taken, and the process have died before the first fact: nobody was told.
        if recording_id is not None and any(True for _ in storage.list(keys.journal_prefix(recording_id))):
            yield recording_id


def recording_of(storage: Storage, slot: str) -> str | None:
    """The recording that a call's slot names; None, and a line in the log, where the slot is damaged."""
    try:
        return str(json.loads(storage.get(slot))["recordingId"])
    except DAMAGE as error:
        log.error("index: %s cannot be read: %r", slot, error)
        return None


def _slots(recording: Recording) -> dict[str, dict[str, str]]:
    """Redis key → seq → slot, as `commit.lua` keeps them."""
    found: dict[str, dict[str, str]] = {}
    for track in recording.tracks():
        for segment in track.segments:
            name = keys.index_slots(recording.recording_id, track.track_id, segment.seg)
            for chunk in segment.came:
                slot = f"c {chunk.sha256} {facts(chunk)} {chunk.received_ms}"
                found.setdefault(name, {})[str(chunk.seq)] = slot
    return found


def _flat(fields: Mapping[str, str | int]) -> list[str | int]:
    return [part for pair in fields.items() for part in pair]


def _fill(index: Index, recording: Recording, pipeline: Pipeline) -> None:
    index.note(recording, wake=False, pipeline=pipeline)
    for name, slots in _slots(recording).items():
        pipeline.hset(name, items=_flat(slots))
    chunks = [chunk for track in recording.tracks() for segment in track.segments for chunk in segment.came]
    for track_id, here in of_recording(recording).items():
        fields: dict[str, str | int] = {}
        for segment in here.segments:
            for first, last in segment.have:
                fields |= {f"s:{segment.seg}:{first}": last, f"e:{segment.seg}:{last}": first}
            fields |= {f"b:{segment.seg}": segment.size_bytes, f"t:{segment.seg}": segment.have[-1][1]}
        if fields:
            fields |= {"bytes": here.size_bytes, "segs": here.segments[-1].seg + 1, "mime": here.mime_type}
            pipeline.hset(keys.index_track(recording.recording_id, track_id), items=_flat(fields))
    if chunks:
        sums: dict[str, str | int] = {"bytes": sum(chunk.size_bytes for chunk in chunks)}
        sums |= {"chunks": len(chunks), "lastChunkMs": max(chunk.received_ms for chunk in chunks)}
        pipeline.hset(keys.index_recording(recording.recording_id), items=_flat(sums))
    if recording.status in FINAL and chunks:
        # Whether its result has its last chunk is not known here; who looks will find out, and say `settled`.
        pipeline.sadd(keys.INDEX_OPEN, recording.recording_id)


def _differences(index: Index, recording: Recording) -> Iterator[str]:
    known = ask(lambda: index.redis.hgetall(keys.index_recording(recording.recording_id)))
    if not known:
        yield "not in the index"
        return
    for name, stored in (("status", str(recording.status)), ("sequence", str(recording.sequence))):
        if known.get(name) != stored:
            yield f"{name} is {known.get(name)} in the index, {stored} in the storage"
    looked_after = ask(lambda: index.redis.sismember(keys.INDEX_OPEN, recording.recording_id))
    if recording.status not in FINAL and not looked_after:
        yield f"it is {recording.status}, and nobody looks after it"
    unmade = [each.name for each in recording.compositions if not each.build]
    if recording.status is Status.COMPLETED and unmade and not looked_after:
        yield f"{', '.join(unmade)} is not made, and nobody looks after it"
    if recording.status is Status.DELETING:  # some of it is gone already
        return
    stored_slots = _slots(recording)
    pattern = keys.index_slots(recording.recording_id, "*", 0).removesuffix("0") + "*"
    names = set(ask(lambda: list(index.redis.scan_iter(pattern, count=1000)))) | stored_slots.keys()
    for name in sorted(names):
        slots: dict[str, str] = ask(lambda name=name: index.redis.hgetall(name))  # type: ignore[misc]  # mypy cannot type a lambda with a default
        place = name.rsplit(":", 2)
        here = {seq: slot.split(" ")[1] for seq, slot in slots.items() if slot.startswith("c ")}
        there = {seq: slot.split(" ")[1] for seq, slot in stored_slots.get(name, {}).items()}
        for seq in sorted(here.keys() | there.keys(), key=int):
            where = f"track {place[1]}, seg {place[2]}, seq {seq}"
            if seq not in there:
                yield f"{where}: registered, but not stored"
            elif seq not in here:
                yield f"{where}: stored, but not registered"
            elif here[seq] != there[seq]:
                yield f"{where}: registered with other bytes than stored"
    have = of_recording(recording)
    for track_id, here_now in index.have(recording.recording_id, list(have)).items():
        if here_now.segments != have[track_id].segments:
            yield f"track {track_id}: the have-list differs from what is stored"
