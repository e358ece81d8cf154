"""What clients can take of the HTTP server: over real sockets, with limits low enough to reach."""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import select
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.raw_connection import RawConnection, connected
from support.tried import Tried
from support.waiting import one_turn, until
from tornado.httputil import HTTPConnection, HTTPMessageDelegate
from tornado.netutil import bind_sockets, bind_unix_socket
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from tornado_sessions.proxies import Proxies
from tornado_sessions.server.web.http_server import SessionServer
from tornado_sessions.server.web.limits import Limits
from tornado_sessions.server.web.load import Load
from tornado_sessions.server.web.people_seen import PeopleSeen
from tornado_sessions.server.web.security_headers import SECURITY_HEADERS

PAGE = b"x" * 4_000_000


class Alive(RequestHandler):
    def get(self) -> None:
        self.write("ok")

    def post(self) -> None:
        self.write(str(len(self.request.body)))


class Page(RequestHandler):
    def get(self) -> None:
        self.write(PAGE)


class Working(RequestHandler):
    """Works until the test sets the event, and counts the others."""

    def initialize(self) -> None:
        self.at_work: list[str] = self.settings["at_work"]

    async def get(self) -> None:
        self.at_work.append(self.request.headers.get("X-Name", ""))
        await self.settings["done"].wait()
        self.write("done")

    post = get


class Small(RequestHandler):
    """A page as small as most, counted."""

    def get(self) -> None:
        self.settings["at_work"].append("small")
        self.write(PAGE[:6000])


class Broken(RequestHandler):
    def initialize(self) -> None:
        raise ValueError("broken before anything")


class Echo(WebSocketHandler):
    def on_message(self, message: str | bytes) -> None:
        self.write_message(message)


class Counting(Application):
    """Counts the requests whose header Tornado is about to parse."""

    begun = 0

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        self.begun += 1
        return super().start_request(server_conn, request_conn)


class Site:
    """A server on a free port, with what a test looks at."""

    def __init__(self, limits: Limits, trusted: list[str], **settings: Any) -> None:
        self.load, self.people = Load(), PeopleSeen()
        self.done = asyncio.Event()
        self.at_work: list[str] = []
        routes = [
            (r"/(?:healthz)?", Alive),
            ("/page", Page),
            ("/work", Working),
            ("/small", Small),
            ("/broken", Broken),
            ("/echo", Echo),
        ]
        self.application = Counting(
            routes, at_work=self.at_work, done=self.done, log_function=lambda _: None, **settings
        )
        self.server = SessionServer(
            self.application,
            limits=limits,
            load=self.load,
            proxies=Proxies(trusted),
            people=self.people,
            health={"/healthz"},
        )
        self.listener = bind_sockets(0, "127.0.0.1")[0]
        self.server.add_sockets([self.listener])
        self.port: int = self.listener.getsockname()[1]

    async def answers(self) -> bool:
        """Return whether somebody new gets an answer."""
        async with connected(("127.0.0.1", self.port)) as client:
            client.send("GET", "/", {})
            return (await client.response()).startswith(b"HTTP/1.1 200")

    async def close(self) -> None:
        self.server.stop()
        await self.server.close_all_connections()


@asynccontextmanager
async def serving(*, trusted: list[str] | None = None, **limits: float) -> AsyncIterator[Site]:
    site = Site(Limits(**limits), trusted or [])  # type: ignore[arg-type]
    try:
        yield site
    finally:
        site.done.set()
        await site.close()


@asynccontextmanager
async def clients(site: Site, number: int, host: str = "127.0.0.1") -> AsyncIterator[list[RawConnection]]:
    """Open connections from one local address."""
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(number):
            reader, writer = await asyncio.open_connection("127.0.0.1", site.port, local_addr=(host, 0))
            stack.callback(writer.close)
            found.append(RawConnection(reader, writer))
        yield found


async def closed(connections: list[RawConnection]) -> int:
    await one_turn(5)
    return sum(connection.reader.at_eof() for connection in connections)


MALFORMED = {
    "no request": b"nonsense",
    "no version": b"GET / HTTP/9.9",
    "a control character": b"GET / HTTP/1.1\r\nHost: a\r\nX: \x01",
    "no host": b"GET / HTTP/1.1",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b",
    "a space before the colon": b"GET / HTTP/1.1\r\nHost: a\r\nCookie : sid=a",
    "an unknown encoding": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip",
    "a negative length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1",
    "a wrong chunk": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz",
}


