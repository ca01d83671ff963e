"""What forked processes do: each role is what a command line of Callreel runs."""

from __future__ import annotations

import socket

import uvicorn

from callreel import failpoints
from callreel.settings import load_settings
from ingest.app import create_app


def ingest(listener: socket.socket) -> None:
    """`uvicorn ingest.app:create_app --factory`."""
    config = uvicorn.Config(create_app(), log_level="critical", access_log=False, loop="uvloop", http="httptools")
    uvicorn.Server(config).run(sockets=[listener])


def arm() -> None:
    """What each command does when it starts."""
    failpoints.arm(load_settings().failpoints)
