"""One POST to an address that somebody else chose: bounded in time and size, to no address that is not public.

A name is resolved once, what it resolved to is looked at, and the connection is made to that very address; the name
still stands in the certificate's check and in `Host`. So neither a name that changes what it means nor a redirect,
which is not followed, leads into our own network.
"""

from __future__ import annotations

import email.utils
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

ATTEMPT_S = 15.0  #: Standard Webhooks: receivers answer within 15 to 30 s
_ADDRESSES = 3  #: of those that a name resolves to, so many are tried
_ANSWER_BYTES = 64 * 1024  #: read, so that the receiver does not see a broken connection, and forgotten

#: Public to `ipaddress`, at least of some Pythons, and answered by the machine's own surroundings: IETF protocol
#: assignments (Oracle's metadata among them), Azure's.
_NEAR = (ipaddress.ip_network("192.0.0.0/24"), ipaddress.ip_network("168.63.129.16/32"))
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052

Resolve = Callable[[str, int], list[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of it."""

    status: int | None = None  #: None where there was no answer at all
    error: str = ""
    retry_after_s: float = 0

    def __str__(self) -> str:
        return self.error if self.status is None else f"HTTP {self.status}"


def is_public(address: str) -> bool:
    """Whether an address is one of the Internet's own."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inside = ip.ipv4_mapped or ip.sixtofour or (ip.teredo or (None, None))[1]
        if ip in _NAT64:
            inside = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inside is not None:
            return is_public(str(inside))
        if ip.is_site_local:
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not any(ip in network for network in _NEAR)


def resolve(host: str, port: int) -> list[Any]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def post(
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    allow_private: bool = False,
    resolve: Resolve = resolve,
    context: ssl.SSLContext | None = None,
) -> Answer:
    """Send it, once. Never raises for what the other side does."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(host, port)
    cut = threading.Event()

    def cut_off() -> None:
        cut.set()
        if connection.sock is not None:
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # closed already

    deadline_s = time.monotonic() + ATTEMPT_S
    timer = threading.Timer(ATTEMPT_S, cut_off)  # a receiver that sends a byte a second is cut off as well
    timer.daemon = True
    timer.start()
    try:
        connection.sock = _connect(resolve(host, port), allow_private, deadline_s)
        if secure:
            trusted = context or ssl.create_default_context()
            tls = trusted.wrap_socket(connection.sock, server_hostname=host, do_handshake_on_connect=False)
            connection.sock = tls
            tls.do_handshake()
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", target, body, dict(headers))
        response = connection.getresponse()
        retry_after_s = _seconds(response.headers.get("Retry-After", ""))
        if cut.is_set():  # what was cut off within its headers looks like one that has ended
            raise TimeoutError
        _ = response.read(_ANSWER_BYTES)
        return Answer(status=response.status, retry_after_s=retry_after_s)
    except (OSError, http.client.HTTPException, ValueError) as error:  # UnicodeError of a host's name is one too
        if cut.is_set() or isinstance(error, TimeoutError):
            return Answer(error=f"no answer within {ATTEMPT_S:g} s")
        return Answer(error=(str(error) or type(error).__name__)[:200])
    finally:
        timer.cancel()
        connection.close()


def _connect(found: list[Any], allow_private: bool, deadline_s: float) -> socket.socket:
    """Raises `OSError`."""
    fit = [(family, place) for family, _, _, _, place in found if allow_private or is_public(place[0])]
    if not fit:
        shown = ", ".join(sorted({str(place[0]) for *_, place in found})) or "nothing"
        raise OSError(f"resolves to {shown}, which is not public; CALLREEL_WEBHOOK_ALLOW_PRIVATE=true allows it")
    failure: OSError = OSError("no address could be reached")
    for family, place in fit[:_ADDRESSES]:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(max(0.1, deadline_s - time.monotonic()))
            sock.connect(place)
            return sock
        except OSError as error:
            sock.close()
            failure = error
    raise failure


def _seconds(text: str) -> float:
    """`Retry-After`, in seconds or as a date (RFC 9110, 10.2.3); 0 where it is neither."""
    if text.isascii() and text.strip().isdigit() and len(text) < 10:
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0
