"""Every key of the storage and of Redis is built and read here, and nowhere else.

A chunk's key carries all that is known of the chunk, so that one listing of a recording rebuilds its index.
Numbers are zero-padded, so that the order of names is the order of things.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .errors import InvalidId
from .model import Chunk

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_RECORDING_ID = re.compile(r"rec_([A-Za-z0-9_-]{1,64})_([0-9]{13,15})\Z")
_NONE = "x"  #: stands where a client did not tell a number


def is_id(value: object) -> bool:
    return isinstance(value, str) and bool(_ID.match(value))


def check_id(value: object, what: str) -> str:
    """An id of the contract, as it came. Raises `InvalidId`."""
    if not isinstance(value, str) or not is_id(value):
        shown = repr(value)[:80]
        raise InvalidId(f"{what} must be 1 to 64 characters of A-Z a-z 0-9 _ -; got {shown}.", field=what)
    return value


def recording_id(call_id: str, started_ms: int) -> str:
    return f"rec_{call_id}_{started_ms}"


def check_recording_id(value: str) -> str:
    if not _RECORDING_ID.match(value):
        raise InvalidId(f"recordingId must look like rec_<callId>_<epochMs>; got {value[:100]!r}.", field="recordingId")
    return value


def call_of(recording_id: str) -> str:
    """The call a recording belongs to, read from its id."""
    match = _RECORDING_ID.match(check_recording_id(recording_id))
    assert match
    return match[1]


def started_ms(recording_id: str) -> int:
    """When a recording was started, the server's clock, read from its id."""
    return int(recording_id.rsplit("_", 1)[1])


# ── storage ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def call_prefix(call_id: str) -> str:
    return f"calls/{call_id}/"


def call_slot(call_id: str, number: int) -> str:
    """Create-only: whoever puts it has started the call's recording of this number."""
    return f"calls/{call_id}/{number:06d}.json"


def room_prefix(call_id: str) -> str:
    """What was decided about the call as a whole."""
    return f"rooms/{call_id}/"


def room_fact(call_id: str, sequence: int) -> str:
    return f"rooms/{call_id}/{sequence:08d}.json"


def recording_prefix(recording_id: str) -> str:
    return f"recordings/{recording_id}/"


def journal_prefix(recording_id: str) -> str:
    return f"recordings/{recording_id}/journal/"


def journal_fact(recording_id: str, sequence: int) -> str:
    return f"recordings/{recording_id}/journal/{sequence:08d}.json"


def chunks_prefix(recording_id: str) -> str:
    return f"recordings/{recording_id}/chunks/"


def segment_prefix(recording_id: str, participant_id: str, track_id: str, seg: int) -> str:
    return f"recordings/{recording_id}/chunks/{participant_id}/{track_id}/{seg:06d}/"


def segment_facts(recording_id: str, participant_id: str, track_id: str, seg: int) -> str:
    """Media type of the segment, create-only."""
    return f"recordings/{recording_id}/segments/{participant_id}/{track_id}/{seg:06d}/segment.json"


def segment_head(recording_id: str, participant_id: str, track_id: str, seg: int) -> str:
    """The second copy of chunk 0: without it nothing of the segment decodes."""
    return f"recordings/{recording_id}/segments/{participant_id}/{track_id}/{seg:06d}/head"


def segments_prefix(recording_id: str) -> str:
    return f"recordings/{recording_id}/segments/"


def chunk(recording_id: str, chunk: Chunk) -> str:
    def padded(value: int | None) -> str:
        return _NONE if value is None else f"{value:014d}"

    facts = (
        f"{chunk.seq:06d}.{chunk.received_ms:014d}.{padded(chunk.start_ms)}.{padded(chunk.at_ms)}"
        f".{padded(chunk.offset_ms)}.{_NONE if chunk.err_ms is None else f'{chunk.err_ms:06d}'}.{chunk.sha256}"
    )
    return segment_prefix(recording_id, chunk.participant_id, chunk.track_id, chunk.seg) + facts


