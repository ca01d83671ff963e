"""What no single setting shows: values that cannot work together, and values that work and do harm.

A table of questions, each answered by nothing or by a sentence that says what to do. Asked once, where a process
starts; whoever was not asked may run on settings that are good for a test.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from itertools import pairwise
from math import lcm
from pathlib import PurePosixPath
from urllib.parse import SplitResult, urlsplit

from redis.connection import parse_url

from . import webhooks
from .errors import InvalidSettings
from .settings import Settings, load_settings
from .storage import Storage, open_storage
from .storage.local import LocalStorage
from .tokens import MIN_SECRET

log = logging.getLogger(__name__)

#: How long a frame of AAC lasts, and a picture at each rate; a window has to hold all of them whole: 8 s do.
_FRAMES_MS = (Fraction(1024 * 1000, 48_000), *(Fraction(1000, fps) for fps in (24, 25, 30, 50, 60)))
WINDOW_STEP_MS = lcm(*(frame.numerator for frame in _FRAMES_MS))
_WINDOW_MOST_MS = 8 * WINDOW_STEP_MS  #: a window is one job on one core; a minute of film is enough to lose at once

_FEWEST_LETTERS = 8  #: 32 random hexadecimal digits have fewer once in fifty thousand
#: What stands in examples, everywhere on the web.
_KNOWN_SECRETS = (
    "changeme",
    "change-me",
    "change_me",
    "password",
    "secretsecret",
    "your-256-bit",
    "example",
    "0123456",
)

#: Folders that are the system's, or are emptied by it.
_SYSTEM = {
    *("", "bin", "boot", "dev", "dev/shm", "etc", "home", "lib", "lib64", "media", "mnt", "opt", "proc", "root", "run"),
    *("sbin", "srv", "sys", "tmp", "usr", "usr/local", "var", "var/lib", "var/tmp"),
}

_PREFIX = "CALLREEL_"
_LIKE = 0.8  #: names as like as that are one name and a slip of the hand

_SHORTEST_TOKEN = 16

Check = Callable[[Settings], Iterator[str]]


def start_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings for a process that starts. Raises `InvalidSettings` with every sentence there is to say."""
    settings = load_settings()
    wrong = [sentence for check in CHECKS for sentence in check(settings)]
    for name, meant in unknown_names(environ).items():
        if meant:
            wrong.append(f"{name} is no setting; {meant} is. Correct the name, or remove it")
        else:
            log.warning("%s is no setting of this version, and ignored", name)
    if wrong:
        raise InvalidSettings("; ".join(wrong))
    return settings


def start_storage(settings: Settings) -> Storage:
    """The storage for a process that starts. Raises `StorageUnsupported`, `InvalidSettings`."""
    storage = open_storage(settings.storage, fsync=settings.fsync == "always")
    if isinstance(storage, LocalStorage):
        total_bytes = shutil.disk_usage(storage.root).total
        if settings.min_free_bytes >= total_bytes:
            raise InvalidSettings(
                f"CALLREEL_MIN_FREE_BYTES={settings.min_free_bytes}, but the whole disk of {storage.root} has "
                f"{total_bytes}: every chunk would be refused; lower it, or take a larger disk"
            )
    return storage


