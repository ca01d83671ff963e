"""More films of one recording: what can be asked for, checked field by field, and asking and taking back as facts."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from . import journal
from .control import Control
from .errors import InvalidOption, InvalidState, UnknownFile
from .journal import Draft
from .keys import is_id
from .layouts import check_layout
from .model import Artifact, Composition, Recording
from .outputs import DEFAULT, file_name, mime_type, resolve_output
from .profiles import profile
from .states import Status

#: Each is brought up to date with every late chunk.
MOST = 20
MOST_SLICES = 1000
LEAST_MS = 100  #: some pictures, and some frames of sound
#: Before that nobody knows how long it will be; of what failed there are no films.
COMPOSABLE = frozenset({Status.STOPPING, Status.PROCESSING, Status.COMPLETED})

_FIELDS = ("name", "layout", "preset", "output", "fromMs", "toMs", "participants", "tracks", "slices", "full")


@dataclass(frozen=True, slots=True)
class Compositions:
    """The calls of the contract about them."""

    control: Control

    def add(self, recording_id: str, asked: dict[str, Any], encoders: Collection[str] = ()) -> tuple[Recording, str]:
        """Ask for another film; hands back its name too. Said again it is the same one.

        Raises `InvalidState` where the recording still runs or has failed, `InvalidOption` naming the field.
        """

        def decide(state: Recording) -> Draft | None:
            journal.refuse_deleted(state)
            if state.status not in COMPOSABLE:
                detail = (
                    f"Films are made of a recording that has been stopped and has not failed; it is {state.status}."
                )
                raise InvalidState(detail, statusNow=state.status)
            wanted = check(state, asked, encoders)
            for known in state.compositions:
                if known.name == wanted.name and _said(known) == _said(wanted):
                    return None
            _refuse_clash(state, wanted.name)
            pending = Artifact(
                name=wanted.file, kind="composition", status="pending", mime_type=mime_type(wanted.output)
            )
            return "composition_added", {"composition": _said(wanted), "artifact": asdict(pending)}

        return self.control.append(recording_id, decide), str(asked.get("name"))

    def remove(self, recording_id: str, name: str) -> Recording:
        """Take a film back. Raises `UnknownFile`."""

        def decide(state: Recording) -> Draft | None:
            journal.refuse_deleted(state)
            if all(known.name != name for known in state.compositions):
                raise UnknownFile(f"Recording {recording_id} has no composition {name!r}.")
            return "composition_removed", {"name": name}

        return self.control.append(recording_id, decide)


def check(state: Recording, asked: dict[str, Any], encoders: Collection[str] = ()) -> Composition:
    """What was asked for of this recording, resolved. Raises `InvalidOption` naming the field."""
    for field in asked:
        _that(field in _FIELDS, field, f"is no field of a composition; known are {', '.join(_FIELDS)}", asked[field])
    name = asked.get("name")
    _that(is_id(name), "name", "must be 1 to 64 of A-Z a-z 0-9 _ -", name)
    preset = asked.get("preset", state.options.preset)
    profile(preset)
    output = asked.get("output", {"container": "mp4"})
    _that(isinstance(output, dict), "output", "must be an object", output)
    for field in ("name", "trackId"):
        _that(field not in output, f"output.{field}", "is said beside it, as name and tracks", output.get(field))
    resolved = resolve_output(preset, {"name": name, **output}, "output", encoders)
    from_ms, to_ms = _span(asked, "", 0, state.duration_ms)
    _that(to_ms - from_ms >= LEAST_MS, "toMs", f"must lie at least {LEAST_MS} ms behind fromMs", asked.get("toMs"))
    layout = asked.get("layout")
    participants, tracks = _there(state, asked)
    full = asked.get("full", False)
    _that(isinstance(full, bool), "full", "must be true or false", full)
    return Composition(
        name=str(name),
        layout=None if layout is None else check_layout(layout),
        preset=preset,
        output=resolved,
        from_ms=from_ms,
        to_ms=to_ms,
        participants=participants,
        tracks=tracks,
        slices=tuple(_slices(asked.get("slices", []), from_ms, to_ms)),
        file=file_name(resolved),
        full=full,
    )


def _said(composition: Composition) -> dict[str, Any]:
    """What was asked for, as a fact has it; nothing of what became of it."""
    return {name: value for name, value in asdict(composition).items() if name not in _BECAME}


_BECAME = ("asked_ms", "build", "made_of", "left_out")


def _refuse_clash(state: Recording, name: str) -> None:
    taken = [output["name"] for output in state.options.outputs or (DEFAULT,)]
    taken += [each.name for each in state.compositions]
    # not every file system tells cases apart
    free = name.lower() not in {other.lower() for other in taken}
    _that(free, "name", "is the name of another film of this recording", name)
    if len(state.compositions) >= MOST:
        detail = f"A recording may have {MOST} compositions; delete one of them."
        raise InvalidOption(detail, field="name", limit=MOST)


def _span(asked: dict[str, Any], place: str, least_ms: int, most_ms: int) -> tuple[int, int]:
    """`fromMs` and `toMs` of an object, within bounds; these where they are not said."""
    found = []
    for field, usual in (("fromMs", least_ms), ("toMs", most_ms)):
        value = asked.get(field, usual)
        whole = isinstance(value, int) and not isinstance(value, bool)  # True is an int to Python
        within = whole and least_ms <= value <= most_ms
        _that(within, place + field, f"must be whole milliseconds from {least_ms} to {most_ms}", value)
        found.append(int(value))
    from_ms, to_ms = found
    _that(from_ms < to_ms, f"{place}toMs", f"must lie behind fromMs, which is {from_ms}", to_ms)
    return from_ms, to_ms


def _there(state: Recording, asked: dict[str, Any]) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Who and what is to be in it, all of whom were in the recording; None where it is not said."""
    people = [who.participant_id for who in state.participants]
    participants = _named(asked.get("participants"), "participants", people)
    # what is named beside people must be theirs: a film of Ada with the camera of Bob has nothing in it
    theirs = [t.track_id for t in state.tracks() if participants is None or t.participant_id in participants]
    return participants, _named(asked.get("tracks"), "tracks", theirs)


