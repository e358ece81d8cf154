"""What users of express-session rely on: each behaviour of its own tests that applies here."""

from __future__ import annotations

import re
from typing import Any

import pytest
from support.browser import Browser
from support.clock import Clock
from support.passwords import SECRET
from tornado.httpclient import AsyncHTTPClient
from tornado.web import Application, RequestHandler

from tornado_sessions import SessionConfig, SessionMixin, Sessions
from tornado_sessions.errors import ConfigError, SessionGone
from tornado_sessions.stores.memory import MemoryStore
from tornado_sessions.testing.faults import FailingStore, WrappedStore


class Read(SessionMixin, RequestHandler):
    def get(self) -> None:
        self.write({"data": dict(self.session), "user": self.current_user, "handle": self.session.handle})


class Write(SessionMixin, RequestHandler):
    def get(self) -> None:
        self.session["a"] = self.get_query_argument("a", "1")


class Parts(SessionMixin, RequestHandler):
    def get(self) -> None:
        self.session["a"] = "1"
        self.set_cookie("first", "1")
        self.add_header("Set-Cookie", "second=2")
        self.write("one ")
        self.write("two")
        self.finish()


class Save(SessionMixin, RequestHandler):
    async def get(self) -> None:
        self.session["a"] = "1"
        await self.save_session()
        stored = await self.sessions.inspect(self.session.handle or "")
        self.write(str(stored is not None))


class Reload(SessionMixin, RequestHandler):
    async def get(self) -> None:
        self.session["a"] = "pending"
        try:
            await self.reload_session()
        except SessionGone:
            self.write("gone")
        else:
            self.write(str(self.session.get("a")))


class DestroyAtOnce(SessionMixin, RequestHandler):
    async def get(self) -> None:
        self.session["a"] = "1"
        await self.destroy_session()


class Regenerate(SessionMixin, RequestHandler):
    async def get(self) -> None:
        await self.rotate_session()
        self.session["b"] = "2"


class LogIn(SessionMixin, RequestHandler):
    async def get(self) -> None:
        lifetime = self.get_query_argument("lifetime", "")
        await self.log_in("ada", lifetime=float(lifetime) if lifetime else None)


class Odd(SessionMixin, RequestHandler):
    def get(self) -> None:
        for key in ("cookie", "handle", "user", "save", "__proto__", "_record"):
            self.session[key] = key


ROUTES = [
    ("/read", Read), ("/write", Write), ("/parts", Parts), ("/save", Save), ("/reload", Reload), ("/odd", Odd),
    ("/destroy", DestroyAtOnce), ("/regenerate", Regenerate), ("/login", LogIn),
]  # fmt: skip


@pytest.fixture
def app(sessions: Sessions) -> Application:
    return Application(ROUTES, sessions=sessions)


def attributes(browser_response: Any) -> list[str]:
    return [part.strip() for part in browser_response.headers["Set-Cookie"].split(";")[1:]]


@pytest.mark.gen_test
async def test_each_visitor_has_a_session_of_its_own(browser: Browser) -> None:
    other = browser.copy()
    await browser.get("/write?a=mine")
    await other.get("/write?a=theirs")
    assert (await browser.data(), await other.data()) == ({"a": "mine"}, {"a": "theirs"})
    assert browser.cookie != other.cookie


@pytest.mark.gen_test
async def test_a_response_in_several_writes_is_whole_and_keeps_other_cookies(browser: Browser) -> None:
    response = await browser.get("/parts")
    assert response.body == b"one two"
    assert {line.partition("=")[0] for line in response.headers.get_list("Set-Cookie")} == {"first", "second", "sid"}
    assert await browser.data() == {"a": "1"}


@pytest.mark.gen_test
async def test_an_empty_response_has_stored_the_session(browser: Browser) -> None:
    response = await browser.get("/write")
    assert response.body == b""
    assert await browser.data() == {"a": "1"}


@pytest.mark.gen_test
async def test_a_session_saved_by_hand_is_stored_then_and_not_again(browser: Browser, sessions: Sessions) -> None:
    sessions.store = counted = WrappedStore(sessions.store)
    response = await browser.get("/save")
    assert response.body == b"True"
    assert counted.calls["save"] == 1
    assert browser.cookie is not None


@pytest.mark.gen_test
async def test_a_reload_drops_what_is_pending(browser: Browser) -> None:
    await browser.get("/write?a=stored")
    assert (await browser.get("/reload")).body == b"stored"
    assert await browser.data() == {"a": "stored"}


@pytest.mark.gen_test
async def test_a_session_that_begins_and_is_destroyed_at_once_leaves_nothing(
    browser: Browser, sessions: Sessions
) -> None:
    response = await browser.get("/destroy")
    assert "Set-Cookie" not in response.headers
    assert (await sessions.count()).total == 0


@pytest.mark.gen_test
async def test_a_regenerated_session_keeps_its_values_under_a_new_token(browser: Browser) -> None:
    await browser.get("/write")
    before = browser.cookie
    await browser.get("/regenerate")
    assert browser.cookie != before
    assert await browser.data() == {"a": "1", "b": "2"}


