"""Who agreed to be recorded and who did not, and which tracks are therefore in no result. Pure, but for `say`.

A page that asks tells the answer as a fact of each track. Words are facts of the journal, so that their order is the
server's and a crash loses none. A no stands until a later yes, later by the client's clock and by the server's: a yes
that was long under way, or a clock that runs ahead, shall not bring back who has withdrawn.
"""

from __future__ import annotations

from collections.abc import Iterable

from . import journal
from .control import Control
from .errors import InvalidOption
from .journal import Draft
from .model import Recording, Word

OF_TRACK = 200  #: nobody changes their mind as often; each word is an object of the journal


def withheld(recording: Recording) -> frozenset[str]:
    """Ids of the tracks that are in no result: whose person does not agree, or said so of this very track."""
    if all(word.agreed for word in recording.words):
        return frozenset()
    return frozenset(
        track.track_id
        for participant in recording.participants
        for track in participant.tracks
        if _refused(word for word in recording.words if word.track_id == track.track_id)
        or _refused(word for word in recording.words if word.participant_id == participant.participant_id)
    )


def answer(recording: Recording, participant_id: str) -> tuple[bool, int] | None:
    """Whether somebody agrees, and when they said so last, the server's clock; None where nobody asked them."""
    said = [word for word in recording.words if word.participant_id == participant_id]
    return (not _refused(said), said[-1].told_ms) if said else None


def _refused(words: Iterable[Word]) -> bool:
    """Is there a no without a later yes? `words` in the order in which the server heard them."""
    noes: list[Word] = []
    for word in words:
        if word.agreed:
            noes = [no for no in noes if no.at_ms >= word.at_ms]
        else:
            noes.append(word)
    return bool(noes)


def say(control: Control, recording_id: str, track_id: str, fact_id: str, *, at_ms: int, agreed: bool) -> Recording:
    """Note what a track's person answered, `at_ms` on the client's clock; once for each `fact_id`.

    Raises `InvalidOption`.
    """

    def decide(state: Recording) -> Draft | None:
        journal.refuse_deleted(state)
        said = [word for word in state.words if word.track_id == track_id]
        if any(word.fact_id == fact_id for word in said):
            return None
        if len(said) >= OF_TRACK:
            detail = f"A track may have {OF_TRACK} words of consent; no more are kept."
            raise InvalidOption(detail, field="facts", limit=OF_TRACK)
        return "consent", {"trackId": track_id, "id": fact_id, "agreed": agreed, "clientMs": at_ms}

    return control.append(recording_id, decide)
