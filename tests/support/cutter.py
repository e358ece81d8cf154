"""A proxy between a store and its server that can cut the connection."""

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
        #: Cut instead of passing on the server's next answer: what was asked is done, and nobody learns of it.
        self.cuts_answers = False
        self.port = 0

    async def open(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and cut what is open."""
        assert self._server is not None
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    def cut(self) -> None:
        """Cut every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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
                target.write(data)
                await target.drain()
        target.close()
