"""The command line: what a person types. Each command is a few lines around something that others call too."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from . import __version__, failpoints, up
from . import rebuild as rebuilding
from .checks import start_settings, start_storage
from .embedded import index_url, start_index, wait_for_index
from .errors import CallreelError, Unavailable
from .folder import DataFolder, data_folder
from .index import Index, connect
from .keys import check_id
from .settings import Settings
from .tokens import ROLES, make_token

app = typer.Typer(
    name="callreel", help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)

Data = Annotated[Path, typer.Option("--data", help="Folder of recordings, secret and index.")]
_DATA = Path("callreel-data")


def _cores() -> int:
    """Cores that this process may use; in a container fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Errors as one line and exit code 1."""
    try:
        yield
    except CallreelError as error:
        Console(stderr=True).print(f"callreel: {error.detail}", style="red", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error


@contextlib.contextmanager
def _settings(folder: DataFolder) -> Iterator[Settings]:
    """The settings of a folder, with an index server: the one that runs, or one for as long as the block lasts."""
    folder.make()
    os.environ.update(folder.environment())
    settings = start_settings()
    failpoints.arm(settings.failpoints)
    with contextlib.ExitStack() as stack:
        if settings.redis_url == index_url(folder.index):
            try:
                wait_for_index(settings.redis_url, timeout_s=0)
            except Unavailable:
                stack.enter_context(folder.locked())
                stack.enter_context(start_index(folder.index))
        yield settings


def _existing(data: Path) -> DataFolder:
    """The folder to look into, which must be there: a mistyped one would be made, found empty, and found right."""
    if "CALLREEL_STORAGE" not in os.environ and not data.is_dir():
        raise typer.BadParameter(f"there is no folder {data}; name the one that `callreel up` was given with --data")
    return data_folder(data)


@app.command("up")
def start(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 3000,
    data: Data = _DATA,
    workers: Annotated[int | None, typer.Option(min=1, help="Worker processes; by default one for each core.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Certificate, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Its key, PEM.")] = None,
    verbose: Annotated[bool, typer.Option(help="Print more than warnings.")] = False,
) -> None:
    """Run everything on this machine until SIGINT or SIGTERM."""
    with _told():
        up.run(
            up.Choices(
                folder=data_folder(data),
                host=host,
                port=port,
                workers=workers or _cores(),
                tls_cert=tls_cert,
                tls_key=tls_key,
                verbose=verbose,
            )
        )


@app.command()
def token(
    call: Annotated[str, typer.Option(help="Call id, or * for every call.")],
    role: Annotated[str, typer.Option(help=f"One of {', '.join(ROLES)}.")],
    sub: Annotated[str, typer.Option(help="Whom it is for; a participant's id.")],
    name: Annotated[str, typer.Option(help="What the film shows.")] = "",
    ttl: Annotated[int, typer.Option(min=1, help="Seconds until it expires.")] = 3600,
    data: Data = _DATA,
) -> None:
    """Print a token (JWT)."""
    with _told():
        secret = data_folder(data).secret()
        try:
            if call != "*":
                check_id(call, "call")
            print(make_token(secret, call=call, role=role, sub=sub, name=name, ttl_s=ttl))
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error


@app.command()
def check(data: Data = _DATA) -> None:
    """Compare index and storage; print what does not agree, and exit with 1 if anything does not."""
    with _told(), _settings(_existing(data)) as settings:
        index = Index(connect(settings.redis_url))
        found = rebuilding.check(index, start_storage(settings))
    for sentence in found:
        print(sentence)
    if found:
        raise typer.Exit(1)
    print("Index and storage agree.")


@app.command()
def rebuild(data: Data = _DATA) -> None:
    """Make the index anew from the storage. Uploads are refused for the moment that takes, and come again."""
    with _told(), _settings(_existing(data)) as settings:
        index = Index(connect(settings.redis_url))
        storage = start_storage(settings)
        if not rebuilding.rebuild(index, storage, force=True):
            raise Unavailable("The index is being made anew already.")
    print("The index was made anew.")


@app.command()
def sweep() -> None:
    """Look after deadlines, late windows and lost jobs. Any number may run; one leads."""
    _become("workers.sweep")


@app.command()
def smoke(
    url: Annotated[str, typer.Option(help="Where the deployment is, as https://callreel.example.")],
    token: Annotated[
        str, typer.Option(help="A service's token, or a host's: then both people are tracks of the host.")
    ],
    call: Annotated[str, typer.Option(help="Call id; by default the token's, for `*` a new one.")] = "",
    seconds: Annotated[int, typer.Option(min=3, max=60, help="How long the call is.")] = 5,
    timeout: Annotated[int, typer.Option(min=1, help="Seconds to wait for the film.")] = 120,
    keep: Annotated[bool, typer.Option("--keep", help="Do not delete the recording when all is well.")] = False,
) -> None:
    """Hold a call of two synthetic people against any deployment and look at the film; exit with 1 if none comes.

    Start, upload, film and deletion use the HTTP interface alone, as browsers and backends do.
    """
    asked = {"--url": url, "--token": token, "--call": call, "--seconds": seconds, "--timeout-s": timeout}
    _become("workers.smoke", *(f"{option}={value}" for option, value in asked.items()), *(["--keep"] if keep else []))


def _become(module: str, *arguments: str) -> NoReturn:
    """The shells are started from here, never imported."""
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])  # noqa: S606  # no shell is what we want


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


if __name__ == "__main__":
    app()
