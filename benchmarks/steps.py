"""Where the time of a request goes, step by step, under load.

    python -m benchmarks.steps

A server in memory answers 32 connections. First the CPU time of each route is measured, in slices that alternate; then each
step is timed in the same server: its own time, without that of the steps inside it. The last row is what no step holds: the
event loop, the rest of Tornado and the kernel. It names private functions, so it changes with them.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import getattr_static
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders
from tornado.iostream import BaseIOStream
from tornado.web import RequestHandler

from benchmarks.application import Bare, Floor, Read, Untouched, Write, application
from benchmarks.load import Target
from tornado_sessions import SessionMixin, Sessions, cache_headers, outgoing
from tornado_sessions.batching import Batcher
from tornado_sessions.cookie import Cookies
from tornado_sessions.outgoing import Outgoing
from tornado_sessions.proxies import Proxies
from tornado_sessions.response import HeldResponse
from tornado_sessions.session import Session

__all__ = ["main"]

_ROUTES = ("bare", "floor", "none", "read", "write")
_SLICES, _SECONDS = 7, 1
#: The steps, in the order of a request: what the table calls it, where it is, and its name there.
_STEPS: list[tuple[str, Any, str]] = [
    ("Tornado: find the end of the headers", BaseIOStream, "_find_read_pos"),
    ("Tornado: parse the headers", HTTPHeaders, "parse"),
    ("Tornado: make the handler", RequestHandler, "__init__"),
    ("join the lines of the cookie", SessionMixin, "__init__"),
    ("prepare", SessionMixin, "prepare"),
    ("time, address, user agent", SessionMixin, "_SessionMixin__request_info"),
    ("address and protocol", Proxies, "of"),
    ("verify the cookie", Cookies, "read"),
    ("find and judge the record", Sessions, "fetch_at_once"),
    ("make the session", Sessions, "_session"),
    ("the handler's method", (Bare, Floor, Untouched, Read, Write), "get"),
    ("read a value", Session, "__getitem__"),
    ("add to a number", Session, "increment"),
    ("Tornado: finish", RequestHandler, "finish"),
    ("before the bytes leave", SessionMixin, "flush"),
    ("what is to be done before", Outgoing, "before_flush"),
    ("is anything to be saved", Sessions, "may_have_to_save"),
    ("plan the save", Outgoing, "_plan"),
    ("plan the save: rules", Sessions, "pending_save"),
    ("plan the save: what changed", Session, "delta"),
    ("hold the response", Outgoing, "_hold"),
    ("hold the response: headers", HeldResponse, "write_headers"),
    ("hold the response: what follows", HeldResponse, "postpone_end"),
    ("send to the store", Batcher, "send"),
    ("take the answer", Outgoing, "_answered"),
    ("take the answer: settle", Sessions, "settle"),
    ("take the answer: what is saved", Session, "mark_saved"),
    ("release the response", Outgoing, "_release"),
    ("release the response: bytes", HeldResponse, "release"),
    ("release the response: what follows", HeldResponse, "end"),
    ("add the cache headers", (cache_headers, outgoing), "forbid_caching"),
    ("Tornado: flush", RequestHandler, "flush"),
    ("Tornado: compose the headers", HTTP1Connection, "write_headers"),
    ("Tornado: write to the socket", BaseIOStream, "_handle_write"),
]


@dataclass
class Here:
    """This process, as what ``Target`` loads."""

    base: str
    title: str = "steps"

    @staticmethod
    def cpu() -> float:
        return process_time()


@dataclass
class Timer:
    """Times steps that call one another: each gets its own time, in seconds."""

    own: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    inside: float = 0.0

    def watch(self, label: str, owner: Any, name: str) -> None:
        """Time a function from now on."""
        found = getattr_static(owner, name)
        is_class_method = isinstance(found, classmethod)
        step: Callable[..., Any] = found.__func__ if is_class_method else found

        def timed(*args: Any, **kwargs: Any) -> Any:
            outer, self.inside = self.inside, 0.0
            start = perf_counter()
            try:
                return step(*args, **kwargs)
            finally:
                spent = perf_counter() - start
                self.own[label].append(spent - self.inside)
                self.inside = outer + spent

        setattr(owner, name, classmethod(timed) if is_class_method else timed)


def _watch(timer: Timer) -> None:
    for label, owners, name in _STEPS:
        for owner in owners if isinstance(owners, tuple) else (owners,):
            timer.watch(label, owner, name)


def _cost_of_timing() -> float:
    """Return the seconds that a timed step which does nothing is said to take."""
    timer = Timer()

    class Nothing:
        def nothing(self) -> None:
            pass

    timer.watch("nothing", Nothing, "nothing")
    for _ in range(10_000):
        Nothing().nothing()
    return median(timer.own["nothing"])


async def _cpu(target: Target) -> dict[str, float]:
    """Return the CPU microseconds of a request of each route."""
    found = defaultdict(list)
    for _ in range(_SLICES):
        for route in _ROUTES:
            found[route].append((await asyncio.to_thread(target.load, route, _SECONDS)).cpu)
    return {route: median(each) for route, each in found.items()}


async def _steps(target: Target) -> dict[str, dict[str, float]]:
    """Return the microseconds of each step of a request, by route."""
    timer, nothing = Timer(), _cost_of_timing()
    _watch(timer)
    found = {}
    for route in _ROUTES:
        await asyncio.to_thread(target.load, route, _SECONDS)
        timer.own.clear()
        await asyncio.to_thread(target.load, route, 2 * _SECONDS)
        requests = len(timer.own["Tornado: finish"])
        found[route] = {
            label: max(0.0, median(each) - nothing) * round(len(each) / requests, 1) * 1e6
            for label, each in timer.own.items()
        }
    return found


async def main() -> None:
    """Print the table."""
    app, sessions = application("memory://")
    server = app.listen(0, "127.0.0.1")
    port = next(iter(server._sockets.values())).getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        target = await asyncio.to_thread(Target, Here(f"http://127.0.0.1:{port}"), Path(folder))
        cpu, steps = await _cpu(target), await _steps(target)
    server.stop()
    await sessions.close()
    width = max(len(label) for label, _, _ in _STEPS) + 2
    rows = [(label, [steps[route].get(label, 0.0) for route in _ROUTES]) for label, _, _ in _STEPS]
    rest = [cpu[route] - sum(steps[route].values()) for route in _ROUTES]
    print(f"{'µs':{width}}" + "".join(f"{route:>9}" for route in _ROUTES))
    for label, values in [*rows, ("event loop, kernel, other steps", rest), ("CPU", [cpu[route] for route in _ROUTES])]:
        print(f"{label:{width}}" + "".join(f"{value:9.2f}" if value else f"{'':9}" for value in values))
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