def unknown_names(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that look like settings and are none → what was meant, '' where nobody can tell."""
    known = [name.upper() for name in Settings.model_fields]
    asked = sorted(name for name in environ if name.upper().startswith(_PREFIX))
    found = {}
    for name in asked:
        word = name.upper().removeprefix(_PREFIX)
        if word not in known:
            like = difflib.get_close_matches(word, known, 1, _LIKE)
            found[name] = _PREFIX + like[0] if like else ""
    return found


def _metrics_token(settings: Settings) -> Iterator[str]:
    if settings.metrics_token and len(settings.metrics_token) < _SHORTEST_TOKEN:
        yield (
            f"CALLREEL_METRICS_TOKEN must have at least {_SHORTEST_TOKEN} characters; got "
            f"{len(settings.metrics_token)}. `openssl rand -base64 24` makes a good one"
        )


def _secret(settings: Settings) -> Iterator[str]:
    secret, name = settings.jwt_secret, "CALLREEL_JWT_SECRET"
    make = "`openssl rand -base64 48` makes a good one"
    if not secret:
        return  # who needs one refuses to start without
    if len(secret.encode()) < MIN_SECRET:
        yield f"{name} must be at least {MIN_SECRET} characters, got {len(secret)}; {make}"
    elif secret != secret.strip():
        yield f"{name} begins or ends with white space, which one process keeps and the next one does not; remove it"
    elif len(set(secret)) < _FEWEST_LETTERS or any(known in secret.lower() for known in _KNOWN_SECRETS):
        yield f"{name} can be guessed, and whoever has it may do everything; {make}"


def _redis(settings: Settings) -> Iterator[str]:
    name, url = "CALLREEL_REDIS_URL", settings.redis_url
    try:
        chosen = parse_url(url)  # type: ignore[no-untyped-call]  # redis-py has no types for it
    except ValueError as error:
        yield (
            f"{name} cannot be read ({str(error).splitlines()[0].rstrip('.')}); "
            "write redis://[:password@]host:6379/0, rediss://… for TLS, or unix:///path/to/socket"
        )
        return
    if url.startswith("unix:") and not str(chosen.get("path", "")).startswith("/"):
        yield f"{name} names no socket; write unix:///path/to/socket, with three slashes"
    if "decode_responses" in chosen:
        yield f"{name}: leave out decode_responses, the job queue needs answers as bytes"


def _storage(settings: Settings) -> Iterator[str]:
    name, parts = "CALLREEL_STORAGE", urlsplit(settings.storage)
    if parts.scheme != "file":
        return  # `open_storage` says which schemes there are
    path = PurePosixPath(parts.path)
    if parts.netloc or not path.is_absolute() or ".." in path.parts:
        yield f"{name}={settings.storage} is no absolute path; write file:///path, with three slashes and without `..`"
    elif parts.query or parts.fragment:
        yield f"{name}={settings.storage}: a path must not contain ? or #; name another folder"
    elif str(path).strip("/") in _SYSTEM:
        yield f"{name}={settings.storage} is a folder of the system's own; name one below it, as file:///var/lib/callreel"


def _public_url(settings: Settings) -> Iterator[str]:
    if settings.public_url and (wrong := _not_an_origin(settings.public_url)):
        yield (
            f"CALLREEL_PUBLIC_URL={_shown(settings.public_url)} {wrong}; "
            "write scheme, host and, where it is not the usual one, port, as https://callreel.example"
        )


def _origins(settings: Settings) -> Iterator[str]:
    name = "CALLREEL_CORS_ORIGINS"
    for origin in settings.origins:
        if "*" in origin:
            yield f"{name} must not contain {origin}: any page could call with its visitor's token; list each origin"
        elif wrong := _not_an_origin(origin):
            yield f"{name}: {_shown(origin)} {wrong}; write origins as browsers say them, as https://app.example:8443"
        elif (said := _as_browsers_say(urlsplit(origin))) != origin:
            yield f"{name}: browsers never say {origin}; write {said}"


def _not_an_origin(url: str) -> str:
    """What about an address is more, or less, than scheme, host and port; '' where nothing is."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"is no address ({error})"
    if parts.scheme not in ("http", "https"):
        return "does not begin with https:// or http://"
    if not re.fullmatch(r"[A-Za-z0-9.-]+|[0-9A-Fa-f:.]+", parts.hostname or "") or port == 0:
        return "names no host"
    if parts.username is not None or parts.password is not None:
        return "has a user name in it"
    if parts.path.strip("/") or parts.query or parts.fragment:
        return "has something behind the host"
    return ""


def _as_browsers_say(parts: SplitResult) -> str:
    """The serialisation of an origin (RFC 6454, 6.2): lower case, the scheme's own port left out."""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    usual = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port not in (None, usual) else "")


def _shown(url: str) -> str:
    """An address without the password that somebody wrote into it."""
    return re.sub(r"//[^/@]*@", "//…@", url)


def _times(settings: Settings) -> Iterator[str]:
    if settings.drain_s > settings.late_s:
        yield (
            f"CALLREEL_DRAIN_S={settings.drain_s:g} is longer than CALLREEL_LATE_S={settings.late_s:g}: stop would "
            "wait for chunks that are refused by then; make CALLREEL_LATE_S at least as long"
        )
    if settings.window_ms % WINDOW_STEP_MS or not WINDOW_STEP_MS <= settings.window_ms <= _WINDOW_MOST_MS:
        yield (
            f"CALLREEL_WINDOW_MS={settings.window_ms} does not hold whole sound frames and pictures; "
            f"take a multiple of {WINDOW_STEP_MS} up to {_WINDOW_MOST_MS}"
        )


def _sizes(settings: Settings) -> Iterator[str]:
    sizes = ("chunk_bytes", "track_bytes", "recording_bytes")
    for smaller, larger in pairwise(sizes):
        a, b = getattr(settings, smaller), getattr(settings, larger)
        if a > b:
            yield (
                f"CALLREEL_{smaller.upper()}={a} is more than CALLREEL_{larger.upper()}={b}, so it could never be "
                "reached; lower the first or raise the second"
            )
    if settings.min_free_bytes < settings.chunk_bytes:
        yield (
            f"CALLREEL_MIN_FREE_BYTES={settings.min_free_bytes} is less than one chunk may have "
            f"(CALLREEL_CHUNK_BYTES={settings.chunk_bytes}): the disk would be full before anybody is refused; "
            "raise the first or lower the second"
        )


#: Every question that is asked. The order is that of the sentences.
CHECKS: tuple[Check, ...] = (
    _secret,
    _metrics_token,
    _redis,
    _storage,
    _public_url,
    _origins,
    webhooks.wrong,
    _times,
    _sizes,
)
