"""Files of a recording: byte ranges (RFC 9110, 14) by token or by signed address.

A file is an artifact of the journal, or part of a stream; a digest is its ETag and the name of its object, so what is
being read never changes under the reader, however often the film is made anew.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import aiofiles
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from callreel import certificate, keys, previews, tokens
from callreel.errors import Forbidden, RangeNotSatisfiable, UnknownFile
from callreel.model import PREVIEWS, Artifact, Recording
from callreel.states import Status
from callreel.storage.local import LocalStorage

from .auth import check_may, check_path, watchers
from .doors import told
from .shell import Shell
from .streams import FOR_PLAYERS, IN_STREAM, PLAYLISTS, Served, Span, Streams

_PIECE_BYTES = 1024 * 1024  #: read at a time; one thread hop each

#: A page among the files is ours, yet it may do nothing but be read.
_FOR_PAGES = {"Content-Security-Policy": f"{certificate.POLICY}; sandbox", "Referrer-Policy": "no-referrer"}

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})\Z")
_TRACK_FILE = re.compile(r"tracks/([A-Za-z0-9_-]{1,64})/([A-Za-z0-9_-]{1,64})(?:\.[0-9]{1,6})?\.[a-z0-9]{2,4}\Z")


class FileCalls:
    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._run = shell.pools.files.run
        self._streams = Streams(shell.storage, shell.settings)

    async def file(self, request: Request) -> Response:
        self._check(request)
        recording_id, name = request.path_params["recordingId"], request.path_params["name"]
        if name in PLAYLISTS:
            state = await self._run(self._shell.state, recording_id)
            return await self._run(self._streams.playlist, state, name, request.url.query)
        found = await self._run(self._find, recording_id, name)
        if name == previews.CUES and "download" not in request.query_params:
            return await self._run(self._cues, request, found)
        etag = f'"{found.digest}"'
        headers = {
            "ETag": etag,
            "Accept-Ranges": "bytes",
            "Cache-Control": found.kept,
            **FOR_PLAYERS,
            **(_FOR_PAGES if found.mime_type == "text/html" else {}),
            "Content-Disposition": _disposition(name, "download" in request.query_params),
        }
        if _matches(request.headers.get("if-none-match"), etag):
            return Response(None, 304, headers)
        span = None
        if request.headers.get("if-range", etag) == etag:
            span = parse_range(request.headers.get("range"), found.size_bytes)
        sent = span or Span(0, found.size_bytes)
        headers["Content-Length"] = str(sent.end - sent.start)
        if span:
            headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{found.size_bytes}"
        status = 206 if span else 200
        if request.method == "HEAD":
            return Response(None, status, headers, media_type=found.mime_type)
        stored = Span(found.start + sent.start, found.start + sent.end)
        return StreamingResponse(self._pieces(found.key, stored), status, headers, media_type=found.mime_type)

    def _cues(self, request: Request, found: Served) -> Response:
        """Thumbnails' cues with a signature in the address of every image, which lasts as long as the rights that it
        was asked with."""
        params, query = request.path_params, request.query_params
        expires_s = int(query["expires"]) if "signature" in query else tokens.expires_from()

        def signed(name: str) -> str:
            secret = self._shell.settings.jwt_secret
            return tokens.signed_query(secret, params["callId"], params["recordingId"], name, expires_s)

        text = previews.with_queries(self._shell.storage.get(found.key).decode(), signed)
        headers = {"Cache-Control": "no-store", **FOR_PLAYERS}
        return Response(text, 200, headers, media_type=found.mime_type)

    def _check(self, request: Request) -> None:
        """By signature, or by token. Raises `InvalidId`, `Unauthorized`, `Forbidden`."""
        params, query = request.path_params, request.query_params
        if "signature" in query:
            check_path(params)
            place = (params["callId"], params["recordingId"], params["name"])
            secret = self._shell.settings.jwt_secret
            tokens.check_signed_file(secret, *place, query.get("expires", ""), query["signature"])
            return
        caller = self._shell.auth.request(request, in_query=True)
        told(request.scope, caller)
        check_path(params)
        roles = watchers(self._shell.settings)
        if caller.role == "participant" and caller.may_enter(params["callId"]) and caller.role not in roles:
            raise Forbidden("Participants may not watch here; CALLREEL_PARTICIPANTS_WATCH would allow it.")
        check_may(caller, params, roles)

    def _find(self, recording_id: str, name: str) -> Served:
        """Raises `UnknownRecording`, `RecordingDeleted`, `UnknownFile`."""
        state = self._shell.state(recording_id)
        if match := IN_STREAM.match(name):
            return self._streams.find(state, match)
        found = next((artifact for artifact in state.artifacts if artifact.name == name), None)
        if found is not None and found.status == "ready":
            return Served(
                key=keys.artifact(recording_id, name, found.sha256, found.edition),
                start=0,
                size_bytes=found.size_bytes,
                digest=found.sha256,
                mime_type=found.mime_type,
                kept="private, no-cache",  # may be kept, but asked for: the film can be made anew
            )
        asked = (found is None or found.status == "pending") and self._export(state, found, name)
        if asked or (found is not None and found.status == "pending" and found.kind in PREVIEWS):
            raise UnknownFile(f"{name[:200]} is being made now; ask again in some seconds.")
        status = "not made" if found is None else found.status
        raise UnknownFile(f"Recording {recording_id} has no file {name[:200]!r}: it is {status}.")

    def _export(self, state: Recording, announced: Artifact | None, name: str) -> bool:
        """Ask for a track's file that is not made yet; True if there is such a track.

        One that is announced is asked for as well: the job may have been lost, and the queue takes it only once.
        """
        match = _TRACK_FILE.match(name)
        track = state.track(match[2]) if match else None
        if match is None or track is None or track.participant_id != match[1] or state.status is not Status.COMPLETED:
            return False
        prefix = f"tracks/{match[1]}/{match[2]}."
        if announced is None and any(artifact.name.startswith(prefix) for artifact in state.artifacts):
            return False  # it is there, or announced, under its own ending
        self._shell.hint(lambda: self._shell.jobs.export(state.recording_id, match[1], match[2]))
        return True

    async def _pieces(self, key: str, span: Span) -> AsyncIterator[bytes]:
        storage, at = self._shell.storage, span.start
        if isinstance(storage, LocalStorage):  # opened once: a film that is replaced meanwhile is still read to its end
            executor = self._shell.pools.files.executor
            opened = await self._run(open, storage.path(key), "rb")
            try:
                file = aiofiles.threadpool.wrap(opened, executor=executor)
                await file.seek(at)
                while at < span.end and (piece := await file.read(min(_PIECE_BYTES, span.end - at))):
                    yield piece
                    at += len(piece)
            finally:
                opened.close()  # here and now: whoever goes away in the middle ends this task, and all it waits for
            return
        while at < span.end:
            piece = await self._run(storage.get, key, at, min(_PIECE_BYTES, span.end - at))
            if not piece:
                return  # shorter than the journal says: the connection breaks, and the client sees it
            yield piece
            at += len(piece)


def parse_range(text: str | None, size_bytes: int) -> Span | None:
    """The one range that is asked for; None where all of the file is to be sent. Raises `RangeNotSatisfiable`.

    Several ranges at once are answered with the whole file, as RFC 9110, 14.2 allows: no player asks for them.
    """
    match = _RANGE.match(text.replace(" ", "")) if text else None
    if match is None or (not match[1] and not match[2]):
        return None
    if not match[1]:  # the last so many bytes
        start, end = max(0, size_bytes - int(match[2])), size_bytes
    else:
        start, end = int(match[1]), min(int(match[2]) + 1 if match[2] else size_bytes, size_bytes)
        if match[2] and int(match[2]) < int(match[1]):
            return None  # RFC 9110, 14.1.1: no valid range, so none was asked for
    if start >= size_bytes or start >= end:
        raise RangeNotSatisfiable(f"The file has {size_bytes} bytes; the range {text!r} lies outside.", size=size_bytes)
    return Span(start, end)


def _matches(if_none_match: str | None, etag: str) -> bool:
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or etag in [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]


def _disposition(name: str, download: bool) -> str:
    """RFC 6266; names are made by us, of ids and fixed words."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name.rsplit("/", 1)[-1])
    return f'{"attachment" if download else "inline"}; filename="{plain}"'
