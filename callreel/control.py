"""Starting, stopping and describing recordings: what a backend can make happen. Every step is one fact.

Functions here are synchronous and durable when they return; each tells the index afterwards, which may be lost.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol

from . import journal, keys, rooms
from .errors import (
    CallClosed,
    InvalidOption,
    NoActiveRecording,
    NotYourTrack,
    ParticipantRemoved,
    RecordingActive,
    UnknownRecording,
    UnknownTrack,
)
from .failpoints import failpoint
from .journal import Draft, Fact
from .layouts import check_layout
from .model import KINDS, SOURCES, Recording
from .options import check_options
from .rooms import Room
from .states import ACTIVE, Status
from .storage import Storage


def now_ms() -> int:
    """The server's clock. The only one that decides anything."""
    return time.time_ns() // 1_000_000


class Observer(Protocol):
    """Who wants to know of facts once they are durable: the index."""

    def noted(self, recording: Recording, fact: Fact | None) -> None:
        """A fact was written; may be told twice. None: nothing new, but whoever wrote the last may not have told."""


#: A browser has a handful, and a new one after every reload; a call of a hundred people has room for ten of each. Every
#: fact is read again at every append, so what has no end here would slow down a whole call.
TRACKS_OF_PARTICIPANT, TRACKS_OF_RECORDING = 64, 1000
LAYOUTS_OF_RECORDING = 1000


