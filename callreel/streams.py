"""The stream of a recording: its first film's windows as segments, while the call runs and ever after.

While it runs a list in the storage tells which window is shown at which place. It is only appended to, so a player
never meets another segment under an address it knows; afterwards the film's own windows are the stream.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from . import editions, keys
from .errors import ObjectMissing
from .model import Artifact, Options, Recording
from .outputs import DEFAULT, profile_of
from .profiles import Profile
from .states import FINAL, Status
from .storage import Storage
from .windows import Window

HLS, DASH = "hls/index.m3u8", "dash/manifest.mpd"
MIME_TYPES = {HLS: "application/vnd.apple.mpegurl", DASH: "application/dash+xml"}
#: The list that grows, where other editions of a stream are named by their manifest's digest.
LIVE = editions.LIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One segment: a window without its init."""

    k: int
    key: str
    first: int  #: picture of the film
    pictures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    recording: Recording
    profile: Profile
    edition: str
    pieces: tuple[Piece, ...]  #: in order, without holes

    @property
    def is_over(self) -> bool:
        return self.recording.status in FINAL

    @property
    def pictures(self) -> int:
        return self.pieces[-1].first + self.pieces[-1].pictures


def streamed(options: Options) -> int | None:
    """Which of a recording's outputs can be streamed: the first one of H.264 and AAC that shows everybody."""
    codecs = [(output["videoCodec"], output["audioCodec"], "trackId" in output) for output in _outputs(options)]
    return codecs.index(("h264", "aac", False)) if ("h264", "aac", False) in codecs else None


def profile(options: Options) -> Profile | None:
    """What the stream looks and sounds like; None where there is none."""
    number = streamed(options)
    return None if number is None else profile_of(options.preset, _outputs(options)[number])


def piece(window: Window) -> Piece:
    """A window as a segment."""
    return Piece(k=window.k, key=window.key, first=window.seen["firstPicture"], pictures=window.seen["pictures"])


def append(storage: Storage, recording_id: str, pieces: Iterable[Piece]) -> None:
    """Let rendered windows be seen. What is shown at a place stays, whatever becomes of it in the film."""
    for each in pieces:
        told = {"key": each.key, "firstPicture": each.first, "pictures": each.pictures}
        storage.put_if_absent(keys.streamed_window(recording_id, each.k), json.dumps(told).encode())


def live_pieces(storage: Storage, recording_id: str, known: tuple[Piece, ...] = ()) -> tuple[Piece, ...]:
    """The list as it is now; `known` is what somebody has read of it before."""
    found = list(known)
    while True:
        try:
            told = json.loads(storage.get(keys.streamed_window(recording_id, len(found))))
        except ObjectMissing:
            return tuple(found)
        found.append(Piece(k=len(found), key=told["key"], first=told["firstPicture"], pictures=told["pictures"]))


def film_pieces(storage: Storage, state: Recording, sha256: str) -> tuple[Piece, ...]:
    """The windows of a finished film, as the manifest of this digest tells them. Raises `ObjectMissing`."""
    number = streamed(state.options)
    if number is None:
        return ()
    film = json.loads(storage.get(editions.key_of(state, "manifest.json", sha256)))["films"][number]
    pieces, first = [], 0
    for k, (key, pictures) in enumerate(zip(film["windows"], film.get("windowPictures", ()), strict=False)):
        pieces.append(Piece(k=k, key=key, first=first, pictures=pictures))
        first += pictures
    return tuple(pieces)


def edition(state: Recording) -> str:
    """Where to look for a stream's segments: `LIVE`, or the digest of the finished film's manifest."""
    listing = [artifact.sha256 for artifact in state.artifacts if artifact.name == "manifest.json"]
    return listing[0] if state.status is Status.COMPLETED and listing else LIVE


def with_streams(storage: Storage, state: Recording) -> Recording:
    """The recording with its playlists among its files, from the first segment on."""
    if streamed(state.options) is None or (edition(state) == LIVE and not _begun(storage, state)):
        return state
    found = [Artifact(name=name, kind="stream", status="ready", mime_type=kind) for name, kind in MIME_TYPES.items()]
    return replace(state, artifacts=(*state.artifacts, *found))


def _begun(storage: Storage, state: Recording) -> bool:
    try:
        storage.get(keys.streamed_window(state.recording_id, 0), 0, 1)
    except ObjectMissing:
        return False
    return True


def _outputs(options: Options) -> tuple[dict[str, object], ...]:
    return options.outputs or (dict(DEFAULT),)
