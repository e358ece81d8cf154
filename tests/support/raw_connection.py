"""A connection to a server, byte by byte: for what no HTTP client sends."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path


class RawConnection:
    """One open connection.

    Args:
        reader: of the stream.
        writer: of the stream.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> None:
        """Send a request line, `Host`, these headers and a body."""
        lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in {"Host": "localhost", **headers}.items())]
        self.writer.write("\r\n".join([*lines, "", ""]).encode("latin1") + body)

    async def response(self, method: str = "GET", seconds: float = 10.0) -> bytes:
        """Return head and body of one response, whether the server closes the connection or not."""
        async with asyncio.timeout(seconds):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"Content-Length: (\d+)", head)
            if b"chunked" in head:
                return head + await self.reader.readuntil(b"0\r\n\r\n")
            if method == "HEAD" or length is None:
                return head
            return head + await self.reader.readexactly(int(length[1]))

    async def rest(self, seconds: float = 10.0) -> bytes:
        """Return everything until the server closes the connection."""
        async with asyncio.timeout(seconds):
            return await self.reader.read()


@asynccontextmanager
async def connected(place: int | Path | tuple[str, int]) -> AsyncIterator[RawConnection]:
    """Connect to a port of this host, a unix socket, or a host and port; close the connection at the end."""
    if isinstance(place, Path):
        reader, writer = await asyncio.open_unix_connection(place)
    else:
        host, port = place if isinstance(place, tuple) else ("localhost", place)
        reader, writer = await asyncio.open_connection(host, port)
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()
