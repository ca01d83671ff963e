"""The index: what of the recordings must be known fast. It lives in Redis and may be lost at any moment.

One rule: nothing is true because the index says so. Every script looks for the epoch key first; where it is absent the
index was flushed, callers hear `IndexLost`, and `callreel.rebuild` fills it again from the storage.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.client import Pipeline
from redis.commands.core import Script
from redis.retry import Retry

from . import editions, keys, metrics
from .control import now_ms
from .errors import Unavailable
from .failpoints import failpoint
from .have import Range, SegmentHave, TrackHave
from .journal import Fact
from .model import Recording
from .states import FINAL, TRANSITIONS, Status

log = logging.getLogger(__name__)


class IndexLost(Unavailable):
    """The index is being made anew."""

    def __init__(self) -> None:
        super().__init__("The index was lost and is being made anew from the storage; try again.", retryAfterS=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRecording:
    """A recording somebody has to look after: not final yet, or its result may lack a chunk."""

    recording_id: str
    status: Status
    started_ms: int
    stopped_ms: int | None
    max_duration_s: int | None
    deleting_ms: int | None  #: when it was given to deletion
    last_chunk_ms: int  #: 0 where none came
    chunks: int  #: how many were registered; moves with every new one


def connect(url: str, *, timeout_s: float = 5, attempts: int = 2) -> redis.Redis:
    """A client as every process here uses it: no waiting for a server that does not answer.

    The second attempt is for a connection closed while idle; any more is the caller's own retry.
    """
    return redis.Redis.from_url(
        url,
        protocol=2,  # measured: half the time of RESP3 in the client, and nothing here needs RESP3
        decode_responses=True,
        socket_timeout=timeout_s,
        socket_connect_timeout=min(timeout_s, 2),
        retry=Retry(NoBackoff(), attempts - 1),
    )


def script(client: redis.Redis, name: str) -> Script:
    """The Lua script that lies beside this module."""
    return client.register_script((resources.files(__package__) / f"{name}.lua").read_text())


def ask(question: Callable[[], Any]) -> Any:
    """The server's answer. Raises `Unavailable`."""
    try:
        return question()
    except redis.RedisError as error:
        raise Unavailable(f"The index does not answer ({type(error).__name__}); try again.") from error


