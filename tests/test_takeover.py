"""Sessions of a real Express application go on here: with each store, in each layout, once, and at the same time."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from bson import Binary, Int64, ObjectId
from pymongo import MongoClient
from support.amount import amount, only_long
from support.browser import Browser
from support.clock import Clock
from support.express_app import SECRET as EXPRESS_SECRET
from support.express_app import ExpressApp
from support.mongo_servers import Mongo
from support.other_system import OtherSystem
from support.passwords import SECRET
from support.redis_servers import Valkey
from support.tried import Tried
from support.urls import url_of
from support.waiting import until
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler, websocket_connect
from typing_extensions import override

from tornado_sessions import ConfigError, SessionConfig, SessionMixin, Sessions, StoreUnavailable, TakenOver, open_store
from tornado_sessions.takeover import Express, ForeignSession
from tornado_sessions.testing.faults import CuttingStore, FailingStore, WrappedStore

CRYPTO = "squirrel SECRET of 42 +!"


class Home(SessionMixin, RequestHandler):
    def get(self) -> None:
        self.write({"user": self.session.user, "handle": self.session.handle, "data": dict(self.session)})


class Out(SessionMixin, RequestHandler):
    async def get(self) -> None:
        await self.log_out()


@pytest.fixture
def app(sessions: Sessions) -> Application:
    return Application([("/home", Home), ("/out", Out)], sessions=sessions)


@pytest.fixture
def prefix() -> str:
    return f"{uuid4().hex}:"


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime.now(UTC).timestamp())


@pytest.fixture
def config() -> SessionConfig:
    return SessionConfig(secret=SECRET)


@pytest.fixture
def sessions(redis: Valkey, prefix: str, config: SessionConfig, clock: Clock, io_loop: Any) -> Iterator[Sessions]:
    old = Express(redis.url, secret=["a newer one", EXPRESS_SECRET], user_key="user.name", prefix=prefix)
    made = Sessions("memory://", config=config, clock=clock, takeover=old)
    yield made
    io_loop.run_sync(made.close)


def listening(app: Application) -> tuple[HTTPServer, str]:
    """Serve on a free port; return the server and its address."""
    (free,) = bind_sockets(0, "127.0.0.1")
    server = HTTPServer(app)
    server.add_sockets([free])
    return server, f"http://127.0.0.1:{free.getsockname()[1]}"


async def signed_in(client: AsyncHTTPClient, base: str, name: str = "ada") -> Browser:
    browser = Browser(client, base)
    assert (await browser.get(f"/login?user={name}")).code == 200
    return browser


async def home(browser: Browser, base: str) -> dict[str, Any]:
    browser.base = base
    response = await browser.get("/home")
    assert response.code == 200, response.body
    return json.loads(response.body)  # type: ignore[no-any-return]


def stored(redis: Valkey, prefix: str, session_id: str = "x" * 32, **more: Any) -> Any:
    """Store a session as connect-redis does, and return its browser's cookie."""
    session = {"cookie": {"originalMaxAge": None, "expires": None}, "user": {"name": "ada"}, **more}
    redis.ask("SET", f"{prefix}{session_id}", json.dumps(session), "EX", 3600)
    signature = base64.b64encode(hmac.digest(EXPRESS_SECRET.encode(), session_id.encode(), "sha256")).decode()
    return {"connect.sid": quote(f"s:{session_id}.{signature.rstrip('=')}", safe="")}


def with_cookies(client: AsyncHTTPClient, base: str, cookies: dict[str, str]) -> Browser:
    browser = Browser(client, base)
    browser.cookies = dict(cookies)
    return browser