@pytest.mark.gen_test
async def test_a_valid_cookie_whose_session_is_unknown_gets_a_new_handle(
    browser: Browser, sessions: Sessions, http_client: AsyncHTTPClient, base_url: str
) -> None:
    await browser.get("/write")
    old = (await sessions.find()).items[0].handle
    await sessions.destroy(old)
    await browser.get("/write")
    assert [item.handle for item in (await sessions.find()).items] != [old]
    assert (await sessions.count()).total == 1


@pytest.mark.gen_test
async def test_a_bad_signature_asks_the_store_nothing(browser: Browser, sessions: Sessions) -> None:
    await browser.get("/write")
    sessions.store = counted = WrappedStore(sessions.store)
    assert browser.cookie is not None
    browser.cookie = browser.cookie[:-1] + ("0" if browser.cookie[-1] != "0" else "1")
    assert await browser.data() == {}
    assert counted.calls["load"] == 0


@pytest.mark.gen_test
async def test_an_expired_session_is_gone_and_the_visitor_starts_anew(browser: Browser, clock: Clock) -> None:
    await browser.get("/write?a=old")
    clock.now += 1801
    assert await browser.data() == {}
    await browser.get("/write?a=new")
    assert await browser.data() == {"a": "new"}


@pytest.mark.gen_test
async def test_keys_that_are_names_of_ours_are_only_keys(browser: Browser) -> None:
    await browser.get("/odd")
    data = await browser.data()
    assert data == {key: key for key in ("cookie", "handle", "user", "save", "__proto__", "_record")}


@pytest.mark.gen_test
async def test_the_cookie_of_a_lifetime_ends_with_it_and_is_renewed_by_use(browser: Browser, clock: Clock) -> None:
    response = await browser.get("/login?lifetime=86400")
    assert "Max-Age=86400" in attributes(response)
    clock.now += 3600
    assert "Max-Age=82800" in attributes(await browser.get("/write"))
    assert "Set-Cookie" not in (await browser.get("/read")).headers


class TestPersistent:
    @pytest.fixture
    def config(self) -> SessionConfig:
        return SessionConfig(secret=SECRET, persistent=True)

    @pytest.mark.gen_test
    async def test_a_cookie_with_max_age_is_sent_again_when_the_session_is_touched(
        self, browser: Browser, clock: Clock
    ) -> None:
        assert "Max-Age=1800" in attributes(await browser.get("/write"))
        assert "Set-Cookie" not in (await browser.get("/read")).headers
        clock.now += 61
        assert "Max-Age=1800" in attributes(await browser.get("/read"))


class TestSecure:
    @pytest.fixture
    def config(self) -> SessionConfig:
        return SessionConfig(secret=SECRET, secure=True, same_site="None", partitioned=True, priority="High")

    @pytest.mark.gen_test
    async def test_every_attribute_is_sent(self, browser: Browser) -> None:
        response = await browser.get("/write")
        assert response.headers["Set-Cookie"].startswith("__Host-sid=")
        assert attributes(response) == ["Path=/", "HttpOnly", "Secure", "SameSite=None", "Partitioned", "Priority=High"]


class TestProxy:
    @pytest.fixture(params=[[], ["127.0.0.1", "::1"]], ids=["no proxy", "behind a proxy"])
    def config(self, request: pytest.FixtureRequest) -> SessionConfig:
        return SessionConfig(secret=SECRET, trusted_proxies=request.param)

    @pytest.mark.parametrize(
        ("headers", "secure"),
        [({"X-Forwarded-Proto": "https"}, True), ({"X-Forwarded-Proto": "https, http"}, False), ({}, False)],
    )
    @pytest.mark.gen_test
    async def test_secure_auto_believes_a_trusted_proxy_only(
        self, browser: Browser, config: SessionConfig, headers: dict[str, str], secure: bool
    ) -> None:
        told = {"X-Forwarded-For": "203.0.113.9", **headers}
        response = await browser.get("/write", **told)
        assert ("Secure" in attributes(response)) is (secure and bool(config.trusted_proxies))


class TestScope:
    @pytest.fixture
    def config(self) -> SessionConfig:
        return SessionConfig(secret=SECRET, cookie_name="shop", path="/shop", domain="example.org", http_only=False)

    @pytest.mark.gen_test
    async def test_name_path_and_domain_are_as_configured(self, browser: Browser) -> None:
        response = await browser.get("/write")
        assert re.fullmatch(r"shop=[^;]+; Path=/shop; Domain=example.org; SameSite=Lax", response.headers["Set-Cookie"])


class TestReconnect:
    @pytest.fixture
    def store(self) -> FailingStore:
        return FailingStore(MemoryStore())

    @pytest.fixture
    def sessions(self, store: FailingStore, clock: Clock, config: SessionConfig, io_loop: Any) -> Any:
        made = Sessions(store, config=config, clock=clock)
        yield made
        io_loop.run_sync(made.close)

    @pytest.mark.gen_test
    async def test_a_session_is_back_when_the_store_is(self, browser: Browser, store: FailingStore) -> None:
        await browser.get("/write")
        store.failing = True
        assert (await browser.get("/read")).code == 503
        store.failing = False
        assert await browser.data() == {"a": "1"}


@pytest.mark.parametrize("secret", ["", [], None])
def test_a_missing_secret_is_told_at_once(secret: Any) -> None:
    with pytest.raises(ConfigError, match="secret"):
        Sessions("memory://", secret=secret)
