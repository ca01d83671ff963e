"""Blobs as recorders have been seen to hand them out: empty, of a byte, with a header in pieces, of fifty megabytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from workers import containers

from .capture import Capture, CapturedChunk, Run

Cut = Callable[[Run], Iterator[tuple[float, bytes]]]  #: instants of delivery, client's clock, and what was delivered

HUGE_BYTES = 50_000_000


def cut_anew(capture: Capture, cut: Cut) -> Capture:
    """The same media in other Blobs."""

    def recut(run: Run) -> Run:
        pieces = [CapturedChunk(seq=seq, delivered_client_ms=at, data=data) for seq, (at, data) in enumerate(cut(run))]
        return replace(run, chunks=tuple(pieces))

    return replace(capture, runs=tuple(recut(run) for run in capture.runs))


def as_they_are(run: Run) -> Iterator[tuple[float, bytes]]:
    for chunk in run.chunks:
        yield chunk.delivered_client_ms, chunk.data


def with_empty_ones(run: Run) -> Iterator[tuple[float, bytes]]:
    """One behind each, and two at the end: Chromium's last one may be empty, Safari's any."""
    for chunk in run.chunks:
        yield chunk.delivered_client_ms, chunk.data
        yield chunk.delivered_client_ms + 3, b""
    yield chunk.delivered_client_ms + 4, b""


def with_single_bytes(run: Run) -> Iterator[tuple[float, bytes]]:
    """Of each the first byte, and the last one."""
    for chunk in run.chunks:
        for n, piece in enumerate((chunk.data[:1], chunk.data[1:-1], chunk.data[-1:])):
            yield chunk.delivered_client_ms + n, piece


def with_a_header_in_pieces(run: Run) -> Iterator[tuple[float, bytes]]:
    first, *rest = run.chunks
    container = containers.container_of(run.data)
    assert container
    end = (containers.header_end(container, run.data) or 0) + 20
    borders = [0, 1, 2, 5, *range(12, end, 40), end]
    for n, begin in enumerate(borders[:-1]):
        yield first.delivered_client_ms + n, first.data[begin : borders[n + 1]]
    yield first.delivered_client_ms + len(borders), first.data[end:]
    for chunk in rest:
        yield chunk.delivered_client_ms + len(borders), chunk.data


def with_a_huge_one(run: Run) -> Iterator[tuple[float, bytes]]:
    """All from the middle on at once, as after a page that hung; made so large by what no reader looks at."""
    container = containers.container_of(run.data)
    assert container
    middle = containers.starts(container, run.data)[1]
    yield run.chunks[0].delivered_client_ms, run.data[:middle]
    yield run.chunks[-1].delivered_client_ms, _PADDING[container](HUGE_BYTES) + run.data[middle:]


def _void(size_bytes: int) -> bytes:
    """RFC 8794, 11.3.2."""
    return b"\xec" + (size_bytes | 1 << 56).to_bytes(8, "big") + bytes(size_bytes)


def _free(size_bytes: int) -> bytes:
    """ISO/IEC 14496-12, 8.1.2."""
    return (size_bytes + 8).to_bytes(4, "big") + b"free" + bytes(size_bytes)


_PADDING: dict[str, Callable[[int], bytes]] = {"matroska": _void, "mp4": _free}
