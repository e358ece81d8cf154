"""The way of a request over HTTP: load, change, save, cookie."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest
from support.amount import amount
from support.browser import Browser
from support.clock import Clock
from support.passwords import SECRET
from support.raw_connection import connected
from support.tried import Tried
from tornado.web import Application, HTTPError, RequestHandler

from tornado_sessions import Cause, SessionConfig, SessionMixin, Sessions, Theft
from tornado_sessions.history import steps_of
from tornado_sessions.record import Record
from tornado_sessions.stores.memory import MemoryStore
from tornado_sessions.testing.faults import CuttingStore, FailingStore, SlowStore


class Base(SessionMixin, RequestHandler):
    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Errors are what these tests look for in the answer."""


class Read(Base):
    def get(self) -> None:
        self.write({"data": dict(self.session), "user": self.current_user, "handle": self.session.handle})


class Plain(Base):
    def get(self) -> None:
        self.write("nothing read")


class Write(Base):
    async def get(self) -> None:
        for key, values in self.request.query_arguments.items():
            self.session[key] = values[-1].decode()
        self.write("written")


class Nested(Base):
    def get(self) -> None:
        cart = self.session.setdefault("cart", {"items": []})
        assert isinstance(cart, dict)
        assert isinstance(cart["items"], list)
        cart["items"].append(len(cart["items"]))


class Count(Base):
    def get(self) -> None:
        self.write(str(self.session.increment("n")))


class Transform(Base):
    async def get(self) -> None:
        value = await self.session.transform("n", lambda n: (n or 0) + 1)
        self.write(str(value))


class Slow(Base):
    started: asyncio.Event
    go_on: asyncio.Event

    async def get(self) -> None:
        self.session["late"] = "write"
        Slow.started.set()
        await Slow.go_on.wait()
        self.write("done")


class LogIn(Base):
    async def get(self) -> None:
        lifetime = self.get_query_argument("lifetime", None)
        await self.log_in(self.get_query_argument("user"), lifetime=float(lifetime) if lifetime else None)


class LogOut(Base):
    async def get(self) -> None:
        await self.log_out()


class Rotate(Base):
    async def get(self) -> None:
        await self.rotate_session()


class Clear(Base):
    async def get(self) -> None:
        self.session.clear()
        if self.get_query_argument("saved", ""):
            await self.save_session()


class Fail(Base):
    def get(self) -> None:
        self.session["a"] = "never stored"
        raise HTTPError(int(self.get_query_argument("status")))


class Redirect(Base):
    def get(self) -> None:
        self.session["a"] = "before the redirect"
        self.redirect("/read")


class Stream(Base):
    async def get(self) -> None:
        self.session["a"] = "streamed"
        self.write("one ")
        await self.flush()
        self.write("two ")
        self.flush()
        self.write("three")


class TooLate(Base):
    async def get(self) -> None:
        self.write("one")
        await self.flush()
        self.session["a"] = 1


class InvalidForm(Base):
    def get(self) -> None:
        self.session["bad"] = (1, 2)  # type: ignore[assignment]


class NoPrepare(Base):
    async def prepare(self) -> None:
        pass

    def get(self) -> None:
        self.session["a"] = 1


class FinishTwice(Base):
    def get(self) -> None:
        self.session["a"] = "1"
        self.finish("once")
        with pytest.raises(RuntimeError):
            self.finish("twice")
        with pytest.raises(RuntimeError):
            self.write("more")


ROUTES = [
    ("/read", Read), ("/plain", Plain), ("/write", Write), ("/nested", Nested), ("/count", Count), ("/transform", Transform),
    ("/slow", Slow), ("/login", LogIn), ("/logout", LogOut), ("/rotate", Rotate), ("/clear", Clear), ("/fail", Fail),
    ("/redirect", Redirect),
    ("/stream", Stream), ("/too-late", TooLate), ("/refused", InvalidForm), ("/no-prepare", NoPrepare), ("/twice", FinishTwice),
]  # fmt: skip


@pytest.fixture
def app(sessions: Sessions) -> Application:
    return Application(ROUTES, sessions=sessions)


@pytest.mark.gen_test
async def test_a_value_is_there_at_the_next_request(browser: Browser) -> None:
    await browser.get("/write?name=Ada")
    assert await browser.data() == {"name": "Ada"}