class Index:
    """The recordings' side of the index; `callreel.slots` has the chunks'. One a process, used from any thread."""

    def __init__(self, client: redis.Redis, *, clock_ms: Callable[[], int] = now_ms) -> None:
        self.redis = client
        self.clock_ms = clock_ms
        self.owed: set[str] = set()  #: recordings whose facts could not be noted; `rebuild.settle` does it later
        self._note, self._settle = script(client, "note"), script(client, "settle")

    def noted(self, recording: Recording, fact: Fact | None) -> None:
        """A fact was written; may be told twice. Never fails: what cannot be noted now is owed."""
        if fact is not None:
            _count(recording, fact)
        try:
            self.note(recording)
        except Unavailable as error:
            what = fact.type if fact else "the state"
            log.warning("index: %s of %s is not noted yet: %s", what, recording.recording_id, error.detail)
            self.owed.add(recording.recording_id)

    def note(self, recording: Recording, *, wake: bool = True, pipeline: Pipeline | None = None) -> None:
        """Keep a recording's state and wake who waits for its events, or let a pipeline do so. Raises `Unavailable`."""
        fields: list[str | int] = ["status", str(recording.status), "startedMs", recording.started_ms]
        if recording.stopped_ms is not None:
            fields += ["stoppedMs", recording.stopped_ms]
        if recording.options.max_duration_s is not None:
            fields += ["maxDurationS", recording.options.max_duration_s]
        if recording.status in (Status.DELETING, Status.DELETED):
            fields += ["deletingMs", recording.ended_ms]
        for track in recording.tracks():
            fields += [f"owner:{track.track_id}", track.participant_id]
            if track.participant_id in recording.removed:
                fields += [f"barred:{track.track_id}", 1]
        if recording.asked:
            fields += ["asked", recording.asked]
        what = "open"
        if recording.status in FINAL and not recording.owes:
            what = "gone" if recording.status == Status.DELETED else "final"
        channel = keys.wake(recording.call_id) if wake else ""
        names = [keys.index_recording(recording.recording_id), keys.INDEX_OPEN, keys.INDEX_TELLING, keys.INDEX_ALL]
        names.append(keys.INDEX_OUTDATED)
        due_ms = editions.due_ms(recording)
        args = [recording.recording_id, recording.sequence, what, channel, "" if due_ms is None else due_ms, *fields]
        ask(lambda: self._note(keys=names, args=args, client=pipeline))
        failpoint("index.noted")

    def forget(self, recording_id: str) -> None:
        """Keep nothing of a recording that is being deleted but that it is. Raises `Unavailable`."""
        kept = ("status", "sequence", "startedMs", "stoppedMs", "deletingMs")
        own = keys.index_recording(recording_id)

        def forget() -> None:
            gone = [
                name
                for name in self.redis.scan_iter(f"{keys.INDEX_PREFIX}*{recording_id}*", count=1000)
                # ids may contain each other; the job that asks this is still pending
                if recording_id in (parts := name.split(":")) and name != own and "delete" not in parts
            ]
            if gone:
                self.redis.delete(*gone)
            if fields := [name for name in self.redis.hkeys(own) if name not in kept]:
                self.redis.hdel(own, *fields)

        ask(forget)

    def wake(self, call_id: str) -> None:
        """Wake who waits for a call's events; a hint, so it may be lost."""
        try:
            ask(lambda: self.redis.publish(keys.wake(call_id), ""))
        except Unavailable as error:
            log.info("index: nobody is woken for call %s: %s", call_id, error.detail)

    def open_recordings(self) -> list[OpenRecording]:
        """Every recording somebody has to look after. Raises `Unavailable`, `IndexLost`."""

        def facts_of(ids: list[str]) -> list[dict[str, str]]:
            pipeline = self.redis.pipeline(transaction=False)
            for recording_id in ids:
                pipeline.hgetall(keys.index_recording(recording_id))
            return list(pipeline.execute())

        if not self.ready():
            raise IndexLost
        ids = sorted(ask(lambda: self.redis.smembers(keys.INDEX_OPEN)))
        found = zip(ids, ask(lambda: facts_of(ids)), strict=True)
        return [_open(recording_id, facts) for recording_id, facts in found if "status" in facts]

    def outdated(self, now_ms: int) -> list[str]:
        """Recordings of which something is to be deleted by now that was replaced. Raises `Unavailable`."""
        return list(ask(lambda: self.redis.zrangebyscore(keys.INDEX_OUTDATED, 0, now_ms)))

    def recording_ids(self) -> list[str]:
        """Every recording, deleted ones too, newest first. Raises `Unavailable`, `IndexLost`."""
        if not self.ready():
            raise IndexLost
        return list(ask(lambda: self.redis.zrange(keys.INDEX_ALL, 0, -1, desc=True)))

    def of_status(self, recording_ids: Sequence[str], status: Status) -> list[str]:
        """Those of the recordings that have this status, as far as the index knows. Raises `Unavailable`."""

        def answers() -> list[Any]:
            pipeline = self.redis.pipeline(transaction=False)
            for recording_id in recording_ids:
                pipeline.hget(keys.index_recording(recording_id), "status")
            return list(pipeline.execute())

        return [each for each, found in zip(recording_ids, ask(answers), strict=True) if found == status]

    def settled(self, recording_id: str, chunks: int, asked: int = 0) -> None:
        """The result of a final recording has all of its first `chunks` chunks, and what the fact `asked` asked for.

        If no more came, nobody has to look.
        """
        names = [keys.index_recording(recording_id), keys.INDEX_OPEN]
        ask(lambda: self._settle(keys=names, args=[recording_id, chunks, asked]))
        failpoint("index.settled")

    def have(self, recording_id: str, track_ids: list[str]) -> dict[str, TrackHave]:
        """What is here of these tracks. Raises `Unavailable`, `IndexLost`."""

        def answers() -> list[Any]:
            pipeline = self.redis.pipeline(transaction=False)
            pipeline.exists(keys.EPOCH)
            for track_id in track_ids:
                pipeline.hgetall(keys.index_track(recording_id, track_id))
            return list(pipeline.execute())

        epoch, *found = ask(answers)
        if not epoch:
            raise IndexLost
        return {track_id: _have(fields) for track_id, fields in zip(track_ids, found, strict=True)}

    def set_progress(self, recording_id: str, fraction: float) -> None:
        """How much of the film is made, 0 to 1; a hint for people, so it may be lost."""
        try:
            ask(lambda: self.redis.hset(keys.index_recording(recording_id), "progress", f"{fraction:.4f}"))
        except Unavailable as error:
            log.info("index: progress of %s is lost: %s", recording_id, error.detail)

    def progress(self, recording_id: str) -> float:
        """Raises `Unavailable`."""
        return float(ask(lambda: self.redis.hget(keys.index_recording(recording_id), "progress")) or 0)

    def warn_if_forgetful(self) -> None:
        """Say so where a restart of Redis would empty the index: nothing is lost, but it has to be made anew."""
        try:
            kept = self.redis.info("persistence").get("aof_enabled")
        except redis.RedisError as error:
            log.info("index: whether it is kept over restarts cannot be told: %s", error)
            return
        if not kept:
            log.warning("index: this Redis has no append-only file; after its restart the index is made anew")

    def ready(self) -> bool:
        """Is the index there and filled? Raises `Unavailable`."""
        return bool(ask(lambda: self.redis.exists(keys.EPOCH)))


