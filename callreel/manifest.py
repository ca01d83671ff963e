"""The manifest: what a finished recording consists of, what is missing, and where everything lies in time. Pure.

It tells nothing that depends on when or in which order chunks came, so the same media give the same manifest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import pairwise
from typing import Any

from .clock import US_PER_MS
from .consent import withheld
from .drift import Drift
from .model import Chunk, Recording, Segment, Track
from .outputs import Output, file_name
from .profiles import Profile
from .scans import Scans
from .speakers import plan_speakers
from .sync import Sync, certify
from .timeline import Timeline, arranged
from .voices import each_voice
from .windows import Window, canonical

MANIFEST_VERSION = 1
FINEST_FPS = 1000  #: stamps of pictures that no film shows are whole ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """One output of a recording, and what it is made of."""

    output: Output
    profile: Profile
    windows: tuple[Window, ...]  #: none where packets of a track are copied
    copied: tuple[str, ...] = ()  #: everything that decides what is copied

    @property
    def name(self) -> str:
        return file_name(self.output)

    @property
    def duration_us(self) -> int:
        return self.windows[-1].to_us - self.windows[0].from_us if self.windows else 0

    @property
    def digest(self) -> str:
        """What decides its file."""
        return sha256(canonical([*(window.key for window in self.windows), *self.copied])).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Build:
    """Everything that a recording's films are made of: a plan of plans."""

    recording: Recording
    scans: Scans
    timeline: Timeline
    films: tuple[Film, ...]

    @property
    def windows(self) -> tuple[Window, ...]:
        """The windows of all films, each once: what two films share is rendered for both."""
        return tuple({window.key: window for film in self.films for window in film.windows}.values())

    @property
    def digest(self) -> str:
        """What decides films and manifest: the windows, and what is known to be missing."""
        gaps = [gap.to_json() for gap in self.timeline.gaps]
        keys = [key for film in self.films for key in (*(window.key for window in film.windows), *film.copied)]
        left_out = sorted(withheld(self.recording))
        return sha256(canonical([keys, gaps, *([left_out] if left_out else [])])).hexdigest()

    @property
    def has_media(self) -> bool:
        return bool(self.timeline.clips)

    @cached_property
    def syncs(self) -> tuple[Sync, ...]:
        """How well each segment is placed, in the film with the fewest pictures a second."""
        fps = min((film.profile.fps for film in self.films if film.profile.has_pictures), default=FINEST_FPS)
        return tuple(certify(self.recording, self.timeline, self.scans, fps))


class Unplanned(Build):
    """A build of which the digest is known. The rest is planned where somebody asks for it: as a rule nobody does."""

    def __init__(
        self,
        recording: Recording,
        digest: str,
        look: Callable[[], Build],
        plan: Callable[[], Build],
        films: tuple[Film, ...] | None = None,
    ) -> None:
        """`look` finds what there is and when, `plan` all of it; the films may be known too."""
        self.__dict__.update(recording=recording, _digest=digest, _look=look, _plan=plan)
        if films is not None:
            self.__dict__.update(films=films)

    def __getattr__(self, name: str) -> Any:
        parts = {
            "films": ("scans", "timeline", "films"),
            "scans": ("scans", "timeline"),
            "timeline": ("scans", "timeline"),
        }
        if name not in parts:
            raise AttributeError(name)
        found: Build = (self._plan if name == "films" else self._look)()
        self.__dict__.update({part: getattr(found, part) for part in parts[name]})
        return getattr(found, name)

    @property
    def digest(self) -> str:
        known: str = self.__dict__["_digest"]
        return known


