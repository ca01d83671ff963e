"""What a recording consists of. Frozen values only; whoever changes one makes another.

recording ─ participant ─ track (one source) ─ segment (one MediaRecorder run) ─ chunk (one Blob, the unit of upload)

Instants end in `_ms` and are integers on the clock their name tells: `start_ms`, `at_ms` on the client's clock,
`received_ms`, `started_ms`, `stopped_ms` on the server's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from operator import attrgetter
from typing import Any, Literal

from .states import Status

Kind = Literal["audio", "video", "av"]
Source = Literal["camera", "microphone", "screen", "other"]
ArtifactStatus = Literal["pending", "processing", "ready", "failed"]

#: kinds of artifacts that are made to look at a film before it is played
PREVIEWS = ("thumbnails", "waveform", "timeline")
KINDS: tuple[Kind, ...] = ("audio", "video", "av")
SOURCES: tuple[Source, ...] = ("camera", "microphone", "screen", "other")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One Blob of a segment, and all it says of itself. Its key in the storage is made of these fields alone."""

    participant_id: str
    track_id: str
    seg: int  #: counts the recorder runs of the track, from 0
    seq: int  #: counts the Blobs of the run, from 0
    received_ms: int
    start_ms: int  #: instant of the run's MediaRecorder.start() call, client's clock
    at_ms: int | None  #: instant this Blob was delivered, client's clock
    offset_ms: int | None  #: to be added to the client's clock to get the server's, as the client believes
    err_ms: int | None  #: half the round trip behind that belief
    sha256: str  #: lower-case hex
    size_bytes: int


