"""What calls cost: CPU time of this process and of the servers that it started, that of the event loop's thread, elapsed time.

It must not know what is called.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["Row", "cost_of", "measured", "process_clock"]

#: Milliseconds by ``cpu``, ``loop`` and ``elapsed``, or a single figure with a name of its own.
Row = dict[str, float]


def process_clock(pid: int) -> float:
    """Return the CPU seconds of another process: exact, where /proc counts ticks of 10 ms. See clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | 2)


def _now() -> tuple[float, float, float]:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    servers = sum(process_clock(int(child)) for child in children)
    return time.process_time() + servers, time.thread_time(), time.perf_counter()


@contextmanager
def measured(row: Row, number: float = 1) -> Iterator[None]:
    """Measure the block, which does something ``number`` times, and write the cost of one time to ``row``."""
    before = _now()
    yield
    taken = [1000 * (after - start) / number for after, start in zip(_now(), before, strict=True)]
    row.update(zip(("cpu", "loop", "elapsed"), taken, strict=True))


async def cost_of(call: Callable[[], Awaitable[Any]], times: int = 5, *, each: int = 1, rounds: int = 7) -> Row:
    """Return the lower quartile of some rounds, because other programs can only add to a cost.

    Args:
        call: what is measured.
        times: how often a round calls it.
        each: the number of things that one call does; the cost is that of one thing.
        rounds: the number of rounds.
    """
    rows: list[Row] = []
    for _ in range(rounds):
        row: Row = {}
        with measured(row, times * each):
            for _ in range(times):
                await call()
        rows.append(row)
    return {name: sorted(row[name] for row in rows)[rounds // 4] for name in rows[0]}
