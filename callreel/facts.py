"""What a client tells about its track beside the media: muted, consent, health and their like, on the client's clock.

One create-only object a fact, named so that a listing tells type and order. The journal is read at every step of a
recording, and health comes every few seconds: so not there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from . import keys
from .errors import InvalidOption
from .model import Track
from .storage import Storage

TYPES = ("muted", "unmuted", "paused", "resumed", "ended", "settings", "consent", "health")

OF_REQUEST = 100
OF_TRACK = 5000  #: health every 10 s for half a day
DATA_BYTES = 4096
_LATEST_MS = 10**14  #: what a name has digits for


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackFact:
    id: str
    type: str
    at_ms: int  #: the client's clock
    received_ms: int  #: the server's
    data: dict[str, Any] = field(default_factory=dict)


def checked(items: object, received_ms: int) -> list[TrackFact]:
    """`[{id, type, atMs, data?}]` as it came. Raises `InvalidOption`, `InvalidId`."""
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise InvalidOption("facts must be a list of {id, type, atMs, data?}.", field="facts")
    if len(items) > OF_REQUEST:
        detail = f"A request may tell {OF_REQUEST} facts; these are {len(items)}."
        raise InvalidOption(detail, field="facts", limit=OF_REQUEST)
    return [_checked(item, received_ms) for item in items]


def _checked(item: dict[str, Any], received_ms: int) -> TrackFact:
    kind, at_ms, data = item.get("type"), item.get("atMs"), item.get("data", {})
    if kind not in TYPES:
        raise InvalidOption(f"type must be one of {', '.join(TYPES)}; got {str(kind)[:40]!r}.", field="type")
    if type(at_ms) is not int or not 0 <= at_ms < _LATEST_MS:  # in Python a bool is an int, in JSON it is not
        raise InvalidOption(f"atMs must be whole milliseconds since 1970; got {str(at_ms)[:40]!r}.", field="atMs")
    try:
        size_bytes = len(json.dumps(data, ensure_ascii=False, allow_nan=False).encode())
    except ValueError as error:  # NaN, or half of a surrogate pair
        raise InvalidOption("data must be JSON in UTF-8.", field="data") from error
    if not isinstance(data, dict) or size_bytes > DATA_BYTES:
        raise InvalidOption(f"data must be an object of at most {DATA_BYTES} bytes.", field="data", limit=DATA_BYTES)
    if kind == "consent" and type(data.get("agreed", True)) is not bool:
        raise InvalidOption("data of a consent must be {agreed: true} or {agreed: false}.", field="data")
    return TrackFact(id=keys.check_id(item.get("id"), "id"), type=kind, at_ms=at_ms, received_ms=received_ms, data=data)


def put(storage: Storage, recording_id: str, track: Track, facts: Iterable[TrackFact]) -> int:
    """Store what is new; how many that were. What was told first under an id stays. Raises `InvalidOption`."""
    place = (recording_id, track.participant_id, track.track_id)
    known = {keys.parse_track_fact(entry.key)[2] for entry in storage.list(keys.track_facts_prefix(*place))}
    new = {fact.id: fact for fact in reversed(list(facts)) if fact.id not in known}
    if len(known) + len(new) > OF_TRACK:
        raise InvalidOption(f"A track may have {OF_TRACK} facts; no more are kept.", field="facts", limit=OF_TRACK)
    for fact in new.values():
        body = json.dumps({"receivedMs": fact.received_ms, "data": fact.data}, ensure_ascii=False).encode()
        storage.put_if_absent(keys.track_fact(*place, fact.type, fact.at_ms, fact.id), body)
    return len(new)


Spans = tuple[tuple[int, int | None], ...]  #: [from_ms, to_ms) on the client's clock; None: to its end


def told_spans(storage: Storage, recording_id: str, track: Track) -> tuple[Spans, Spans]:
    """When a track was muted, and when its recorder was paused.

    By names alone: this is asked for whenever a recording is planned, and there are thousands of facts about health.
    """
    names = (
        entry.key for entry in storage.list(keys.track_facts_prefix(recording_id, track.participant_id, track.track_id))
    )
    told = sorted((at_ms, kind) for kind, at_ms, _ in map(keys.parse_track_fact, names))
    return _between(told, "muted", "unmuted"), _between(told, "paused", "resumed")


def _between(told: list[tuple[int, str]], begin: str, end: str) -> Spans:
    spans: list[tuple[int, int | None]] = []
    for at_ms, kind in told:
        if kind == begin and not (spans and spans[-1][1] is None):
            spans.append((at_ms, None))
        elif kind == end and spans and spans[-1][1] is None:
            spans[-1] = spans[-1][0], at_ms
    return tuple(spans)


def read(storage: Storage, recording_id: str, track: Track, *types: str) -> list[TrackFact]:
    """The facts of a track, of these types or of all, in order of the client's clock."""
    found: dict[str, TrackFact] = {}
    for entry in storage.list(keys.track_facts_prefix(recording_id, track.participant_id, track.track_id)):
        kind, _, fact_id = keys.parse_track_fact(entry.key)
        if not types or kind in types:
            found.setdefault(fact_id, _stored(storage, entry.key))
    return sorted(found.values(), key=lambda fact: (fact.at_ms, fact.id))


def latest(storage: Storage, recording_id: str, track: Track, kind: str) -> TrackFact | None:
    """The last fact of a type; costs a listing and one object."""
    prefix = keys.track_facts_prefix(recording_id, track.participant_id, track.track_id)
    names = [entry.key for entry in storage.list(prefix) if keys.parse_track_fact(entry.key)[0] == kind]
    return _stored(storage, names[-1]) if names else None


def _stored(storage: Storage, key: str) -> TrackFact:
    kind, at_ms, fact_id = keys.parse_track_fact(key)
    body = json.loads(storage.get(key))
    return TrackFact(id=fact_id, type=kind, at_ms=at_ms, received_ms=body["receivedMs"], data=body["data"])
