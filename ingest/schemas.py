"""Shapes of what goes over the wire, as JSON Schema (2020-12) for `/openapi.json`. They check nothing."""

from __future__ import annotations

from typing import Any, get_args

from callreel.clock import TRUSTED
from callreel.compositions import MOST_SLICES
from callreel.events import EVENT_TYPES
from callreel.facts import OF_REQUEST
from callreel.facts import TYPES as FACT_TYPES
from callreel.layouts import LAYOUTS
from callreel.logos import CORNERS, MOST_BYTES
from callreel.model import KINDS, SOURCES, ArtifactStatus
from callreel.outputs import CONTAINERS, FPS, LEAST_PX, MOST, MOST_PX
from callreel.profiles import AUDIO_CODECS, NONE, PROFILES, VIDEO_CODECS
from callreel.regions import LEAST_PER_CENT, MOST_REGIONS, MOST_SPEAKERS
from callreel.regions import SOURCES as REGION_SOURCES
from callreel.states import Status

Schema = dict[str, Any]


def obj(required: Schema, optional: Schema | None = None, **more: Any) -> Schema:
    """An object of these members, and others that may be added one day."""
    found: Schema = {"type": "object", "properties": {**required, **(optional or {})}, **more}
    return {**found, "required": list(required)} if required else found


def many(of: Schema, **more: Any) -> Schema:
    return {"type": "array", "items": of, **more}


def nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def one_of(*values: Any) -> Schema:
    return {"enum": list(values)}


def whole(least: int = 0, most: int | None = None) -> Schema:
    return {"type": "integer", "minimum": least, **({} if most is None else {"maximum": most})}


def per_cent(least: int) -> Schema:
    return {"type": "number", "minimum": least, "maximum": 100}


_CLOSED: Schema = {"additionalProperties": False}
TEXT: Schema = {"type": "string"}
BOOL: Schema = {"type": "boolean"}
ID: Schema = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}
RECORDING_ID: Schema = {"type": "string", "pattern": "^rec_[A-Za-z0-9_-]{1,64}_[0-9]{13,15}$"}
INSTANT: Schema = {"type": "string", "format": "date-time"}
RANGES = many({"type": "array", "items": whole(), "minItems": 2, "maxItems": 2})
MISSING = many(obj({"seg": whole(), "chunks": RANGES}))
SEGMENTS = many(obj({"seg": whole(), "have": RANGES, "next": whole(), "bytes": whole()}))

_STATUS = one_of(*(str(status) for status in Status))
_TRACK_MEMBERS: Schema = {
    "trackId": ID,
    "source": one_of(*SOURCES),
    "kind": one_of(*KINDS),
    "label": TEXT,
    "mimeType": nullable(TEXT),
    "segments": whole(),
    "bytes": whole(),
    "missing": whole(),
    "complete": BOOL,
}
_CODECS = {"videoCodec": one_of(*VIDEO_CODECS, NONE), "audioCodec": one_of(*AUDIO_CODECS, NONE)}
_OUTPUT_MEMBERS: Schema = {
    **_CODECS,
    "width": whole(LEAST_PX, MOST_PX),
    "height": whole(LEAST_PX, MOST_PX),
    "fps": one_of(*FPS),
    "videoBitrateKbps": whole(1),
    "audioBitrateKbps": whole(1),
}

_SLICES = many(obj({"fromMs": whole(), "toMs": whole(), "layout": ref("Layout")}, **_CLOSED), maxItems=MOST_SLICES)

_BESIDE = {
    "background": {
        "type": "string",
        "pattern": "^(#[0-9A-Fa-f]{6}$|data:image/png;base64,)",
        "description": f"A colour, or data:image/png;base64,… of at most {MOST_BYTES} bytes.",
    },
    "logo": obj(
        {"image": {"type": "string", "description": f"data:image/png;base64,… of at most {MOST_BYTES} bytes"}},
        {"corner": one_of(*CORNERS), "width": {"type": "number", "minimum": 1, "maximum": 50}},
        **_CLOSED,
    ),
}

