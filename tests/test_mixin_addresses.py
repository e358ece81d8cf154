"""Addresses over real connections and in real stores: unix sockets, dual-stack sockets, and spellings that are stored already."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.passwords import SECRET
from support.raw_connection import connected
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets, bind_unix_socket
from tornado.web import Application, RequestHandler

from settings import load
from tornado_sessions import SessionConfig, SessionMixin, Sessions
from tornado_sessions.errors import QueryError
from tornado_sessions.record import Create
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.settings import ServerOptions
from tornado_sessions.server.web.application import make_application
from tornado_sessions.testing import make_record

STORED = {"plain": "192.0.2.1", "mapped": "::ffff:192.0.2.1", "groups": "::ffff:c000:201", "other": "192.0.2.10"}


@pytest.fixture
def app() -> Application:
    return Application()


async def fill(sessions: Sessions) -> None:
    await sessions.open()
    now = sessions.clock()
    for number, (name, ip) in enumerate(STORED.items()):
        times = {
            "created_at": now - 20,
            "last_seen_at": now - number,
            "expires_at": now + 600,
            "absolute_at": now + 600,
        }
        await sessions.store.save([Create(record=make_record(handle=name, ip=ip, **times))])


class TestStored:
    @pytest.mark.parametrize("ip", ["192.0.2.1", "::ffff:192.0.2.1", "::FFFF:C000:201"])
    @pytest.mark.parametrize("sort", ["last_seen", "expires", "signed_in", "user"])
    @pytest.mark.gen_test
    async def test_an_address_finds_every_spelling_of_itself(self, sessions: Sessions, ip: str, sort: str) -> None:
        await fill(sessions)
        page = await sessions.find(ip=ip, sort=sort)
        assert {item.handle for item in page.items} == {"plain", "mapped", "groups"}
        assert page.next_cursor is None
        assert await sessions.count(ip=ip) == (3, True)

    @pytest.mark.parametrize("limit", [1, 2, 3])
    @pytest.mark.gen_test
    async def test_pages_of_an_address_hold_each_session_once(self, sessions: Sessions, limit: int) -> None:
        await fill(sessions)
        cursor, found, pages = None, [], 0
        while pages == 0 or cursor is not None:
            page = await sessions.find(ip="192.0.2.1", limit=limit, cursor=cursor)
            found += [item.handle for item in page.items]
            cursor, pages = page.next_cursor, pages + 1
        assert sorted(found) == ["groups", "mapped", "plain"]
        assert pages <= 4

    @pytest.mark.parametrize("cursor", ["1~x", "9~", "~", "x~", "-1~", "1" * 5000 + "~"])
    @pytest.mark.gen_test
    async def test_a_cursor_that_no_page_gave_is_refused(self, sessions: Sessions, cursor: str) -> None:
        with pytest.raises(QueryError):
            await sessions.find(ip="192.0.2.1", cursor=cursor)
        with pytest.raises(QueryError):
            await sessions.find(cursor=cursor)

    @pytest.mark.parametrize(
        "where", [{"ip": "192.0.2.1"}, {"network": "192.0.2.0/29"}, {"network": "::ffff:192.0.2.0/125"}]
    )
    @pytest.mark.gen_test
    async def test_a_bulk_end_reaches_every_spelling(self, sessions: Sessions, where: dict[str, Any]) -> None:
        await fill(sessions)
        assert (await sessions.count(**where)).total == 3
        assert await sessions.destroy_where(**where) == 3
        assert [item.handle for item in (await sessions.find()).items] == ["other"]


class Origin(SessionMixin, RequestHandler):
    def get(self) -> None:
        self.session["a"] = 1
        self.write({"ip": self.client_ip, "peer": self.request.remote_ip})


@asynccontextmanager
async def served(application: Application, *sockets: socket.socket) -> AsyncIterator[None]:
    server = HTTPServer(application)
    server.add_sockets(sockets)
    try:
        yield
    finally:
        server.stop()
        await server.close_all_connections()


async def ask(
    place: Path | tuple[str, int], path: str = "/", *headers: str, host: str = "example.org"
) -> tuple[int, str, str]:
    """Status, head and body of one request."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
    async with connected(place) as connection:
        connection.writer.write("\r\n".join([*lines, "", ""]).encode())
        head, _, body = (await connection.rest()).decode().partition("\r\n\r\n")
    return int(head.split()[1]), head, body


