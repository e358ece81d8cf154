"""The whole server behind a real nginx with the shipped site, over TCP and over a unix socket."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from argon2.profiles import CHEAPEST
from support.browser import Browser
from support.nginx_process import Nginx
from support.passwords import PASSWORD
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders
from tornado.netutil import bind_sockets, bind_unix_socket
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler, websocket_connect

from tornado_sessions import SessionMixin
from tornado_sessions.server.accounts.passwords import Passwords
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.settings import ServerOptions
from tornado_sessions.server.web.application import make_application

# Where the client connects from: a loopback address that is not the trusted proxy's.
CLIENT, NEIGHBOUR = "127.0.0.2", "127.0.0.4"
SPOOFS: dict[str, str] = {
    "Forwarded": "for=127.0.0.1;proto=https",
    "X-Forwarded-For": "127.0.0.1",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "443",
    "X-Real-IP": "127.0.0.1",
    "X-Scheme": "https",
    "True-Client-IP": "127.0.0.1",
}


class Origin(SessionMixin, RequestHandler):
    def get(self) -> None:
        self.session["a"] = 1
        set_by_nginx = {"x-forwarded-for", "x-forwarded-proto"}
        headers = {name.lower(): value for name, value in self.request.headers.items()}
        self.write({"ip": self.client_ip, "headers": {name: headers[name] for name in headers.keys() - set_by_nginx}})


class Socket(SessionMixin, WebSocketHandler):
    def open(self, *_args: str, **_kwargs: str) -> None:
        self.write_message(self.client_ip)

    def on_message(self, message: str | bytes) -> None:
        self.write_message(f"{message!s} again")


class Stream(SessionMixin, RequestHandler):
    """Sends its second event only after the first one was received."""

    async def get(self) -> None:
        self.set_header("Content-Type", "text/event-stream")
        self.session["a"] = 1
        self.write("data: one\n\n")
        await self.flush()
        await self.settings["received"].wait()
        self.write("data: two\n\n")


@pytest.fixture(params=["tcp", "unix"])
def upstream(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    if request.param == "unix":
        listening, name = bind_unix_socket(str(tmp_path / "socket")), f"unix:{tmp_path / 'socket'}"
    else:
        [listening] = bind_sockets(0, "127.0.0.1")
        name = f"127.0.0.1:{listening.getsockname()[1]}"
    with listening:
        yield listening, name


@pytest.fixture
def parts(upstream: tuple[socket.socket, str], io_loop: Any) -> Iterator[Parts]:
    trusted = "unix:" if upstream[1].startswith("unix:") else "127.0.0.1"
    options = ServerOptions(store="memory://", secret=["a secret of the tests, long enough"], trusted_proxies=[trusted])
    made = Parts(options, passwords=Passwords(CHEAPEST))
    io_loop.run_sync(made.open)
    yield made
    io_loop.run_sync(made.close)


@pytest.fixture
def application(parts: Parts) -> Application:
    made = make_application(parts)
    made.add_handlers(".*", [("/test/origin", Origin), ("/test/socket", Socket), ("/test/stream", Stream)])
    return made


@pytest.fixture
def nginx(
    application: Application, upstream: tuple[socket.socket, str], tmp_path: Path, io_loop: Any
) -> Iterator[Nginx]:
    server = HTTPServer(application)
    server.add_sockets([upstream[0]])
    started = Nginx(tmp_path, upstream[1])
    yield started
    started.stop()
    server.stop()
    io_loop.run_sync(server.close_all_connections)
    assert "[emerg]" not in started.log.read_text()


def client(address: str = CLIENT) -> AsyncHTTPClient:
    """A client that connects from this address and believes every certificate."""
    return AsyncHTTPClient(force_instance=True, defaults={"network_interface": address, "validate_cert": False})


async def ask(url: str, *, lines: Sequence[tuple[str, str]] = (), address: str = CLIENT) -> HTTPResponse:
    headers = HTTPHeaders()
    for name, value in lines:
        headers.add(name, value)
    return await client(address).fetch(url, headers=headers, raise_error=False)


@pytest.mark.parametrize("spoofs", [[pair] for pair in SPOOFS.items()] + [list(SPOOFS.items())], ids=[*SPOOFS, "all"])
@pytest.mark.gen_test
async def test_a_client_chooses_neither_its_address_nor_https(nginx: Nginx, spoofs: list[tuple[str, str]]) -> None:
    response = await ask(nginx.http + "/test/origin", lines=spoofs)
    seen = json.loads(response.body)
    assert seen["ip"] == CLIENT
    assert not seen["headers"].keys() & {name.lower() for name, _ in spoofs}
    assert response.headers["Set-Cookie"].startswith("sid=")
    assert "; Secure" not in response.headers["Set-Cookie"]


@pytest.mark.gen_test
async def test_repeated_lines_choose_no_address_either(nginx: Nginx) -> None:
    response = await ask(
        nginx.http + "/test/origin", lines=[("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "127.0.0.1")]
    )
    assert json.loads(response.body)["ip"] == CLIENT


@pytest.mark.parametrize(
    "lines", [[], [("X-Forwarded-Proto", "http"), ("Forwarded", "proto=http")]], ids=["plain", "spoofed"]
)
@pytest.mark.gen_test
async def test_over_tls_the_cookie_is_a_secure_one(nginx: Nginx, lines: list[tuple[str, str]]) -> None:
    response = await ask(nginx.https + "/test/origin", lines=lines)
    assert json.loads(response.body)["ip"] == CLIENT
    assert response.headers["Set-Cookie"].startswith("__Host-sid=")
    assert "; Secure" in response.headers["Set-Cookie"]


@pytest.mark.parametrize("spoofs", [[], *([pair] for pair in SPOOFS.items())], ids=["plain", *SPOOFS])
@pytest.mark.parametrize("address", [CLIENT, "127.0.0.1"])
@pytest.mark.gen_test
async def test_metrics_stay_closed(nginx: Nginx, spoofs: list[tuple[str, str]], address: str) -> None:
    assert (await ask(nginx.http + "/metrics", lines=spoofs, address=address)).code == 401


@pytest.mark.gen_test
async def test_wrong_passwords_are_counted_by_the_real_address(nginx: Nginx, parts: Parts) -> None:
    await parts.accounts.register("ada", "ada@example.org", PASSWORD)
    browser, codes = Browser(client(), nginx.http), []
    for number in range(12):
        spoofed = f"203.0.113.{number}"
        browser.headers.update({"Forwarded": f"for={spoofed}", "X-Forwarded-For": spoofed, "X-Real-IP": spoofed})
        codes.append((await browser.log_in("ada", "wrong")).code)
    assert 429 not in codes[:10]
    assert codes[10:] == [429, 429]
    assert (await Browser(client(NEIGHBOUR), nginx.http).log_in("ada")).code == 303


@pytest.mark.gen_test
async def test_a_list_shows_the_real_address(nginx: Nginx, parts: Parts) -> None:
    await ask(nginx.http + "/test/origin", lines=list(SPOOFS.items()))
    assert [item.ip for item in (await parts.sessions.find(ip=CLIENT)).items] == [CLIENT]


@pytest.mark.gen_test
async def test_a_web_socket_passes(nginx: Nginx) -> None:
    socket = await websocket_connect(nginx.http.replace("http", "ws") + "/test/socket")
    assert await socket.read_message() == "127.0.0.1"
    await socket.write_message("hello")
    assert await socket.read_message() == "hello again"
    socket.close()


@pytest.mark.gen_test
async def test_an_event_stream_passes_event_by_event(nginx: Nginx, application: Application) -> None:
    events: list[bytes] = []
    received = application.settings["received"] = asyncio.Event()

    def take(chunk: bytes) -> None:
        events.append(chunk)
        received.set()

    response = await client().fetch(nginx.http + "/test/stream", streaming_callback=take)
    assert response.code == 200
    assert b"".join(events) == b"data: one\n\ndata: two\n\n"