def parse_chunk(key: str, size_bytes: int, share: Callable[[Any], Any] = lambda value: value) -> Chunk | None:
    """The chunk that a key of `chunks_prefix` tells of; None where it is something else.

    `share` hands back the value that stands for all that are equal, where many chunks are kept that tell the same.
    """
    parts = key.split("/")
    if len(parts) != 7 or parts[0] != "recordings" or parts[2] != "chunks":
        return None
    facts = parts[6].split(".")
    if len(facts) != 7 or len(facts[6]) != 64:
        return None

    def number(text: str) -> int | None:
        return None if text == _NONE else int(text)

    try:
        start_ms = number(facts[2])
        if start_ms is None:
            return None
        return Chunk(
            participant_id=share(parts[3]),
            track_id=share(parts[4]),
            seg=int(parts[5]),
            seq=share(int(facts[0])),
            received_ms=int(facts[1]),
            start_ms=share(start_ms),
            at_ms=number(facts[3]),
            offset_ms=share(number(facts[4])),
            err_ms=number(facts[5]),
            sha256=facts[6],
            size_bytes=size_bytes,
        )
    except ValueError:
        return None


def track_facts_prefix(recording_id: str, participant_id: str, track_id: str) -> str:
    return f"recordings/{recording_id}/facts/{participant_id}/{track_id}/"


def track_fact(recording_id: str, participant_id: str, track_id: str, kind: str, at_ms: int, fact_id: str) -> str:
    """What a client told about its track; by type, then by its clock."""
    return f"{track_facts_prefix(recording_id, participant_id, track_id)}{kind}.{at_ms:014d}.{fact_id}.json"


def parse_track_fact(key: str) -> tuple[str, int, str]:
    """(type, instant, id) of a key of `track_fact`."""
    kind, at_ms, fact_id, _ = key.rsplit("/", 1)[1].split(".")
    return kind, int(at_ms), fact_id


def dropped(recording_id: str, digest: str) -> str:
    """Which chunks were deleted, as their keys behind `chunks_prefix` with their sizes."""
    return f"recordings/{recording_id}/dropped/{digest}.json"


def derived_prefix(recording_id: str) -> str:
    """Everything below can be deleted and comes again."""
    return f"recordings/{recording_id}/derived/"


def scan(recording_id: str, digest: str) -> str:
    return f"recordings/{recording_id}/derived/scan/{digest}.json"


def levels(recording_id: str, digest: str) -> str:
    """How loud a piece of a run is."""
    return f"recordings/{recording_id}/derived/levels/{digest}.bin"


def head(recording_id: str, sha256: str) -> str:
    """What must precede later bytes of a segment so that they decode: some hundred bytes, kept beside the scans."""
    return f"recordings/{recording_id}/derived/heads/{sha256}"


def logo(recording_id: str, sha256: str) -> str:
    """A logo's picture, which came within a layout."""
    return f"recordings/{recording_id}/derived/logos/{sha256}.png"


def window_prefixes(recording_id: str) -> list[str]:
    """All that is stored of windows stands behind these under their keys, each with an ending."""
    return [f"recordings/{recording_id}/derived/{part}/" for part in ("windows", "plans", "notes", "speeds", "glances")]


def window_plan(recording_id: str, key: str) -> str:
    return f"recordings/{recording_id}/derived/plans/{key}.json"


def window(recording_id: str, key: str, form: str = "mp4") -> str:
    return f"recordings/{recording_id}/derived/windows/{key}.{form}"


def windows_prefix(recording_id: str) -> str:
    return f"recordings/{recording_id}/derived/windows/"


def streamed_window(recording_id: str, k: int) -> str:
    """Create-only: which window the live stream shows at this place."""
    return f"recordings/{recording_id}/derived/stream/{k:06d}.json"


def window_note(recording_id: str, key: str) -> str:
    """What the renderer had to leave out of a window, if anything; put beside it."""
    return f"recordings/{recording_id}/derived/notes/{key}.json"


def glances_prefix(recording_id: str) -> str:
    return f"recordings/{recording_id}/derived/glances/"


def window_glance(recording_id: str, key: str) -> str:
    """What of a window is looked at before it is played; put before it."""
    return f"recordings/{recording_id}/derived/glances/{key}.bin"


def draft(recording_id: str, digest: str) -> str:
    """What will be told of a recording once its films are files."""
    return f"{drafts_prefix(recording_id)}{digest}.json"


def drafts_prefix(recording_id: str) -> str:
    return f"recordings/{recording_id}/derived/drafts/"


def artifact(recording_id: str, name: str, sha256: str, edition: int = 0) -> str:
    """`edition`: how often this content had been replaced before, for no name is used again."""
    return artifact_prefix(recording_id, name) + sha256 + (f".{edition}" if edition else "")


def artifact_prefix(recording_id: str, name: str) -> str:
    """Every edition of a file."""
    return f"recordings/{recording_id}/artifacts/{name}/"


