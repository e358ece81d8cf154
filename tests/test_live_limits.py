"""How many WebSockets and streams a session, and a process, can have open: over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from support.passwords import SECRET
from support.waiting import one_turn, until
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest, HTTPResponse
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketClientConnection, WebSocketHandler, websocket_connect

from tornado_sessions import SessionConfig, SessionMixin, Sessions


class LogIn(SessionMixin, RequestHandler):
    async def get(self) -> None:
        await self.log_in(self.get_argument("user", "ada"))


class Socket(SessionMixin, WebSocketHandler):
    def on_message(self, message: str | bytes) -> None:
        self.write_message(message)


class Stream(SessionMixin, RequestHandler):
    async def get(self) -> None:
        if self.get_argument("saves", ""):
            self.session.increment("streams")
        self.write("one\n")
        await self.flush()
        await self.settings["go_on"].wait()
        self.write("two\n")


@pytest.fixture
def clock() -> list[float]:
    return [1_800_000_000.0]


@pytest.fixture
def sessions(io_loop: Any, clock: list[float]) -> Iterator[Sessions]:
    made = Sessions("memory:", config=SessionConfig(secret=SECRET), clock=lambda: clock[0])
    made.live.max_per_session, made.live.max_in_all = 3, 5
    yield made
    io_loop.run_sync(made.close)


@pytest.fixture
def go_on() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
def app(sessions: Sessions, go_on: asyncio.Event) -> Application:
    routes = [("/login", LogIn), ("/socket", Socket), ("/stream", Stream)]
    return Application(routes, sessions=sessions, go_on=go_on, log_function=lambda _: None)


@pytest.fixture
def http_client(http_client: AsyncHTTPClient) -> Iterator[AsyncHTTPClient]:
    client = AsyncHTTPClient(force_instance=True, max_clients=100)
    yield client
    client.close()


async def enter(client: AsyncHTTPClient, base_url: str, user: str = "ada") -> str:
    return (await client.fetch(f"{base_url}/login?user={user}")).headers["Set-Cookie"].split(";")[0]


async def connect(base_url: str, cookie: str) -> WebSocketClientConnection:
    address = base_url.replace("http", "ws") + "/socket"
    return await websocket_connect(HTTPRequest(address, headers={"Cookie": cookie}))


async def refusal(base_url: str, cookie: str) -> tuple[int, str]:
    with pytest.raises(HTTPClientError) as caught:
        await connect(base_url, cookie)
    assert caught.value.response is not None
    return caught.value.code, caught.value.response.headers["Retry-After"]


def begin(client: AsyncHTTPClient, url: str, cookie: str) -> asyncio.Task[HTTPResponse]:
    request = HTTPRequest(url, headers={"Cookie": cookie}, request_timeout=20)
    return asyncio.ensure_future(client.fetch(request, raise_error=False))


@pytest.mark.gen_test
async def test_a_socket_too_many_of_a_session_is_429_and_leaves_the_session_alone(
    sessions: Sessions, http_client: AsyncHTTPClient, base_url: str, clock: list[float]
) -> None:
    cookie = await enter(http_client, base_url)
    open_ones = [await connect(base_url, cookie) for _ in range(3)]
    before = (await sessions.find(user="ada")).items
    clock[0] += 600
    assert await refusal(base_url, cookie) == (429, "10")
    assert (await sessions.find(user="ada")).items == before
    for socket in open_ones:
        await socket.write_message("still here")
        assert await socket.read_message() == "still here"
    open_ones[0].close()

    async def is_let_in() -> bool:
        try:
            (await connect(base_url, cookie)).close()
        except HTTPClientError:
            return False
        return True

    await until(is_let_in, "the place of the socket that closed")


@pytest.mark.gen_test
async def test_a_socket_too_many_of_the_process_is_503_for_sessions_and_no_matter_for_others(
    http_client: AsyncHTTPClient, base_url: str
) -> None:
    cookies = [await enter(http_client, base_url, user) for user in ("ada", "ben", "cy")]
    open_ones = [await connect(base_url, cookie) for cookie in (cookies * 2)[:5]]
    assert await refusal(base_url, cookies[2]) == (503, "10")
    assert (await http_client.fetch(base_url + "/login")).code == 200
    open_ones.append(await connect(base_url, ""))
    for socket in open_ones:
        socket.close()


@pytest.mark.parametrize("query", ["", "?saves=1"])
@pytest.mark.gen_test
async def test_streams_that_begin_together_are_limited_as_well(
    query: str, sessions: Sessions, http_client: AsyncHTTPClient, base_url: str, go_on: asyncio.Event
) -> None:
    cookie = await enter(http_client, base_url)
    streams = [begin(http_client, base_url + "/stream" + query, cookie) for _ in range(20)]
    await until(lambda: sum(stream.done() for stream in streams) == 17, "the refusals")
    go_on.set()
    answers = await asyncio.gather(*streams)
    assert sorted(answer.code for answer in answers) == [200] * 3 + [429] * 17
    assert {answer.body for answer in answers if answer.code == 200} == {b"one\ntwo\n"}
    await one_turn(5)
    assert (await http_client.fetch(base_url + "/stream", headers={"Cookie": cookie})).code == 200


@pytest.mark.gen_test
async def test_a_stream_too_many_leaves_the_session_alone(
    sessions: Sessions, http_client: AsyncHTTPClient, base_url: str, clock: list[float], go_on: asyncio.Event
) -> None:
    cookie = await enter(http_client, base_url)
    open_ones = [await connect(base_url, cookie) for _ in range(3)]
    before = (await sessions.find(user="ada")).items
    clock[0] += 600
    refused = await begin(http_client, base_url + "/stream?saves=1", cookie)
    assert (refused.code, refused.headers["Retry-After"]) == (429, "10")
    assert "Set-Cookie" not in refused.headers
    assert (await sessions.find(user="ada")).items == before
    for socket in open_ones:
        socket.close()


@pytest.mark.gen_test
async def test_the_end_of_a_session_frees_its_places(
    sessions: Sessions, http_client: AsyncHTTPClient, base_url: str
) -> None:
    for _ in range(4):
        cookie = await enter(http_client, base_url)
        open_ones = [await connect(base_url, cookie) for _ in range(3)]
        await sessions.destroy_user("ada")
        for socket in open_ones:
            assert await socket.read_message() is None
            socket.close()