@pytest.mark.gen_test
async def test_an_empty_session_is_never_stored_and_sets_no_cookie(browser: Browser, sessions: Sessions) -> None:
    response = await browser.get("/read")
    assert "Set-Cookie" not in response.headers
    assert (await sessions.count()).total == 0


@pytest.mark.gen_test
async def test_the_cookie_is_http_only_lax_and_ends_with_the_browser(browser: Browser) -> None:
    response = await browser.get("/write?a=1")
    attributes = response.headers["Set-Cookie"].split("; ")[1:]
    assert attributes == ["Path=/", "HttpOnly", "SameSite=Lax"]


@pytest.mark.gen_test
async def test_what_a_session_touched_is_not_cached(browser: Browser) -> None:
    written, read, plain = [await browser.get(path) for path in ("/write?a=1", "/read", "/plain")]
    for response in (written, read):
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Vary"] == "Cookie"
    assert "Vary" not in plain.headers


@pytest.mark.gen_test
async def test_an_unchanged_session_sets_no_cookie_again(browser: Browser) -> None:
    await browser.get("/write?a=1")
    assert "Set-Cookie" not in (await browser.get("/read")).headers


@pytest.mark.gen_test
async def test_a_change_inside_a_list_is_noticed(browser: Browser) -> None:
    for _ in range(3):
        await browser.get("/nested")
    assert await browser.data() == {"cart": {"items": [0, 1, 2]}}


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_two_requests_at_once_keep_both_keys(browser: Browser) -> None:
    await browser.get("/write?start=1")
    await asyncio.gather(browser.copy().get("/write?a=1"), browser.copy().get("/write?b=2"))
    assert await browser.data() == {"start": "1", "a": "1", "b": "2"}


@pytest.mark.long_on("mongo")
@pytest.mark.parametrize("path", ["/count", "/transform"])
@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_a_counter_is_exact_under_many_requests_at_once(browser: Browser, path: str) -> None:
    await browser.get("/write?start=1")
    await asyncio.gather(*(browser.copy().get(path) for _ in range(25)))
    assert (await browser.data())["n"] == 25


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_a_slow_request_that_ends_after_logout_brings_nothing_back(browser: Browser, sessions: Sessions) -> None:
    await browser.get("/login?user=ada")
    Slow.started, Slow.go_on = asyncio.Event(), asyncio.Event()
    slow = asyncio.ensure_future(browser.copy().get("/slow"))
    await Slow.started.wait()
    await browser.copy().get("/logout")
    Slow.go_on.set()
    response = await slow
    assert response.code == 200
    assert "Set-Cookie" not in response.headers
    assert (await sessions.count()).total == 0
    assert await browser.data() == {}


@pytest.mark.parametrize("clear", ["/clear", "/clear?saved=1"])
@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_clear_removes_the_values_and_keeps_the_history(
    browser: Browser, sessions: Sessions, clock: Clock, clear: str
) -> None:
    await browser.get("/login?user=ada")
    handle = json.loads((await browser.get("/read")).body)["handle"]
    for path in ("/write?a=1", "/rotate", clear, "/rotate", clear):
        clock.now += 1
        await browser.get(path)
    found = await sessions.inspect(handle)
    assert isinstance(found, Record)
    assert [step.previous_ip for step in steps_of(found.data)] == [None, None]
    assert await browser.data() == {}


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_a_login_makes_a_new_token_and_the_old_one_is_dead(browser: Browser) -> None:
    await browser.get("/write?cart=full")
    old = browser.copy()
    await browser.get("/login?user=ada")
    assert browser.cookie != old.cookie
    assert await browser.data() == {"cart": "full"}
    assert await old.data() == {}


@pytest.mark.gen_test
async def test_another_users_login_starts_from_nothing(browser: Browser) -> None:
    await browser.get("/login?user=ada")
    await browser.get("/write?private=yes")
    await browser.get("/login?user=eve")
    assert await browser.data() == {}


@pytest.mark.gen_test
async def test_a_logout_clears_the_cookie_with_the_attributes_it_was_set_with(browser: Browser) -> None:
    await browser.get("/login?user=ada")
    response = await browser.get("/logout")
    assert response.headers["Set-Cookie"] == (
        "sid=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; SameSite=Lax"
    )