COMPONENTS: dict[str, Schema] = {
    "Problem": obj(
        {
            "type": TEXT,
            "title": TEXT,
            "status": {"type": "integer"},
            "detail": TEXT,
            "success": {"const": False},
            "code": TEXT,
            "retryable": BOOL,
        },
        {"field": TEXT, "limit": {"type": "integer"}, "recordingId": RECORDING_ID},
        description="A refusal (RFC 9457). `code` is stable; `detail` is for people.",
    ),
    "Output": obj({"name": ID, "container": one_of(*CONTAINERS)}, {**_OUTPUT_MEMBERS, "trackId": ID}),
    "Layout": {
        "anyOf": [
            one_of(*LAYOUTS),
            obj({"regions": many(ref("Region"), minItems=1, maxItems=MOST_REGIONS)}, _BESIDE, **_CLOSED),
            obj({"name": one_of(*LAYOUTS)}, _BESIDE, **_CLOSED),
        ],
        "description": "A name, or rectangles in per cent of the canvas; later ones lie above. A colour, a logo.",
    },
    "Region": obj(
        {
            "name": ID,
            "x": per_cent(0),
            "y": per_cent(0),
            "width": per_cent(LEAST_PER_CENT),
            "height": per_cent(LEAST_PER_CENT),
            "source": {
                "anyOf": [
                    obj({"participantId": ID}, {"source": one_of(*REGION_SOURCES)}, **_CLOSED),
                    obj({"source": one_of(*REGION_SOURCES)}, **_CLOSED),
                    obj({"speaker": whole(1, MOST_SPEAKERS)}, **_CLOSED),
                ]
            },
        },
        **_CLOSED,
    ),
    "StartOptions": obj(
        {},
        {
            "layout": ref("Layout"),
            "preset": one_of(*PROFILES),
            "outputs": many(ref("Output"), minItems=1, maxItems=MOST),
            "maxDurationS": whole(1, 7 * 86400),
            "metadata": {"type": "object", "description": "At most 16 KiB, handed back as it came."},
        },
        additionalProperties=False,
    ),
    "CompositionBody": obj(
        {"name": ID},
        {
            "layout": nullable(ref("Layout")),
            "preset": one_of(*PROFILES),
            "output": obj({"container": one_of(*CONTAINERS)}, _OUTPUT_MEMBERS),
            "fromMs": whole(),
            "toMs": whole(1),
            "participants": nullable(many(ID, minItems=1, maxItems=1000)),
            "tracks": nullable(many(ID, minItems=1, maxItems=1000)),
            "slices": _SLICES,
            "full": {"type": "boolean"},
        },
        **_CLOSED,
    ),
    "Composition": obj(
        {
            "recordingId": RECORDING_ID,
            "name": ID,
            "requestedAt": INSTANT,
            "layout": nullable(ref("Layout")),
            "preset": one_of(*PROFILES),
            "output": obj({"container": one_of(*CONTAINERS)}, _OUTPUT_MEMBERS),
            "fromMs": whole(),
            "toMs": whole(1),
            "participants": nullable(many(ID)),
            "tracks": nullable(many(ID)),
            "slices": _SLICES,
            "full": {"type": "boolean"},
            "leftOut": many({"type": "object"}),
            "artifact": ref("Artifact"),
        }
    ),
    "Step": obj(
        {"recordingId": RECORDING_ID, "roomId": ID, "startedAt": INSTANT, "status": _STATUS}, {"stoppedAt": INSTANT}
    ),
    "Track": obj(_TRACK_MEMBERS),
    "Artifact": obj(
        {
            "name": TEXT,
            "kind": TEXT,
            "status": one_of(*get_args(ArtifactStatus)),
            "mimeType": TEXT,
            "bytes": whole(),
            "durationMs": whole(),
            "sha256": TEXT,
            "url": nullable(TEXT),
        },
        {"error": TEXT, "steppedDownMs": whole()},
    ),
    "Gap": obj(
        {
            "participantId": ID,
            "trackId": ID,
            "seg": whole(),
            "fromMs": {"type": "integer"},
            "toMs": {"type": "integer"},
            "chunks": RANGES,
            "reason": one_of("lost", "unreadable", "unconfirmed"),
        },
        {"detail": TEXT},
    ),
    "Sync": obj(
        {
            "participantId": ID,
            "trackId": ID,
            "seg": whole(),
            "offsetMs": {"type": "integer"},
            "measuredOffsetMs": {"type": "number"},
            "driftPpm": {"type": "number"},
            "residualMs": {"type": "number", "minimum": 0},
            "uncertaintyMs": whole(),
            "trusted": one_of(*TRUSTED),
        },
        description="How well a segment's media is placed; `uncertaintyMs` is a bound.",
    ),
    "Recording": obj(
        {
            "recordingId": RECORDING_ID,
            "roomId": ID,
            "status": _STATUS,
            "startedAt": INSTANT,
            "stoppedAt": nullable(INSTANT),
            "startedBy": TEXT,
            "endReason": nullable(TEXT),
            "durationMs": whole(),
            "metadata": {"type": "object"},
            "complete": BOOL,
            "gaps": many(ref("Gap")),
            "sync": many(ref("Sync")),
            "progress": {"type": "number", "minimum": 0, "maximum": 1},
            "layout": ref("Layout"),
            "preset": TEXT,
            "outputs": many(ref("Output")),
            "participants": many(
                obj(
                    {
                        "participantId": ID,
                        "name": TEXT,
                        "consent": nullable(obj({"agreed": BOOL, "at": INSTANT})),
                        "tracks": many(obj({**_TRACK_MEMBERS, "withheld": BOOL})),
                    }
                )
            ),
            "artifacts": many(ref("Artifact")),
            "error": nullable(obj({"code": TEXT, "message": TEXT})),
        }
    ),
    "Recordings": obj({"items": many(ref("Recording")), "nextCursor": nullable(TEXT)}),
    "Delivery": obj(
        {
            "id": TEXT,
            "endpoint": TEXT,
            "eventId": TEXT,
            "type": one_of(*EVENT_TYPES),
            "recordingId": RECORDING_ID,
            "roomId": ID,
            "timestamp": INSTANT,
            "status": one_of("pending", "delivered", "dead"),
            "attempts": whole(),
            "lastAnswer": nullable(TEXT),
            "lastAttemptAt": nullable(INSTANT),
            "nextAttemptAt": nullable(INSTANT),
        }
    ),
    "Room": obj({"roomId": ID, "closed": BOOL, "closedAt": nullable(INSTANT)}),
    "Present": obj(
        {
            "participantId": ID,
            "name": TEXT,
            "since": INSTANT,
            "pendingBytes": nullable(whole()),
            "tracks": many(obj({**_TRACK_MEMBERS, "health": nullable({"type": "object"})})),
        }
    ),
    "TrackBody": obj(
        {"source": one_of(*SOURCES), "kind": one_of(*KINDS)},
        {"label": {"type": "string", "maxLength": 200}, "participantId": ID},
    ),
    "CompleteBody": obj(
        {
            "segments": many(
                obj({"seg": whole(0, 999_999), "chunks": whole(0, 1_000_000), "bytes": whole(0, 2**53)}),
                maxItems=1000,
            )
        },
        {"reason": {"type": "string", "maxLength": 200}},
    ),
    "FactsBody": obj(
        {
            "facts": many(
                obj(
                    {"id": ID, "type": one_of(*FACT_TYPES), "atMs": whole(0, 10**14 - 1)}, {"data": {"type": "object"}}
                ),
                maxItems=OF_REQUEST,
            )
        }
    ),
    "ChunkForm": obj(
        {
            "chunk": {"type": "string", "contentMediaType": "video/webm", "format": "binary"},
            "seg": whole(0, 999_999),
            "seq": whole(0, 999_999),
            "startMs": whole(),
        },
        {
            "atMs": whole(),
            "offsetMs": {"type": "integer"},
            "errMs": whole(0, 999_999),
            "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        },
    ),
    "Stored": obj(
        {
            "seg": whole(),
            "seq": whole(),
            "duplicate": BOOL,
            "next": whole(),
            "missing": RANGES,
            "serverTimeMs": whole(),
        }
    ),
}