@dataclass(frozen=True, slots=True)
class Control:
    """The calls of the contract that change a recording, over one storage."""

    storage: Storage
    observer: Observer
    clock_ms: Callable[[], int] = now_ms

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────
    def state(self, recording_id: str) -> Recording:
        """The journal's fold, without chunks. Raises `UnknownRecording`."""
        return journal.fold(recording_id, journal.read(self.storage, recording_id))

    def ids_of(self, call_id: str) -> list[str]:
        """The call's recordings, oldest first."""
        slots = [entry.key for entry in self.storage.list(keys.call_prefix(call_id))]
        return [self._slot(key)["recordingId"] for key in slots]

    def active(self, call_id: str) -> Recording:
        """The recording that is running or paused. Raises `NoActiveRecording`."""
        latest = self.latest(call_id)
        if latest is None or latest.status not in ACTIVE:
            raise NoActiveRecording(f"Nothing is being recorded in call {call_id}.")
        return latest

    # ── the recording ────────────────────────────────────────────────────────────────────────────────────────────────
    def start(
        self, call_id: str, by: str, options: dict[str, Any], encoders: Collection[str] = (), key: str = ""
    ) -> Recording:
        """Begin a recording; one that was begun with the same `key` is handed back instead.

        `encoders` are the codecs that workers can encode; none where no worker has told.
        Raises `RecordingActive` with its id, `InvalidOption` naming the field, `CallClosed`.
        """
        chosen = check_options(options, encoders)
        while True:
            room = rooms.read(self.storage, call_id)
            if key and (begun := self._begun_with(call_id, key)):
                return begun
            if room.closed_ms is not None:
                raise CallClosed(f"Call {call_id} was closed; DELETE …/close opens it again.")
            number = len(list(self.storage.list(keys.call_prefix(call_id))))
            latest = self.latest(call_id)
            if latest is not None and latest.status in ACTIVE:
                if key and (begun := self._begun_with(call_id, key)):
                    return begun  # between the first look and this one the same was said, and was quicker
                raise RecordingActive(
                    f"Call {call_id} is being recorded already; stop that first.", recordingId=latest.recording_id
                )
            at_ms = self.clock_ms()
            if latest is not None and at_ms <= latest.started_ms:  # ids are made of the instant and must differ
                at_ms = latest.started_ms + 1
            recording_id = keys.recording_id(call_id, at_ms)
            slot = {
                "recordingId": recording_id,
                "atMs": at_ms,
                "key": key,
                "data": {"callId": call_id, "startedBy": _writable(by), "removed": sorted(room.removed), **chosen},
            }
            body = json.dumps(slot, sort_keys=True, ensure_ascii=False).encode()
            if self.storage.put_if_absent(keys.call_slot(call_id, number), body):
                failpoint("control.slot")
                begun = self._begin(slot)
                now = rooms.read(self.storage, call_id)
                if now.sequence == room.sequence:
                    return begun
                begun = self.obey(begun, now)  # somebody decided about the call while we began
                if now.closed_ms is not None:
                    raise CallClosed(f"Call {call_id} was closed; DELETE …/close opens it again.")
                return begun

    def obey(self, recording: Recording, room: Room) -> Recording:
        """Make a recording follow what was decided about its call; hands back its state behind that."""
        if recording.status in (Status.DELETING, Status.DELETED):
            return recording
        for participant_id in sorted(room.removed.keys() - recording.removed):

            def remove(state: Recording, participant_id: str = participant_id) -> Draft | None:
                known = participant_id in state.removed
                return None if known else ("participant_removed", {"participantId": participant_id})

            recording = self._append(recording.recording_id, remove)
        if room.closed_ms is not None:
            recording = self._append(
                recording.recording_id,
                lambda state: ("stopped", {"reason": "closed"}) if state.status in ACTIVE else None,
            )
        return recording

    def stop(self, call_id: str, reason: str = "host") -> Recording:
        """End the call's recording; once more gives the same answer. Raises `NoActiveRecording`."""
        latest = self.latest(call_id)
        if latest is None or latest.status in (Status.DELETING, Status.DELETED):
            raise NoActiveRecording(f"Nothing is being recorded in call {call_id}.")

        def decide(state: Recording) -> Draft | None:
            return ("stopped", {"reason": reason}) if state.stopped_ms is None else None

        return self._append(latest.recording_id, decide)

    def pause(self, call_id: str) -> Recording:
        """From now on nothing belongs to the call's recording. Raises `NoActiveRecording`, `InvalidState`."""
        return self._step(call_id, "paused")

    def resume(self, call_id: str) -> Recording:
        """Go on with a paused recording. Raises `NoActiveRecording`, `InvalidState`."""
        return self._step(call_id, "resumed")

    def change_layout(self, call_id: str, layout: object) -> Recording:
        """From now on the call's recording is arranged like this. Raises `NoActiveRecording`, `InvalidOption`."""
        chosen = check_layout(layout)

        def decide(state: Recording) -> Draft | None:
            _refuse_stopped(state)
            if len(state.layouts) >= LAYOUTS_OF_RECORDING:
                detail = f"The layout of a recording can be changed {LAYOUTS_OF_RECORDING} times."
                raise InvalidOption(detail, field="layout", limit=LAYOUTS_OF_RECORDING)
            return None if state.layout == chosen else ("layout_changed", {"layout": chosen})

        return self._append(self.active(call_id).recording_id, decide)

    def delete(self, recording_id: str) -> Recording:
        """Give a recording to deletion, whatever its state; what runs is stopped first. Raises `UnknownRecording`."""

        def stop(state: Recording) -> Draft | None:
            return ("stopped", {"reason": "host"}) if state.status in ACTIVE else None

        def decide(state: Recording) -> Draft | None:
            if state.status is Status.DELETED:
                raise UnknownRecording(f"Recording {recording_id} was deleted.")
            return None if state.status is Status.DELETING else ("delete_requested", {})

        self._append(recording_id, stop)
        return self._append(recording_id, decide)

    # ── tracks ───────────────────────────────────────────────────────────────────────────────────────────────────────
    def put_track(
        self, recording_id: str, track_id: str, participant_id: str, name: str, source: str, kind: str, label: str
    ) -> tuple[Recording, bool]:
        """Announce a track; True if it is new. Raises `NotYourTrack`, `InvalidOption`."""
        if source not in SOURCES:
            raise InvalidOption(f"source must be one of {', '.join(SOURCES)}; got {source!r}.", field="source")
        if kind not in KINDS:
            raise InvalidOption(f"kind must be one of {', '.join(KINDS)}; got {kind!r}.", field="kind")
        new = False

        def decide(state: Recording) -> Draft | None:
            nonlocal new
            journal.refuse_deleted(state)
            refuse_removed(state, participant_id)
            known = state.track(track_id)
            new = known is None
            if known is not None:
                if known.participant_id != participant_id:
                    raise NotYourTrack(f"Track {track_id} belongs to another participant; choose another id.")
                return None
            _refuse_more_tracks(state, participant_id)
            return "track_added", {
                "trackId": track_id,
                "participantId": participant_id,
                "name": _writable(name or label or participant_id),
                "source": source,
                "kind": kind,
                "label": _writable(label),
            }

        return self._append(recording_id, decide), new

    def complete_track(
        self, recording_id: str, track_id: str, segments: list[dict[str, int]], reason: str
    ) -> Recording:
        """Note what the client says it sent: `[{seg, chunks, bytes}]`. Later words replace earlier ones.

        Raises `UnknownTrack`.
        """
        in_order = sorted(segments, key=lambda item: item["seg"])
        body = {"trackId": track_id, "segments": in_order, "reason": _writable(reason)}

        def decide(state: Recording) -> Draft | None:
            journal.refuse_deleted(state)
            track = state.track(track_id)
            if track is None:
                raise UnknownTrack(f"Track {track_id} of {recording_id} was not announced; PUT it first.")
            said = [(segment.seg, segment.expected_chunks) for segment in track.segments]
            if track.complete and said == [(item["seg"], item["chunks"]) for item in in_order]:
                return None
            return "track_completed", body

        return self._append(recording_id, decide)

    # ── how ──────────────────────────────────────────────────────────────────────────────────────────────────────────
    def append(self, recording_id: str, decide: Callable[[Recording], Draft | None]) -> Recording:
        """Any other fact; for the workers and the sweeper."""
        return self._append(recording_id, decide)

    def _append(self, recording_id: str, decide: Callable[[Recording], Draft | None]) -> Recording:
        state, fact = journal.append(self.storage, recording_id, decide, at_ms=self.clock_ms())
        self.observer.noted(state, fact)  # also where it was said already: that process may have died before this line
        return state

    def _step(self, call_id: str, fact_type: str) -> Recording:
        """A fact about the recording that runs, if there is one and its state allows it."""

        def decide(state: Recording) -> Draft | None:
            _refuse_stopped(state)
            return fact_type, {}

        return self._append(self.active(call_id).recording_id, decide)

    def latest(self, call_id: str) -> Recording | None:
        """The recording of the call that was begun last."""
        last = None
        for entry in self.storage.list(keys.call_prefix(call_id)):
            last = entry.key
        return None if last is None else self._begin(self._slot(last))

    def _begun_with(self, call_id: str, key: str) -> Recording | None:
        slots = [self._slot(entry.key) for entry in self.storage.list(keys.call_prefix(call_id))]
        return next((self._begin(slot) for slot in slots if slot.get("key") == key), None)

    def _slot(self, key: str) -> dict[str, Any]:
        slot: dict[str, Any] = json.loads(self.storage.get(key))
        return slot

    def _begin(self, slot: dict[str, Any]) -> Recording:
        """The recording of a slot; its first fact is written again where a crash came between the two."""
        recording_id = slot["recordingId"]
        facts = journal.read(self.storage, recording_id)
        if not facts:
            fact = Fact(sequence=1, type="started", at_ms=slot["atMs"], data=slot["data"])
            new = self.storage.put_if_absent(keys.journal_fact(recording_id, 1), journal.encode(fact))
            failpoint("control.started")
            facts = journal.read(self.storage, recording_id)
            if new:
                self.observer.noted(journal.fold(recording_id, facts[:1]), fact)
        return journal.fold(recording_id, facts)


def _refuse_stopped(state: Recording) -> None:
    """Was it stopped since somebody looked? Raises `NoActiveRecording`."""
    if state.status not in ACTIVE:
        raise NoActiveRecording(f"Nothing is being recorded in call {state.call_id}.")


def refuse_removed(state: Recording, participant_id: str) -> None:
    """Raises `ParticipantRemoved`."""
    if participant_id in state.removed:
        raise ParticipantRemoved(f"Participant {participant_id} was removed from call {state.call_id}.")


def _refuse_more_tracks(state: Recording, participant_id: str) -> None:
    """Is there room for one more? Raises `InvalidOption`."""
    owners = [track.participant_id for track in state.tracks()]
    for whose, count, limit in (
        ("A participant", owners.count(participant_id), TRACKS_OF_PARTICIPANT),
        ("A recording", len(owners), TRACKS_OF_RECORDING),
    ):
        if count >= limit:
            raise InvalidOption(
                f"{whose} may have {limit} tracks; use one of those again.", field="trackId", limit=limit
            )


def _writable(text: str) -> str:
    """A text that can be written as UTF-8: JSON may bring halves of surrogate pairs, which would choke every reader."""
    return text.encode("utf-8", "replace").decode()
