"""An event loop whose time jumps over waiting, so that a day of an attack takes seconds."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0.0

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0 if timeout else timeout)
        if not found and timeout:
            self.ahead += timeout
        return found


class FastLoop(asyncio.SelectorEventLoop):
    """Nothing in it may wait for threads or sockets: they do not know its time."""

    def __init__(self) -> None:
        self.selector = _Selector()
        super().__init__(self.selector)

    def time(self) -> float:
        return super().time() + self.selector.ahead


def run_fast(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end."""
    loop = FastLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


def now() -> float:
    """The time of the loop as UTC seconds, somewhere in 2027."""
    return 1_800_000_000.0 + asyncio.get_running_loop().time()