def application(*trusted: str, header: str = "X-Forwarded-For") -> Application:
    config = SessionConfig(secret=SECRET, trusted_proxies=trusted, forwarded_header=header)  # type: ignore[arg-type]
    return Application([("/", Origin)], sessions=Sessions("memory://", config=config))


class TestUnixSocket:
    @pytest.mark.parametrize("trusted", [[], ["0.0.0.0/0", "::/0"]], ids=["nobody trusted", "every address trusted"])
    @pytest.mark.gen_test
    async def test_without_unix_in_the_list_the_address_is_unknown(self, tmp_path: Path, trusted: list[str]) -> None:
        app, path = application(*trusted), tmp_path / "socket"
        async with served(app, bind_unix_socket(str(path))):
            _, head, body = await ask(path, "/", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https")
        await app.settings["sessions"].close()
        assert json.loads(body) == {"ip": "", "peer": "0.0.0.0"}
        assert "; Secure" not in head

    @pytest.mark.parametrize(
        ("header", "lines"),
        [
            ("X-Forwarded-For", ["X-Forwarded-For: 6.6.6.6, 192.0.2.7", "X-Forwarded-Proto: https"]),
            ("Forwarded", ["Forwarded: for=6.6.6.6, for=192.0.2.7;proto=https"]),
        ],
    )
    @pytest.mark.gen_test
    async def test_with_it_the_proxys_header_counts(self, tmp_path: Path, header: str, lines: list[str]) -> None:
        app, path = application("unix:", header=header), tmp_path / "socket"
        async with served(app, bind_unix_socket(str(path))):
            _, head, body = await ask(path, "/", *lines)
        await app.settings["sessions"].close()
        assert json.loads(body)["ip"] == "192.0.2.7"
        assert "__Host-sid=" in head

    @pytest.mark.gen_test
    async def test_a_tcp_client_is_not_believed_for_it(self) -> None:
        app = application("unix:")
        [listening] = bind_sockets(0, "127.0.0.1")
        async with served(app, listening):
            _, _, body = await ask(listening.getsockname(), "/", "X-Forwarded-For: 6.6.6.6")
        await app.settings["sessions"].close()
        assert json.loads(body)["ip"] == "127.0.0.1"


@pytest.mark.gen_test
async def test_a_client_of_a_dual_stack_socket_has_its_ipv4_address() -> None:
    listening = socket.socket(socket.AF_INET6)
    listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listening.bind(("::", 0))
    listening.listen()
    listening.setblocking(False)
    app = application()
    async with served(app, listening):
        _, _, body = await ask(("127.0.0.1", listening.getsockname()[1]))
    await app.settings["sessions"].close()
    assert json.loads(body) == {"ip": "127.0.0.1", "peer": "::ffff:127.0.0.1"}


FORWARDING = [
    "Forwarded: for=127.0.0.1",
    "X-Forwarded-For: 127.0.0.1",
    "X-Real-IP: 127.0.0.1",
    "X-Forwarded-Host: a",
    "Via: 1.1 a",
]


class TestMetrics:
    @pytest.mark.parametrize("trusted", [(), ("127.0.0.1",), ("unix:", "127.0.0.1")])
    @pytest.mark.gen_test
    async def test_they_are_open_to_this_machine_alone(self, trusted: tuple[str, ...], tmp_path: Path) -> None:
        parts = Parts(ServerOptions(store="memory://", secret=[SECRET], trusted_proxies=trusted))
        await parts.open()
        [listening], path = bind_sockets(0, "127.0.0.1"), tmp_path / "socket"
        async with served(make_application(parts), listening, bind_unix_socket(str(path))):
            assert (await ask(listening.getsockname(), "/metrics", host="localhost"))[0] == 200
            # Asked for by another name: through a proxy on this machine that adds no header.
            assert (await ask(listening.getsockname(), "/metrics"))[0] == 401
            for line in FORWARDING:
                assert (await ask(listening.getsockname(), "/metrics", line, host="localhost"))[0] == 401, line
                assert (await ask(path, "/metrics", line, host="localhost"))[0] == 401, line
            assert (await ask(path, "/metrics", host="localhost"))[0] == 401
        await parts.close()


def test_the_servers_settings_reach_its_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SESSIONS_FORWARDED_HEADER", "Forwarded")
    settings = load({"store": "memory://", "trusted_proxies": "unix:, 10.0.0.0/8"})
    config = Parts(settings).sessions.config
    assert (list(config.trusted_proxies), config.forwarded_header) == (["unix:", "10.0.0.0/8"], "Forwarded")
