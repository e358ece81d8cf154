"""``Batcher``: one call of the store for everything that requests load or save in the same turn of the event loop.

For a store on which each call is expensive, a batch also waits for its turn, and a little longer, so that callers that have
just been answered can join it. Each caller gets its own answer or error; a call that exceeds the deadline is an outage. It must not
know what the items mean.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeAlias, TypeVar

from tornado_sessions.errors import StoreMismatch, StoreUnavailable

__all__ = ["Answered", "Batcher"]

logger = logging.getLogger("tornado_sessions")

_CANCELLED = "the call was cancelled"
#: How long the next call waits for callers that have just been answered: a share of the last call's duration, up to a maximum in
#: seconds.
_LINGER, _LONGEST_LINGER = 0.1, 0.02
#: Turns of the event loop to wait, if the time is shorter than this, in seconds: timers are not as precise.
_TURNS, _SHORTEST_LINGER = 4, 0.001

Item = TypeVar("Item")
Answer = TypeVar("Answer")
#: Called with the answer, or with the error.
Answered: TypeAlias = Callable[[Answer | Exception], None]


class Batcher(Generic[Item, Answer]):
    """Collects the items of one turn of the event loop and sends them together.

    Args:
        call: takes the items and returns one answer for each, in order. An answer that is an exception is that item's error.
        backend: the store's name, for messages.
        deadline: maximum duration of one call in seconds, with the wait for its turn.
        at_once: maximum number of calls under way; ``None``: any number.
        owner: returns the running event loop, or raises if it is not the one that opened the store.
    """

    def __init__(
        self,
        call: Callable[[list[Item]], Awaitable[Sequence[Answer | Exception]]],
        backend: str,
        deadline: float,
        owner: Callable[[], asyncio.AbstractEventLoop] = asyncio.get_running_loop,
        at_once: int | None = None,
    ) -> None:
        self._call = call
        self._owner = owner
        self._backend = backend
        self._deadline = deadline
        self._at_once = at_once
        self._items: list[Item] = []
        self._answered: list[Answered[Answer] | asyncio.Future[Answer]] = []
        # The task that is about to send the collected items, and when their call is late.
        self._next: asyncio.Task[None] | None = None
        self._late_at = 0.0
        # The running calls, oldest first, and when each is late.
        self._running: dict[asyncio.Task[None], float] = {}
        self._timer: asyncio.TimerHandle | None = None
        # When the last call started, and the handle that starts the next one after a pause.
        self._began_at = 0.0
        self._pause: asyncio.Handle | None = None

    def ask(self, item: Item) -> asyncio.Future[Answer]:
        """Add an item to the batch of this turn and return a future of its answer.

        Raises:
            StoreUnavailable: through the future, if the store fails or takes too long.
            UsageError: at once, if this is not the event loop that opened the store; the item would wait forever.
        """
        loop = self._owner()
        future: asyncio.Future[Answer] = loop.create_future()
        self._add(loop, item, future)
        return future

    def send(self, item: Item, answered: Answered[Answer]) -> None:
        """Add an item to the batch of this turn; ``answered`` is called with its answer or its error. It must not raise.

        Raises:
            UsageError: as ``ask`` does.
        """
        self._add(self._owner(), item, answered)

    def _add(
        self, loop: asyncio.AbstractEventLoop, item: Item, answered: Answered[Answer] | asyncio.Future[Answer]
    ) -> None:
        self._items.append(item)
        self._answered.append(answered)
        if len(self._items) == 1:
            self._late_at = loop.time() + self._deadline
            self._begin(loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send the collected items, unless too many calls are under way: then the end of one of them begins this one."""
        if (
            self._next is not None
            or self._pause is not None
            or not self._items
            or (self._at_once is not None and len(self._running) >= self._at_once)
        ):
            return
        # The task's first step runs after every callback that is ready in this turn, so all of those can add items.
        self._began_at = loop.time()
        task = self._next = loop.create_task(self._run())
        self._running[task] = self._late_at
        task.add_done_callback(self._ended)
        if self._timer is None:
            self._timer = loop.call_at(self._late_at, self._end_late_calls, loop)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        if task is self._next:
            # Cancelled before its first step, as at shutdown.
            _, answered = self._take()
            _tell(answered, [StoreUnavailable(self._backend, _CANCELLED)] * len(answered))
        elif self._items and self._pause is None and self._at_once is not None:
            self._linger(task.get_loop())

    def _linger(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin the next call after a short pause.

        Callers who have just been answered come back soon. Without the pause they would find the next call under way, and
        from then on two halves of the callers would wait for each other, each paying for a call of its own.
        """
        seconds = min(_LINGER * (loop.time() - self._began_at), _LONGEST_LINGER)
        if seconds < _SHORTEST_LINGER:
            self._pause = loop.call_soon(self._end_pause, loop, _TURNS)
        else:
            self._pause = loop.call_later(seconds, self._end_pause, loop)

    def _end_pause(self, loop: asyncio.AbstractEventLoop, turns: int = 0) -> None:
        self._pause = loop.call_soon(self._end_pause, loop, turns - 1) if turns > 0 else None
        self._begin(loop)

    def _take(self) -> tuple[list[Item], list[Answered[Answer] | asyncio.Future[Answer]]]:
        """Return the collected items and who asked; items that arrive from now on belong to the next batch."""
        taken = self._items, self._answered
        self._next, self._items, self._answered = None, [], []
        return taken

    async def _run(self) -> None:
        items, answered = self._take()
        answers: Sequence[Answer | Exception]
        try:
            answers = await self._call(items)
            if len(answers) != len(items):
                raise StoreMismatch(self._backend, f"{len(answers)} answers to {len(items)} items")  # noqa: TRY301
        except asyncio.CancelledError:
            # It is late, or cancelled by the driver or at shutdown. Answer every caller, or it would wait forever.
            is_late = self._is_late()
            why = f"no answer within {self._deadline:g} s" if is_late else _CANCELLED
            _tell(answered, [StoreUnavailable(self._backend, why)] * len(items))
            if not is_late:
                raise
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, each caller gets it
            answers = [error] * len(items)
        _tell(answered, answers)

    def _is_late(self) -> bool:
        """Return whether the running call has exceeded the deadline."""
        task = asyncio.current_task()
        return task is not None and asyncio.get_running_loop().time() >= self._running[task]

    def _end_late_calls(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel the calls that are late, and come back when the next one will be.

        One timer serves all calls: it costs nothing while calls are answered in time.
        """
        self._timer = None
        now = loop.time()
        for task, late_at in self._running.items():
            if late_at > now:
                self._timer = loop.call_at(late_at, self._end_late_calls, loop)
                break
            task.cancel()

    async def drain(self) -> None:
        """Wait until every call is answered."""
        while self._running or self._items:
            if self._pause is not None:
                self._pause.cancel()
                self._end_pause(asyncio.get_running_loop())
            await asyncio.gather(*self._running, asyncio.sleep(0), return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _tell(answered: list[Answered[Answer] | asyncio.Future[Answer]], answers: Sequence[Answer | Exception]) -> None:
    for tell, answer in zip(answered, answers, strict=True):
        try:
            if isinstance(tell, asyncio.Future):
                _settle(tell, answer)
            else:
                tell(answer)
        except Exception:  # an error of one caller must not keep the answers from the others
            logger.exception("a request failed to process the store's answer")


def _settle(future: asyncio.Future[Answer], answer: Answer | Exception) -> None:
    # A future is already done if its request was cancelled.
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
