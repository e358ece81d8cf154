"""``ask_host``: call a method of the application, within a time limit.

It must not know what the method does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from tornado_sessions.errors import StoreUnavailable

__all__ = ["ask_host"]

T = TypeVar("T")


async def ask_host(what: str, timeout: float, method: Callable[..., Awaitable[T]], *given: Any, **named: Any) -> T:
    """Return what a coroutine method of the application returns.

    Args:
        what: the object that has the method, for the message.
        timeout: how long the call may take, in seconds.
        method: the method; the rest is passed to it.

    Raises:
        StoreUnavailable: the call takes too long, or fails because of a connection.
    """
    try:
        async with asyncio.timeout(timeout):
            return await method(*given, **named)
    except (TimeoutError, OSError) as error:
        raise StoreUnavailable(what, f"{type(error).__name__} in {getattr(method, '__name__', 'a method')}") from error
