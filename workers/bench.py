"""What a job works with."""

from __future__ import annotations

from dataclasses import dataclass

from callreel.control import Control
from callreel.index import Index
from callreel.queue import Queue
from callreel.settings import Settings
from callreel.storage import Storage

from .due import Due
from .turns import Turns


@dataclass(frozen=True, slots=True)
class Bench:
    """What a job works with."""

    storage: Storage
    settings: Settings
    control: Control
    queue: Queue
    due: Due
    turns: Turns
    index: Index
