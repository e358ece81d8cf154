"""``FairQueue``: slow work in threads, as much at once as there are cores; networks that have used it least go first.

A flood from many addresses waits behind everybody who is not part of it. It must not know passwords or accounts.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from tornado_sessions.server.accounts.client import Client
from tornado_sessions.server.accounts.errors import HasherBusy
from tornado_sessions.server.accounts.waiting import Rank, Waiting

__all__ = ["FairQueue", "Turn"]

T = TypeVar("T")

#: Maximum number of calls that wait, and how long one waits, in seconds: clients and proxies have given up by then.
_MAX_WAITING, _MAX_WAIT = 256, 30.0
#: The use of a network halves in this time, in seconds.
_HALF_LIFE = 60.0
_MAX_NETWORKS = 20_000


class Turn:
    """The permission to work, which only ``FairQueue.turn`` gives."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool

    async def run(self, work: Callable[[], T]) -> T:
        """Run a function in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


class FairQueue:
    """Gives turns to work in threads.

    Args:
        name: the name of the threads.
        threads: their number; by default the number of cores.
        prepare: called in each thread at its start.
    """

    def __init__(self, name: str, threads: int | None = None, *, prepare: Callable[[], None] | None = None) -> None:
        threads = threads or os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name, initializer=prepare)
        # One turn more than threads: an attempt is counted in the store during its turn, and the thread must not wait for that.
        self._turns = threads + 1
        self._waiting = Waiting(HasherBusy)
        self._used = _Use()
        self._running = 0

    def __len__(self) -> int:
        """Return the number of calls that wait."""
        return len(self._waiting)

    @asynccontextmanager
    async def turn(self, client: Client, *, first: bool = False) -> AsyncIterator[Turn]:
        """Wait for a turn, which ends with the block.

        Args:
            client: where the attempt comes from.
            first: whether it goes before all calls that are not ``first``: it comes from a known device or network.

        Raises:
            HasherBusy: too many calls wait ahead of this one, it has waited for 30 seconds, or the client has disconnected.
        """
        # Count the use on arrival, so that of many simultaneous attempts from one network each ranks behind the one before.
        # Rounded, so that one attempt some minutes ago makes no difference.
        rank: Rank = (not first, round(self._used.add(client, 1)))
        if self._running < self._turns:
            self._running += 1
        else:
            await self._wait(rank, client)
        try:
            yield Turn(self._pool)
        finally:
            self._pass_on()

    async def _wait(self, rank: Rank, client: Client) -> None:
        with self._waiting.place(rank, {"all": _MAX_WAITING}, client) as place:
            try:
                async with asyncio.timeout(_MAX_WAIT):
                    # Shielded, so that a turn that comes together with a cancellation can be passed on.
                    await asyncio.shield(place.called)
            except BaseException as error:
                if place.called.done() and place.called.exception() is None:
                    self._pass_on()
                self._used.add(client, -1)
                if isinstance(error, TimeoutError):
                    raise HasherBusy from None
                raise

    def _pass_on(self) -> None:
        following = self._waiting.first("all")
        if following is not None:
            self._waiting.call(following)
        else:
            self._running -= 1

    def close(self) -> None:
        """Refuse the calls that wait, and end the threads."""
        self._waiting.close()
        self._pool.shutdown(wait=True, cancel_futures=True)


class _Use:
    """How many turns each network has had lately."""

    def __init__(self) -> None:
        self._used: dict[str, tuple[float, float]] = {}

    def add(self, client: Client, amount: int) -> float:
        """Add to the use of a client's networks. Return the highest of their previous uses, each relative to its share."""
        now, before = time.monotonic(), 0.0
        for prefix, share in client.networks:
            used, at = self._used.pop(prefix, (0.0, now))
            used *= 0.5 ** ((now - at) / _HALF_LIFE)
            before = max(before, used / share)
            # Insert it at the end of the dict, so that it is forgotten last.
            self._used[prefix] = max(0.0, used + amount), now
        while len(self._used) > _MAX_NETWORKS:
            del self._used[next(iter(self._used))]
        return before
