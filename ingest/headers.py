"""What the headers of a raw chunk say: `Content-Digest` (RFC 9530) and `Chunk`, a dictionary of integers (RFC 9651).

Strict about what is known, blind to what is not: keys we do not know may be anything that a dictionary can hold.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass

from callreel.errors import MalformedChunk

_KEY = r"[a-z*][a-z0-9_\-.*]*"
_ITEM = (
    r"(?:-?[0-9]{1,15}(?:\.[0-9]{1,3})?"  # integer, decimal
    r'|"(?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"'  # string
    r"|[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*"  # token
    r"|:[A-Za-z0-9+/=]*:"  # bytes
    r"|\?[01]"  # boolean
    r"|@-?[0-9]{1,15}"  # date
    r'|%"(?:[\x20-\x21\x23-\x24\x26-\x7e]|%[0-9a-f]{2})*")'  # display string
)
_PARAMETERS = rf"(?:; *{_KEY}(?:={_ITEM})?)*"
_INNER_LIST = rf"\( *(?:{_ITEM}{_PARAMETERS}(?: +|(?=\))))*\)"
#: RFC 9651, 4.2.2
_MEMBER = re.compile(rf"({_KEY})(?:=({_ITEM}|{_INNER_LIST}))?{_PARAMETERS}(?:[ \t]*(,)[ \t]*|[ \t]*\Z)")

_PLAIN = re.compile(r"[a-z]+=-?[0-9]{1,15}(?:, [a-z]+=-?[0-9]{1,15})*\Z")
_INTEGER = re.compile(r"-?[0-9]{1,15}\Z")
_DIGEST = re.compile(r"(?:^|,)[ \t]*sha-256=:([A-Za-z0-9+/]{43}=):[ \t]*(?:,|$)")

_LONGEST = 1024  #: our own header has about 100 characters

#: What fits into a chunk's storage key, where every number has its fixed place: key → (smallest, largest)
_BOUNDS = {
    "seg": (0, 999_999),
    "seq": (0, 999_999),
    "start": (0, 99_999_999_999_999),
    "at": (0, 99_999_999_999_999),
    "offset": (-9_999_999_999_999, 99_999_999_999_999),
    "err": (0, 999_999),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkFacts:
    """What a client says of a chunk. Field by field as in `callreel.model.Chunk`."""

    seg: int
    seq: int
    start_ms: int
    at_ms: int | None
    offset_ms: int | None
    err_ms: int | None


def parse_chunk(text: str) -> ChunkFacts:
    """The `Chunk` header. Raises `MalformedChunk`."""
    if len(text) > _LONGEST:
        raise MalformedChunk(f"The header `Chunk` has {len(text)} characters; {_LONGEST} are enough.")
    return chunk_facts(_members(text.strip(" \t")))


def chunk_facts(said: dict[str, str]) -> ChunkFacts:
    """Checked numbers of a chunk, by their keys in the header. Raises `MalformedChunk`."""

    def number(key: str) -> int | None:
        value = said.get(key)
        if value is None:
            return None
        lowest, highest = _BOUNDS[key]
        if not _INTEGER.match(value) or not lowest <= int(value) <= highest:
            raise MalformedChunk(f"{key} must be an integer from {lowest} to {highest}; got {value[:40]!r}.", field=key)
        return int(value)

    def required(key: str) -> int:
        value = number(key)
        if value is None:
            raise MalformedChunk(f"{key} is missing; a chunk says seg, seq and start, always.", field=key)
        return value

    return ChunkFacts(
        seg=required("seg"),
        seq=required("seq"),
        start_ms=required("start"),
        at_ms=number("at"),
        offset_ms=number("offset"),
        err_ms=number("err"),
    )


def _members(text: str) -> dict[str, str]:
    """Keys of a dictionary with their bare values, '?1' where there is none."""
    if _PLAIN.match(text):  # as our own client says it; measured: a fifth of the time
        return dict(member.split("=", 1) for member in text.split(", "))
    found: dict[str, str] = {}
    at = 0
    more = False
    while at < len(text) or more:
        member = _MEMBER.match(text, at)
        if member is None:
            where = f"from character {at + 1} on: {text[at : at + 40]!r}"
            raise MalformedChunk(f"The header `Chunk` is no dictionary of RFC 9651 {where}.")
        found[member[1]] = member[2] or "?1"  # of two with one key the last counts (RFC 9651, 3.2)
        more = member[3] is not None
        at = member.end()
    return found


def parse_digest(text: str) -> str:
    """SHA-256 of a `Content-Digest` header, lower-case hex; other algorithms are ignored. Raises `MalformedChunk`."""
    match = _DIGEST.search(text)
    if match is None:
        raise MalformedChunk(
            "Content-Digest must have `sha-256=:<base64 of 32 bytes>:` (RFC 9530)"
            + (f"; got {text[:80]!r}." if text else "; it is missing."),
            field="Content-Digest",
        )
    try:
        return base64.b64decode(match[1], validate=True).hex()
    except binascii.Error as error:
        raise MalformedChunk("Content-Digest has no valid base64.", field="Content-Digest") from error


class RawChunk:
    """A chunk whose body is its bytes and whose headers say the rest. Twin of `ingest.forms.ChunkForm`."""

    def __init__(self, headers: Mapping[bytes, str]) -> None:
        self.mime_type = headers.get(b"content-type", "")[:200]
        self._said = (parse_chunk(headers.get(b"chunk", "")), parse_digest(headers.get(b"content-digest", "")))

    def feed(self, piece: bytes) -> bytes:
        return piece

    def close(self) -> tuple[ChunkFacts, str | None]:
        return self._said
