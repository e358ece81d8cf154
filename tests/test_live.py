"""WebSockets and streams: loaded at the handshake, closed when their session ends, in every process."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.passwords import SECRET
from support.urls import KINDS, url_of
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.iostream import StreamClosedError
from tornado.simple_httpclient import HTTPStreamClosedError
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketClientConnection, WebSocketHandler, websocket_connect

from tornado_sessions import SessionConfig, SessionMixin, Sessions
from tornado_sessions.live import Live
from tornado_sessions.record import Event, EventKind

#: Seconds within which an end must have closed what was open.
BOUND = 2.0


class LogIn(SessionMixin, RequestHandler):
    async def get(self) -> None:
        await self.log_in("ada")
        self.write(self.session.handle or "")


class Socket(SessionMixin, WebSocketHandler):
    async def on_message(self, message: str | bytes) -> None:
        total = self.session.increment("messages")
        await self.save_session()
        await self.write_message(json.dumps({"user": self.current_user, "messages": total}))


class Stream(SessionMixin, RequestHandler):
    go_on: asyncio.Event
    closed: asyncio.Event

    async def get(self) -> None:
        assert self.session.user == "ada"
        self.write("one\n")
        await self.flush()
        await self.go_on.wait()
        self.write("two\n")
        try:
            await self.flush()
        except StreamClosedError:
            self.closed.set()


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_of(request.param, request, tmp_path)


@pytest.fixture
def sessions(url: str, io_loop: Any) -> Iterator[Sessions]:
    made = Sessions(url, config=SessionConfig(secret=SECRET))
    yield made
    io_loop.run_sync(made.close)


@pytest.fixture
def app(sessions: Sessions) -> Application:
    return Application([("/login", LogIn), ("/socket", Socket), ("/stream", Stream)], sessions=sessions)


async def enter(client: AsyncHTTPClient, base_url: str) -> tuple[str, str]:
    """The cookie and the handle of a new log-in."""
    response = await client.fetch(base_url + "/login")
    return response.headers["Set-Cookie"].split(";")[0], response.body.decode()


async def connect(base_url: str, cookie: str, **headers: str) -> WebSocketClientConnection:
    address = base_url.replace("http", "ws") + "/socket"
    return await websocket_connect(HTTPRequest(address, headers={"Cookie": cookie, **headers}))


async def ask(socket: WebSocketClientConnection) -> Any:
    await socket.write_message("hello")
    answer = await asyncio.wait_for(socket.read_message(), BOUND)
    return json.loads(answer) if answer is not None else None


@pytest.mark.gen_test
async def test_a_socket_has_the_session_and_can_store(
    sessions: Sessions, http_client: AsyncHTTPClient, base_url: str
) -> None:
    cookie, _ = await enter(http_client, base_url)
    socket = await connect(base_url, cookie)
    assert [await ask(socket) for _ in range(2)] == [{"user": "ada", "messages": n} for n in (1, 2)]
    again = await connect(base_url, cookie)
    assert (await ask(again))["messages"] == 3
    socket.close()
    again.close()


@pytest.mark.gen_test
async def test_a_socket_is_closed_when_its_session_is_destroyed(
    sessions: Sessions, http_client: AsyncHTTPClient, base_url: str
) -> None:
    cookie, handle = await enter(http_client, base_url)
    socket = await connect(base_url, cookie)
    await ask(socket)
    await sessions.destroy(handle)
    assert await asyncio.wait_for(socket.read_message(), BOUND) is None
    socket.close()
    assert socket.close_code == 1008


@pytest.mark.gen_test
async def test_a_socket_is_closed_when_everybody_is_out(
    sessions: Sessions, http_client: AsyncHTTPClient, base_url: str
) -> None:
    cookie, _ = await enter(http_client, base_url)
    socket = await connect(base_url, cookie)
    await ask(socket)
    await sessions.end_all()
    assert await asyncio.wait_for(socket.read_message(), BOUND) is None
    socket.close()


@pytest.mark.gen_test
async def test_a_stream_is_cut_when_its_session_is_destroyed(
    sessions: Sessions, http_client: AsyncHTTPClient, base_url: str
) -> None:
    Stream.go_on, Stream.closed = asyncio.Event(), asyncio.Event()
    cookie, handle = await enter(http_client, base_url)
    first = asyncio.Event()
    request = HTTPRequest(
        base_url + "/stream", headers={"Cookie": cookie}, streaming_callback=lambda _: first.set(), request_timeout=20
    )
    reading = asyncio.ensure_future(http_client.fetch(request))
    await asyncio.wait_for(first.wait(), BOUND)
    await sessions.destroy(handle)
    with pytest.raises(HTTPStreamClosedError):
        await asyncio.wait_for(reading, BOUND)
    Stream.go_on.set()
    await asyncio.wait_for(Stream.closed.wait(), BOUND)


@pytest.mark.gen_test
async def test_a_handshake_from_another_site_neither_loads_nor_touches(
    sessions: Sessions, http_client: AsyncHTTPClient, base_url: str
) -> None:
    cookie, handle = await enter(http_client, base_url)
    before = await sessions.inspect(handle)
    with pytest.raises(HTTPClientError):
        await connect(base_url, cookie, Origin="https://evil.example")
    assert await sessions.inspect(handle) == before


@pytest.mark.gen_test
async def test_an_end_in_one_process_closes_a_socket_in_another(
    sessions: Sessions, url: str, http_client: AsyncHTTPClient, base_url: str
) -> None:
    if url.startswith("memory"):
        return
    cookie, handle = await enter(http_client, base_url)
    socket = await connect(base_url, cookie)
    await ask(socket)
    elsewhere = Sessions(url, config=SessionConfig(secret=SECRET))
    await elsewhere.destroy(handle)
    assert await asyncio.wait_for(socket.read_message(), BOUND) is None
    socket.close()
    await elsewhere.close()


class Leaver(SessionMixin, RequestHandler):
    async def get(self) -> None:
        self.session["left"] = True
        stream: Any = getattr(self.request.connection, "stream")  # noqa: B009
        stream.close()


@pytest.mark.gen_test
async def test_what_a_client_changed_that_went_away_is_stored_without_noise(
    sessions: Sessions, app: Application, http_client: AsyncHTTPClient, base_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    app.add_handlers(".*", [("/leave", Leaver)])
    cookie, handle = await enter(http_client, base_url)
    with pytest.raises(HTTPStreamClosedError):
        await http_client.fetch(HTTPRequest(base_url + "/leave", headers={"Cookie": cookie}))
    for _ in range(100):
        await http_client.fetch(base_url + "/login")
        data = getattr(await sessions.inspect(handle), "data", {})
        if "left" in data:
            break
    assert data["left"] == b"true"
    assert "never retrieved" not in caplog.text


class Clumsy(SessionMixin, WebSocketHandler):
    """Says good-bye in a way that goes wrong."""

    way = ""

    async def open(self, way: str) -> None:
        self.way = way
        await self.write_message("open")

    def close_for_session(self) -> Any:
        if self.way == "raises":
            raise LookupError("no such greeting")
        return self.say_good_bye()

    async def say_good_bye(self) -> None:
        if self.way == "is a coroutine that raises":
            raise LookupError("no such greeting")
        if self.way == "is a coroutine that hangs":
            await asyncio.Event().wait()
        await self.write_message("good-bye")
        super().close_for_session()


@pytest.mark.parametrize("way", ["raises", "is a coroutine that raises", "is a coroutine that hangs", "is a coroutine"])
@pytest.mark.gen_test
async def test_whatever_close_for_session_does_everything_is_closed_and_nobody_else_fails(
    way: str, sessions: Sessions, app: Application, http_client: AsyncHTTPClient, base_url: str
) -> None:
    app.add_handlers(".*", [("/clumsy/(.*)", Clumsy)])
    cookie, handle = await enter(http_client, base_url)
    address = base_url.replace("http", "ws") + "/clumsy/" + way.replace(" ", "%20")
    clumsy = await websocket_connect(HTTPRequest(address, headers={"Cookie": cookie}))
    assert await asyncio.wait_for(clumsy.read_message(), BOUND) == "open"
    socket = await connect(base_url, cookie)
    await ask(socket)
    assert await sessions.destroy(handle)
    last = await asyncio.wait_for(clumsy.read_message(), BOUND)
    assert last == ("good-bye" if way == "is a coroutine" else None)
    assert await asyncio.wait_for(socket.read_message(), BOUND) is None
    clumsy.close()
    socket.close()
    # The next session's connections are closed as well: nothing that listens has died.
    cookie, handle = await enter(http_client, base_url)
    socket = await connect(base_url, cookie)
    await ask(socket)
    await sessions.end_all()
    assert await asyncio.wait_for(socket.read_message(), BOUND) is None
    socket.close()


class Abandoned:
    """An open connection whose handler is collected and never said that it closed."""

    def close_for_session(self) -> None:
        """Nothing is open."""


@pytest.mark.gen_test
async def test_what_is_collected_is_not_asked_for_any_more() -> None:
    async def nothing() -> AsyncGenerator[Event, None]:
        await asyncio.Event().wait()
        yield Event(kind=EventKind.ENDED_ALL, handle="", at=0.0)

    asked: list[str] = []
    answered = asyncio.Event()

    async def still_live(handles: list[str]) -> dict[str, float]:
        asked.extend(handles)
        answered.set()
        return dict.fromkeys(handles, 1e12)

    live = Live(nothing, still_live, lambda: 1e9)
    kept = Abandoned()
    live.add("collected", Abandoned(), 0.0)
    live.add("kept", kept, 0.0)
    gc.collect()
    await asyncio.wait_for(answered.wait(), BOUND)
    await live.close()
    assert asked == ["kept"]
