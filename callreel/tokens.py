"""Who may do what, said in a way nobody else can say it: tokens (JWT, HS256) and signed addresses of files.

One secret for both, but not one key: addresses are signed with a key derived from it, so that neither can be
turned into the other.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass
from typing import Literal, cast, get_args
from urllib.parse import quote

import jwt

from .errors import InvalidSettings, Unauthorized

Role = Literal["service", "host", "participant", "viewer"]
ROLES: tuple[Role, ...] = get_args(Role)

MIN_SECRET = 32  #: RFC 7518, 3.2: a key for HS256 has at least as many bits as the hash
SIGNED_FOR_S = 12 * 3600  #: how long a signed address works

#: Below these one signature covers everything: a player asks for hundreds of small files with the playlist's rights.
SIGNED_PREFIXES = ("hls/", "dash/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, as the token says."""

    subject: str
    call: str  #: the call id, or `*` for every call
    role: Role
    expires_s: float
    participant_id: str
    name: str = ""

    def may_enter(self, call_id: str) -> bool:
        return self.call in ("*", call_id)


def check_secret(secret: str) -> str:
    """Raises `InvalidSettings`."""
    if len(secret.encode()) < MIN_SECRET:
        raise InvalidSettings(
            f"CALLREEL_JWT_SECRET must be at least {MIN_SECRET} characters; got {len(secret)}. "
            "`openssl rand -base64 48` makes one."
        )
    return secret


def make_token(
    secret: str, *, call: str, role: str, sub: str, name: str = "", participant: str = "", ttl_s: float = 3600
) -> str:
    """A token as a backend makes it. Raises `ValueError` for a role that does not exist."""
    if role not in ROLES:
        raise ValueError(f"role must be one of {', '.join(ROLES)}; got {role!r}")
    claims: dict[str, object] = {"sub": sub, "call": call, "role": role, "exp": time.time() + ttl_s}
    claims.update({key: value for key, value in (("name", name), ("participant", participant)) if value})
    return jwt.encode(claims, check_secret(secret), algorithm="HS256")


def check_token(secret: str, token: str) -> Caller:
    """What a token says, if it is one of ours and still good. Raises `Unauthorized`."""
    try:
        claims = jwt.decode(
            token,
            secret,
            algorithms=["HS256"],  # never what the token itself names
            # a backend whose clock is ahead of ours makes tokens "issued" in the future; `exp` is what protects
            options={"require": ["exp", "sub", "call", "role"], "verify_iat": False},
        )
    except jwt.ExpiredSignatureError as error:
        raise Unauthorized("The token has expired; ask your backend for a new one.") from error
    except jwt.PyJWTError as error:
        raise Unauthorized(f"The token is not valid: {error}.") from error
    for claim in ("sub", "call", "role", "participant", "name"):
        if claim in claims and not isinstance(claims[claim], str):
            raise Unauthorized(f"The token is not valid: its claim '{claim}' must be a string.")
    if claims["role"] not in ROLES:
        raise Unauthorized(f"The token is not valid: role must be one of {', '.join(ROLES)}.")
    return Caller(
        subject=claims["sub"],
        call=claims["call"],
        role=cast(Role, claims["role"]),
        expires_s=float(claims["exp"]),
        participant_id=claims.get("participant") or claims["sub"],
        name=claims.get("name", "")[:200],  # a name is shown on a tile; nobody is called longer than this
    )


def file_path(call_id: str, recording_id: str, name: str) -> str:
    """The address of a file below the server's own."""
    return f"/video-calls/{call_id}/recording/{recording_id}/files/{quote(name)}"


def sign_file(secret: str, call_id: str, recording_id: str, name: str, *, now_s: float | None = None) -> str:
    """The address of a file that works without a token, for `SIGNED_FOR_S`."""
    query = signed_query(secret, call_id, recording_id, name, expires_from(now_s))
    return f"{file_path(call_id, recording_id, name)}?{query}"


def expires_from(now_s: float | None = None) -> int:
    """Until when an address works that is signed now, in seconds since 1970."""
    # Rounded up to five minutes: asking twice gives the same address, and a browser's cache finds what it has.
    return (int(time.time() if now_s is None else now_s) // 300 + 1) * 300 + SIGNED_FOR_S


def signed_query(secret: str, call_id: str, recording_id: str, name: str, expires_s: int) -> str:
    """What stands behind the `?` of a signed address."""
    signature = _signature(secret, call_id, recording_id, _scope(name), expires_s)
    return f"expires={expires_s}&signature={signature}"


def check_signed_file(
    secret: str, call_id: str, recording_id: str, name: str, expires: str, signature: str, *, now_s: float | None = None
) -> None:
    """Raises `Unauthorized`."""
    if not expires.isascii() or not expires.isdigit() or len(expires) > 12:
        raise Unauthorized("The address is not signed as it should be: `expires` is no number.")
    expected = _signature(secret, call_id, recording_id, _scope(name), int(expires))
    if not hmac.compare_digest(expected.encode(), signature.encode(errors="replace")):
        raise Unauthorized("The signature does not belong to this address.")
    if int(expires) <= (time.time() if now_s is None else now_s):
        raise Unauthorized("The signed address has expired; ask for the recording again.")


def _scope(name: str) -> str:
    return next((prefix for prefix in SIGNED_PREFIXES if name.startswith(prefix)), name)


def _signature(secret: str, call_id: str, recording_id: str, scope: str, expires_s: int) -> str:
    key = hmac.digest(secret.encode(), b"callreel signed file v1", hashlib.sha256)
    text = "\n".join((call_id, recording_id, scope, str(expires_s)))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
