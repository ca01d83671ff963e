"""Processor time, medians and tables: what the benchmarks share."""

from __future__ import annotations

import os
import platform
import resource
import statistics
from collections.abc import Callable, Sequence


def cpu_s() -> float:
    """Seconds of processor that this process and its ended children have used, in user and kernel mode."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def cpu_of(work: Callable[[], object]) -> float:
    before = cpu_s()
    work()
    return cpu_s() - before


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def machine() -> str:
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns; numbers are on the right."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        first, *rest = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join((first, *rest))

    return "\n".join([line(head), "  ".join("─" * width for width in widths), *map(line, rows)])


def verdict(ratio: float, must: float, aim: float, *, more_is_better: bool = False) -> str:
    """Where a ratio stands beside what it must be and what it should be."""
    if more_is_better:
        ratio, must, aim = -ratio, -must, -aim
    return "aim reached" if ratio <= aim else "enough" if ratio <= must else "MISSED"