LAYOUTS = [
    pytest.param("redis", "connect-redis-7", {}, marks=only_long),
    pytest.param("redis", "connect-redis-8", {}, marks=only_long),
    ("redis", "connect-redis-9", {}),
    ("redis", "connect-redis-10", {"ttl": 60}),
    ("mongo", "connect-mongo-4", {}),
    pytest.param("mongo", "connect-mongo-4", {"stringify": False}, marks=only_long),
    pytest.param("mongo", "connect-mongo-4", {"crypto": {"secret": CRYPTO}}, marks=only_long),
    pytest.param("mongo", "connect-mongo-5", {}, marks=only_long),
    ("mongo", "connect-mongo-5", {"crypto": {"secret": CRYPTO}}),
    pytest.param("mongo", "connect-mongo-5", {"stringify": False}, marks=only_long),
    pytest.param("mongo", "connect-mongo-6", {}, marks=only_long),
    ("mongo", "connect-mongo-6", {"stringify": False}),
    ("mongo", "connect-mongo-6", {"crypto": {"secret": CRYPTO}}),
    pytest.param("mongo", "connect-mongo-6", {"crypto": {"secret": CRYPTO}, "stringify": False}, marks=only_long),
]


@pytest.mark.gen_test(timeout=60)
@pytest.mark.parametrize(("kind", "package", "options"), LAYOUTS)
async def test_who_signed_in_at_express_goes_on_here_and_when_signed_out_gets_in_nowhere(
    kind: str, package: str, options: dict[str, Any], request: pytest.FixtureRequest, http_client: AsyncHTTPClient
) -> None:
    name, url = uuid4().hex, request.getfixturevalue(kind).url
    crypto = options.get("crypto", {}).get("secret")
    if kind == "redis":
        old = Express(url, secret=EXPRESS_SECRET, user_key="user.name", prefix=f"{name}:")
        options = {**options, "prefix": f"{name}:"}
    else:
        url += f"/{name}"
        old = Express(url + "?collection=visits", secret=EXPRESS_SECRET, user_key="user.name", crypto_secret=crypto)
        options = {**options, "collectionName": "visits"}
    express = ExpressApp(package, url, options)
    sessions = Sessions("memory://", secret=SECRET, takeover=old)
    app = Application([("/home", Home), ("/out", Out)], sessions=sessions)
    server, base = listening(app)
    try:
        browser = await signed_in(http_client, express.base)
        other = await signed_in(http_client, express.base, "grace")
        thief = browser.copy()
        assert "你好 ada" in (await browser.get("/home")).body.decode()

        found = await home(browser, base)
        assert found["user"] == "ada"
        cart = {"items": [1, "zwei", 3.5, None, {"deep": True}], "note": "你好"}
        assert found["data"] == {"user": {"name": "ada"}, "cart": cart}
        assert browser.cookies.keys() == {"sid"}, "the old cookie is removed"
        assert await home(browser, base) == found

        await browser.get("/out")
        for each in (browser, thief.copy()):
            assert (await home(each, base))["user"] is None
        thief.base = express.base
        assert "登录 注册" in (await thief.get("/home")).body.decode()
        other.base = express.base
        assert "你好 grace" in (await other.get("/home")).body.decode(), "other sessions are untouched"
    finally:
        server.stop()
        await sessions.close()
        express.stop()


@pytest.mark.gen_test
async def test_of_requests_at_the_same_time_all_are_in_with_one_session_and_one_cookie(
    http_client: AsyncHTTPClient, base_url: str, redis: Valkey, prefix: str, config: SessionConfig, clock: Clock
) -> None:
    cookies = stored(redis, prefix)
    browsers = [with_cookies(http_client, base_url, cookies) for _ in range(8)]
    found = await asyncio.gather(*(home(browser, base_url) for browser in browsers))
    assert {one["user"] for one in found} == {"ada"}
    assert len({one["handle"] for one in found}) == 1
    assert all(browser.cookies.keys() == {"sid"} for browser in browsers)
    for browser in browsers:
        assert (await home(browser, base_url))["user"] == "ada"
    assert not redis.ask("EXISTS", f"{prefix}{'x' * 32}")


