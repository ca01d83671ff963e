"""How many chunks a second two ingest processes take, beside `@tus/server` and nginx's WebDAV on the same machine.

All three get the same bytes over as many connections from one load generator, in turns, within one run. What is
compared are ratios: the generator shares the processors with whoever it loads, and costs everybody the same.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from benchmarks import generator, servers
from benchmarks.measure import machine, median, table, verdict
from benchmarks.servers import CHUNK_BYTES, Running

CONNECTIONS = 16
UPLOADS, UPLOAD_BYTES = 200, 1_000_000
TRACKS = 50  #: that the uploads go to
#: our requests per second ÷ theirs: must, aim
BOUNDS = {"tus": (2.0, 3.0), "nginx": (0.35, 0.5)}
MUST_MB, AIM_MB = 300, 150
WHATS = ("callreel", "tus", "nginx", "disk", "fsync", "memory")
_ROOM_BYTES = 12_000_000_000  #: what the fastest rounds of all of them may hold at once, with as much again to spare


def in_memory() -> Path | None:
    """Where files lie in memory, if there is room; None is the temporary folder.

    On ext4 half of what a chunk costs can be the file system's: it steps over every inode that was deleted in the last
    minutes (`recently_deleted` in its `ialloc.c`), so what ran before decides what is measured.
    """
    folder = Path("/dev/shm")
    try:
        return folder if shutil.disk_usage(folder).free >= _ROOM_BYTES else None
    except OSError:
        return None


def round_of(server: Running, options: argparse.Namespace) -> tuple[float, float]:
    """Requests a second, and ms of the server's processors for each."""
    target = server.target(CHUNK_BYTES)
    before = server.cpu_s()
    tally = generator.run(
        target, connections=CONNECTIONS, processes=options.generators, warm_s=options.warm, seconds=options.seconds
    )
    spent_s = (server.cpu_s() - before) * options.seconds / (options.warm + options.seconds)
    server.litter()
    return tally.per_s, 1000 * spent_s / max(tally.requests, 1)


def memory_mb(server: Running) -> dict[str, float]:
    """The most each ingest process had resident while 200 uploads of 1 MB were under way."""
    pids = [pid for pid, line in server.processes().items() if "uvicorn" in line]
    before = {pid: _status_mb(pid, "VmRSS") for pid in pids}
    target = server.target(UPLOAD_BYTES)
    answers = Counter(generator.hold_all(target, UPLOADS, TRACKS, lambda: time.sleep(1)))
    found = {f"process {n}": _status_mb(pid, "VmHWM") for n, pid in enumerate(pids, 1)}
    print(f"memory: {UPLOADS} uploads of {UPLOAD_BYTES} bytes at once, answers {dict(answers)}; idle {before}")
    server.litter()
    return found


def _status_mb(pid: int, name: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(round(int(line.split()[1]) / 1000, 1) for line in lines if line.startswith(f"{name}:"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of each server, in turns (default 5)")
    parser.add_argument("--seconds", type=float, default=4, help="of each round that count (default 4)")
    parser.add_argument("--warm", type=float, default=1, help="seconds before them (default 1)")
    parser.add_argument("--generators", type=int, default=2, help="processes of the load generator (default 2)")
    parser.add_argument("--folder", type=Path, help="where all servers store that are compared (default: in memory)")
    parser.add_argument("--disk", type=Path, help="where the price of fsync is taken (default: the temporary folder)")
    parser.add_argument("--only", nargs="+", choices=WHATS)
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    options = parser.parse_args()
    wanted = options.only or WHATS

    def callreel(fsync: bool) -> Callable[[Path], AbstractContextManager[Running]]:
        return lambda folder: servers.callreel(folder, fsync=fsync, people=CONNECTIONS, in_a_call=CONNECTIONS)

    makers: dict[str, Callable[[Path], AbstractContextManager[Running]]] = {
        "callreel": callreel(fsync=False),
        "tus": servers.tus,
        "nginx": servers.nginx,
        "disk": callreel(fsync=False),
        "fsync": callreel(fsync=True),
    }
    rates: dict[str, list[float]] = {}
    costs: dict[str, list[float]] = {}
    print(f"{machine()}; {CHUNK_BYTES} bytes, {CONNECTIONS} connections, two processes each")
    with (
        servers.temporary(options.folder or in_memory()) as memory_name,
        servers.temporary(options.disk) as disk_name,
        contextlib.ExitStack() as running,
    ):
        folders = {"disk": disk_name, "fsync": disk_name}
        started = {
            what: running.enter_context(make(Path(folders.get(what, memory_name))))
            for what, make in makers.items()
            if what in wanted
        }
        for number in range(options.rounds):
            for what in sorted(started, reverse=bool(number % 2)):
                rate, cost = round_of(started[what], options)
                rates.setdefault(what, []).append(rate)
                costs.setdefault(what, []).append(cost)
    _report(rates, costs)
    memory = {}
    if "memory" in wanted:
        with (
            servers.temporary(options.folder) as name,
            servers.callreel(Path(name), fsync=False, people=TRACKS, in_a_call=TRACKS) as server,
        ):
            memory = memory_mb(server)
        most = max(memory.values())
        print(f"memory: {memory} MB (must be ≤ {MUST_MB}, aim {AIM_MB}): {verdict(most, MUST_MB, AIM_MB)}")
    if options.json:
        options.json.write_text(json.dumps({"requestsPerS": rates, "cpuMs": costs, "memoryMb": memory}))


def _report(rates: dict[str, list[float]], costs: dict[str, list[float]]) -> None:
    rows = [
        [what, f"{median(found):.0f}", f"{median(costs[what]):.2f}", " ".join(f"{rate:.0f}" for rate in found)]
        for what, found in rates.items()
    ]
    if rows:
        print(table(("server", "chunks/s", "CPU ms", "rounds"), rows))
    if "callreel" not in rates:
        return
    for what, (must, aim) in BOUNDS.items():
        if what in rates:
            ratio = _ratio(rates["callreel"], rates[what])
            said = verdict(ratio, must, aim, more_is_better=True)
            print(f"callreel ÷ {what}: {ratio:.2f} (must be ≥ {must}, aim {aim}): {said}")
    if {"disk", "fsync"} <= rates.keys():
        print(f"price of fsync: {_ratio(rates['fsync'], rates['disk']):.2f} of the chunks a second")


def _ratio(ours: list[float], theirs: list[float]) -> float:
    """Of the rounds, for what else the machine does changes from one to the next."""
    return median([mine / other for mine, other in zip(ours, theirs, strict=True)])


if __name__ == "__main__":
    main()