def _count(recording: Recording, fact: Fact) -> None:
    """Steps of recordings, and what their films lack when they are there."""
    if fact.type == "started" or fact.type in TRANSITIONS:
        cause = fact.data.get("reason") or fact.data.get("code") or ""
        metrics.TRANSITIONS.labels(str(recording.before or ""), str(recording.status), str(cause)[:40]).inc()
    if fact.type == "completed":
        for gap in recording.gaps:
            reason = str(gap.get("reason", ""))
            metrics.GAPS.labels(reason).inc()
            metrics.GAP_S.labels(reason).inc(max(0, gap.get("toMs", 0) - gap.get("fromMs", 0)) / 1000)


def _open(recording_id: str, facts: dict[str, str]) -> OpenRecording:
    def number(name: str) -> int | None:
        return int(facts[name]) if name in facts else None

    return OpenRecording(
        recording_id=recording_id,
        status=Status(facts["status"]),
        started_ms=int(facts["startedMs"]),
        stopped_ms=number("stoppedMs"),
        max_duration_s=number("maxDurationS"),
        deleting_ms=number("deletingMs"),
        last_chunk_ms=number("lastChunkMs") or 0,
        chunks=number("chunks") or 0,
    )


def _have(fields: dict[str, str]) -> TrackHave:
    """A track's hash, as `commit.lua` keeps it: `s:<seg>:<first>` → last, `b:<seg>` → bytes."""
    found: dict[int, list[Range]] = {}
    for name, value in fields.items():
        if name.startswith("s:"):
            _, seg, first = name.split(":")
            found.setdefault(int(seg), []).append((int(first), int(value)))
    segments = tuple(
        SegmentHave(seg=seg, have=tuple(sorted(found[seg])), size_bytes=int(fields.get(f"b:{seg}", 0)))
        for seg in sorted(found)
    )
    return TrackHave(mime_type=fields.get("mime", ""), segments=segments)
