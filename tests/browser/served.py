"""An application in a thread of this process, so that tests reach each state of a page directly.

It must not know which application that is.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeVar

from support.clock import Clock
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

T = TypeVar("T")


class Served(ABC):
    """Base of the applications whose pages are looked at.

    Attributes:
        url: its address.
        home: a page that everybody may see and that carries a form token.
        elsewhere: an address to which its pages lead of themselves, and which is not followed.
        kept: what the names of its cookies for language and preferences begin with.
        cookies: of whoever has signed in, by name.
        clock: of the application.
    """

    app: Application
    url: str
    home = "/home"
    elsewhere = kept = ""

    def __init__(self) -> None:
        self.clock = Clock(now=None)
        self.cookies: dict[str, dict[str, str]] = {"visitor": {}}
        self._numbers = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    @abstractmethod
    async def make(self) -> Application:
        """Open the application's parts, and return it. Its ``url`` is known."""

    @abstractmethod
    async def end(self) -> None:
        """Close the application's parts."""

    def __enter__(self) -> Self:
        self._thread.start()
        self.run(self._open)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run a coroutine in the server's thread and return its result."""

        async def wrapped() -> T:
            return await work()

        return asyncio.run_coroutine_threadsafe(wrapped(), self._loop).result(120)

    async def _open(self) -> None:
        [socket] = bind_sockets(0, "127.0.0.1")
        self.url = f"http://127.0.0.1:{socket.getsockname()[1]}"
        self.app = await self.make()
        self._server = HTTPServer(self.app)
        self._server.add_socket(socket)

    async def _close(self) -> None:
        self._server.stop()
        await self._server.close_all_connections()
        await self.end()

    def number(self) -> int:
        """Return another number at each call, for names that are not taken."""
        self._numbers += 1
        return self._numbers
