"""What of a stream is handed out: playlists, made for each request, and segments, which are bytes of windows.

Nothing is decoded or copied here: of a window no more is looked at than where its boxes begin.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial

from starlette.datastructures import QueryParams
from starlette.responses import Response

from callreel import boxes, keys, playlists, streams, tokens
from callreel.control import now_ms
from callreel.errors import ObjectMissing, RenderFailed, UnknownFile
from callreel.model import Recording
from callreel.settings import Settings
from callreel.storage import Storage

from .remembered import Remembered

PLAYLISTS = frozenset(streams.MIME_TYPES)
#: Every address but the playlists': an init segment, a segment of HLS by its window, one of DASH by its place.
IN_STREAM = re.compile(
    r"(?:hls|dash)/(?:init-(?P<init>[0-9a-f]{64})\.mp4|[0-9]{1,6}-(?P<window>[0-9a-f]{64})\.m4s"
    r"|(?P<edition>live|[0-9a-f]{64})/(?P<k>[0-9]{1,6})\.m4s)\Z"
)
#: Players live on other origins: rights are in the address.
FOR_PLAYERS = {"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "cross-origin"}
_A_YEAR = "private, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes [start, end) of a file."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Where the bytes of a file are, and what is said of them."""

    key: str
    start: int  #: in the object
    size_bytes: int
    digest: str
    mime_type: str
    kept: str  #: `Cache-Control`


class Streams:
    """All methods block."""

    def __init__(self, storage: Storage, settings: Settings) -> None:
        self._storage = storage
        self._settings = settings
        # only what cannot change; pieces of a live list are those at its beginning
        self._pieces: Remembered[tuple[str, str], tuple[streams.Piece, ...]] = Remembered(256)
        self._windows: Remembered[tuple[str, str], tuple[int, int]] = Remembered()

    def playlist(self, state: Recording, name: str, query: str) -> Response:
        """Raises `UnknownFile`."""
        profile, edition = streams.profile(state.options), streams.edition(state)
        pieces = self._read(state, edition) if profile else ()
        if profile is None or not pieces:
            raise UnknownFile(f"Recording {state.recording_id} has no stream: nothing of it is made yet, or ever.")
        stream = streams.Stream(recording=state, profile=profile, edition=edition, pieces=pieces)
        signature = self._signature(state, name, QueryParams(query))
        if name == streams.HLS:
            text = playlists.hls(stream, signature)
        else:
            key = keys.window(state.recording_id, pieces[0].key)
            init_end, _ = self._split(state.recording_id, pieces[0].key)
            codecs = boxes.codecs(self._storage.get(key, 0, init_end))
            text = playlists.dash(stream, signature, codecs, now_ms())
        headers = {"Cache-Control": "no-store", **FOR_PLAYERS}  # it grows, and is signed for who asked
        return Response(text, 200, headers, media_type=streams.MIME_TYPES[name])

    def find(self, state: Recording, match: re.Match[str]) -> Served:
        """The segment of a name that `IN_STREAM` knows. Raises `UnknownFile`."""
        try:
            window = match["init"] or match["window"] or self._at(state, match["edition"], int(match["k"])).key
            init_end, end = self._split(state.recording_id, window)
        except (IndexError, ObjectMissing, RenderFailed) as error:
            raise UnknownFile(f"Recording {state.recording_id} has no segment {match[0]!r}.") from error
        start, end = (0, init_end) if match["init"] else (init_end, end)
        return Served(
            key=keys.window(state.recording_id, window),
            start=start,
            size_bytes=end - start,
            digest=window,
            mime_type="video/mp4",
            kept=_A_YEAR,
        )

    def _at(self, state: Recording, edition: str, k: int) -> streams.Piece:
        """Raises `IndexError`."""
        return self._read(state, edition, k)[k]

    def _read(self, state: Recording, edition: str, k: int | None = None) -> tuple[streams.Piece, ...]:
        """The segments of an edition; of one that grows those known are enough where the one at `k` is among them."""
        known = self._pieces.get((state.recording_id, edition)) or ()
        if edition == streams.LIVE and (k is None or k >= len(known)):
            found = streams.live_pieces(self._storage, state.recording_id, known)
        elif known or edition == streams.LIVE:
            return known
        else:
            try:
                found = streams.film_pieces(self._storage, state, edition)
            except ObjectMissing:
                return ()
        self._pieces.put((state.recording_id, edition), found)
        return found

    def _split(self, recording_id: str, window: str) -> tuple[int, int]:
        """Where a window's media begins and ends. Raises `ObjectMissing`."""
        found = self._windows.get((recording_id, window))
        key = keys.window(recording_id, window)
        if found is None:
            found = boxes.split(partial(self._storage.get, key))
            self._windows.put((recording_id, window), found)
        else:
            self._storage.get(key, 0, 1)  # nobody may need it any more, and what is gone is 404, not a broken answer
        return found

    def _signature(self, state: Recording, name: str, query: QueryParams) -> str:
        """What lets a player in that sends no header: the rights it came with, which last no longer for being used."""
        if "signature" in query:
            return f"expires={query['expires']}&signature={query['signature']}"
        signed = tokens.sign_file(self._settings.jwt_secret, state.call_id, state.recording_id, name)
        return signed.partition("?")[2]
