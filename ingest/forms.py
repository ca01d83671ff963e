"""The form door: a chunk as `multipart/form-data`, for clients that can send nothing else. Streamed.

Everything but the file part is bounded to what the contract's fields can hold, for here a stranger writes the headers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from callreel.errors import ChunkTooLarge, MalformedChunk

from .headers import ChunkFacts, chunk_facts

#: Beside the file part: boundaries, part headers and text fields take some hundred bytes each.
OVERHEAD_BYTES = 16 * 1024

_PARTS = 32  #: the contract has eight
_FIELD_BYTES = 256  #: a digest has 64, numbers fewer

#: field of the form → key of the `Chunk` header
_FIELDS = {"seg": "seg", "seq": "seq", "startMs": "start", "atMs": "at", "offsetMs": "offset", "errMs": "err"}

_HEX = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(slots=True)
class _Part:
    headers: dict[str, str] = field(default_factory=dict)
    name: str = ""
    is_file: bool = False
    text: bytes = b""


class ChunkForm:
    """Fed with pieces of the body; hands out pieces of the file part, and at the end what the fields say."""

    def __init__(self, content_type: str, chunk_bytes: int) -> None:
        _, options = parse_options_header(content_type.encode("latin-1"))
        boundary = options.get(b"boundary", b"")
        if not boundary:
            raise MalformedChunk("multipart/form-data needs a boundary.")
        self.mime_type = ""
        self._chunk_bytes = chunk_bytes
        self._file_bytes = 0
        self._fields: dict[str, str] = {}
        self._parts = 0
        self._part = _Part()
        self._header: list[bytes] = [b"", b""]
        self._pieces: list[bytes] = []
        self._ended = False
        self._has_file = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": lambda data, start, end: self._on_header(0, data[start:end]),
                "on_header_value": lambda data, start, end: self._on_header(1, data[start:end]),
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    def feed(self, piece: bytes) -> bytes:
        """What of the file part was in this piece. Raises `MalformedChunk`, `ChunkTooLarge`."""
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise MalformedChunk(f"The form cannot be read: {error}.") from error
        found, self._pieces = b"".join(self._pieces), []
        return found

    def close(self) -> tuple[ChunkFacts, str | None]:
        """What the fields say: facts, and the digest if there is one. Raises `MalformedChunk`."""
        if not self._ended:
            raise MalformedChunk("The form ends before its last boundary.")
        if not self._has_file or self._file_bytes == 0:
            raise MalformedChunk("The form needs a file part `chunk` of at least one byte.", field="chunk")
        said = {key: self._fields[name] for name, key in _FIELDS.items() if name in self._fields}
        sha256 = self._fields.get("sha256")
        if sha256 is not None and not _HEX.match(sha256):
            raise MalformedChunk("sha256 must be 64 lower-case hexadecimal digits.", field="sha256")
        return chunk_facts(said), sha256

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > _PARTS:
            raise MalformedChunk(f"The form has more than {_PARTS} parts.")
        self._part = _Part()

    def _on_header(self, which: int, data: bytes) -> None:
        self._header[which] += data

    def _on_header_end(self) -> None:
        name, value = (part.decode("latin-1") for part in self._header)
        self._part.headers[name.lower()] = value
        self._header = [b"", b""]

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._part.headers.get("content-disposition", "").encode("latin-1"))
        self._part.name = options.get(b"name", b"").decode("utf-8", "replace")
        self._part.is_file = self._part.name == "chunk"
        if self._part.is_file:
            if self._has_file:
                raise MalformedChunk("The form has two parts `chunk`.", field="chunk")
            self._has_file = True
            self.mime_type = self._part.headers.get("content-type", "")[:200]

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._part.is_file:
            self._file_bytes += end - start
            if self._file_bytes > self._chunk_bytes:
                limit = self._chunk_bytes
                raise ChunkTooLarge(f"A chunk may have {limit} bytes; this one has more.", limit=limit)
            self._pieces.append(data[start:end])
        elif len(self._part.text) + end - start <= _FIELD_BYTES:
            self._part.text += data[start:end]
        else:
            raise MalformedChunk(f"The field {self._part.name[:40]!r} is longer than {_FIELD_BYTES} bytes.")

    def _on_part_end(self) -> None:
        if not self._part.is_file:
            self._fields[self._part.name] = self._part.text.decode("utf-8", "replace").strip()

    def _on_end(self) -> None:
        self._ended = True