_facts = attrgetter(*Chunk.__slots__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One uninterrupted run of a MediaRecorder: a container file once all its chunks are joined."""

    seg: int
    mime_type: str  #: what the recorder reported; never trusted, only passed on
    chunks: tuple[Chunk, ...]  #: in order of seq, every seq once; there may be holes
    expected_chunks: int | None = None  #: what the client's `complete` declared
    dropped: tuple[Chunk, ...] = ()  #: in order of seq; they came, lay in a pause, and were deleted
    dropped_ends: tuple[tuple[int, int], ...] = ()  #: (seq, media time in µs at which it ended) of those

    @property
    def came(self) -> tuple[Chunk, ...]:
        """All chunks that came, whether they are still there or not, in order of seq."""
        return (
            tuple(sorted((*self.chunks, *self.dropped), key=lambda chunk: chunk.seq)) if self.dropped else self.chunks
        )

    @property
    def size_bytes(self) -> int:
        return sum(chunk.size_bytes for chunk in self.came)

    def missing(self) -> list[tuple[int, int]]:
        """Ranges of seq, both ends included, that are known to exist and never came."""
        return holes(ranges([chunk.seq for chunk in self.came]), self.expected_chunks or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One source of one participant over the whole recording."""

    track_id: str
    participant_id: str
    source: Source
    kind: Kind
    label: str = ""
    announced_ms: int = 0
    complete: bool = False  #: the client said that all of it was sent
    segments: tuple[Segment, ...] = ()  #: in order of seg
    muted: tuple[tuple[int, int | None], ...] = ()  #: [from_ms, to_ms) in which its page showed nothing, client's clock
    paused: tuple[tuple[int, int | None], ...] = ()  #: the same, in which its page let the recorder stand

    @property
    def heard_ms(self) -> int:
        """When the track was last heard of: its announcement or its latest chunk, the server's clock."""
        received = [chunk.received_ms for segment in self.segments for chunk in segment.chunks]
        return max([self.announced_ms, *received])


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What somebody answered when their page asked whether they may be recorded."""

    participant_id: str
    track_id: str
    fact_id: str
    agreed: bool
    at_ms: int  #: the client's clock
    told_ms: int  #: the server's


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    participant_id: str
    name: str  #: what is shown
    tracks: tuple[Track, ...] = ()  #: in the order in which they were announced


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One file that was made of the recording."""

    name: str  #: the address below `files/`
    kind: str  #: composition, manifest, certificate, track
    status: ArtifactStatus
    mime_type: str = "application/octet-stream"
    size_bytes: int = 0
    duration_ms: int = 0
    sha256: str = ""  #: names the object as well
    error: str = ""
    stepped_down_ms: int = 0  #: how much of it was encoded faster than its profile asks for, to keep up with the call
    edition: int = 0  #: how often this very content had been replaced under its name before; part of its object's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Outdated:
    """A file that another one took the place of, or that was taken back; without a digest there are windows at most."""

    name: str
    sha256: str
    edition: int
    at_ms: int  #: when, the server's clock
    sequence: int  #: the fact that did it


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the starter asked for, checked and resolved to names."""

    layout: str | dict[str, Any] = "grid"  #: a name, or regions of one's own
    preset: str = "720p"
    outputs: tuple[dict[str, Any], ...] = ()
    max_duration_s: int | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """One more film that somebody asked for, of a recording that had been stopped. What was asked stays as it is."""

    name: str
    layout: str | dict[str, Any] | None  #: None: as the recording was arranged, with all changes of it
    preset: str
    output: dict[str, Any]  #: checked, codecs said
    from_ms: int  #: recording time
    to_ms: int
    participants: tuple[str, ...] | None  #: None: all of them
    tracks: tuple[str, ...] | None
    slices: tuple[dict[str, Any], ...]  #: `{fromMs, toMs, layout}`, in order: stretches with a layout of their own
    file: str  #: the address below `files/`
    full: bool = False  #: what had been encoded in haste is encoded again
    asked_ms: int = 0
    build: str = ""  #: digest of the windows behind its file, or of those that could not be made; "" before the first
    made_of: str = ""  #: `Recording.inputs` then: while these are the same, so are the windows
    left_out: tuple[dict[str, Any], ...] = ()  #: what its windows had to be rendered without


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A recording as its journal tells it, with the chunks that are stored."""

    recording_id: str
    call_id: str
    status: Status
    started_ms: int  #: time zero of the recording
    started_by: str
    options: Options = field(default_factory=Options)
    stopped_ms: int | None = None
    end_reason: str | None = None
    pauses: tuple[tuple[int, int | None], ...] = ()  #: [paused_ms, resumed_ms), server's clock
    layouts: tuple[tuple[int, str | dict[str, Any]], ...] = ()  #: (server's clock, ms; the layout from then on)
    dropped: tuple[str, ...] = ()  #: digests of the lists of chunks that were deleted because they lay in a pause
    removed: frozenset[str] = frozenset()  #: participants of whom nothing is taken any more
    words: tuple[Word, ...] = ()  #: who agreed and who did not, as the server heard it
    participants: tuple[Participant, ...] = ()  #: in the order in which they came
    artifacts: tuple[Artifact, ...] = ()
    gaps: tuple[dict[str, Any], ...] = ()  #: as the manifest tells them
    sync: tuple[dict[str, Any], ...] = ()  #: how well each segment is placed, as the manifest tells it
    complete: bool = False
    build: str = ""  #: digest of the window keys behind the finished film
    made_of: str = ""  #: `windows.made_of` then: while that is the same, so is the build
    ended_ms: int = 0  #: when it was completed, updated, failed or given to deletion for the last time
    error_code: str = ""
    error_message: str = ""
    compositions: tuple[Composition, ...] = ()  #: in the order in which they were asked for
    discarded: frozenset[str] = frozenset()  #: files of those that were taken back
    hasty: frozenset[str] = frozenset()  #: keys of its films' windows that were encoded in haste
    held: tuple[Artifact, ...] = ()  #: what was ready of what is announced anew
    outdated: tuple[Outdated, ...] = ()  #: in the order in which they were replaced, deleted ones too
    tidied: int = 0  #: number of the fact up to which what was replaced is deleted
    asked: int = 0  #: number of the last fact that asked for a composition, or took one back
    sequence: int = 0  #: how many facts the journal had
    before: Status | None = None  #: the status before the last of them

    def tracks(self) -> list[Track]:
        return [track for participant in self.participants for track in participant.tracks]

    def track(self, track_id: str) -> Track | None:
        return next((track for track in self.tracks() if track.track_id == track_id), None)

    @property
    def inputs(self) -> str:
        """Digest of all that films are planned of; of a recording with its chunks."""
        arranged = (self.started_ms, self.stopped_ms, self.pauses, self.options.layout, self.layouts)
        digest = sha256(repr((arranged, self.words, sorted(self.removed))).encode())
        for participant in self.participants:
            digest.update(repr(replace(participant, tracks=())).encode())
            for track in participant.tracks:
                digest.update(repr(replace(track, segments=())).encode())
                for segment in track.segments:
                    digest.update(repr(replace(segment, chunks=(), dropped=())).encode())
                    # of many people's hours there are hundreds of thousands
                    for chunk in (*segment.chunks, None, *segment.dropped):
                        digest.update(repr(chunk and _facts(chunk)).encode())
        return digest.hexdigest()

    @property
    def owes(self) -> bool:
        """Is there a composition that was never made, or one that was taken back, whose file may still be there?"""
        return bool(self.discarded) or any(not each.build for each in self.compositions)

    @property
    def layout(self) -> str | dict[str, Any]:
        """The layout at its end, or now where it runs."""
        return self.layouts[-1][1] if self.layouts else self.options.layout

    @property
    def duration_ms(self) -> int:
        """Length of the film: [start, stop) less the pauses. 0 while nobody has stopped it."""
        if self.stopped_ms is None:
            return 0
        paused = sum(min(b if b is not None else self.stopped_ms, self.stopped_ms) - a for a, b in self.pauses)
        return max(0, self.stopped_ms - self.started_ms - paused)


def holes(have: Iterable[tuple[int, int]], expected: int = 0) -> list[tuple[int, int]]:
    """What lies between ranges, and after them up to `expected`. Costs what is there, never what was declared."""
    found: list[tuple[int, int]] = []
    at = 0
    for first, last in have:
        if first > at:
            found.append((at, first - 1))
        at = last + 1
    if expected > at:
        found.append((at, expected - 1))
    return found


def ranges(numbers: list[int]) -> list[tuple[int, int]]:
    """Sorted integers as ranges with both ends included: [0, 1, 2, 5] → [(0, 2), (5, 5)]."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found