@pytest.mark.gen_test
async def test_a_rotated_token_works_for_the_grace_and_no_longer(browser: Browser, clock: Clock) -> None:
    await browser.get("/write?a=1")
    old = browser.copy()
    await browser.get("/rotate")
    assert await old.data() == {"a": "1"}
    assert await browser.data() == {"a": "1"}
    clock.now += 31
    assert await old.data() == {}
    assert await browser.data() == {"a": "1"}


@pytest.mark.gen_test
async def test_an_old_token_goes_on_working_while_the_new_one_never_arrived(browser: Browser, clock: Clock) -> None:
    await browser.get("/write?a=1")
    old = browser.copy()
    await browser.get("/rotate")
    clock.now += 600
    assert await old.data() == {"a": "1"}


@pytest.mark.gen_test
async def test_a_session_ends_at_the_exact_second_of_its_idle_timeout(browser: Browser, clock: Clock) -> None:
    await browser.get("/write?a=1")
    begin = clock.now
    clock.now = begin + 1799.999
    assert await browser.copy().data() == {"a": "1"}
    clock.now += 1800
    assert await browser.data() == {}


@pytest.mark.gen_test
async def test_a_session_in_use_ends_at_its_absolute_timeout(browser: Browser, clock: Clock) -> None:
    await browser.get("/write?a=1")
    begin = clock.now
    while clock.now + 1000 < begin + 43200:
        clock.now += 1000
        assert await browser.data() == {"a": "1"}
    clock.now = begin + 43200
    assert await browser.data() == {}


@pytest.mark.gen_test
async def test_a_read_writes_last_seen_only_after_touch_after(
    browser: Browser, clock: Clock, sessions: Sessions
) -> None:
    await browser.get("/write?a=1")
    begin = clock.now
    clock.now = begin + 59
    await browser.get("/read")
    assert (await sessions.find()).items[0].last_seen_at == begin
    clock.now = begin + 60
    await browser.get("/read")
    assert (await sessions.find()).items[0].last_seen_at == begin + 60


@pytest.mark.gen_test
async def test_a_remembered_login_has_a_lifetime_of_its_own(browser: Browser, clock: Clock) -> None:
    response = await browser.get("/login?user=ada&lifetime=2592000")
    assert "Max-Age=2592000" in response.headers["Set-Cookie"]
    clock.now += 2_500_000
    assert b'"ada"' in (await browser.get("/read")).body


@pytest.mark.gen_test
async def test_a_response_of_5xx_stores_nothing_and_one_of_4xx_does(browser: Browser) -> None:
    await browser.get("/write?start=1")
    await browser.get("/fail?status=500")
    assert await browser.data() == {"start": "1"}
    await browser.get("/fail?status=404")
    assert (await browser.data())["a"] == "never stored"


@pytest.mark.gen_test
async def test_a_redirect_leaves_after_the_change_is_stored(browser: Browser) -> None:
    response = await browser.get("/redirect")
    assert response.code == 302
    assert await browser.data() == {"a": "before the redirect"}


@pytest.mark.gen_test
async def test_a_streamed_answer_stores_before_its_first_byte(browser: Browser) -> None:
    response = await browser.get("/stream")
    assert response.body == b"one two three"
    assert await browser.data() == {"a": "streamed"}


@pytest.mark.gen_test
async def test_a_new_session_after_the_headers_is_refused(browser: Browser, sessions: Sessions) -> None:
    await browser.get("/too-late")
    assert (await sessions.count()).total == 0


@pytest.mark.parametrize("path", ["/refused", "/no-prepare"])
@pytest.mark.gen_test
async def test_a_mistake_in_a_handler_is_a_clear_500(browser: Browser, path: str) -> None:
    assert (await browser.get(path)).code == 500


@pytest.mark.gen_test
async def test_a_second_finish_is_refused_and_the_first_one_stands(browser: Browser) -> None:
    assert (await browser.get("/twice")).body == b"once"
    assert await browser.data() == {"a": "1"}


@pytest.mark.gen_test
async def test_a_head_request_stores_and_answers_without_a_body(browser: Browser) -> None:
    Write.head = Write.get
    response = await browser.send("HEAD", "/write?a=1")
    assert response.code == 200
    assert await browser.data() == {"a": "1"}


