"""A proxy between a store and its server that can cut the connection, or hold back a command."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Cutter:
    """Passes bytes on both ways.

    Args:
        port: where the server listens.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        #: Cut instead of passing on the server's next answer: what was asked is done, and nobody learns of it.
        self.cuts_answers = False
        #: Hold back what is asked with these bytes in it until ``released`` is set.
        self.holds = b""
        self.held = 0
        self.released = asyncio.Event()
        self.port = 0

    async def open(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and cut what is open."""
        assert self._server is not None
        self._server.close()
        self.released.set()
        self.cut()
        await self._server.wait_closed()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def cut(self) -> None:
        """Cut every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        theirs, ours = await asyncio.open_connection("127.0.0.1", self._target)
        pair = {writer, ours}
        self._writers |= pair
        await asyncio.gather(self._pass_on(reader, ours, answers=False), self._pass_on(theirs, writer, answers=True))
        self._writers -= pair

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, answers: bool) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while data := await source.read(65536):
                if answers and self.cuts_answers:
                    self.cut()
                    break
                if not answers and self.holds and self.holds in data:
                    self.held += 1
                    await self.released.wait()
                target.write(data)
                await target.drain()
        target.close()
