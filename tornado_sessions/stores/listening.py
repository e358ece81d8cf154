"""What the ``events`` of every store share: closing the store ends listening, and that is no outage.

It must not know how a store hears of events.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.record import Event

__all__ = ["pause", "until_closed"]


async def until_closed(
    listen: Callable[[asyncio.Event], AsyncGenerator[Event, None]], closing: asyncio.Event | None
) -> AsyncGenerator[Event, None]:
    """Yield the events of an open store.

    Args:
        listen: yields events until its argument is set.
        closing: set when the store is closed; ``None`` if it is not open, and then there are no events.

    Raises:
        StoreUnavailable: the connection was lost, and not because the store was closed.
    """
    if closing is None:
        return
    try:
        async with aclosing(listen(closing)) as events:
            async for event in events:
                yield event
    except StoreUnavailable:
        if not closing.is_set():
            raise


async def pause(closing: asyncio.Event, seconds: float) -> None:
    """Wait, but no longer than until ``closing`` is set."""
    with suppress(TimeoutError):
        await asyncio.wait_for(closing.wait(), seconds)
