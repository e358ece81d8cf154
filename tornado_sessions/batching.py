"""``Batcher``: one call of the store for everything that requests load or save in the same turn of the event loop.

Each caller gets its own answer or error; a call that exceeds the deadline is an outage. It must not know what the items mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from tornado_sessions.errors import StoreMismatch, StoreUnavailable

__all__ = ["Batcher"]

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Batcher(Generic[Item, Answer]):
    """Collects the items of one turn of the event loop and sends them together.

    Args:
        call: takes the items and returns one answer for each, in order. An answer that is an exception is raised to its caller.
        backend: the store's name, for messages.
        deadline: maximum duration of one call in seconds.
        owner: returns the running event loop, or raises if it is not the one that opened the store.
    """

    def __init__(
        self,
        call: Callable[[list[Item]], Awaitable[Sequence[Answer | Exception]]],
        backend: str,
        deadline: float,
        owner: Callable[[], asyncio.AbstractEventLoop] = asyncio.get_running_loop,
    ) -> None:
        self._call = call
        self._owner = owner
        self._backend = backend
        self._deadline = deadline
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._running: set[asyncio.Task[None]] = set()

    def ask(self, item: Item) -> asyncio.Future[Answer]:
        """Add an item to the batch of this turn and return a future of its answer.

        Raises:
            StoreUnavailable: through the future, if the store fails or takes too long.
            UsageError: at once, if this is not the event loop that opened the store; the item would wait forever.
        """
        loop = self._owner()
        future: asyncio.Future[Answer] = loop.create_future()
        if not self._waiting:
            # The task's first step runs after every callback that is ready in this turn, so all of those can add items.
            task = loop.create_task(self._run())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        self._waiting.append((item, future))
        return future

    async def _run(self) -> None:
        # Items that arrive from now on belong to the next batch.
        batch, self._waiting = self._waiting, []
        try:
            async with asyncio.timeout(self._deadline):
                answers = await self._call([item for item, _ in batch])
            if len(answers) != len(batch):
                raise StoreMismatch(self._backend, f"{len(answers)} answers to {len(batch)} items")  # noqa: TRY301
        except asyncio.CancelledError:
            # Cancelled by the driver or at shutdown. Answer every caller, or it would wait forever.
            self._answer(batch, [StoreUnavailable(self._backend, "the call was cancelled")] * len(batch))
            raise
        except TimeoutError:
            late = StoreUnavailable(self._backend, f"no answer within {self._deadline:g} s")
            answers = [late] * len(batch)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised to each asker
            answers = [error] * len(batch)
        self._answer(batch, answers)

    @staticmethod
    def _answer(batch: list[tuple[Item, asyncio.Future[Answer]]], answers: Sequence[Answer | Exception]) -> None:
        for (_, future), answer in zip(batch, answers, strict=True):
            # A future is already done if its request was cancelled.
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    async def drain(self) -> None:
        """Wait until every running call is answered."""
        while self._running:
            await asyncio.gather(*self._running, asyncio.sleep(0))
