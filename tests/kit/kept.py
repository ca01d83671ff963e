"""How much of what was received is in the film when one chunk is lost, for each chunk of a run but the first.

Counted in the plan of the film, which is all that a renderer and an export read. What a hole may cost beside itself is
the rest of a group of pictures, or of the Cluster, fragment or page in which sound goes on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from callreel.model import Chunk, Participant, Recording, Segment, Track
from callreel.scans import Packets, RunScan
from callreel.states import Status
from callreel.timeline import plan_timeline
from workers.runscan import scan_run

from .capture import Run

_ZERO_MS = 1_700_000_000_000


def least_kept(run: Run) -> float:
    """The least share, over all chunks but the first that could be lost, of received media that is in the film; a group
    of pictures less may be."""
    chunks = _chunks(run)
    whole = scan_run(chunks, run.data, None)
    spare_us = _spare_us(whole)
    borders = np.cumsum([0, *(chunk.size_bytes for chunk in chunks)])
    least = 1.0
    for lost in range(1, len(chunks)):
        a, b = int(borders[lost]), int(borders[lost + 1])
        shown = _shown(run, chunks, lost, whole)
        for kind, packets in (("video", whole.video), ("audio", whole.audio)):
            if not len(packets):
                continue
            came = (packets.to_byte <= a) | (packets.from_byte >= b)
            received_us = int(packets.duration_us[came].sum())
            there = came & np.isin(packets.pts_us, shown[kind])
            if not received_us:
                continue
            least = min(least, (int(packets.duration_us[there].sum()) + spare_us) / received_us)
    return least


def _spare_us(whole: RunScan) -> int:
    keys = whole.video.pts_us[whole.video.key == 1] if len(whole.video) else _begins(whole.audio, whole)
    ends = [*keys.tolist(), (whole.video if len(whole.video) else whole.audio).to_us]
    return int(max(b - a for a, b in pairwise(ends)))


def _begins(audio: Packets, whole: RunScan) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Where in time sound can begin."""
    index = np.searchsorted(audio.from_byte, whole.starts, "left")
    found: np.ndarray[tuple[int], np.dtype[np.int64]] = audio.pts_us[np.unique(index[index < len(audio)])]
    return found


def _shown(run: Run, chunks: list[Chunk], lost: int, whole: RunScan) -> Mapping[str, list[int]]:
    """Stamps of the packets that lie in clips."""
    data = [chunk.data for chunk in run.chunks]
    scans = [scan_run(chunks[:lost], b"".join(data[:lost]), None)]
    if lost + 1 < len(chunks):
        scans.append(scan_run(chunks[lost + 1 :], b"".join(data[lost + 1 :]), (whole.container, whole.head)))
    segment = Segment(seg=0, mime_type="", chunks=(*chunks[:lost], *chunks[lost + 1 :]), expected_chunks=len(chunks))
    track = Track(track_id="t", participant_id="p", source="camera", kind=run.kind, complete=True, segments=(segment,))
    recording = Recording(
        recording_id="r",
        call_id="c",
        status=Status.PROCESSING,
        started_ms=_ZERO_MS,
        started_by="h",
        stopped_ms=_ZERO_MS + 3_600_000,
        participants=(Participant(participant_id="p", name="p", tracks=(track,)),),
    )
    timeline = plan_timeline(recording, {("p", "t", 0): scans})
    found: dict[str, list[int]] = {"video": [], "audio": []}
    for clip in timeline.clips:
        scan = scans[clip.run]
        packets = scan.video if clip.kind == "video" else scan.audio
        at_us = clip.line.place(packets.pts_us)
        # the recording begins some ms behind the media's zero, or before it
        inside = (at_us > clip.from_us - 100_000) & (at_us < clip.to_us)
        found[clip.kind] += packets.pts_us[inside].tolist()
    return found


def _chunks(run: Run) -> list[Chunk]:
    begin_ms = run.start_client_ms
    return [
        Chunk(
            participant_id="p",
            track_id="t",
            seg=0,
            seq=chunk.seq,
            received_ms=_ZERO_MS + round(chunk.delivered_client_ms - begin_ms) + 20,
            start_ms=_ZERO_MS,
            at_ms=_ZERO_MS + round(chunk.delivered_client_ms - begin_ms),
            offset_ms=0,
            err_ms=3,
            sha256=hashlib.sha256(chunk.data).hexdigest(),
            size_bytes=len(chunk.data),
        )
        for chunk in run.chunks
    ]