@pytest.mark.gen_test
async def test_a_lost_response_signs_nobody_out_and_a_replayed_cookie_gets_nobody_in(
    http_client: AsyncHTTPClient, base_url: str, redis: Valkey, prefix: str, clock: Clock
) -> None:
    cookies = stored(redis, prefix)
    assert (await home(with_cookies(http_client, base_url, cookies), base_url))["user"] == "ada"
    clock.now += 300
    browser = with_cookies(http_client, base_url, cookies)
    assert (await home(browser, base_url))["user"] == "ada", "the first response was lost"
    assert (await home(browser, base_url))["user"] == "ada"
    clock.now += 31
    thief = with_cookies(http_client, base_url, cookies)
    assert (await home(thief, base_url))["user"] is None
    assert (await home(browser, base_url))["user"] == "ada"


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "change",
    [
        lambda value: value[:-1] + ("A" if value[-1] != "A" else "B"),
        lambda value: value.replace("s%3Ax", "s%3Ay"),
        lambda value: value.removeprefix("s%3A"),
        lambda value: value.partition(".")[0],
        lambda value: "s%3A.",
        lambda value: "%ff%00" + value,
        lambda value: "s%3A" + "x" * 3000 + ".abc",
    ],
)
async def test_a_forged_cookie_is_a_visitors(
    http_client: AsyncHTTPClient, base_url: str, redis: Valkey, prefix: str, change: Any
) -> None:
    cookies = {name: change(value) for name, value in stored(redis, prefix).items()}
    assert (await home(with_cookies(http_client, base_url, cookies), base_url))["user"] is None
    assert redis.ask("EXISTS", f"{prefix}{'x' * 32}")


@pytest.mark.gen_test
async def test_a_session_lives_as_long_as_express_says(
    http_client: AsyncHTTPClient, base_url: str, redis: Valkey, prefix: str, sessions: Sessions, clock: Clock
) -> None:
    def cookie(seconds: float) -> dict[str, Any]:
        at = datetime.fromtimestamp(clock.now, UTC) + timedelta(seconds=seconds)
        return {"originalMaxAge": 7000_000, "expires": at.isoformat().replace("+00:00", "Z")}

    over = with_cookies(http_client, base_url, stored(redis, prefix, "over", cookie=cookie(-1)))
    assert (await home(over, base_url))["user"] is None
    lasting = with_cookies(http_client, base_url, stored(redis, prefix, "lasting", cookie=cookie(600)))
    record: Any = await sessions.inspect((await home(lasting, base_url))["handle"])
    assert record.expires_at == pytest.approx(clock.now + 7000, abs=1)
    assert record.persistent
    brief = with_cookies(http_client, base_url, stored(redis, prefix, "brief"))
    record = await sessions.inspect((await home(brief, base_url))["handle"])
    assert record.expires_at == pytest.approx(clock.now + 3600, abs=2)
    assert not record.persistent


