"""The data folder of one machine: recordings, the secret, and the environment that every process on it needs.

`callreel.env` holds addresses and the operator's own lines, never the secret: it is there to be sourced and copied.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .embedded import index_url
from .errors import InvalidSettings

_OURS = ("CALLREEL_REDIS_URL", "CALLREEL_STORAGE")
_HEAD = "# Source this for one more process of this Callreel. The first lines are written anew by `callreel up`.\n"


@dataclass(frozen=True, slots=True)
class DataFolder:
    """A folder that `callreel up --data` was, or will be, pointed at."""

    path: Path

    @property
    def index(self) -> Path:
        """Where the embedded index server keeps its files."""
        return self.path / "index"

    @property
    def env_file(self) -> Path:
        return self.path / "callreel.env"

    def make(self) -> None:
        """Raises `InvalidSettings`."""
        if {"?", "#"} & set(str(self.path)):  # they end the path of a file:// address
            raise InvalidSettings(f"The data folder's name must not contain ? or #; got {self.path}.")
        try:
            self.index.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidSettings(f"The data folder {self.path} cannot be made: {error.strerror}.") from error

    def secret(self, environ: Mapping[str, str] = os.environ) -> str:
        """The key of tokens: the environment's, else the folder's. Raises `InvalidSettings` where there is none."""
        if given := environ.get("CALLREEL_JWT_SECRET"):
            return given
        try:
            return (self.path / "secret").read_text().strip()
        except FileNotFoundError as error:
            raise InvalidSettings(
                f"There is no secret in {self.path}; say --data as with `callreel up`, or set CALLREEL_JWT_SECRET."
            ) from error

    def make_secret(self) -> None:
        """A new secret, if there is none; readable by its owner alone from the first moment on."""
        with contextlib.suppress(FileExistsError):
            fd = os.open(self.path / "secret", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "w") as file:
                file.write(secrets.token_urlsafe(48) + "\n")

    def environment(self, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
        """What a process of this folder runs with: the environment, then the folder's file, then this machine's own."""
        found = {
            "CALLREEL_REDIS_URL": index_url(self.index),
            "CALLREEL_STORAGE": f"file://{self.path}",
            **{name: value for name, value in self._file().items() if name not in _OURS},
        }
        return {**found, **environ}

    def write_environment(self, env: Mapping[str, str]) -> None:
        """Write `callreel.env`; the operator's own lines stay."""
        kept = {name: value for name, value in self._file().items() if name not in _OURS}
        lines = [
            f"{name}={shlex.quote(value)}\n" for name, value in ({name: env[name] for name in _OURS} | kept).items()
        ]
        temporary = self.env_file.with_suffix(".new")
        # an index server's address may hold its password
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(_HEAD + "".join(lines))
        temporary.replace(self.env_file)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Only one `callreel up` per folder. Raises `InvalidSettings`."""
        with open(self.index / "lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InvalidSettings(
                    f"Another `callreel up` runs on {self.path}; stop it, or use another --data."
                ) from error
            yield

    def _file(self) -> dict[str, str]:
        if not self.env_file.exists():
            return {}
        words = shlex.split(self.env_file.read_text(), comments=True)
        return dict(word.split("=", 1) for word in words if "=" in word)


def data_folder(path: Path) -> DataFolder:
    return DataFolder(path.expanduser().resolve())
