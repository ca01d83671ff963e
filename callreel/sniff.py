"""What container a segment is, by its first bytes. Names and media types can be anything; these cannot.

The rule: refuse only what is certain. A recorder may hand out one byte first, and that must pass.
"""

from __future__ import annotations

#: container → where its mark stands, and the mark
MARKS: dict[str, tuple[int, bytes]] = {
    "matroska": (0, b"\x1a\x45\xdf\xa3"),  # RFC 8794, 11.2.1: the EBML header; WebM is one
    "mp4": (4, b"ftyp"),  # ISO/IEC 14496-12, 4.3: a box begins with its size
    "ogg": (0, b"OggS"),  # RFC 3533, 6
    "wav": (0, b"RIFF"),
}

LONGEST = max(at + len(mark) for at, mark in MARKS.values())


def sniff(head: bytes) -> str | None:
    """The container that `head` begins; None where it is none that can be recorded."""
    return next((name for name, (at, mark) in MARKS.items() if head[at : at + len(mark)] == mark), None)


def may_be_media(head: bytes) -> bool:
    """False only when no container can begin like this, however it goes on."""
    return any(head[at : at + len(mark)] == mark[: max(0, len(head) - at)] for at, mark in MARKS.values())