class Verbatim(str):
    """JSON that `as_text` has written before, for this place."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Rows:
    """A long list whose rows, none of them empty, are made while it is written: of many people's hours all of them at
    once are 100 MB."""

    things: Sequence[Any]
    row: Callable[[Any], Mapping[str, Any]]

    def __len__(self) -> int:
        return len(self.things)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return map(self.row, self.things)


_plain = json.JSONEncoder(sort_keys=True, ensure_ascii=False, default=list).encode
_HOLDS = (dict, list, tuple, Rows, Verbatim)


def as_text(value: Any, indent: str = "") -> Iterator[str]:
    """JSON for people, piece by piece; a line for what holds nothing that holds something.

    Of an hour some megabytes: Python's own with an indent takes a second, for it is not the one that is written in C.
    """
    if isinstance(value, Verbatim) or _is_plain(value):
        yield value if isinstance(value, Verbatim) else _plain(value)
        return
    deeper = f"\n{indent} "
    is_dict = isinstance(value, dict)
    yield "{" if is_dict else "["
    between = deeper
    for item in sorted(value) if is_dict else value:
        if is_dict:
            yield f"{between}{_plain(str(item))}: "
            yield from as_text(value[item], indent + " ")
        elif _is_plain(item):
            yield between + _plain(item)
        else:
            yield between
            yield from as_text(item, indent + " ")
        between = "," + deeper
    yield f"\n{indent}" + ("}" if is_dict else "]")


def _is_plain(value: Any) -> bool:
    """Does it hold nothing that holds something?"""
    if isinstance(value, Rows | Verbatim):
        return not value
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return not any(isinstance(item, _HOLDS) and item for item in inside)


def manifest(build: Build) -> dict[str, Any]:
    """What `manifest.json` tells before windows and films are files: where everything lies, and what is missing.

    It is to be written by `as_text`.
    """
    recording, timeline, unused = build.recording, build.timeline, withheld(build.recording)
    first = build.films[0]
    spoken = plan_speakers(timeline, each_voice(timeline, build.scans)).spoken
    return {
        "version": MANIFEST_VERSION,
        "recordingId": recording.recording_id,
        "roomId": recording.call_id,
        "startedAtMs": recording.started_ms,
        "stoppedAtMs": recording.stopped_ms,
        "durationMs": recording.duration_ms,
        "layout": recording.options.layout,
        # what it was changed to, and when: [ms of recording time, layout]
        "layoutChanges": [[from_us // US_PER_MS, layout] for from_us, layout in arranged(recording)[1:]],
        "profile": first.profile.to_json(),
        "metadata": recording.options.metadata,
        "complete": not timeline.gaps,
        "gaps": [gap.to_json() for gap in timeline.gaps],
        "participants": [
            {
                "participantId": participant.participant_id,
                "name": participant.name,
                # when they spoke, by their own microphone: pairs of ms of recording time
                "speech": [[a // US_PER_MS, b // US_PER_MS] for a, b in spoken[participant.participant_id]],
                "tracks": [_track(build, track, track.track_id in unused) for track in participant.tracks],
            }
            for participant in recording.participants
        ],
        "windows": [
            {"k": w.k, "key": w.key, "fromMs": w.from_us // US_PER_MS, "toMs": w.to_us // US_PER_MS}
            for w in first.windows
        ],
    }


def told_of_files(
    films: Sequence[Film],
    files: Sequence[Mapping[str, Any]],
    left_out: Sequence[Mapping[str, Any]],
    previews: Sequence[Mapping[str, Any]] = (),
    speeds: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The rest of `manifest.json`; `files` describe the films, `left_out` what windows had to do without, `previews`
    the files that are made behind the films, `speeds` at which speed windows were encoded faster than usual, by key."""
    windows, speeds = {window.key: window for film in films for window in film.windows}, speeds or {}
    return {
        "leftOut": list(left_out),
        "previews": list(previews),
        "steppedDown": [
            {"k": window.k, "key": key, "speed": speeds[key]} for key, window in windows.items() if key in speeds
        ],
        "film": dict(files[0]),
        "films": [
            {
                "output": dict(film.output),
                "profile": film.profile.to_json(),
                "copied": bool(film.copied),
                "windows": [window.key for window in film.windows],
                "windowPictures": [window.seen["pictures"] for window in film.windows],
                "file": dict(file),
            }
            for film, file in zip(films, files, strict=True)
        ],
    }


def _track(build: Build, track: Track, is_withheld: bool) -> dict[str, Any]:
    return {
        "trackId": track.track_id,
        "source": track.source,
        "kind": track.kind,
        "label": track.label,
        "complete": track.complete,
        "withheld": is_withheld,  # its person does not agree: of what was uploaded nothing is used
        "segments": [] if is_withheld else [_segment(build, track, segment) for segment in track.segments],
    }


def _segment(build: Build, track: Track, segment: Segment) -> dict[str, Any]:
    place = (track.participant_id, track.track_id, segment.seg)
    sync = next((sync for sync in build.syncs if (sync.participant_id, sync.track_id, sync.seg) == place), None)
    runs = build.scans.get(place, ())
    borrowed = [run.header_seg for run in runs if run.header_seg is not None]
    return {
        "seg": segment.seg,
        "mimeType": segment.mime_type,
        "bytes": segment.size_bytes,
        "chunks": Rows(segment.came, _chunk),
        "missing": [list(pair) for pair in segment.missing()],
        # whose header it was read with, where its own was lost
        **({"headerSeg": borrowed[0]} if borrowed else {}),
        "codecs": sorted({codec for run in runs for codec in (run.video_codec, run.audio_codec) if codec}),
        "widthPx": max((run.width_px for run in runs), default=0),
        "heightPx": max((run.height_px for run in runs), default=0),
        # where media zero lies and how fast media ran, how far all of it may be off, and whose word it is
        "clock": None if sync is None else {**sync.to_json(), "jumps": _jumps(build.timeline.drifts[place])},
        "clips": [
            {"kind": clip.kind, "fromMs": clip.from_us // US_PER_MS, "toMs": clip.to_us // US_PER_MS}
            for clip in build.timeline.clips
            if clip.place == place
        ],
    }


def _chunk(chunk: Chunk) -> dict[str, Any]:
    return {"seq": chunk.seq, "bytes": chunk.size_bytes, "sha256": chunk.sha256}


def _jumps(drift: Drift) -> list[dict[str, int]]:
    """Media time from which on media lies later, for it stood while the clock ran (paused recorder, sleep)."""
    return [
        {"mediaMs": b.from_us // US_PER_MS, "byMs": (b.line.placed_us(0) - a.line.placed_us(0)) // US_PER_MS}
        for a, b in pairwise(drift.pieces)
    ]
