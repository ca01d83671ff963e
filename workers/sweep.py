"""Somebody who looks: every state that is not final has a deadline, and this is who notices.

Any number may run, one leads by a lease. Nothing here decides what a recording is: it asks for `advance`, which does,
and everything it does may be done twice.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import structlog
from redis import RedisError

from callreel import failpoints, journal, keys, metrics, owed, rebuild, rooms
from callreel.checks import start_settings, start_storage
from callreel.control import Control, now_ms
from callreel.errors import CallreelError
from callreel.failpoints import failpoint
from callreel.index import Index, OpenRecording, connect
from callreel.journal import Draft
from callreel.logs import configure_logs
from callreel.model import Recording
from callreel.queue import Queue
from callreel.rolling import ENDING_MS
from callreel.settings import Settings
from callreel.states import ACTIVE, FINAL, Status
from callreel.storage import Storage
from callreel.storage.local import LocalStorage

log = logging.getLogger(__name__)

TICK_S = 1.0
_LEASE_MS = 5000  #: how long a sweeper that died goes on leading
_RECOVER_S = 1.0  #: how often lost jobs are looked for: a few short questions
_CLEAN_S = 600.0
_TIDY_AGAIN_MS = 60_000  #: it plans the whole recording, and waits only where that is being made anew
_REFRESH_S = 30.0  #: how long the index may not know what a process wrote that died before it could tell
_LITTER_S = 6 * 3600  #: no upload or render writes nothing to its file for so long

#: A job that ends asks for the next step itself, so this only matters where one was lost: soon first, then rarely.
_FIRST_AGAIN_MS, _LAST_AGAIN_MS = 2000, 15_000
_LEAD_OUT_MS = 200  #: what the encoder wants behind a window, and a little

_RENEW = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"


@dataclass(slots=True)
class Sweeper:
    """One `tick` looks once."""

    settings: Settings
    storage: Storage
    index: Index
    queue: Queue
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    _asked: dict[str, tuple[Status, int, int]] = field(
        default_factory=dict
    )  #: id → status, when asked, pause until again
    _rests_until_ms: dict[str, int] = field(default_factory=dict)  #: id → not looked after before; what cannot be read
    _tidies: dict[str, int] = field(default_factory=dict)  #: id → not asked to tidy up before
    _rolled: dict[str, int] = field(
        default_factory=dict
    )  #: id → windows that were asked for; pauses only make it early
    _noted: set[str] = field(default_factory=set)  #: slots of calls whose recording the index knows for certain
    _refreshed_s: float = -_REFRESH_S
    _recovered_s: float = 0.0
    _cleaned_s: float = 0.0

    def leads(self) -> bool:
        """Is this the one sweeper that works? Has to be asked more often than the lease lasts."""
        return bool(self.index.redis.eval(_RENEW, 1, keys.SWEEP_LEASE, self.token, _LEASE_MS))

    def resign(self) -> None:
        self.index.redis.eval(_RELEASE, 1, keys.SWEEP_LEASE, self.token)

    def tick(self) -> None:
        """Raises `CallreelError`, `RedisError`: the next tick tries again."""
        if not self.leads():
            return
        failpoint("sweep.leads")
        monotonic_s = time.monotonic()
        if monotonic_s - self._recovered_s >= _RECOVER_S:
            self._recovered_s = monotonic_s
            self.queue.recover()
            failpoint("sweep.recovered")
        if monotonic_s - self._cleaned_s >= _CLEAN_S:
            self._cleaned_s = monotonic_s
            clean_litter(self.storage)
        if not rebuild.ensure(self.index, self.storage):
            return  # somebody is at it
        rebuild.settle(self.index, self.storage)
        failpoint("sweep.settled")
        if monotonic_s - self._refreshed_s >= _REFRESH_S:
            self._refresh()
            self._refreshed_s = monotonic_s
        found = self.index.open_recordings()
        for recording in found:
            with self._alone(recording.recording_id) as rests:
                if not rests:
                    self._look_after(recording)
        self._tidy()
        owed.ask(owed.Owed(self.index.redis), self.settings, self.queue, now_ms())
        ids = {recording.recording_id for recording in found}
        self._asked = {each: asked for each, asked in self._asked.items() if each in ids}
        self._rolled = {each: window for each, window in self._rolled.items() if each in ids}
        self._rests_until_ms = {each: until for each, until in self._rests_until_ms.items() if until > _steady_ms()}

    @property
    def _control(self) -> Control:
        return Control(self.storage, owed.Teller(index=self.index, settings=self.settings, jobs=self.queue))

    @contextlib.contextmanager
    def _alone(self, recording_id: str) -> Iterator[bool]:
        """What goes wrong with one recording costs the others nothing; it rests a while, which it is told."""
        with structlog.contextvars.bound_contextvars(recording_id=recording_id):
            try:
                yield _steady_ms() < self._rests_until_ms.get(recording_id, 0)
            except RedisError:
                raise  # that concerns all of them
            except Exception:
                log.exception("sweep: %s cannot be looked after; trying again later", recording_id)
                self._rests_until_ms[recording_id] = _steady_ms() + _LAST_AGAIN_MS

    def _refresh(self) -> None:
        """Note what the journals say: of every recording once, of the open ones again and again; end the idle ones."""
        for entry in self.storage.list("calls/"):
            if entry.key in self._noted:
                continue
            recording_id = rebuild.recording_of(self.storage, entry.key)
            if not self.leads():  # asked here, for all of them may take longer than the lease lasts
                return
            with self._alone(recording_id or entry.key):
                if recording_id is not None and (facts := journal.read(self.storage, recording_id)):
                    self.index.note(journal.fold(recording_id, facts), wake=False)
                    self._noted.add(entry.key)
                    failpoint("sweep.refreshed")
        for recording in self.index.open_recordings():
            if not self.leads():
                return
            with self._alone(recording.recording_id):
                facts = journal.read(self.storage, recording.recording_id)
                state = journal.fold(recording.recording_id, facts)
                self.index.note(state, wake=False)
                # whoever decided about the call may have died before its recordings heard of it
                self._control.obey(state, rooms.read(self.storage, state.call_id))
                heard_ms = max(facts[-1].at_ms, recording.last_chunk_ms)
                if state.status in ACTIVE and now_ms() - heard_ms >= patience_s(state, self.settings) * 1000:
                    stop_idle(self._control, recording.recording_id, facts[-1].sequence)
                    failpoint("sweep.idle")

    def _look_after(self, recording: OpenRecording) -> None:
        at_ms = now_ms()
        if recording.status in ACTIVE:
            if recording.max_duration_s is not None and at_ms >= recording.started_ms + recording.max_duration_s * 1000:
                stop_overlong(self._control, recording.recording_id)
                failpoint("sweep.overlong")
                self.queue.advance(recording.recording_id)
            elif self.settings.render == "rolling":
                self._roll(recording, at_ms)
            return
        ask = self.queue.delete if recording.status == Status.DELETING else self.queue.advance
        stopped_ago_ms = abs(at_ms - (recording.stopped_ms or 0))  # a clock may be set back, as in `is_drained`
        if recording.status == Status.STOPPING and stopped_ago_ms < self.settings.drain_s * 1000:
            # Whoever completes the last track before that asks for `advance` itself. Once it is looked at without that:
            # windows of what is here can be made while somebody is waited for who may never say anything.
            known = self._asked.get(recording.recording_id, (None,))[0]
            if stopped_ago_ms >= ENDING_MS and known != recording.status and self.settings.render == "rolling":
                self.queue.advance(recording.recording_id)
                self._asked[recording.recording_id] = (recording.status, _steady_ms(), 0)
            return
        status, asked_ms, pause_ms = self._asked.get(recording.recording_id, (None, 0, 0))
        if status != recording.status:
            pause_ms = 0
        if _steady_ms() >= asked_ms + pause_ms:
            ask(recording.recording_id)
            least_ms = _LAST_AGAIN_MS if recording.status in FINAL else _FIRST_AGAIN_MS  # nobody waits for what is made
            pause_ms = min(max(2 * pause_ms, least_ms), _LAST_AGAIN_MS)
            self._asked[recording.recording_id] = (recording.status, _steady_ms(), pause_ms)
            failpoint("sweep.asked")

    def _tidy(self) -> None:
        """Ask for the deletion of what was replaced long enough ago."""
        due = set(self.index.outdated(now_ms()))
        self._tidies = {each: until_ms for each, until_ms in self._tidies.items() if each in due}
        for recording_id in sorted(due):
            if _steady_ms() >= self._tidies.get(recording_id, 0):
                self._tidies[recording_id] = _steady_ms() + _TIDY_AGAIN_MS
                self.queue.tidy(recording_id)

    def _roll(self, recording: OpenRecording, at_ms: int) -> None:
        """Ask for a window once the time to wait for its media is over; uploads ask as soon as it is there."""
        late_ms = int(self.settings.lateness_s * 1000) + _LEAD_OUT_MS
        window = (at_ms - recording.started_ms - late_ms) // self.settings.window_ms
        if recording.chunks and window > self._rolled.get(recording.recording_id, 0):
            self._rolled[recording.recording_id] = window
            self.queue.advance(recording.recording_id)


def _steady_ms() -> int:
    """For pauses: a clock that nobody sets."""
    return time.monotonic_ns() // 1_000_000


def stop_overlong(control: Control, recording_id: str) -> None:
    """Stop a recording whose film is as long as it may be; paused spans do not count."""

    def decide(state: Recording) -> Draft | None:
        if state.status not in ACTIVE or state.options.max_duration_s is None:
            return None
        at_ms = control.clock_ms()
        paused_ms = sum((until or at_ms) - since for since, until in state.pauses)
        over = at_ms - state.started_ms - paused_ms >= state.options.max_duration_s * 1000
        return ("stopped", {"reason": "maxDuration"}) if over else None

    control.append(recording_id, decide)


def patience_s(state: Recording, settings: Settings) -> float:
    """How long a recording goes on without a word: shorter where everybody left, longer where nobody should speak."""
    tracks = state.tracks()
    if tracks and all(track.complete for track in tracks):
        return settings.left_s
    return settings.paused_s if state.status is Status.PAUSED else settings.idle_s


def stop_idle(control: Control, recording_id: str, sequence: int) -> None:
    """Stop a recording that everybody left without a word, for it blocks the next one; unless a fact came meanwhile."""

    def decide(state: Recording) -> Draft | None:
        return ("stopped", {"reason": "idle"}) if state.status in ACTIVE and state.sequence == sequence else None

    control.append(recording_id, decide)


def clean_litter(storage: Storage) -> None:
    """Remove temporary files and the folders of jobs that nobody will come back for."""
    if not isinstance(storage, LocalStorage):
        return
    for path in storage.tmp.iterdir():
        failpoint("sweep.litter")
        try:
            parts = [path, *path.rglob("*")]  # a folder's own time does not move while a file in it grows
            if time.time() - max(part.lstat().st_mtime for part in parts) <= _LITTER_S:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        except FileNotFoundError:
            continue


def run(settings: Settings, stopped: threading.Event) -> None:
    """Tick until told to stop."""
    sweeper = Sweeper(
        settings=settings,
        storage=start_storage(settings),
        index=Index(connect(settings.redis_url)),
        queue=Queue(settings.redis_url, render_timeout_s=settings.render_timeout_s),
    )
    while not stopped.wait(TICK_S):
        try:
            sweeper.tick()
        except (CallreelError, RedisError) as error:
            log.warning("sweep: %s; trying again", error)
        except Exception:  # whoever looks for what is due must not end of what it found
            log.exception("sweep: trying again")
        with contextlib.suppress(RedisError):  # then they are added later
            metrics.push(sweeper.index.redis)
    with contextlib.suppress(RedisError):  # then the lease ends by itself
        sweeper.resign()


def main() -> None:
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        settings = start_settings()
        configure_logs(settings)
        failpoints.arm(settings.failpoints)
        run(settings, stopped)
    except CallreelError as error:
        sys.exit(f"callreel: {error.detail}")


if __name__ == "__main__":
    main()
