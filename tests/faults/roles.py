"""What forked processes do: each role is what a command line of Callreel runs."""

from __future__ import annotations

import socket
import time

import uvicorn
from rq import Queue as RqQueue
from rq.serializers import JSONSerializer

from callreel import failpoints, rebuild
from callreel.calls import Calls
from callreel.control import Control
from callreel.index import Index, connect
from callreel.queue import Queue
from callreel.settings import load_settings
from callreel.states import ACTIVE
from callreel.storage import open_storage
from ingest.app import create_app
from ingest.uncopied import Uncopied
from workers import jobs
from workers.sweep import Sweeper


def ingest(listener: socket.socket) -> None:
    """`uvicorn ingest.app:create_app --factory`."""
    config = uvicorn.Config(create_app(), log_level="critical", access_log=False, loop="uvloop", http=Uncopied)
    uvicorn.Server(config).run(sockets=[listener])


def arm() -> None:
    """What each command does when it starts."""
    failpoints.arm(load_settings().failpoints)


def job(name: str, *args: str) -> None:
    """What a work-horse of `rq worker` does."""
    arm()
    getattr(jobs, name)(*args)


def sweep() -> None:
    """`callreel sweep`, for one look."""
    arm()
    new_sweeper().tick()


def close(call_id: str) -> None:
    """What ingest does for `POST …/close`."""
    arm()
    settings = load_settings()
    control = Control(open_storage(settings.storage), Index(connect(settings.redis_url)))
    Calls(control, int(settings.late_s * 1000)).close(call_id)


def rebuild_index() -> None:
    """`callreel rebuild`."""
    arm()
    settings = load_settings()
    index = Index(connect(settings.redis_url))
    assert rebuild.rebuild(index, open_storage(settings.storage), force=True)


def finish() -> None:
    """A sweeper and a worker, until nothing has to be looked after but what is being recorded."""
    settings = load_settings()
    queue = Queue(settings.redis_url)
    queues = list(queue._queues.values())
    index = Index(connect(settings.redis_url))
    deadline = time.monotonic() + 60
    while True:
        sweeper = new_sweeper()  # a new one each time, for one that has asked waits some seconds
        sweeper.tick()
        sweeper.resign()
        while found := RqQueue.dequeue_any(queues, None, queue.redis, serializer=JSONSerializer):
            work, _ = found
            work.func(*work.args)
            work.delete()
        if index.ready() and all(each.status in ACTIVE for each in index.open_recordings()):
            return
        assert time.monotonic() < deadline, index.open_recordings()


def new_sweeper() -> Sweeper:
    settings = load_settings()
    return Sweeper(
        settings=settings,
        storage=open_storage(settings.storage),
        index=Index(connect(settings.redis_url)),
        queue=Queue(settings.redis_url),
    )
