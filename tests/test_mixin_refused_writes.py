"""Readers are served while Redis refuses writes, also by a process that starts then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.browser import Browser
from support.clock import Clock
from support.passwords import SECRET
from support.redis_servers import Valkey
from tornado.httpclient import AsyncHTTPClient
from tornado.web import Application, RequestHandler

from tornado_sessions import SessionConfig, SessionMixin, Sessions

#: How a server comes to refuse writes: commands that make it so, and that undo it.
REFUSALS = {
    "READONLY": (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
    "OOM": (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
    "NOREPLICAS": (("CONFIG", "SET", "min-replicas-to-write", "1"), ("CONFIG", "SET", "min-replicas-to-write", "0")),
}


class SignIn(SessionMixin, RequestHandler):
    async def get(self) -> None:
        await self.log_in("ada")


class Read(SessionMixin, RequestHandler):
    def get(self) -> None:
        self.write({"user": self.current_user, "n": self.session.get("n", 0)})


class Write(SessionMixin, RequestHandler):
    def get(self) -> None:
        self.write(str(self.session.increment("n")))


class SignOut(SessionMixin, RequestHandler):
    async def get(self) -> None:
        await self.log_out()


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    made = Valkey()
    yield made
    made.stop()


@pytest.fixture(params=REFUSALS)
def refusal(request: pytest.FixtureRequest, server: Valkey) -> Iterator[tuple[Any, Any]]:
    begin, end = REFUSALS[request.param]
    server.ask(*end)
    yield begin, end
    server.ask(*end)
    server.ask("FLUSHALL")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def sessions_on(server: Valkey, clock: Clock) -> Sessions:
    return Sessions(server.url, config=SessionConfig(secret=SECRET, rotate_after=3600), clock=clock)


@pytest.fixture
def sessions(server: Valkey, clock: Clock, refusal: Any, io_loop: Any) -> Iterator[Sessions]:
    made = sessions_on(server, clock)
    yield made
    io_loop.run_sync(made.close)


@pytest.fixture
def app(sessions: Sessions) -> Application:
    return Application([("/in", SignIn), ("/read", Read), ("/write", Write), ("/out", SignOut)], sessions=sessions)


@pytest.fixture
def browser(http_client: AsyncHTTPClient, base_url: str) -> Browser:
    return Browser(http_client, base_url)


@pytest.mark.parametrize("seconds", [0, 70, 1500], ids=["nothing due", "touch due", "long unused"])
@pytest.mark.gen_test
async def test_readers_are_served_and_changes_are_503(
    seconds: float, browser: Browser, clock: Clock, server: Valkey, refusal: tuple[Any, Any]
) -> None:
    await browser.get("/in")
    await browser.get("/write")
    cookie = browser.cookie
    server.ask(*refusal[0])
    clock.now += seconds
    read = await browser.get("/read")
    assert (read.code, read.body) == (200, b'{"user": "ada", "n": 1}')
    written = await browser.get("/write")
    assert (written.code, written.headers["Retry-After"]) == (503, "5")
    assert (await Browser(browser.client, browser.base).get("/in")).code == 503
    assert browser.cookie == cookie
    server.ask(*refusal[1])
    assert (await browser.get("/write")).body == b"2"


@pytest.mark.gen_test
async def test_an_outage_is_one_warning_however_many_requests_are_due(
    browser: Browser, clock: Clock, server: Valkey, refusal: tuple[Any, Any], caplog: pytest.LogCaptureFixture
) -> None:
    await browser.get("/in")
    server.ask(*refusal[0])
    for _ in range(5):
        clock.now += 70
        assert (await browser.get("/read")).code == 200
    if "maxmemory" in refusal[0]:
        # A touch first removes index entries, which a full server allows.
        assert not [line for line in caplog.records if line.levelname == "WARNING"]
        return
    warnings = [
        line for line in caplog.records if line.levelname == "WARNING" and "requests are answered" in line.message
    ]
    assert len(warnings) == 1


@pytest.mark.gen_test
async def test_a_process_that_starts_meanwhile_serves_readers(
    browser: Browser, sessions: Sessions, clock: Clock, server: Valkey, refusal: tuple[Any, Any]
) -> None:
    await browser.get("/in")
    server.ask(*refusal[0])
    started = sessions_on(server, clock)
    await started.open()
    assert [item.user for item in (await started.find()).items] == ["ada"]
    await started.close()
    # Opened again by the next request, as in a process that has just started.
    await sessions.close()
    assert (await browser.get("/read")).code == 200


@pytest.mark.gen_test
async def test_everybody_can_be_ended_while_memory_is_full(
    browser: Browser, sessions: Sessions, server: Valkey, refusal: tuple[Any, Any]
) -> None:
    if refusal[0][0] != "CONFIG" or refusal[0][2] != "maxmemory":
        return
    await browser.get("/in")
    server.ask(*refusal[0])
    await sessions.end_all()
    assert b'"user": null' in (await browser.get("/read")).body
