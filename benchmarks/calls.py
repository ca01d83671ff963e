"""Calls as benchmarks meet them: in the middle, with what came before in the storage, or at their start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from tests.kit.build import Upload, build_recording, by_track, declared, plan_uploads
from tests.kit.capture import Capture
from tests.kit.replay import epoch_ms

CALL = "ready"


class Says(Protocol):
    """What is asked of a `Server`."""

    async def send(self, method: str, path: str, who: str = "host", body: Any = None) -> dict[str, Any]: ...
    async def upload(self, recording_id: str, upload: Upload) -> None: ...
    async def finished(self, recording_id: str, timeout_s: float) -> dict[str, Any]: ...
    async def file(self, recording_id: str, name: str) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What is left to be said of a call whose recording runs."""

    recording_id: str
    started_ms: int
    length_ms: int
    rest: Sequence[Upload]
    completes: Mapping[str, tuple[str, dict[str, Any]]]  #: track → who, and the body of `complete`

    @property
    def end_ms(self) -> int:
        return self.started_ms + self.length_ms


def begun(data: Path, call: Capture, started_ms: int, from_ms: int) -> Ending:
    """A recording that runs, put into the storage with all of its chunks that came before; and what is left of it."""
    rest: list[Upload] = []

    def before(uploads: Sequence[Upload]) -> list[Upload]:
        # without the run's other chunks, which are in the storage now
        rest.extend(replace(u, run=replace(u.run, chunks=())) for u in uploads if u.chunk.received_ms >= from_ms)
        return [upload for upload in uploads if upload.chunk.received_ms < from_ms]

    recording_id = build_recording(
        data, call, call_id=CALL, started_ms=started_ms, arrange=before, silent=call.participants, stop=False
    )
    return _ending(recording_id, call, started_ms, rest)


async def start(server: Says, call: Capture, options: Mapping[str, Any] | None = None) -> Ending:
    """A call that starts now, with nothing said of it but who will be there."""
    started = await server.send("POST", "/start", body=options)
    recording_id, started_ms = started["recordingId"], epoch_ms(started["startedAt"])
    for track_id, (run, *_) in by_track(call).items():
        about = {"source": run.source, "kind": run.kind, "label": ""}
        await server.send("PUT", f"/{recording_id}/tracks/{track_id}", run.participant, body=about)
    return _ending(recording_id, call, started_ms, plan_uploads(call, started_ms))


def _ending(recording_id: str, call: Capture, started_ms: int, rest: Sequence[Upload]) -> Ending:
    return Ending(
        recording_id=recording_id,
        started_ms=started_ms,
        length_ms=call.length_ms,
        rest=rest,
        completes={
            track_id: (runs[0].participant, {"segments": declared(runs), "reason": "stopped"})
            for track_id, runs in by_track(call).items()
        },
    )
