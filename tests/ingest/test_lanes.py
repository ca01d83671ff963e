"""What asks the index for chunks: an index that hangs must not hold an upload for ever."""

from __future__ import annotations

import os
import signal
import time

import pytest
import redis

from callreel.index import connect, script
from callreel.lanes import Lanes


def test_an_index_that_hangs_is_given_up_and_asked_again_once_it_goes_on(redis_url: str) -> None:
    client = connect(redis_url, timeout_s=0.5)
    lanes, names = Lanes(client), ["callreel:epoch", "a", "b", "c"]
    reserve = script(client, "reserve")
    args: list[str | int] = [0, 0, "", "cam", ""]
    assert lanes.ask(reserve, names, args) == ["no_epoch"]
    server = int(client.info("server")["process_id"])
    os.kill(server, signal.SIGSTOP)
    try:
        begun_s = time.monotonic()
        with pytest.raises(redis.RedisError):
            lanes.ask(reserve, names, args)
        assert 0.4 < time.monotonic() - begun_s < 20
    finally:
        os.kill(server, signal.SIGCONT)
    assert lanes.ask(reserve, names, args) == ["no_epoch"]
    client.close()
