"""Common habits in handlers: each works as it does without sessions, and no session data is lost silently."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from support.browser import Browser
from support.clock import Clock
from support.passwords import SECRET
from support.raw_connection import connected
from support.refusing_store import RefusingStore
from support.waiting import one_turn, until
from tornado.http1connection import HTTP1Connection
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.simple_httpclient import HTTPStreamClosedError
from tornado.web import Application, RequestHandler

from tornado_sessions import SessionConfig, SessionMixin, Sessions
from tornado_sessions.errors import NotStorable, StoreUnavailable, UsageError
from tornado_sessions.stores.memory import MemoryStore

LARGE = "x" * 70_000


def unavailable() -> StoreUnavailable:
    """A new error each time: one that was raised keeps the handler of its traceback alive."""
    return StoreUnavailable("memory", "a test says so")


class Tracked(SessionMixin, RequestHandler):
    """Known weakly, to see that nothing keeps it."""

    seen: ClassVar[list[weakref.ref[RequestHandler]]] = []

    def initialize(self) -> None:
        self.seen.append(weakref.ref(self))


class SignIn(SessionMixin, RequestHandler):
    async def get(self) -> None:
        await self.log_in("ada")


class Flushes(Tracked):
    """Changes the session between flushes, without a turn of the loop in between."""

    async def get(self) -> None:
        self.session["first"] = 1
        self.write("first ")
        self.flush()
        self.session["second"] = [1]
        if self.get_query_argument("unstorable", ""):
            self.session["second"].append(object())
        self.write("second ")
        if self.get_query_argument("again", ""):
            self.flush()
            self.session["third"] = 1
        self.finish("third")


class Complains(Tracked):
    """Puts into the session what cannot be stored, and more of it in its error page."""

    errors: ClassVar[list[int]] = []

    def get(self) -> None:
        self.fill("cart")

    def fill(self, key: str) -> None:
        values: list[str] = self.session.setdefault(key, [])
        values.append(LARGE)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.errors.append(status_code)
        if len(self.errors) < 5:
            self.fill("errors")
        self.write(f"error {status_code}")


class Detaches(Tracked):
    """Answers through the stream itself."""

    async def get(self) -> None:
        if self.get_query_argument("change", ""):
            self.session["n"] = 1
        self.set_header("Content-Length", "5")
        if self.get_query_argument("flush", ""):
            flushed = self.flush()
            if self.get_query_argument("await", ""):
                await flushed
        stream = self.detach()
        if not self._headers_written:
            await stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        await stream.write(b"hello")
        stream.close()


class User:
    def __init__(self, name: str) -> None:
        self.name = name


class WithUsers(SessionMixin, RequestHandler):
    """Has users of its own."""

    def get_current_user(self) -> User | None:
        name = self.session.user
        return User(name) if name is not None else None

    async def get(self) -> None:
        before = self.current_user
        await self.log_in("bob")
        between = self.current_user
        await self.log_out()
        self.write({"users": [user and user.name for user in (before, between, self.current_user)]})


class Reports(SessionMixin, RequestHandler):
    """Names the user in the log of errors, as reporters of errors do."""

    users: ClassVar[list[Any]] = []

    def get(self, _part: str) -> None:
        raise LookupError("in the method")

    def post(self, _part: str) -> None:
        raise LookupError("in the method")

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        self.users.append(self.current_user)
        super().log_exception(typ, value, tb)


class Helpless(Tracked):
    """Fails in its own ``send_error``."""

    def get(self) -> None:
        self.session["n"] = 1

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        raise LookupError("in send_error")


class Saves(Tracked):
    """Actions on a new session while an earlier flush is storing it."""

    async def get(self) -> None:
        self.session["n"] = 1
        self.write("stored")
        self.flush()
        if self.get_query_argument("act") == "save":
            await self.save_session()
        else:
            await self.destroy_session()


class Bypasses(Tracked):
    """Has a ``finish`` that calls Tornado's without ours."""

    finished: ClassVar[list[int]] = []

    def get(self) -> None:
        self.session["n"] = 1

    def finish(self, chunk: Any = None) -> Any:
        return RequestHandler.finish(self, chunk)

    def on_finish(self) -> None:
        self.finished.append(self.get_status())


class Recovers(Tracked):
    """Hears that its flush could not be stored, and answers something else."""

    async def get(self) -> None:
        self.session["cart"] = [1]
        self.session["cart"].append(object())
        self.write("stored")
        try:
            await self.flush()
        except NotStorable:
            self.session["cart"] = [1]
            self.write("mended")


