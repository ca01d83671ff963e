"""How long people wait until a chunk is stored for good: 200 of them, one chunk a second each, fsync on.

Counted from the instant at which a chunk was due to its whole answer, in the load generator, which shares the machine
with the server. Each round is one second's load for so many seconds; what is shown are medians of the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np

from benchmarks import generator, servers
from benchmarks.measure import machine, median, table, verdict

PEOPLE, IN_A_CALL = 200, 10
CHUNK_BYTES = 256_000
EVERY_S = 1.0
#: ms: must, aim
BOUNDS = {"p50": (30.0, 15.0), "p99": (500.0, 250.0)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
    parser.add_argument("--seconds", type=float, default=15, help="of each round that count (default 15)")
    parser.add_argument("--warm", type=float, default=3, help="seconds before them (default 3)")
    parser.add_argument("--people", type=int, default=PEOPLE, help=f"default {PEOPLE}")
    parser.add_argument("--generators", type=int, default=1, help="processes of the load generator (default 1)")
    parser.add_argument("--folder", type=Path, help="where the server stores (default: the temporary folder)")
    parser.add_argument("--no-fsync", action="store_true", help="what of it the disk is")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    options = parser.parse_args()
    print(
        f"{machine()}; {options.people} people, {CHUNK_BYTES} bytes each {EVERY_S:g} s, load {os.getloadavg()[0]:.1f}"
    )
    rounds = []
    with (
        servers.temporary(options.folder) as name,
        servers.callreel(Path(name), fsync=not options.no_fsync, people=options.people, in_a_call=IN_A_CALL) as server,
    ):
        for _ in range(options.rounds):
            rounds.append(round_of(server, options))
            print(
                "  ".join(f"{key} {value:.1f}" for key, value in rounds[-1].items())
                + f"  load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    found = {key: median([figures[key] for figures in rounds]) for key in rounds[0]}
    rows = [
        [key, f"{found[key]:.1f} ms", f"≤ {must:.0f}", f"≤ {aim:.0f}", verdict(found[key], must, aim)]
        for key, (must, aim) in BOUNDS.items()
    ]
    print(table(["ack", "median", "must", "aim", ""], rows))
    print(f"server's processors: {found['cpu ms']:.2f} ms a chunk; {found['chunks/s']:.0f} chunks/s")
    if options.json:
        options.json.write_text(json.dumps({"rounds": rounds, "median": found}, indent=1))


def round_of(server: servers.Running, options: argparse.Namespace) -> dict[str, float]:
    before = server.cpu_s()
    waited_ms = generator.pace(
        server.target(CHUNK_BYTES),
        connections=options.people,
        processes=options.generators,
        warm_s=options.warm,
        seconds=options.seconds,
        every_s=EVERY_S,
    )
    spent_s = (server.cpu_s() - before) * options.seconds / (options.warm + options.seconds)
    server.litter()
    p50, p90, p99, most = np.percentile(waited_ms, [50, 90, 99, 100])
    return {
        "p50": float(p50),
        "p90": float(p90),
        "p99": float(p99),
        "most": float(most),
        "chunks/s": len(waited_ms) / options.seconds,
        "cpu ms": 1000 * spent_s / len(waited_ms),
    }


if __name__ == "__main__":
    main()