@pytest.mark.gen_test
async def test_an_operator_ends_a_session_and_the_browser_is_out(browser: Browser, sessions: Sessions) -> None:
    await browser.get("/login?user=ada")
    handle = (await sessions.find(user="ada")).items[0].handle
    assert await sessions.destroy(handle, by="root", reason="stolen laptop")
    assert await browser.data() == {}
    ended = (await sessions.find(state="ended")).items[0]
    assert ended.ending.cause is Cause.OPERATOR  # type: ignore[attr-defined]
    assert ended.ending.reason == "stolen laptop"  # type: ignore[attr-defined]


@pytest.mark.gen_test
async def test_everybody_is_out_at_once(browser: Browser, sessions: Sessions, clock: Clock) -> None:
    await browser.get("/login?user=ada")
    clock.now += 1
    await sessions.end_all(by="root")
    assert await browser.data() == {}
    await browser.get("/write?b=2")
    assert await browser.data() == {"b": "2"}


HOSTILE = ["a|b|c", "999999|x", "2|1:0|", '"', "=", "2|1:0|10:1795508515|3:sid|4:AAAA|" + "0" * 64, "é", "x" * 5000]


class TestHostileCookies:
    """With one key, and after a rotation of keys, where Tornado's own reader meets an assertion."""

    @pytest.fixture(params=[SECRET, ["the newest secret of all the secrets", SECRET]], ids=["one key", "two keys"])
    def config(self, request: pytest.FixtureRequest) -> SessionConfig:
        return SessionConfig(secret=request.param)

    @pytest.mark.parametrize("value", HOSTILE)
    @pytest.mark.gen_test
    async def test_a_hostile_cookie_is_a_new_visitor(self, browser: Browser, value: str) -> None:
        browser.cookie = value
        response = await browser.get("/read")
        assert response.code == 200
        assert "Set-Cookie" not in response.headers

    @pytest.mark.gen_test
    async def test_random_cookies_are_as_many_new_visitors(
        self, browser: Browser, base_url: str, sessions: Sessions, tried: Tried
    ) -> None:
        await browser.get("/login?user=ada")
        assert browser.cookie is not None
        chance, many = random.Random(6265), amount(300, 1000)
        async with connected(int(base_url.rpartition(":")[2])) as connection:
            for number in range(many):
                cookie = hostile_cookie(chance, browser.cookie.encode(), number)
                connection.send("GET", "/read", {"Cookie": cookie.decode("latin1")})
                head, _, body = (await connection.response()).partition(b"\r\n\r\n")
                assert (head[:15], b"Set-Cookie" in head) == (b"HTTP/1.1 200 OK", False), cookie
                assert b"ada" not in body, cookie
        tried("forged session cookies: accepted", times=many, lost=0)
        assert (await sessions.count()).total == 1


def hostile_cookie(chance: random.Random, valid: bytes, number: int) -> bytes:
    """Junk, or a valid cookie with a fault."""
    legal = bytes(byte for byte in range(0x21, 0x100) if byte != 0x7F)
    junk = bytes(chance.choices(legal, k=chance.randrange(1, 300)))
    if number % 4 == 0:
        return junk
    if number % 4 == 1:
        return b"sid=" + junk
    place = chance.randrange(len(valid))
    if number % 4 == 2:
        return (
            b"sid="
            + valid[:place]
            + bytes([chance.choice([byte for byte in b"0aZ|:" if byte != valid[place]])])
            + valid[place + 1 :]
        )
    return b"sid=" + valid[:place] + junk.replace(b";", b"") + valid[place:]


class TestLimit:
    @pytest.fixture
    def config(self) -> SessionConfig:
        return SessionConfig(secret=SECRET, max_sessions_per_user=2)

    @pytest.mark.gen_test
    async def test_the_oldest_session_beyond_the_limit_is_ended(
        self, browser: Browser, clock: Clock, sessions: Sessions
    ) -> None:
        browsers = [browser.copy() for _ in range(3)]
        for each in browsers:
            await each.get("/login?user=ada")
            clock.now += 1
        assert [b'"ada"' in (await each.get("/read")).body for each in browsers] == [False, True, True]


class TestRefusedLimit:
    @pytest.fixture
    def config(self) -> SessionConfig:
        return SessionConfig(secret=SECRET, max_sessions_per_user=1, when_exceeded="refuse")

    @pytest.mark.gen_test
    async def test_the_newest_login_is_refused_with_429(self, browser: Browser, sessions: Sessions) -> None:
        other = browser.copy()
        await browser.get("/login?user=ada")
        assert (await other.get("/login?user=ada")).code == 429
        assert (await sessions.count(user="ada")).total == 1