def errors_of(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return the errors, but for what asyncio says about tasks that an earlier test has left to the garbage collector."""
    return [record for record in caplog.records if record.levelno >= logging.ERROR and record.name != "asyncio"]


REFUSALS = {
    "malformed": (b"nonsense\r\n\r\n", b"400"),
    "slow": (b"GET / HT", b"408"),
    "large": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n", b"413"),
    "a large header": (b"GET / HTTP/1.1\r\nHost: a\r\nCookie: " + b"x" * 17_000, b"431"),
    "busy": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"503"),
}
_HTTPS = b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n\r\n"


@pytest.mark.parametrize("kind", REFUSALS)
@pytest.mark.gen_test
async def test_a_refusal_asks_for_https_if_the_site_uses_it(kind: str) -> None:
    sent, status = REFUSALS[kind]
    # Where the header has arrived, a trusted proxy says so.
    reports = {False: sent, True: sent.removesuffix(b"\r\n") + _HTTPS if sent.endswith(b"\r\n\r\n") else sent}
    for is_known, is_secure, is_proxied in (
        (True, True, False),
        (False, False, False),
        (False, True, kind in {"large", "busy"}),
    ):
        trusted = ["127.0.0.1"] if is_proxied else []
        limits: dict[str, float] = {"requests": 1, "header_time": 0.1, "is_secure": is_known}
        async with serving(trusted=trusted, **limits) as site, clients(site, 2, "127.0.0.2") as busy:
            for client in busy if kind == "busy" else []:
                client.send("GET", "/work", {})
            await until(lambda: len(site.at_work) == (kind == "busy"), "the handler")
            async with connected(("127.0.0.1", site.port)) as client:
                client.writer.write(reports[is_proxied])
                answer = await client.response()
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert (b"\r\nStrict-Transport-Security: max-age=" in answer) is (is_known or (is_secure and is_proxied))


@pytest.mark.parametrize("kind", MALFORMED)
@pytest.mark.gen_test
async def test_a_malformed_request_gets_an_answer_with_the_security_headers(kind: str) -> None:
    async with serving() as site, connected(("127.0.0.1", site.port)) as client:
        client.writer.write(MALFORMED[kind] + b"\r\n\r\n")
        answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert answer.count(b"HTTP/1.1") == 1
        for name, value in {**SECURITY_HEADERS, "Connection": "close", "Server": "tornado_sessions"}.items():
            assert f"\r\n{name}: {value}\r\n".encode() in answer
        assert await site.answers()


# --- times ------------------------------------------------------------------------------------------------------------

BEGINNINGS = {
    "silent": (b"", b""),
    "slow header": (b"GET / HTTP/1.1\r\nHost: ", b"HTTP/1.1 408 Request Timeout"),
    "slow body": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab", b"HTTP/1.1 408 Request Timeout"),
    "slow chunks": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", b"HTTP/1.1 408"),
    "idle": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK"),
    "slow second header": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT", b"HTTP/1.1 200 OK"),
    "second header of two": (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", b"HTTP/1.1 200 OK"),
}


@pytest.mark.parametrize("name", BEGINNINGS)
@pytest.mark.gen_test
async def test_a_connection_that_waits_too_long_for_its_client_is_closed(name: str) -> None:
    begin, answer = BEGINNINGS[name]
    async with (
        serving(header_time=0.2, body_time=0.2, idle_time=0.2) as site,
        connected(("127.0.0.1", site.port)) as client,
    ):
        client.writer.write(begin)
        said = await client.rest(5)
        assert said.startswith(answer)
        assert bool(said) == bool(answer)
        await until(lambda: (site.load.connections, site.load.in_progress) == (0, 0), "the counts")


@pytest.mark.gen_test
async def test_a_dripping_header_gains_no_time() -> None:
    async with serving(header_time=0.4) as site, connected(("127.0.0.1", site.port)) as client:
        client.writer.write(b"GET / HTTP/1.1\r\nHost: ")

        def drip() -> bool:
            client.writer.write(b"a" if site.load.connections else b"")
            return site.load.refused["too slow: header"] == 1

        await until(drip, "the end of the connection", 4)


@pytest.mark.gen_test
async def test_a_client_that_does_not_read_is_cut() -> None:
    async with serving(stall_time=0.2) as site:
        with socket.socket() as client:
            # So that the kernel does not take the page for the client.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.connect(("127.0.0.1", site.port))
            client.sendall(b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n")
            await until(lambda: site.load.refused["too slow: answered"], "the cut")
            await until(lambda: (site.load.connections, site.load.in_progress) == (0, 0), "the counts")


@pytest.mark.gen_test
async def test_a_slow_but_reading_client_gets_all_of_the_page() -> None:
    async with serving(stall_time=0.5) as site, connected(("127.0.0.1", site.port)) as client:
        client.send("GET", "/page", {"Connection": "close"})
        assert len(await client.rest()) > len(PAGE)


@pytest.mark.gen_test
async def test_a_websocket_that_is_silent_stays_open() -> None:
    async with serving(header_time=0.1, idle_time=0.1) as site, connected(("127.0.0.1", site.port)) as client:
        upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        client.send("GET", "/echo", {**upgrade, "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="})
        assert (await client.response()).startswith(b"HTTP/1.1 101")
        async with connected(("127.0.0.1", site.port)) as silent:
            await silent.rest()
        assert not client.reader.at_eof()
        assert (site.load.connections, site.load.in_progress) == (1, 0)
    await until(lambda: site.load.connections == 0, "the end of the WebSocket")


# --- connections ------------------------------------------------------------------------------------------------------

WAITING = {name: begin for name, (begin, _) in BEGINNINGS.items()}


@pytest.mark.parametrize("name", WAITING)
@pytest.mark.gen_test
async def test_the_longest_waiting_connection_makes_room(name: str) -> None:
    async with serving(connections=8) as site, clients(site, 8) as crowd:
        for client in crowd:
            client.writer.write(WAITING[name])
        assert await site.answers()
        assert site.load.connections <= 8


@pytest.mark.gen_test
async def test_a_crowd_at_one_address_costs_other_addresses_nothing() -> None:
    async with serving(connections=16) as site, clients(site, 2, "127.0.0.2") as people:
        for person in people:
            person.send("GET", "/", {})
            await person.response()
        async with clients(site, 40) as crowd:
            await until(lambda: site.load.connections <= 6, "the limit of one address")
            await until(lambda: sum(client.reader.at_eof() for client in crowd) >= 36, "the cut")
            assert await closed(people) == 0
            assert await site.answers()


@pytest.mark.gen_test
async def test_crowds_at_many_addresses_make_room_before_one_person(tried: Tried) -> None:
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(serving(connections=24))
        people = await stack.enter_async_context(clients(site, 1, "127.0.0.9"))
        for i in range(2, 8):
            await stack.enter_async_context(clients(site, 6, f"127.0.0.{i}"))
        assert site.load.connections <= 24
        lost = await closed(people)
        tried("hostile connections: people's connections closed", times=36, lost=lost)
        assert lost == 0
        assert await site.answers()


@pytest.mark.gen_test
async def test_connections_of_a_trusted_proxy_are_not_one_client() -> None:
    async with serving(connections=16, trusted=["127.0.0.1"]) as site, clients(site, 14) as proxy:
        await until(lambda: site.load.connections == 14, "the connections")
        async with clients(site, 2, "127.0.0.2"):
            assert await site.answers()
            assert await closed(proxy) == 0


@pytest.mark.gen_test
async def test_connections_of_a_unix_socket_are_not_one_client(tmp_path: Path) -> None:
    async with serving(connections=16) as site, AsyncExitStack() as stack:
        site.server.add_sockets([bind_unix_socket(str(tmp_path / "s"))])
        several = [await stack.enter_async_context(connected(tmp_path / "s")) for _ in range(12)]
        several[-1].send("GET", "/", {})
        assert (await several[-1].response()).startswith(b"HTTP/1.1 200")
        assert await closed(several) == 0


@pytest.mark.gen_test
async def test_no_connection_is_cut_while_a_handler_works() -> None:
    async with serving(connections=4) as site, clients(site, 1) as (busy,):
        busy.send("GET", "/work", {})
        await until(lambda: site.at_work, "the handler")
        async with clients(site, 1) as (late,):
            # One address has one of four connections, and that one is at work.
            assert (await late.rest()).startswith(b"HTTP/1.1 503")
        site.done.set()
        assert (await busy.response()).endswith(b"done")


@pytest.mark.gen_test
async def test_a_half_closed_connection_does_not_stay() -> None:
    async with serving() as site, clients(site, 3) as several:
        several[1].writer.write(b"GET / HT")
        several[2].send("GET", "/work", {})
        await until(lambda: site.at_work, "the handler")
        for client in several:
            client.writer.write_eof()
        await until(lambda: site.load.connections == 0, "the end")
        assert site.load.in_progress == 1
        site.done.set()
        await until(lambda: site.load.in_progress == 0, "the handler's end")


@pytest.mark.gen_test
async def test_without_descriptors_the_server_pauses_and_logs_one_line(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as site, clients(site, 20) as crowd:
        await until(lambda: site.load.connections == 20, "the connections")
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket() as late:
            late.setblocking(False)
            late.connect_ex(("127.0.0.1", site.port))
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
            try:
                await until(lambda: site.load.refused["connection closed for a new one"] >= 3, "three attempts")
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            await asyncio.get_running_loop().sock_sendall(late, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await asyncio.get_running_loop().sock_recv(late, 100)).startswith(b"HTTP/1.1 200")
        assert crowd
    lines = [record.getMessage() for record in errors_of(caplog)]
    assert len(lines) == 1
    assert "Too many open files" in lines[0]


@pytest.mark.gen_test
async def test_accepted_connections_that_wait_for_their_turn_are_served_when_the_server_stops() -> None:
    async with serving() as site:
        crowd = [socket.create_connection(("127.0.0.1", site.port), timeout=5) for _ in range(30)]
        for client in crowd:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await until_accepted(site)
        assert site.load.connections < 30
        site.server.stop()
        await until(lambda: site.load.connections == 0, "the answers")
        for client in crowd:
            with client:
                assert client.recv(100).startswith(b"HTTP/1.1 200")


async def until_accepted(site: Site) -> None:
    """Wait until the server has accepted all that the kernel has, which takes one turn for 30, and no longer."""
    looking = select.poll()
    looking.register(site.listener, select.POLLIN)
    while looking.poll(0):
        await one_turn()


# --- requests ---------------------------------------------------------------------------------------------------------

TOO_LARGE = {
    "announced": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n", b"413"),
    "announced twice": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999, 99999\r\n\r\n", b"413"),
    "absurd": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", b"413"),
    "expected": (b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 65537\r\n\r\n", b"413"),
    "with HTTP/1.0": (b"POST / HTTP/1.0\r\nContent-Length: 65537\r\n\r\n", b"413"),
    "in a GET": (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n", b"413"),
    "in chunks": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"4000\r\n" + b"x" * 0x4000 + b"\r\n" + b"C001\r\n" + b"x" * 0xC001,
        b"413",
    ),
    "in two chunks and the length of a third": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        + 2 * (b"FFFF\r\n" + b"x" * 0xFFFF + b"\r\n"),
        b"413",
    ),
    "in a complete chunked body": (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        + 3000 * (b"40\r\n" + b"x" * 0x40 + b"\r\n")
        + b"0\r\n\r\n",
        b"413",
    ),
    "sent all the same": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000, b"413"),
    "long header": (b"GET / HTTP/1.1\r\nHost: a\r\nCookie: " + b"x" * 17_000 + b"\r\n\r\n", b"431"),
    "long header in parts": (b"GET / HTTP/1.1\r\nHost: a\r\nCookie: " + b"x" * 17_000, b"431"),
    "long first line": (b"GET /" + b"x" * 17_000, b"431"),
    "many header lines": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * 100 + b"\r\n", b"431"),
}


@pytest.mark.parametrize("name", TOO_LARGE)
@pytest.mark.gen_test
async def test_what_is_too_large_gets_a_readable_answer_at_once(name: str, caplog: pytest.LogCaptureFixture) -> None:
    sent, status = TOO_LARGE[name]
    async with serving() as site, connected(("127.0.0.1", site.port)) as client:
        client.writer.write(sent)
        answer = await client.response()
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert b"Connection: close" in answer
        assert b"Tornado" not in answer
        client.writer.close()
        await until(lambda: (site.load.connections, site.load.in_progress) == (0, 0), "the counts")
    assert errors_of(caplog) == []


@pytest.mark.parametrize("length", ["Content-Length: 65536\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n10000\r\n"])
@pytest.mark.gen_test
async def test_the_largest_body_is_taken(length: str) -> None:
    async with serving() as site, connected(("127.0.0.1", site.port)) as client:
        client.writer.write(f"POST / HTTP/1.1\r\nHost: a\r\n{length}".encode() + b"x" * 65536)
        client.writer.write(b"\r\n0\r\n\r\n" if "chunked" in length else b"")
        assert (await client.response()).endswith(b"65536")


@pytest.mark.gen_test
async def test_a_refusal_speaks_the_clients_language_or_json() -> None:
    async with serving() as site:
        for path, expected in (("/", "内容超过"), ("/admin/api/sessions", '"status": 413')):
            async with connected(("127.0.0.1", site.port)) as client:
                client.send("POST", path, {"Accept-Language": "zh", "Content-Length": "99999"})
                assert expected in (await client.response()).decode()


@pytest.mark.gen_test
async def test_too_many_requests_in_progress_get_503_at_once(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(requests=4) as site, clients(site, 3) as busy, clients(site, 2, "127.0.0.2") as others:
        for client in busy:
            client.send("GET", "/work", {})
        others[0].send("GET", "/work", {})
        await until(lambda: len(site.at_work) == 4, "the handlers")
        others[1].send("GET", "/", {})
        answer = await others[1].response()
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"Retry-After: 1\r\n" in answer
        for path, code in (("/admin/api/x", b"503"), ("/healthz", b"200")):
            others[1].send("GET", path, {})
            assert (await others[1].response()).startswith(b"HTTP/1.1 " + code)
        others[1].send("HEAD", "/", {})
        assert (await others[1].response("HEAD")).startswith(b"HTTP/1.1 503")
        site.done.set()
        for client in (*busy, others[0]):
            assert (await client.response()).endswith(b"done")
        assert await site.answers()
        assert site.load.in_progress == 0


@pytest.mark.gen_test
async def test_operators_are_let_in_when_the_server_is_busy() -> None:
    async with serving(requests=2) as site, clients(site, 2, "127.0.0.2") as busy, clients(site, 1) as late:
        for client in busy:
            client.send("GET", "/work", {"Cookie": "sid=somebody"})
        site.people.add({"Cookie": "sid=operator"}, "root", is_operator=True)
        site.people.add({"Cookie": "sid=other"}, "ada", is_operator=False)
        site.people.add({"Authorization": "Bearer token"}, "token t", is_operator=True)
        async with clients(site, 1, "127.0.0.3") as another:
            another[0].send("GET", "/work", {})
            await until(lambda: len(site.at_work) == 2, "the handlers")
        for header, code in (
            ({"Cookie": "sid=operator"}, b"200"),
            ({"Authorization": "Bearer token"}, b"200"),
            ({"Cookie": "sid=other"}, b"503"),
            ({}, b"503"),
        ):
            late[0].send("GET", "/", header)
            assert (await late[0].response()).startswith(b"HTTP/1.1 " + code)


@pytest.mark.gen_test
async def test_one_client_cannot_take_all_requests_and_is_known_by_its_proxys_header() -> None:
    async with serving(requests=4, trusted=["127.0.0.1"]) as site, clients(site, 5) as proxied:
        for client in proxied[:4]:
            client.send("GET", "/work", {"X-Forwarded-For": "192.0.2.1"})
        await until(lambda: len(site.at_work) == 3, "the handlers")
        assert (await proxied[3].response()).startswith(b"HTTP/1.1 503")
        proxied[4].send("GET", "/", {"X-Forwarded-For": "192.0.2.2"})
        assert (await proxied[4].response()).startswith(b"HTTP/1.1 200")


@pytest.mark.gen_test
async def test_a_client_with_one_request_comes_before_the_many_of_another(tried: Tried) -> None:
    async with serving(requests=400) as site, clients(site, 200) as crowd, clients(site, 1, "127.0.0.2") as person:
        site.done.set()
        await until(lambda: site.load.connections == 201, "the connections")
        for client in crowd:
            client.send("GET", "/work", {"X-Name": "crowd"})
        person[0].send("GET", "/work", {"X-Name": "person"})
        await person[0].response()
        for client in crowd:
            await client.response()
        assert len(site.at_work) == 201
        tried("requests at once in a crowd of 200 connections", times=201, lost=0)


@pytest.mark.gen_test
async def test_slow_bodies_do_not_take_the_places_of_requests() -> None:
    async with serving(requests=2) as site, clients(site, 10, "127.0.0.2") as slow:
        for client in slow:
            client.send("POST", "/", {"Content-Length": "5"}, b"ab")
        await until(lambda: site.load.in_progress == 10, "the requests")
        assert await site.answers()


@pytest.mark.gen_test
async def test_pipelined_requests_are_answered_in_their_order_and_others_between_them() -> None:
    async with serving() as site, clients(site, 2) as (many, one):
        site.done.set()
        for i in range(30):
            many.send("GET", "/work", {"X-Name": str(i)})
        one.send("GET", "/work", {"X-Name": "one"})
        await one.response()
        for _ in range(30):
            await many.response()
        assert [name for name in site.at_work if name != "one"] == [str(i) for i in range(30)]
        await until(lambda: site.load.in_progress == 0, "the counts")


@pytest.mark.gen_test
async def test_a_pipelined_request_that_lasts_holds_up_no_other_client() -> None:
    """It may be an event stream, or have a slow body; and under load an honest request can look like a pipelined one."""
    async with serving() as site, clients(site, 2) as (stream, body), clients(site, 1, "127.0.0.2") as (other,):
        stream.send("GET", "/", {})
        stream.send("GET", "/work", {})
        body.send("GET", "/", {})
        body.send("POST", "/", {"Content-Length": "5"}, b"ab")
        await until(lambda: site.load.in_progress == 2 and len(site.at_work) == 1, "the two that last")
        for _ in range(3):
            other.send("GET", "/", {})
        for _ in range(3):
            assert (await other.response()).startswith(b"HTTP/1.1 200")
        site.done.set()


@pytest.mark.gen_test
async def test_the_wait_for_the_pace_is_not_counted_as_a_slow_body() -> None:
    async with serving(body_time=0.05) as site, clients(site, 30) as crowd:
        for client in crowd:
            for _ in range(4):
                client.send("GET", "/", {})
        for client in crowd:
            for _ in range(4):
                assert (await client.response()).startswith(b"HTTP/1.1 200")
        assert not site.load.refused


@pytest.mark.gen_test
async def test_requests_sent_ahead_do_not_wait_for_ever() -> None:
    async with serving(ahead_time=0.1) as site, clients(site, 40) as crowd:
        for client in crowd:
            for _ in range(20):
                client.send("GET", "/", {})
        await until(lambda: site.load.refused["too slow: ahead"], "the end of the wait")
        assert await site.answers()


@pytest.mark.gen_test
async def test_requests_of_a_client_that_has_left_are_not_worked_on() -> None:
    async with serving() as site, clients(site, 1) as (one,):
        one.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2000)
        await until(lambda: site.load.in_progress, "the first")
        one.writer.close()
        await until(lambda: (site.load.connections, site.load.in_progress) == (0, 0), "the end")
        await one_turn(50)
        assert site.application.begun < 50


@pytest.mark.gen_test
async def test_a_client_that_does_not_read_gets_no_further_pages_made() -> None:
    """The kernel would keep megabytes for each connection."""
    async with serving(stall_time=0.3) as site:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.connect(("127.0.0.1", site.port))
            client.sendall(b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
            await until(site.load.refused.total, "the cut")
        assert 0 < len(site.at_work) < 60, site.load.refused


@pytest.mark.gen_test
async def test_people_who_have_signed_in_come_before_a_crowd_at_their_address() -> None:
    async with serving(requests=400) as site, clients(site, 150) as crowd, clients(site, 1) as (person,):
        site.done.set()
        site.people.add({"Cookie": "sid=ada"}, "ada", is_operator=False)
        await until(lambda: site.load.connections == 151, "the connections")
        for client in crowd:
            client.send("GET", "/work", {"X-Name": "crowd", "Cookie": "sid=unknown"})
        await until(lambda: site.at_work, "the first of the crowd")
        person.send("GET", "/work", {"X-Name": "person", "Cookie": "sid=ada"})
        await person.response()
        assert len(site.at_work) < 120


@pytest.mark.gen_test
async def test_a_request_that_fails_outside_of_its_handler_gives_its_place_back() -> None:
    async with serving(requests=1) as site:
        for _ in range(3):
            async with connected(("127.0.0.1", site.port)) as client:
                client.send("GET", "/broken", {})
                await client.rest()
        assert await site.answers()
        await until(lambda: (site.load.connections, site.load.in_progress) == (0, 0), "the counts")


@pytest.mark.gen_test
async def test_limits_that_are_reached_are_logged_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(connections=8) as site, clients(site, 60):
        await until(lambda: any("limits reached" in record.getMessage() for record in caplog.records), "the line")
        assert len([record for record in caplog.records if "limits reached" in record.getMessage()]) < 3
        assert json.dumps(site.load.refused)
