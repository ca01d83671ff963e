"""Journals, remembered. Facts never change, so only those behind the last one known have to be read."""

from __future__ import annotations

import threading
from collections import OrderedDict

from callreel import journal
from callreel.journal import Fact
from callreel.model import Recording
from callreel.storage import Storage

_REMEMBERED = 256  #: recordings of one process that somebody looks at; some 100 kB each for a large call


class Journals:
    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._known: OrderedDict[str, tuple[Fact, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def facts(self, recording_id: str) -> tuple[Fact, ...]:
        """All facts so far, as the storage has them now."""
        with self._lock:
            known = self._known.get(recording_id, ())
        facts = known + tuple(journal.read(self._storage, recording_id, len(known)))
        with self._lock:
            if len(facts) > len(self._known.get(recording_id, ())):
                self._known[recording_id] = facts
                self._known.move_to_end(recording_id)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return facts

    def state(self, recording_id: str) -> Recording:
        """Raises `UnknownRecording`."""
        return journal.fold(recording_id, self.facts(recording_id))
