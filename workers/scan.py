"""Scans of tracks, kept in the storage: every run of chunks is demuxed once, and what was found is stored.

A run that grew is read from its last Cluster or `moof` on, the rest is known: so an hour costs an hour once, and
never more memory than what is new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from callreel import keys, scans
from callreel.errors import MediaUnreadable, ObjectMissing
from callreel.failpoints import failpoint
from callreel.model import Chunk, Segment, Track
from callreel.scans import RunScan
from callreel.storage import Storage

from . import headers
from .apart import apart
from .headers import Header
from .levels import run_levels
from .runscan import extend_run, scan_run, unreadable

#: A scan of a run's beginning is looked for so many chunks back; planning comes by every few chunks while they come.
_LATELY = 64

#: A run is read within this, and more by its bytes: demuxers read some hundred MB a second, slow disks a tenth of it.
_TIMEOUT_S = 60
_SLOWEST_BYTES_PER_S = 5_000_000

SegmentKey = tuple[str, str, int]  #: participant, track, seg


def scan_track(storage: Storage, recording_id: str, track: Track) -> dict[SegmentKey, list[RunScan]]:
    """The scans of all runs of all segments of a track, made where they are not there yet."""
    return {
        (track.participant_id, track.track_id, segment.seg): scan_segment(storage, recording_id, track, segment)
        for segment in track.segments
    }


def scan_segment(storage: Storage, recording_id: str, track: Track, segment: Segment) -> list[RunScan]:
    found: list[RunScan] = []
    header: Header | None = None
    for run in runs(segment.chunks):
        if run[0].seq != 0 and header is None:
            header = headers.find(storage, recording_id, track, segment)
        own = header if run[0].seq != 0 else None
        key = _scan_key(recording_id, own, run)
        try:
            scan = scans.decode(storage.get(key))
        except ObjectMissing:
            shorter = _shorter(storage, recording_id, own, run)
            encoded = _read_apart(run, shorter[1] if shorter else None, chunk_reader(storage, recording_id, run), own)
            scan = scans.decode(encoded)
            storage.put_if_absent(key, encoded)
            failpoint("scan.stored")
            if shorter:  # all it knew is in the longer one
                storage.delete(shorter[0])
        borrowed = own.seg if own and own.seg != segment.seg else None
        # its chunks told by the strings that are there already: of a long call each once more takes tens of MB
        scan = replace(
            scan,
            chunk_sha256=tuple(chunk.sha256 for chunk in run),
            chunk_bytes=tuple(chunk.size_bytes for chunk in run),
            header_seg=borrowed,
        )
        found.append(replace(scan, levels=run_levels(storage, recording_id, run, scan)))
    return found


def _read_apart(run: list[Chunk], known: RunScan | None, read: Callable[[int], bytes], header: Header | None) -> bytes:
    """A run's scan, encoded; made by a process that may break at it."""

    def work() -> bytes:
        extended = extend_run(run, known, read) if known else None
        return scans.encode(extended or scan_run(run, read(0), (header.container, header.data) if header else None))

    timeout_s = _TIMEOUT_S + sum(chunk.size_bytes for chunk in run) / _SLOWEST_BYTES_PER_S
    reason = ""
    for _ in range(2):  # a machine without memory may have been the reason, and this is remembered
        try:
            return apart(work, timeout_s=timeout_s)
        except MediaUnreadable as error:
            reason = error.detail
    return scans.encode(unreadable(run, reason))


def _scan_key(recording_id: str, header: Header | None, run: list[Chunk]) -> str:
    return keys.scan(recording_id, scans.run_digest(header.sha256 if header else "", run))


def _shorter(
    storage: Storage, recording_id: str, header: Header | None, run: list[Chunk]
) -> tuple[str, RunScan] | None:
    """The scan of the run's beginning, as long as there is one, if it can be gone on from."""
    for count in range(len(run) - 1, max(0, len(run) - _LATELY), -1):
        key = _scan_key(recording_id, header, run[:count])
        try:
            scan = scans.decode(storage.get(key))
        except ObjectMissing:
            continue
        return (key, scan) if len(scan.starts) and not scan.error and not scan.note else None
    return None


def chunk_reader(storage: Storage, recording_id: str, run: list[Chunk]) -> Callable[[int], bytes]:
    """Bytes of a run from its n-th chunk on."""
    return lambda n: b"".join(storage.get(keys.chunk(recording_id, chunk)) for chunk in run[n:])


def runs(chunks: Iterable[Chunk]) -> list[list[Chunk]]:
    """Chunks in order of seq, cut where one is missing."""
    found: list[list[Chunk]] = []
    for chunk in chunks:
        if found and found[-1][-1].seq == chunk.seq - 1:
            found[-1].append(chunk)
        else:
            found.append([chunk])
    return found
