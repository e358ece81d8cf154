"""``InTurn``: one save at a time, with everything that came while the last one was under way.

It must not know what a change means. A command costs the driver far more than a change inside it, so fewer and larger batches
save most of the work of a busy process; a process that is not busy does not wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from tornado_sessions.record import Change, Conflict, Create, Outcome

__all__ = ["InTurn"]

Answer = Outcome | Conflict | Exception
_Waiting = tuple[Sequence[Create | Change], asyncio.Future[list[Answer]]]


class InTurn:
    """Saves batches one after the other.

    Args:
        save: saves changes in order and returns an answer for each.
    """

    def __init__(self, save: Callable[[Sequence[Create | Change]], Awaitable[list[Answer]]]) -> None:
        self._save = save
        self._waiting: list[_Waiting] = []
        self._running: asyncio.Task[None] | None = None
        self._under_way: list[_Waiting] = []

    async def save(self, changes: Sequence[Create | Change]) -> list[Answer]:
        """Save changes, together with those of other callers; return an answer for each, or raise what the save raised."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Answer]] = loop.create_future()
        self._waiting.append((changes, future))
        if self._running is None:
            self._running = loop.create_task(self._run())
        try:
            return await future
        except asyncio.CancelledError:
            # A save for which nobody waits any more must not keep others waiting: the server may never answer it.
            if self._under_way and all(waiting.done() for _, waiting in self._under_way) and self._running is not None:
                self._running.cancel()
            raise

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        while self._running is not None:
            await asyncio.wait([self._running])

    async def _run(self) -> None:
        try:
            while self._waiting:
                self._under_way = [one for one in self._waiting if not one[1].done()]
                self._waiting = []
                await self._save_all(self._under_way)
        finally:
            self._under_way, self._running = [], None
            if self._waiting:
                self._running = asyncio.get_running_loop().create_task(self._run())

    async def _save_all(self, batch: list[_Waiting]) -> None:
        try:
            answers = await self._save([change for changes, _ in batch for change in changes])
        except asyncio.CancelledError:
            for _, future in batch:
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - raised to every caller
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        start = 0
        for changes, future in batch:
            if not future.done():
                future.set_result(answers[start : start + len(changes)])
            start += len(changes)
