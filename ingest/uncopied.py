"""uvicorn's HTTP with two copies of a body less. `uvicorn --http ingest.uncopied:Uncopied`."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Uncopied(HttpToolsProtocol):
    """What is read at once is handed on as it is.

    uvicorn collects a body in a `bytearray` and makes `bytes` of that for the application: of a chunk of 250 kB
    a twentieth of all that it costs. Bytes that are added to no bytes are not copied, nor are bytes made of bytes.
    """

    def on_body(self, body: bytes) -> None:
        if not self.cycle.body:
            self.cycle.body = b""  # type: ignore[assignment]  # may grow and become bytes, which is all that is done to it
        super().on_body(body)