def speeds_prefix(recording_id: str) -> str:
    return f"recordings/{recording_id}/derived/speeds/"


def window_speed(recording_id: str, key: str) -> str:
    """At which speed a window was encoded, where that is a faster one than its profile asks for."""
    return f"recordings/{recording_id}/derived/speeds/{key}.txt"


def artifacts_prefix(recording_id: str) -> str:
    return f"recordings/{recording_id}/artifacts/"


def subscriptions_prefix(endpoint_id: str) -> str:
    return f"webhooks/{endpoint_id}/since/"


def subscription(endpoint_id: str, event_type: str) -> str:
    """Create-only: from when on an endpoint is told events of this type."""
    return f"webhooks/{endpoint_id}/since/{event_type}.json"


def deliveries_prefix(endpoint_id: str, recording_id: str) -> str:
    """Not below the recording, for they outlive it: that it was deleted is an event too."""
    return f"webhooks/{endpoint_id}/told/{recording_id}/"


def delivery_record(endpoint_id: str, recording_id: str, number: int) -> str:
    return f"webhooks/{endpoint_id}/told/{recording_id}/{number:08d}.json"


# ── Redis ────────────────────────────────────────────────────────────────────────────────────────────────────────────
INDEX_PREFIX = "callreel:"
METRICS = "callreel:metrics"  #: counts of all processes together, see `callreel.metrics`
PACES = "callreel:paces"  #: recording → how it is rendered while it runs, see `callreel.pace`
PRESENT = "callreel:present"  #: what processes hold at this moment, see `callreel.present`
SWEEP_LEASE = "callreel:sweep:lease"  #: held by the sweeper that leads
PROBE = "callreel:probe"  #: written by who asks whether the index takes anything
EPOCH = "callreel:epoch"  #: absent means that the index was flushed
INDEX_SERVER = "callreel:index:server"  #: which run of the server was filled; another one may have lost the last second
INDEX_LOCK = "callreel:rebuilding"  #: held by the one process that fills the index
INDEX_ENTRIES = "callreel:index:"  #: everything below is made anew by a rebuild
INDEX_ALL = "callreel:index:all"  #: every recording, by when it began
INDEX_OPEN = "callreel:index:open"  #: set of recordings somebody has to look after
INDEX_OUTDATED = "callreel:index:outdated"  #: recordings whose files replaced others, by when those are deleted
INDEX_TELLING = "callreel:index:telling"  #: set of recordings whose news nobody has looked at for webhooks
WAKE_PREFIX = "callreel:wake:"  #: channels: something was written to a recording of this call


def index_recording(recording_id: str) -> str:
    return f"callreel:index:recording:{recording_id}"


def index_track(recording_id: str, track_id: str) -> str:
    """Have-list of a track: ranges per segment, sizes."""
    return f"callreel:index:track:{recording_id}:{track_id}"


def index_slots(recording_id: str, track_id: str, seg: int) -> str:
    """seq → whose bytes: the chunk's facts, reserved or stored."""
    return f"callreel:index:slots:{recording_id}:{track_id}:{seg}"


def index_owed(endpoint_id: str) -> str:
    """Sorted set of recordings that may owe an endpoint something, by when to look."""
    return f"callreel:index:owed:{endpoint_id}"


def delivery_tried(endpoint_id: str, recording_id: str) -> str:
    """What the last attempts came to."""
    return f"callreel:webhooks:tried:{endpoint_id}:{recording_id}"


def deliveries_waiting(endpoint_id: str) -> str:
    """Sorted set of recordings of which an event was not taken, by since when it is owed."""
    return f"callreel:webhooks:waiting:{endpoint_id}"


def endpoint_rest(endpoint_id: str) -> str:
    """How often in a row an endpoint did not answer, and until when it is left alone."""
    return f"callreel:webhooks:rest:{endpoint_id}"


def wake(call_id: str) -> str:
    return f"{WAKE_PREFIX}{call_id}"


def ability(codec: str) -> str:
    """There while some worker that can encode this is heard of."""
    return f"callreel:encodes:{codec}"


def signal_channel(call_id: str) -> str:
    """What the windows of a call say to each other."""
    return f"callreel:signal:{call_id}"


def signal_seat(call_id: str, participant_id: str) -> str:
    """Which window speaks for this participant."""
    return f"callreel:signal:{call_id}:seat:{participant_id}"
