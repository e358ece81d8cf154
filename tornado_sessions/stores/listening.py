"""Shared code for the ``events`` of stores: closing the store ends the iteration without an error.

It must not know how a store receives events.
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
        closing: set when the store is closed; ``None`` if the store is not open, which yields no events.

    Raises:
        StoreUnavailable: the connection was lost while the store was open.
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
    """Wait for some seconds, or until ``closing`` is set."""
    with suppress(TimeoutError):
        await asyncio.wait_for(closing.wait(), seconds)