def _named(value: Any, field: str, known: list[str]) -> tuple[str, ...] | None:
    if value is None:
        return None
    _that(isinstance(value, list) and 1 <= len(value) <= 1000, field, "must be a list of 1 to 1000 ids", value)
    for number, item in enumerate(value):
        there = isinstance(item, str) and item in known
        _that(
            there, f"{field}[{number}]", "is nobody's and nothing's id in this recording, or not of these people", item
        )
    return tuple(each for each in known if each in value)  # the order in which they are named means nothing


def _slices(value: Any, from_ms: int, to_ms: int) -> Iterable[dict[str, Any]]:
    fits = isinstance(value, list) and len(value) <= MOST_SLICES
    _that(fits, "slices", f"must be a list of at most {MOST_SLICES} slices", value)
    found: list[dict[str, Any]] = []
    for number, item in enumerate(value):
        place = f"slices[{number}]"
        _that(isinstance(item, dict), place, "must be an object", item)
        for field in item:
            known = ("fromMs", "toMs", "layout")
            _that(
                field in known, f"{place}.{field}", f"is no field of a slice; known are {', '.join(known)}", item[field]
            )
        a_ms, b_ms = _span(item, f"{place}.", from_ms, to_ms)
        found.append({"fromMs": a_ms, "toMs": b_ms, "layout": check_layout(item.get("layout"), f"{place}.layout")})
    for number, (before, behind) in enumerate(pairwise(found), 1):
        fits = before["toMs"] <= behind["fromMs"]
        _that(fits, f"slices[{number}].fromMs", f"must not lie before {before['toMs']}, the end of the one before it",
              behind["fromMs"])  # fmt: skip
    return found


def _that(fits: bool, field: str, otherwise: str, got: object) -> None:
    if not fits:
        raise InvalidOption(f"{field} {otherwise}; got {got!r:.60}.", field=field)
