"""A recording as the contract tells it, with what only the index knows: for answers, events and webhooks alike."""

from __future__ import annotations

from . import have, tokens, wire
from .errors import Unavailable
from .index import Index
from .model import Recording
from .repository import load
from .settings import Settings
from .storage import Storage
from .streams import with_streams


def describe(state: Recording, index: Index, storage: Storage, sign: wire.Sign) -> wire.Json:
    """The whole recording; from the storage alone where the index cannot help."""
    track_ids = [track.track_id for track in state.tracks()]
    try:
        here = index.have(state.recording_id, track_ids)
        progress = index.progress(state.recording_id)
    except Unavailable:
        here, progress = have.of_recording(load(storage, state.recording_id)), 0.0
    return wire.recording(with_streams(storage, state), here, progress, sign)


def address(settings: Settings, state: Recording, name: str) -> str:
    """A file's signed address; absolute where the settings say what this server is called."""
    path = tokens.sign_file(settings.jwt_secret, state.call_id, state.recording_id, name)
    return settings.public_url.rstrip("/") + path