class Tunes(Tracked):
    """Sets something on its connection while a flush waits."""

    async def get(self) -> None:
        self.session["n"] = 1
        self.write("tuned")
        flushed = self.flush()
        connection: Any = self.request.connection
        connection.no_keep_alive = True
        await flushed
        connection = self.request.connection
        assert isinstance(connection, HTTP1Connection)
        self.write(str(connection.no_keep_alive))


class Plain(Tracked):
    def get(self) -> None:
        self.session["n"] = self.session.get("n", 0) + 1
        self.write("plain")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> RefusingStore:
    return RefusingStore(MemoryStore())


@pytest.fixture
def sessions(store: RefusingStore, clock: Clock, io_loop: Any) -> Iterator[Sessions]:
    made = Sessions(store, config=SessionConfig(secret=SECRET), clock=clock)
    yield made
    io_loop.run_sync(made.close)


@pytest.fixture
def app(sessions: Sessions) -> Application:
    for remembered in (Tracked.seen, Complains.errors, Reports.users, Bypasses.finished):
        remembered.clear()
    return Application(
        [
            ("/in", SignIn),
            ("/flushes", Flushes),
            ("/complains", Complains),
            ("/detaches", Detaches),
            ("/users", WithUsers),
            ("/reports/(.*)", Reports),
            ("/helpless", Helpless),
            ("/saves", Saves),
            ("/bypasses", Bypasses),
            ("/recovers", Recovers),
            ("/tunes", Tunes),
            ("/plain", Plain),
        ],
        sessions=sessions,
        xsrf_cookies=True,
    )


@pytest.fixture
def browser(sessions: Sessions, http_client: AsyncHTTPClient, base_url: str) -> Browser:
    return Browser(http_client, base_url)


async def data_of(sessions: Sessions) -> Any:
    (item,) = (await sessions.find()).items
    return await sessions.values_of(item.handle)


@pytest.mark.parametrize("again", ["", "1"])
@pytest.mark.parametrize("is_visitor", [True, False])
@pytest.mark.gen_test
async def test_a_change_between_two_flushes_is_stored_before_its_bytes_leave(
    is_visitor: bool, again: str, browser: Browser, sessions: Sessions
) -> None:
    if not is_visitor:
        await browser.get("/in")
    assert (await browser.get(f"/flushes?again={again}")).body == b"first second third"
    third = {"third": 1} if again else {}
    assert await data_of(sessions) == {"first": 1, "second": [1], **third}


@pytest.mark.gen_test
async def test_bytes_whose_change_cannot_be_stored_do_not_leave(browser: Browser) -> None:
    await browser.get("/in")
    response = await browser.get("/flushes?unstorable=1&again=1")
    assert response.code == 500
    assert b"second" not in response.body


@pytest.mark.gen_test
async def test_an_error_page_that_cannot_be_stored_either_is_sent_all_the_same(
    browser: Browser, sessions: Sessions
) -> None:
    await browser.get("/in")
    response = await browser.get("/complains")
    assert (response.code, response.body) == (413, b"error 413")
    assert Complains.errors == [413]
    assert await data_of(sessions) == {}


@pytest.mark.parametrize("flush", ["", "flush=1", "flush=1&await=1"])
@pytest.mark.parametrize("state", ["nothing", "touch due", "changed"])
@pytest.mark.gen_test
async def test_a_detached_stream_answers_and_no_change_is_lost_in_silence(
    state: str, flush: str, browser: Browser, sessions: Sessions, clock: Clock
) -> None:
    await browser.get("/in")
    clock.now += 70 if state == "touch due" else 0
    path = f"/detaches?{flush}&change={'1' if state == 'changed' else ''}"
    if state != "changed" or "await" in flush:
        assert (await browser.get(path)).body == b"hello"
    elif flush:
        with pytest.raises(HTTPStreamClosedError):
            await browser.get(path)
    else:
        assert (await browser.get(path)).code == 500
    assert await data_of(sessions) == ({"n": 1} if state == "changed" and flush else {})


@pytest.mark.gen_test
async def test_an_applications_own_users_are_found_after_a_log_in_and_a_log_out(browser: Browser) -> None:
    await browser.get("/in")
    assert (await browser.get("/users")).body == b'{"users": ["ada", "bob", null]}'


