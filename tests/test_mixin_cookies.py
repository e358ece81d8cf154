"""Cookies over HTTP: several of one name, several lines, late requests, and what leaves beside our ``Set-Cookie``."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.browser import Browser
from support.clock import Clock
from support.passwords import SECRET
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.httputil import HTTPHeaders
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler, websocket_connect

from tornado_sessions import Cause, SessionConfig, SessionMixin, Sessions
from tornado_sessions.errors import SessionGone

NEWER = "the newest secret of them all, to sign with"


class Read(SessionMixin, RequestHandler):
    def get(self) -> None:
        self.write({"data": dict(self.session), "user": self.current_user, "lang": self.get_cookie("lang")})


class Write(SessionMixin, RequestHandler):
    def get(self) -> None:
        self.session["a"] = 1
        self.write("written")


class Increment(SessionMixin, RequestHandler):
    def get(self) -> None:
        self.session.increment("n")


class Transform(SessionMixin, RequestHandler):
    async def get(self) -> None:
        await self.session.transform("n", lambda n: [n])


class Clear(SessionMixin, RequestHandler):
    def get(self) -> None:
        self.session.clear()
        self.session["a"] = 1


class Rotate(SessionMixin, RequestHandler):
    async def get(self) -> None:
        await self.rotate_session(at_once=True)
        self.session["a"] = 1


class Lasting(SessionMixin, RequestHandler):
    def get(self) -> None:
        self.session["a"] = 1
        self.session.set_lifetime(86400)


class Stream(SessionMixin, RequestHandler):
    async def get(self) -> None:
        self.session["a"] = 1
        self.write("one")
        await self.flush()


class Out(SessionMixin, RequestHandler):
    async def get(self) -> None:
        await self.log_out()
        self.session["a"] = 1


class Save(SessionMixin, RequestHandler):
    async def get(self) -> None:
        self.session["a"] = 1
        try:
            await self.save_session()
        except SessionGone as gone:
            self.write(gone.handle)
            self.session.clear()


class In(SessionMixin, RequestHandler):
    async def get(self) -> None:
        await self.log_in(self.get_query_argument("user", "ada"))


class ClearAndIn(SessionMixin, RequestHandler):
    async def get(self) -> None:
        if self.get_query_argument("first", ""):
            self.set_cookie("sid", "theirs")
        self.clear_all_cookies()
        await self.log_in("ada")
        self.set_cookie("other", "1")


class ClearAll(SessionMixin, RequestHandler):
    def get(self) -> None:
        self.clear_all_cookies()
        if self.get_query_argument("write", ""):
            self.session["a"] = 1


class Slow(SessionMixin, RequestHandler):
    started: asyncio.Event
    go_on: asyncio.Event

    async def get(self) -> None:
        Slow.started.set()
        await Slow.go_on.wait()
        self.session["late"] = "write"


class Form(SessionMixin, RequestHandler):
    def get(self) -> None:
        self.write(self.xsrf_token)

    def post(self) -> None:
        self.check_xsrf_cookie()
        self.write("checked")


class Socket(SessionMixin, WebSocketHandler):
    def open(self, *_args: str, **_kwargs: str) -> None:
        self.write_message(str(self.session.user))


WRITERS = {
    "/write": Write, "/increment": Increment, "/transform": Transform, "/clear": Clear, "/rotate": Rotate, "/lasting": Lasting,
    "/stream": Stream, "/out": Out,
}  # fmt: skip


@pytest.fixture
def sessions(clock: Clock, config: SessionConfig, io_loop: Any) -> Iterator[Sessions]:
    made = Sessions("memory://", config=config, clock=clock)
    yield made
    io_loop.run_sync(made.close)


@pytest.fixture
def app(sessions: Sessions) -> Application:
    routes = [("/read", Read), ("/in", In), ("/slow", Slow), ("/form", Form), ("/socket", Socket)]
    more = [("/clear-and-in", ClearAndIn), ("/clear-all", ClearAll), ("/save", Save)]
    return Application([*WRITERS.items(), *routes, *more], sessions=sessions)


@pytest.fixture
def ask(http_client: AsyncHTTPClient, base_url: str) -> Callable[..., Any]:
    async def ask(path: str, *lines: str, **options: Any) -> HTTPResponse:
        headers = HTTPHeaders()
        for line in lines:
            headers.add("Cookie", line)
        request = HTTPRequest(base_url + path, headers=headers, **options)
        return await http_client.fetch(request, raise_error=False)

    return ask


def cookie_of(response: HTTPResponse) -> str:
    [line] = [line for line in response.headers.get_list("Set-Cookie") if line.startswith("sid=")]
    return line.partition(";")[0]


def user_of(response: HTTPResponse) -> Any:
    return json.loads(response.body)["user"]


class TestSeveral:
    @pytest.mark.gen_test
    async def test_cookies_in_lines_of_their_own_are_one_header(self, ask: Any) -> None:
        ours = cookie_of(await ask("/in"))
        response = await ask("/read", "a=1", ours, "lang=zh")
        assert (user_of(response), json.loads(response.body)["lang"]) == ("ada", "zh")

    @pytest.mark.gen_test
    async def test_the_xsrf_cookie_is_found_in_lines_of_their_own(self, ask: Any) -> None:
        token = (await ask("/form")).body.decode()
        response = await ask(f"/form?_xsrf={token}", "a=1", f"_xsrf={token}", "b=2", method="POST", body="")
        assert response.body == b"checked"

    @pytest.mark.gen_test
    async def test_equal_cookies_are_one_and_junk_is_none(self, ask: Any) -> None:
        ours = cookie_of(await ask("/in"))
        for header in (f"{ours}; {ours}", f"sid=junk; {ours}", f"{ours}; sid=junk", f"sid=; sid=a|b; {ours}; sid=x"):
            assert user_of(await ask("/read", header)) == "ada", header

    @pytest.mark.gen_test
    async def test_two_live_sessions_are_both_refused_and_logged_once_without_a_value(
        self, ask: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        ada, bob = cookie_of(await ask("/in")), cookie_of(await ask("/in?user=bob"))
        for header in (f"{ada}; {bob}", f"{bob}; sid=junk; {ada}"):
            response = await ask("/read", header)
            assert user_of(response) is None
            assert "Set-Cookie" not in response.headers
        [told] = [record for record in caplog.records if record.name == "tornado_sessions.security"]
        assert told.levelno == logging.WARNING
        assert not any(cookie.partition("=")[2] in told.getMessage() for cookie in (ada, bob))

    @pytest.mark.gen_test
    async def test_signing_in_helps_although_both_old_cookies_stay_in_the_jar(
        self, ask: Any, sessions: Sessions
    ) -> None:
        ada, bob = cookie_of(await ask("/in")), cookie_of(await ask("/in?user=bob"))
        again = cookie_of(await ask("/in", f"{ada}; {bob}"))
        for header in (again, f"{ada}; {again}", f"{again}; {bob}", f"{ada}; {bob}; {again}"):
            assert user_of(await ask("/read", header)) == "ada", header
        assert (await sessions.count()).total == 1

    @pytest.mark.gen_test
    async def test_two_live_sessions_start_no_third_one_by_themselves(self, ask: Any, sessions: Sessions) -> None:
        ada, bob = cookie_of(await ask("/in")), cookie_of(await ask("/in?user=bob"))
        response = await ask("/write", f"{ada}; {bob}")
        assert (response.code, response.body, "Set-Cookie" in response.headers) == (200, b"written", False)
        assert (await sessions.count()).total == 2

    @pytest.mark.gen_test
    async def test_an_older_token_of_the_same_session_does_not_lock_out(self, ask: Any) -> None:
        old = cookie_of(await ask("/in"))
        new = cookie_of(await ask("/in", old))
        assert user_of(await ask("/read", f"{old}; {new}")) == "ada"
        assert user_of(await ask("/read", f"{new}; {old}")) == "ada"

    @pytest.mark.gen_test
    async def test_what_is_left_of_ended_sessions_does_not_lock_out(
        self, ask: Any, sessions: Sessions, clock: Clock
    ) -> None:
        expired, destroyed = cookie_of(await ask("/in")), cookie_of(await ask("/in"))
        clock.now += 1801
        await sessions.destroy(destroyed.split(".")[0])
        live = cookie_of(await ask("/in?user=bob"))
        assert user_of(await ask("/read", f"{expired}; {live}; {destroyed}")) == "bob"
        assert (await ask("/write", f"{expired}; {destroyed}")).headers.get_list("Set-Cookie")


class TestLate:
    """A request that was sent with a token which a sign-in has replaced when it arrives."""

    @pytest.mark.parametrize("path", WRITERS)
    @pytest.mark.gen_test
    async def test_it_sets_no_cookie_over_the_signed_in_one(
        self, ask: Any, path: str, sessions: Sessions, caplog: pytest.LogCaptureFixture
    ) -> None:
        visitor = cookie_of(await ask("/write"))
        await ask("/in", visitor)
        caplog.set_level(logging.INFO, "tornado_sessions")
        caplog.clear()
        response = await ask(path, visitor)
        assert (response.code, "Set-Cookie" in response.headers) == (200, False)
        assert (await sessions.count()).total == 1
        told = [record for record in caplog.records if record.name == "tornado_sessions"]
        assert len(told) == 1
        assert "its changes were not written" in told[0].getMessage()

    @pytest.mark.gen_test
    async def test_saving_by_hand_says_that_it_is_gone(self, ask: Any) -> None:
        visitor = cookie_of(await ask("/write"))
        await ask("/in", visitor)
        response = await ask("/save", visitor)
        assert (len(response.body), "Set-Cookie" in response.headers) == (18, False)

    @pytest.mark.parametrize("path", WRITERS)
    @pytest.mark.gen_test
    async def test_nor_after_another_user_signed_in_or_the_user_signed_out(self, ask: Any, path: str) -> None:
        ada = cookie_of(await ask("/in"))
        await ask("/in?user=bob", ada)
        assert "Set-Cookie" not in (await ask(path, ada)).headers

    @pytest.mark.gen_test
    async def test_a_minute_after_a_sign_out_an_old_cookie_starts_a_session_again(self, ask: Any, clock: Clock) -> None:
        ada = cookie_of(await ask("/in"))
        await ask("/in?user=bob", ada)
        clock.now += 59
        assert "Set-Cookie" not in (await ask("/write", ada)).headers
        clock.now += 1
        assert "Set-Cookie" in (await ask("/write", ada)).headers

    @pytest.mark.gen_test
    async def test_an_operators_end_does_not_hold_the_visitor_back(self, ask: Any, sessions: Sessions) -> None:
        visitor = cookie_of(await ask("/write"))
        await sessions.destroy((await sessions.find()).items[0].handle, cause=Cause.OPERATOR)
        assert "Set-Cookie" in (await ask("/write", visitor)).headers

    @pytest.mark.gen_test
    async def test_an_explicit_sign_in_still_signs_in(self, ask: Any) -> None:
        visitor = cookie_of(await ask("/write"))
        await ask("/in", visitor)
        bob = cookie_of(await ask("/in?user=bob", visitor))
        assert user_of(await ask("/read", bob)) == "bob"

    @pytest.mark.gen_test
    async def test_a_handshake_is_a_visitors_and_touches_nothing(
        self, ask: Any, base_url: str, sessions: Sessions
    ) -> None:
        visitor = cookie_of(await ask("/write"))
        await ask("/in", visitor)
        request = HTTPRequest(base_url.replace("http", "ws") + "/socket", headers={"Cookie": visitor})
        socket = await websocket_connect(request)
        assert await socket.read_message() == "None"
        socket.close()
        assert (await sessions.count()).total == 1


class TestRunning:
    """A request that was loaded before the sign-in, and whose answer would renew its cookie."""

    @pytest.fixture(params=["persistent", "signed by an older key"])
    def config(self, request: pytest.FixtureRequest) -> SessionConfig:
        persistent = request.param == "persistent"
        return SessionConfig(secret=SECRET if persistent else [NEWER, SECRET], persistent=persistent)

    @pytest.mark.gen_test
    async def test_it_renews_no_token_that_a_sign_in_replaced(
        self, ask: Any, sessions: Sessions, clock: Clock, config: SessionConfig
    ) -> None:
        visitor = await old_cookie(ask, sessions, config)
        clock.now += 61
        Slow.started, Slow.go_on = asyncio.Event(), asyncio.Event()
        running = asyncio.ensure_future(ask("/slow", visitor))
        await Slow.started.wait()
        signed_in = cookie_of(await ask("/in", visitor))
        Slow.go_on.set()
        response = await running
        assert (response.code, "Set-Cookie" in response.headers) == (200, False)
        assert user_of(await ask("/read", signed_in)) == "ada"

    @pytest.mark.gen_test
    async def test_without_a_sign_in_it_renews_its_cookie(
        self, ask: Any, sessions: Sessions, clock: Clock, config: SessionConfig
    ) -> None:
        visitor = await old_cookie(ask, sessions, config)
        clock.now += 61
        assert "Set-Cookie" in (await ask("/read", visitor)).headers


async def old_cookie(ask: Any, sessions: Sessions, config: SessionConfig) -> str:
    """A visitor's cookie, signed by the oldest key."""
    newest = sessions.cookies
    sessions.cookies = type(newest)(config, config.keys("secret")[-1:])
    visitor = cookie_of(await ask("/write"))
    sessions.cookies = newest
    return visitor


