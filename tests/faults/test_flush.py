"""Everything in Redis is lost between upload and stop, and nothing is: same film, same events."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from redis.asyncio import Redis

from callreel import events, journal
from callreel.storage.local import LocalStorage
from tests.kit.call_generator import generate_call
from tests.kit.capture import Capture
from tests.kit.replay import Replayed, Server, new_client, replay
from tests.stack import Stack

READY_S = 60
#: Two people on one recorder each, who come and leave half a second apart: the order of events is the call's own.
SEED = 21
#: Both have left before the host stops, which lies in the middle of a picture: some ms of a network do not matter.
LENGTH_MS, STOPPED_LATER_MS = 6000, 1016
_MIDDLE_MS = 15  #: as far from the middle of a picture as a stop may be
_ATTEMPTS = 5


def test_a_flush_between_upload_and_stop_changes_neither_film_nor_events(own_stack: Stack) -> None:
    plain, flushed = asyncio.run(_both(own_stack))
    storage = LocalStorage(own_stack.data, fsync=False)
    first, second = (_told(storage, done) for done in (plain[0], flushed[0]))
    assert [w["key"] for w in plain[1]["windows"]] == [w["key"] for w in flushed[1]["windows"]]
    assert _without_instants(plain[1]) == _without_instants(flushed[1])
    assert first == second
    assert [event[0] for event in first] == list(range(1, len(first) + 1))


async def _both(stack: Stack) -> list[tuple[Replayed, dict[str, Any]]]:
    call = generate_call(seed=SEED, count=2, length_ms=LENGTH_MS)
    later = Capture(
        name=call.name,
        true_epoch_ms=call.true_epoch_ms,
        length_ms=LENGTH_MS + STOPPED_LATER_MS,
        runs=call.runs,
        floor_ms=call.floor_ms,
    )

    async def flush() -> None:
        async with Redis.from_url(stack.redis_url) as redis:
            await redis.flushall()

    async def nothing() -> None:
        return

    found = []
    async with new_client() as client:
        for call_id, before_stop in (("plain", nothing), ("flushed", flush)):
            for attempt in range(_ATTEMPTS):
                server = Server(stack.url, stack.token, f"{call_id}-{attempt}", client)
                done = await replay(server, later, before_stop=before_stop)
                # a machine that was busy just then makes a film that is longer by a picture: not what is asked here
                if abs(done.stopped_ms - done.started_ms - later.length_ms) < _MIDDLE_MS:
                    break
            state = await server.finished(done.recording_id, READY_S)
            assert state["status"] == "completed", state
            assert state["complete"], state
            found.append((done, await server.json_file(done.recording_id, "manifest.json")))
    return found


def _told(storage: LocalStorage, done: Replayed) -> list[tuple[int, str, str]]:
    """The events of a recording: number, type and what is particular to it."""
    facts = journal.read(storage, done.recording_id)
    return [(e.sequence, e.type, json.dumps(e.data)) for e in events.fold_events(done.recording_id, facts)]


def _without_instants(manifest: dict[str, Any]) -> dict[str, Any]:
    """What must be equal in two recordings of the same call: all but names and the server's clock."""
    said = dict(manifest)
    for key in ("recordingId", "roomId", "startedAtMs", "stoppedAtMs", "durationMs"):
        said.pop(key)
    return said