@pytest.mark.parametrize(
    ("path", "method", "status", "user"),
    [
        ("/reports/x", "GET", 500, "ada"),
        ("/reports/x", "POST", 403, None),
        ("/reports/x", "BREW", 405, None),
        ("/reports/%ff", "GET", 400, None),
    ],
)
@pytest.mark.gen_test
async def test_whoever_logs_an_error_may_ask_who_the_user_is(
    path: str, method: str, status: int, user: str | None, browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    await browser.get("/in")
    body = "" if method == "POST" else None
    response = await browser.send(method, path, body)
    assert response.code == status
    assert Reports.users == [user]
    assert "Error in exception logger" not in caplog.text


def test_the_wrong_order_of_bases_is_told_where_the_class_is_made() -> None:
    with pytest.raises(UsageError, match="Reversed: SessionMixin must come before"):
        type("Reversed", (RequestHandler, SessionMixin), {})


@pytest.mark.gen_test
async def test_a_send_error_that_fails_leaves_no_client_waiting(browser: Browser, store: RefusingStore) -> None:
    await browser.get("/in")
    store.error = unavailable()
    with pytest.raises(HTTPStreamClosedError):
        await browser.get("/helpless")


@pytest.mark.parametrize(("act", "left"), [("save", 1), ("destroy", 0)])
@pytest.mark.gen_test
async def test_a_new_session_that_is_being_stored_is_neither_made_twice_nor_missed(
    act: str, left: int, browser: Browser, sessions: Sessions
) -> None:
    assert (await browser.get(f"/saves?act={act}")).body == b"stored"
    assert (await sessions.count()).total == left


@pytest.mark.gen_test
async def test_a_finish_that_goes_around_ours_is_finished_once(
    browser: Browser, store: RefusingStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tornado.access")
    await browser.get("/in")
    assert (await browser.get("/bypasses")).code == 200
    store.error = unavailable()
    # The value is the same, so a new visitor has something to store.
    browser.cookie = None
    assert (await browser.get("/bypasses")).code == 503
    assert Bypasses.finished == [200, 503]
    assert [line.split(" ")[0] for line in caplog.messages if "/bypasses" in line and "ms" in line] == ["200", "503"]


@pytest.mark.gen_test
async def test_a_handler_that_awaits_its_flush_hears_of_an_error_once(browser: Browser, sessions: Sessions) -> None:
    await browser.get("/in")
    response = await browser.get("/recovers")
    assert (response.code, response.body) == (200, b"mended")
    assert await data_of(sessions) == {"cart": [1]}


@pytest.mark.gen_test
async def test_what_is_set_on_the_connection_while_a_flush_waits_is_kept(browser: Browser) -> None:
    assert (await browser.get("/tunes")).body == b"tunedTrue"


async def is_collected() -> bool:
    """Whether the handler is gone once the server is done with its request, which may be after the client is."""
    for _ in range(10):
        # Collecting takes long in a process that has run thousands of tests, so several turns share it.
        for _ in range(20):
            await one_turn()
        gc.collect()
        if Tracked.seen[0]() is None:
            return True
    return False


@pytest.fixture
def no_log() -> Iterator[None]:
    """Nothing is logged: what pytest captures of the log would keep the frames of an error."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


async def fetched(browser: Browser, path: str) -> HTTPResponse | None:
    try:
        return await browser.get(path)
    except HTTPStreamClosedError:
        return None


@pytest.mark.parametrize("path", ["/plain", "/flushes", "/complains", "/detaches?flush=1&change=1", "/helpless"])
@pytest.mark.parametrize("refuses", [False, True])
@pytest.mark.usefixtures("no_log")
@pytest.mark.gen_test
async def test_no_handler_lives_longer_than_its_request(
    refuses: bool, path: str, browser: Browser, store: RefusingStore
) -> None:
    await browser.get("/in")
    store.error = unavailable() if refuses else None
    await fetched(browser, path)
    store.error = None
    assert len(Tracked.seen) == 1
    assert await is_collected()


@pytest.mark.gen_test
async def test_a_handler_whose_client_went_away_while_its_answer_waited_is_collected(
    browser: Browser, store: RefusingStore, sessions: Sessions, base_url: str
) -> None:
    await browser.get("/in")
    store.gate = asyncio.Event()
    async with connected(int(base_url.rpartition(":")[2])) as connection:
        connection.send("GET", "/plain", {"Cookie": f"sid={browser.cookie}"})
        await until(lambda: Tracked.seen, "the handler")
    store.gate.set()
    store.gate = None
    assert await is_collected()
    assert (await sessions.count()).total == 1