class TestOutage:
    @pytest.fixture
    def store(self) -> FailingStore:
        return FailingStore(MemoryStore())

    @pytest.fixture
    def sessions(self, store: FailingStore, clock: Clock, config: SessionConfig, io_loop: Any) -> Any:
        made = Sessions(store, config=config, clock=clock)
        yield made
        io_loop.run_sync(made.close)

    @pytest.mark.gen_test
    async def test_an_outage_is_503_with_retry_after_and_leaves_the_cookie_alone(
        self, browser: Browser, store: FailingStore
    ) -> None:
        await browser.get("/login?user=ada")
        store.failing = True
        for path in ("/read", "/write?a=1"):
            response = await browser.get(path)
            assert response.code == 503
            assert response.headers["Retry-After"] == "5"
            assert "Set-Cookie" not in response.headers
        store.failing = False
        assert b'"ada"' in (await browser.get("/read")).body

    @pytest.mark.gen_test
    async def test_a_visitor_without_a_cookie_costs_no_call_of_the_store(
        self, browser: Browser, store: FailingStore
    ) -> None:
        assert (await browser.get("/read")).code == 200
        assert not store.calls

    @pytest.mark.gen_test
    async def test_requests_of_one_turn_are_one_call_of_the_store(self, browser: Browser, store: FailingStore) -> None:
        await browser.get("/login?user=ada")
        store.calls.clear()
        await asyncio.gather(*(browser.copy().get("/read") for _ in range(10)))
        assert store.calls["load"] < 10
        assert store.calls["save"] == 0


class TestCut:
    @pytest.fixture
    def store(self) -> CuttingStore:
        return CuttingStore(MemoryStore())

    @pytest.fixture
    def sessions(self, store: CuttingStore, clock: Clock, config: SessionConfig, io_loop: Any) -> Any:
        made = Sessions(store, config=config, clock=clock)
        yield made
        io_loop.run_sync(made.close)

    @pytest.mark.gen_test
    async def test_a_lost_answer_is_503_and_never_a_success(self, browser: Browser, store: CuttingStore) -> None:
        await browser.get("/login?user=ada")
        store.cutting = True
        assert (await browser.get("/write?a=1")).code == 503
        store.cutting = False
        assert b'"ada"' in (await browser.get("/read")).body


class TestSlow:
    @pytest.fixture
    def config(self) -> SessionConfig:
        return SessionConfig(secret=SECRET, store_timeout=0.05)

    @pytest.fixture
    def store(self) -> SlowStore:
        return SlowStore(MemoryStore())

    @pytest.fixture
    def sessions(self, store: SlowStore, clock: Clock, config: SessionConfig, io_loop: Any) -> Any:
        made = Sessions(store, config=config, clock=clock)
        yield made
        store.go_on.set()
        io_loop.run_sync(made.close)

    @pytest.mark.gen_test
    async def test_a_store_that_does_not_answer_in_time_is_503(self, browser: Browser, store: SlowStore) -> None:
        response = await browser.get("/write?a=1")
        assert (response.code, response.headers["Retry-After"]) == (503, "5")
        store.go_on.set()
        assert (await browser.get("/write?a=1")).code == 200


class TestTheft:
    @pytest.fixture(params=[False, True], ids=["told", "ended"])
    def config(self, request: pytest.FixtureRequest) -> SessionConfig:
        return SessionConfig(secret=SECRET, end_on_theft=request.param)

    @pytest.mark.gen_test
    async def test_an_old_token_that_comes_back_is_told_once_and_lets_nobody_in(
        self, browser: Browser, clock: Clock, sessions: Sessions, config: SessionConfig
    ) -> None:
        told: list[str] = []

        sessions.on(Theft, lambda event: told.append(event.handle))
        await browser.get("/login?user=ada")
        thief = browser.copy()
        await browser.get("/rotate")
        await browser.get("/read")
        clock.now += 120
        for _ in range(3):
            assert b'"user": null' in (await thief.get("/read")).body
        await sessions.deliver_events()
        assert len(told) == 1
        assert (b'"ada"' in (await browser.get("/read")).body) is not config.end_on_theft