@pytest.mark.gen_test
async def test_what_does_not_fit_is_left_out_and_named_in_the_log(
    http_client: AsyncHTTPClient, base_url: str, redis: Valkey, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    deep: list[Any] = []
    for _ in range(40):
        deep = [deep]
    cookies = stored(redis, prefix, deep=deep, big="x" * 70_000, text="\ud800", kept=1)
    with caplog.at_level(logging.WARNING):
        found = await home(with_cookies(http_client, base_url, cookies), base_url)
    assert found["data"] == {"user": {"name": "ada"}, "kept": 1}
    assert all(f"'{key}' was not taken over" in caplog.text for key in ("deep", "big", "text"))
    assert "x" * 32 not in caplog.text


@pytest.mark.gen_test
@pytest.mark.parametrize("value", ["", "no JSON", "[1]", "{}", '{"cookie": null}', '{"cookie": {"expires": "never"}}'])
async def test_what_is_no_session_of_express_is_left_alone(
    http_client: AsyncHTTPClient, base_url: str, redis: Valkey, prefix: str, value: str
) -> None:
    cookies = stored(redis, prefix)
    redis.ask("SET", f"{prefix}{'x' * 32}", value)
    assert (await home(with_cookies(http_client, base_url, cookies), base_url))["user"] is None
    assert redis.ask("GET", f"{prefix}{'x' * 32}") == value.encode()


@pytest.mark.gen_test
async def test_a_session_that_express_ends_while_it_moves_is_not_revived(
    http_client: AsyncHTTPClient, base_url: str, redis: Valkey, prefix: str, sessions: Sessions
) -> None:
    cookies = stored(redis, prefix)
    old: Any = sessions.takeover
    read = old.read

    async def read_and_end(session_id: str, now: float) -> Any:
        found = await read(session_id, now)
        redis.ask("DEL", f"{prefix}{session_id}")
        return found

    old.read = read_and_end
    browser = with_cookies(http_client, base_url, cookies)
    assert (await home(browser, base_url))["user"] is None
    assert (await home(browser, base_url))["user"] is None
    assert (await sessions.count()).total == 0


@pytest.mark.gen_test
async def test_an_outage_of_express_store_is_no_sign_out(http_client: AsyncHTTPClient, prefix: str) -> None:
    server = Valkey()
    old = Express(server.url + "?timeout=1", secret=EXPRESS_SECRET, user_key="user.name", prefix=prefix)
    sessions = Sessions("memory://", secret=SECRET, takeover=old)
    app = Application([("/home", Home)], sessions=sessions)
    site, base = listening(app)
    browser = with_cookies(http_client, base, stored(server, prefix))
    try:
        server.kill()
        refused = await browser.get("/home")
        assert refused.code == 503
        assert refused.headers["Retry-After"]
        assert "Set-Cookie" not in refused.headers
        server.start()
        assert (await home(browser, base))["user"] == "ada"
    finally:
        site.stop()
        await sessions.close()
        server.stop()


@pytest.mark.gen_test
async def test_a_late_save_of_express_is_ended_again(
    http_client: AsyncHTTPClient, base_url: str, redis: Valkey, prefix: str
) -> None:
    cookies = stored(redis, prefix)
    browser = with_cookies(http_client, base_url, cookies)
    assert (await home(browser, base_url))["user"] == "ada"
    stored(redis, prefix)
    await until(lambda: not redis.ask("EXISTS", f"{prefix}{'x' * 32}"), "the second end")


class Echo(SessionMixin, WebSocketHandler):
    def open(self, *_args: str, **_kwargs: str) -> None:
        self.write_message(self.session.user or "nobody")


@pytest.mark.gen_test
async def test_a_websocket_is_let_in_unless_another_site_opens_it(
    redis: Valkey, prefix: str, sessions: Sessions
) -> None:
    server, base = listening(Application([("/", Echo)], sessions=sessions))
    cookies = "; ".join(f"{name}={value}" for name, value in stored(redis, prefix).items())
    url = base.replace("http", "ws") + "/"
    try:
        with pytest.raises(HTTPClientError, match="403"):
            await websocket_connect(HTTPRequest(url, headers={"Cookie": cookies, "Origin": "https://evil.example"}))
        assert redis.ask("EXISTS", f"{prefix}{'x' * 32}")
        socket = await websocket_connect(HTTPRequest(url, headers={"Cookie": cookies}))
        assert await socket.read_message() == "ada"
        socket.close()
    finally:
        server.stop()


@pytest.mark.long_on("mongo")
@pytest.mark.gen_test(timeout=120)
@pytest.mark.every_backend
@pytest.mark.parametrize("kind", ["redis", "mongo_motor", "sqlite"])
async def test_servers_that_move_a_session_at_the_same_time_move_it_to_one(
    kind: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    http_client: AsyncHTTPClient,
    redis: Valkey,
    prefix: str,
    tried: Tried,
) -> None:
    url = url_of(kind, request, tmp_path)
    config = SessionConfig(secret=SECRET, max_sessions_per_user=50)
    servers, everybody = [], []
    for _ in range(3):
        old = Express(redis.url, secret=EXPRESS_SECRET, user_key="user.name", prefix=prefix)
        everybody.append(Sessions(url, config=config, takeover=old))
        servers.append(listening(Application([("/home", Home)], sessions=everybody[-1])))
    lost, rounds = 0, amount(10, 50)
    try:
        for number in range(rounds):
            cookies = stored(redis, prefix, f"session{number}")
            browsers = [with_cookies(http_client, base, cookies) for _, base in servers for _ in range(3)]
            found = await asyncio.gather(*(home(browser, browser.base) for browser in browsers))
            lost += sum(one["user"] != "ada" for one in found) + len({one["handle"] for one in found}) - 1
            for browser in browsers[::3]:
                lost += (await home(browser, browser.base))["user"] != "ada"
            lost += redis.ask("EXISTS", f"{prefix}session{number}")
        lost += (await everybody[0].count(user="ada")).total != rounds
        tried("sessions moved by three servers at the same time", times=rounds, lost=lost)
        assert lost == 0
    finally:
        for server, _ in servers:
            server.stop()
        for sessions in everybody:
            await sessions.close()


@pytest.mark.gen_test(timeout=60)
async def test_no_lost_answer_of_our_store_loses_the_session(
    http_client: AsyncHTTPClient, redis: Valkey, prefix: str, clock: Clock
) -> None:
    """Whichever call fails, before or after it had its effect: the browser gets 503 at most, and then it is in."""
    for kind in (FailingStore, CuttingStore):
        for failing in range(1, 7):
            store = OneFailure(open_store("memory://"), kind, failing)
            old = Express(redis.url, secret=EXPRESS_SECRET, user_key="user.name", prefix=prefix)
            sessions = Sessions(store, secret=SECRET, takeover=old, clock=clock)
            server, base = listening(Application([("/home", Home)], sessions=sessions))
            browser = with_cookies(http_client, base, stored(redis, prefix))
            try:
                codes = [(await browser.get("/home")).code for _ in range(3)]
                assert sorted(codes) in ([200, 200, 200], [200, 200, 503]), (kind, failing, codes)
                assert (await home(browser, base))["user"] == "ada", (kind, failing)
                assert not redis.ask("EXISTS", f"{prefix}{'x' * 32}")
            finally:
                server.stop()
                await sessions.close()


class OneFailure(WrappedStore):
    """One load or save fails: the one with this number."""

    def __init__(self, store: Any, kind: type[WrappedStore], failing: int) -> None:
        super().__init__(store)
        self._left, self._is_cut = failing, kind is CuttingStore

    def _fails(self, method: str) -> bool:
        if method in ("load", "save"):
            self._left -= 1
        return method in ("load", "save") and self._left == 0

    @override
    async def before(self, method: str) -> None:
        await super().before(method)
        self._now = self._fails(method)
        if self._now and not self._is_cut:
            raise StoreUnavailable(self.backend, "switched off")

    @override
    async def after(self, method: str) -> None:
        await super().after(method)
        if self._now and self._is_cut:
            raise StoreUnavailable(self.backend, "the connection was cut")


@pytest.mark.gen_test
async def test_another_system_can_be_taken_over_by_four_methods(http_client: AsyncHTTPClient) -> None:
    moved: list[str | None] = []
    other = OtherSystem(one=ForeignSession({"a": 1}, "ada"), bad=ForeignSession({}, "x" * 600))
    sessions = Sessions("memory://", secret=SECRET, takeover=other)
    sessions.on(TakenOver, lambda event: moved.append(event.user))
    server, base = listening(Application([("/home", Home)], sessions=sessions))
    try:
        found = await home(with_cookies(http_client, base, {"old": "one"}), base)
        assert (found["user"], found["data"]) == ("ada", {"a": 1})
        found = await home(with_cookies(http_client, base, {"old": "bad"}), base)
        assert found["user"] is None
        assert found["handle"], "its values move"
        await sessions.deliver_events()
        assert moved == ["ada", None]
    finally:
        server.stop()
        await sessions.close()


class TestRefusing:
    @pytest.fixture
    def config(self) -> SessionConfig:
        return SessionConfig(secret=SECRET, max_sessions_per_user=1, when_exceeded="refuse")

    @pytest.mark.gen_test
    async def test_a_user_with_too_many_sessions_stays_at_express(
        self, http_client: AsyncHTTPClient, base_url: str, redis: Valkey, prefix: str, sessions: Sessions
    ) -> None:
        first = with_cookies(http_client, base_url, stored(redis, prefix, "first"))
        second = with_cookies(http_client, base_url, stored(redis, prefix, "second"))
        assert (await home(first, base_url))["user"] == "ada"
        assert (await home(second, base_url))["user"] is None
        assert redis.ask("EXISTS", f"{prefix}second")
        assert (await sessions.count(user="ada")).total == 1


@pytest.mark.gen_test(timeout=60)
@pytest.mark.parametrize("package", ["connect-redis-9"])
async def test_a_rolling_switch_under_load_signs_nobody_out(
    http_client: AsyncHTTPClient, base_url: str, redis: Valkey, prefix: str, package: str, tried: Tried
) -> None:
    express = ExpressApp(package, redis.url, {"prefix": prefix})
    try:
        browsers = [await signed_in(http_client, express.base, f"user{number}") for number in range(50)]

        async def use(number: int, browser: Browser) -> int:
            """Request pages, from here after some of them; return how often the user was not known."""
            lost = 0
            for turn in range(12):
                browser.base = base_url if turn >= 2 + number % 8 else express.base
                pages = await asyncio.gather(browser.get("/home"), browser.get("/home"))
                lost += sum(f"user{number}".encode() not in page.body for page in pages)
            return lost

        lost = sum(await asyncio.gather(*(use(number, browser) for number, browser in enumerate(browsers))))
        tried("requests of 50 users during the switch from Express", times=1200, lost=lost)
        assert lost == 0
        assert not list(redis.ask("KEYS", f"{prefix}*"))
    finally:
        express.stop()


@pytest.mark.parametrize(
    ("url", "options"),
    [("sqlite:///x", {}), ("redis://h", {"secret": ""}), ("redis://h", {"secret": []}), ("redis://h?colour=1", {})],
)
def test_a_wrong_argument_is_refused(url: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Express(url, **{"secret": "s", **options})


def test_takeover_must_be_one() -> None:
    with pytest.raises(ConfigError, match="takeover"):
        Sessions("memory://", secret=SECRET, takeover="redis://localhost")  # type: ignore[arg-type]


@pytest.mark.gen_test
async def test_native_values_of_mongodb_become_those_of_json(
    mongo: Mongo, http_client: AsyncHTTPClient, prefix: str
) -> None:
    name, at = uuid4().hex, datetime.now(UTC) + timedelta(hours=1)
    client: MongoClient[Any] = MongoClient(mongo.url)
    values = {"id": ObjectId("0" * 24), "at": datetime(2026, 1, 2, tzinfo=UTC), "n": Int64(5), "bin": Binary(b"x", 5)}
    session = {"cookie": {"originalMaxAge": None, "expires": None}, **values}
    client[name].sessions.insert_many(
        [
            {"_id": "live", "session": session, "expires": at},
            {"_id": "over", "session": session, "expires": at - timedelta(hours=2)},
        ]
    )
    sessions = Sessions("memory://", secret=SECRET, takeover=Express(f"{mongo.url}/{name}", secret="s", user_key="id"))
    app = Application([("/home", Home)], sessions=sessions)
    site, base = listening(app)

    def cookie(session_id: str) -> dict[str, str]:
        signature = base64.b64encode(hmac.digest(b"s", session_id.encode(), "sha256")).decode().rstrip("=")
        return {"connect.sid": f"s:{session_id}.{signature}"}

    try:
        found = await home(with_cookies(http_client, base, cookie("live")), base)
        assert (found["user"], found["data"]) == ("0" * 24, {"id": "0" * 24, "at": "2026-01-02T00:00:00.000Z", "n": 5})
        assert (await home(with_cookies(http_client, base, cookie("over")), base))["user"] is None
        assert [one["_id"] for one in client[name].sessions.find()] == ["over"]
    finally:
        client.close()
        site.stop()
        await sessions.close()
