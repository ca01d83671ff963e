"""The states of a recording and the one table that says which fact leads from which to which."""

from __future__ import annotations

from enum import StrEnum

from .errors import InvalidState


class Status(StrEnum):
    RECORDING = "recording"
    PAUSED = "paused"
    STOPPING = "stopping"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    DELETING = "deleting"
    DELETED = "deleted"


ACTIVE = frozenset({Status.RECORDING, Status.PAUSED})  #: only these block another start
FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.DELETED})  #: nobody has to look after these

_R, _P, _S, _W, _C, _F, _D, _X = Status

#: fact → {state before: state after}. A fact that is not here leaves the state as it is.
TRANSITIONS: dict[str, dict[Status, Status]] = {
    "paused": {_R: _P},
    "resumed": {_P: _R},
    "stopped": {_R: _S, _P: _S},
    "drained": {_S: _W},
    "completed": {_W: _C},
    "updated": {_C: _C, _F: _C},
    "failed": {_W: _F},
    "delete_requested": {_R: _D, _P: _D, _S: _D, _W: _D, _C: _D, _F: _D},
    "deleted": {_D: _X},
}


def after(status: Status, fact_type: str) -> Status:
    """The state after a fact. Raises `InvalidState` where the table has no such step."""
    steps = TRANSITIONS.get(fact_type)
    if steps is None:
        return status
    if status not in steps:
        allowed = ", ".join(sorted(steps))
        detail = f"'{fact_type}' needs a recording that is {allowed}; this one is {status}."
        raise InvalidState(detail, statusNow=status)
    return steps[status]
