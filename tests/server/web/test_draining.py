"""Draining ends what lasts: WebSockets and event streams get a hint to reconnect."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from support.amount import knows_no_store
from support.browser import Browser
from support.people import make_operator
from support.raw_connection import connected
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler, websocket_connect

from tornado_sessions import SessionMixin
from tornado_sessions.server.parts import Parts

pytestmark = knows_no_store

Drain = Callable[[], Awaitable[None]]


class Plain(WebSocketHandler):
    """A WebSocket without a session."""


class Socket(SessionMixin, WebSocketHandler):
    """A WebSocket with a session."""

    touches = False


class Slow(RequestHandler):
    """Answers when the test says so."""

    async def get(self) -> None:
        self.settings["began"].set()
        await self.settings["go on"].wait()
        self.write("done")


@pytest.fixture
def port(app: Application, io_loop: Any) -> Iterator[int]:
    app.settings.update({"began": asyncio.Event(), "go on": asyncio.Event()})
    app.add_handlers(".*", [("/test/plain", Plain), ("/test/socket", Socket), ("/test/slow", Slow)])
    sockets = bind_sockets(0, "127.0.0.1")
    server = HTTPServer(app.settings["site"].draining.watch(app))
    server.add_sockets(sockets)
    app.settings["drain"] = lambda: app.settings["site"].draining.drain(server, sockets, delay=0, timeout=10)
    number = int(sockets[0].getsockname()[1])
    yield number
    server.stop()
    io_loop.run_sync(server.close_all_connections)


@pytest.fixture
def drain(app: Application, port: int) -> Drain:
    assert port
    return app.settings["drain"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("path", ["/test/plain", "/test/socket"])
@pytest.mark.gen_test
async def test_a_web_socket_is_told_that_the_service_restarts(port: int, drain: Drain, path: str) -> None:
    socket = await websocket_connect(f"ws://127.0.0.1:{port}{path}")
    reading = asyncio.ensure_future(socket.read_message())
    await drain()
    assert await reading is None
    assert (socket.close_code, socket.close_reason) == (1012, "service restart")
    socket.close()


@pytest.mark.gen_test
async def test_a_client_that_does_not_close_its_web_socket_holds_nothing_up(port: int, drain: Drain) -> None:
    handshake = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    async with connected(("127.0.0.1", port)) as connection:
        connection.send("GET", "/test/plain", handshake)
        assert b" 101 " in await connection.response("HEAD")
        await drain()
        assert b"\x03\xf4service restart" in await connection.rest()


@pytest.mark.gen_test
async def test_an_event_stream_ends_with_the_time_to_reconnect(
    parts: Parts, port: int, drain: Drain, http_client: AsyncHTTPClient
) -> None:
    operator = Browser(http_client, f"http://127.0.0.1:{port}")
    await make_operator(parts, operator)
    async with connected(("127.0.0.1", port)) as connection:
        cookies = "; ".join(f"{name}={value}" for name, value in operator.cookies.items())
        connection.send("GET", "/admin/live", {"Cookie": cookies})
        assert b"text/event-stream" in await connection.reader.readuntil(b"\r\n\r\n")
        await connection.reader.readuntil(b"data: ")
        await drain()
        end = await connection.rest()
    assert re.search(rb"\r\nretry: (\d{3,4})\n\n\r\n0\r\n\r\n$", end)


@pytest.mark.gen_test
async def test_a_request_in_progress_is_finished_and_its_connection_closed(
    app: Application, port: int, drain: Drain
) -> None:
    async with connected(("127.0.0.1", port)) as connection:
        connection.send("GET", "/test/slow", {})
        await app.settings["began"].wait()
        draining = asyncio.ensure_future(drain())
        async with connected(("127.0.0.1", port)) as other:
            # Accepted before the end of accepting, and given the time to send its request.
            other.send("GET", "/readyz", {})
            assert b" 503 " in await other.rest()
        app.settings["go on"].set()
        answer = await connection.rest()
        await draining
    assert answer.endswith(b"done")
    assert b"Connection: close" in answer
