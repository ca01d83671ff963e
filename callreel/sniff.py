"""What container a segment is, by its first bytes. Names and media types can be anything; these cannot.

The rule: refuse only what is certain. A recorder may hand out one byte first, and that must pass.
RIFF is not among them: no recorder writes it, a WAV is read by no scanner, and an AVI can name files for a demuxer.
"""

from __future__ import annotations

#: container → its marks: where each stands, and what it is
MARKS: dict[str, tuple[tuple[int, bytes], ...]] = {
    "matroska": ((0, b"\x1a\x45\xdf\xa3"),),  # RFC 8794, 11.2.1: the EBML header; WebM is one
    # ISO/IEC 14496-12, 4.2: a box begins with its size, and no list of brands is 64 KiB long
    "mp4": ((0, b"\x00\x00"), (4, b"ftyp")),
    "ogg": ((0, b"OggS"),),  # RFC 3533, 6
}


def sniff(head: bytes) -> str | None:
    """The container that `head` begins; None where it is none that can be recorded."""
    for name, marks in MARKS.items():
        if all(head[at : at + len(mark)] == mark for at, mark in marks):
            return name
    return None


def may_be_media(head: bytes) -> bool:
    """False only when no container can begin like this, however it goes on."""
    return any(
        all(head[at : at + len(mark)] == mark[: max(0, len(head) - at)] for at, mark in marks)
        for marks in MARKS.values()
    )