class TestPending:
    """Tornado's own pending cookies of our name."""

    @pytest.mark.parametrize("path", ["/clear-and-in", "/clear-and-in?first=1"])
    @pytest.mark.gen_test
    async def test_a_log_in_after_clear_all_cookies_leaves_one_cookie_of_ours(self, ask: Any, path: str) -> None:
        visitor = cookie_of(await ask("/write"))
        response = await ask(path, visitor)
        assert user_of(await ask("/read", cookie_of(response))) == "ada"
        assert any(line.startswith("other=1") for line in response.headers.get_list("Set-Cookie"))

    @pytest.mark.gen_test
    async def test_a_session_that_starts_after_clear_all_cookies_keeps_its_cookie(self, ask: Any) -> None:
        response = await ask("/clear-all?write=1", "sid=junk")
        assert json.loads((await ask("/read", cookie_of(response))).body)["data"] == {"a": 1}


class TestPendingRenewal:
    @pytest.fixture
    def config(self) -> SessionConfig:
        return SessionConfig(secret=SECRET, persistent=True)

    @pytest.mark.gen_test
    async def test_a_mere_renewal_does_not_undo_clear_all_cookies(self, browser: Browser, clock: Clock) -> None:
        await browser.get("/write")
        clock.now += 61
        response = await browser.get("/clear-all")
        [line] = response.headers.get_list("Set-Cookie")
        assert line.startswith('sid="";')
