"""``finish()`` means finished: a handler behaves as it does without sessions, whatever there is to store.

The same code runs twice, on a plain ``RequestHandler`` and below ``SessionMixin``; status, headers, body, calls and log lines are
compared, for each two of: way to answer, place to do it, state of the session; in a long run for all three.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NamedTuple

import pytest
from support.amount import in_turn
from support.clock import Clock
from support.passwords import SECRET
from support.raw_connection import connected
from support.refusing_store import READ_ONLY, RefusingStore
from support.waiting import one_turn, until
from tornado import gen
from tornado.web import Application, Finish, HTTPError, RequestHandler, stream_request_body
from tornado.websocket import WebSocketHandler

from tornado_sessions import Cause, SessionConfig, SessionMixin, Sessions
from tornado_sessions.errors import UsageError
from tornado_sessions.record import Ending
from tornado_sessions.stores.memory import MemoryStore

WAYS = ("redirect", "render", "finish", "send_error", "raise HTTPError", "raise Finish", "write")
BODY = b"first=1&second=" + b"2" * 3000


class Program(RequestHandler):
    """What all handlers of the matrix do; ``calls`` is what has run."""

    calls: ClassVar[list[str]] = []
    templates: ClassVar[str] = ""
    use_session: Callable[[Any], None] = staticmethod(lambda _handler: None)

    def use(self) -> None:
        """Do with the session what the state of this case asks for; a plain handler has none."""
        if isinstance(self, SessionMixin):
            type(self).use_session(self)

    def answer(self) -> Any:
        way = self.get_query_argument("way")
        self.calls.append(f"answer by {way}")
        if way == "redirect":
            return self.redirect("/elsewhere")
        if way == "render":
            return self.render("page.html")
        if way == "finish":
            self.set_status(202)
            return self.finish({"answer": 1})
        if way == "send_error":
            return self.send_error(403)
        if way == "raise HTTPError":
            raise HTTPError(409, "a conflict")
        if way == "raise Finish":
            self.write("up to here")
            raise Finish(b"!")
        self.write("written")
        return None

    def go_on(self) -> None:
        """What code behind an answer does, in the belief that it has left: none of this may show."""
        self.calls.append("went on")
        if self.get_query_argument("way") != "write":
            self.set_header("X-Late", "1")
            self.set_cookie("late", "1")
            self.set_status(299)
            self.clear_header("Content-Type")

    def on_finish(self) -> None:
        self.calls.append("on_finish")

    def get_template_path(self) -> str:
        return self.templates

    def secret(self) -> None:
        """What must not run behind an answer."""
        self.calls.append("method")
        self.write("SECRET")


def in_method(*bases: type) -> type:
    class Handler(*bases):  # type: ignore[misc]
        def post(self) -> None:
            self.use()
            self.answer()
            self.go_on()

    return Handler


def in_async_method(*bases: type) -> type:
    class Handler(*bases):  # type: ignore[misc]
        async def post(self) -> None:
            self.use()
            await one_turn()
            self.answer()
            self.go_on()
            await one_turn()
            self.calls.append("and on")

    return Handler


def awaited_in_method(*bases: type) -> type:
    class Handler(*bases):  # type: ignore[misc]
        async def post(self) -> None:
            self.use()
            future = self.answer()
            if future is not None:
                await future
            self.calls.append("awaited")

    return Handler


def in_coroutine(*bases: type) -> type:
    class Handler(*bases):  # type: ignore[misc]
        @gen.coroutine
        def post(self) -> Any:
            self.use()
            yield gen.moment
            self.answer()
            self.go_on()

    return Handler


def in_helper(*bases: type) -> type:
    class Handler(*bases):  # type: ignore[misc]
        def guard(self) -> None:
            self.use()
            self.answer()

        async def post(self) -> None:
            self.guard()
            if self._finished:
                return
            self.secret()

    return Handler


def in_helper_that_is_ignored(*bases: type) -> type:
    class Handler(*bases):  # type: ignore[misc]
        def post(self) -> None:
            self.use()
            self.answer()
            # Tornado refuses this write behind an answer, and logs it.
            self.write("too late")

    return Handler


def in_prepare(*bases: type) -> type:
    class Handler(*bases):  # type: ignore[misc]
        async def prepare(self) -> None:
            before = super().prepare()
            if before is not None:
                await before
            self.use()
            self.answer()
            self.go_on()

        def post(self) -> None:
            self.secret()

    return Handler


def in_coroutine_prepare(*bases: type) -> type:
    class Handler(*bases):  # type: ignore[misc]
        @gen.coroutine
        def prepare(self) -> Any:
            before = super().prepare()
            if before is not None:
                yield before
            self.use()
            self.answer()

        def post(self) -> None:
            self.secret()

    return Handler


def answers_twice(*bases: type) -> type:
    class Handler(*bases):  # type: ignore[misc]
        def post(self) -> None:
            self.use()
            self.answer()
            self.send_error(500)
            self.redirect("/twice")

    return Handler


def fails_behind_the_answer(*bases: type) -> type:
    class Handler(*bases):  # type: ignore[misc]
        def post(self) -> None:
            self.use()
            self.answer()
            if self.get_query_argument("way") != "write":
                raise LookupError("behind the answer")

    return Handler


def in_write_error(*bases: type) -> type:
    class Handler(*bases):  # type: ignore[misc]
        def post(self) -> None:
            self.use()
            raise HTTPError(418)

        def write_error(self, status_code: int, **kwargs: Any) -> None:
            self.calls.append(f"write_error {status_code}")
            if status_code == 418 and not self.get_query_argument("way").startswith(("raise", "send")):
                self.answer()
            else:
                self.write(f"error {status_code}")

    return Handler


def fails_in_on_finish(*bases: type) -> type:
    class Handler(*bases):  # type: ignore[misc]
        def post(self) -> None:
            self.use()
            self.answer()

        def on_finish(self) -> None:
            super().on_finish()
            raise LookupError("in on_finish")

    return Handler


class Wrapping(Program):
    """A base class that changes what is sent."""

    def finish(self, chunk: Any = None) -> Any:
        self.calls.append("finish of the base")
        self.write("[base]")
        return super().finish(chunk)

    def flush(self, include_footers: bool = False) -> Any:
        self.calls.append("flush of the base")
        return super().flush(include_footers)


class GuardingBase(Program):
    """A base class whose ``prepare`` answers."""

    def prepare(self) -> None:
        self.answer()

    def post(self) -> None:
        self.secret()


class AsyncGuardingBase(Program):
    async def prepare(self) -> None:
        await one_turn()
        self.answer()

    def post(self) -> None:
        self.secret()


def above_finish(*bases: type) -> type:
    class Handler(*bases):  # type: ignore[misc]
        def post(self) -> None:
            self.use()
            self.answer()

        def finish(self, chunk: Any = None) -> Any:
            self.calls.append("finish of the subclass")
            return super().finish(b"[sub]" if chunk is None and self.get_status() not in (302, 304) else chunk)

    return Handler


def streamed(*bases: type) -> dict[str, type]:
    """Handlers that get the body as it comes."""

    @stream_request_body
    class InPrepare(*bases):  # type: ignore[misc]
        async def prepare(self) -> None:
            before = super().prepare()
            if before is not None:
                await before
            self.use()
            self.answer()

        def data_received(self, chunk: bytes) -> None:
            self.calls.append("data_received")

        def post(self) -> None:
            self.calls.append("method")
            if self.get_query_argument("way") != "write":
                self.write("SECRET")

    @stream_request_body
    class InMethod(*bases):  # type: ignore[misc]
        size = 0

        def data_received(self, chunk: bytes) -> None:
            self.size += len(chunk)

        def post(self) -> None:
            self.calls.append(f"got {self.size}")
            self.use()
            self.answer()
            self.go_on()

    return {"streamed, in prepare": InPrepare, "streamed, in method": InMethod}


def handlers(*session: type) -> dict[str, type]:
    """Every place, with or without ``SessionMixin``."""
    bases = (*session, Program)
    makers = [
        in_method, in_async_method, awaited_in_method, in_coroutine, in_helper, in_helper_that_is_ignored, in_prepare,
        in_coroutine_prepare, answers_twice, fails_behind_the_answer, in_write_error, fails_in_on_finish, above_finish,
    ]  # fmt: skip
    made = {make.__name__.replace("_", " "): make(*bases) for make in makers}
    made["in a base class below"] = in_method(*session, Wrapping)
    made["in prepare of a base class below"] = type("Guarded", (*session, GuardingBase), {})
    made["in async prepare of a base class below"] = type("Guarded", (*session, AsyncGuardingBase), {})
    return {**made, **streamed(*bases)}


PLAIN, OURS = handlers(), handlers(SessionMixin)


class State(NamedTuple):
    """How a session is when a request comes, and what the request does with it."""

    use: Callable[[Any], None] = lambda _handler: None
    seconds: float = 0.0
    is_visitor: bool = False
    refuses: bool = False


def change(handler: Any) -> None:
    handler.session["n"] = handler.session.get("n", 0) + 1


def change_and_end(handler: Any) -> None:
    change(handler)
    ending = Ending(at=handler.sessions.clock(), cause=Cause.OPERATOR, keep_until=handler.sessions.clock() + 60)
    assert handler.sessions.store.store.data.end(handler.session.handle, ending)


STATES = {
    "nothing pending": State(),
    "read": State(lambda handler: handler.session.get("n")),
    "touch due": State(seconds=70),
    "key changed": State(change),
    "rotation due": State(seconds=200),
    "new session": State(change, is_visitor=True),
    "ended meanwhile": State(change_and_end),
    "touch due, writes refused": State(seconds=70, refuses=True),
    "rotation due, writes refused": State(seconds=200, refuses=True),
}


class Reply(NamedTuple):
    """What a client and an operator see of one request."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes
    calls: list[str]
    log: list[str]


class Server:
    """An application with every handler twice, its log and a raw client."""

    def __init__(self, port: int, sessions: Sessions, clock: Clock, store: RefusingStore) -> None:
        self.port, self.sessions, self.clock, self.store = port, sessions, clock, store
        self.cookie = ""
        self.lines: list[str] = []

    async def ask(self, path: str, method: str = "POST", **headers: str) -> Reply:
        body = BODY
        Program.calls.clear()
        self.lines.clear()
        given = {"Connection": "close", **{k.replace("_", "-"): v for k, v in headers.items()}}
        if method == "POST":
            given["Content-Length"] = str(len(body))
            given["Content-Type"] = "application/x-www-form-urlencoded"
        async with connected(self.port) as connection:
            connection.send(method, path, given, body if method == "POST" else b"")
            raw = await connection.response(method)
        # on_finish and the log follow the last byte; nothing waits longer than the turns that are queued by now.
        await one_turn(20)
        status, _, rest = raw.partition(b"\r\n")
        lines, _, content = rest.partition(b"\r\n\r\n")
        found = [tuple(line.split(": ", 1)) for line in lines.decode().split("\r\n") if line]
        return Reply(status.decode(), found, content, list(Program.calls), list(self.lines))  # type: ignore[arg-type]


OF_OURS = {"cache-control", "vary", "date"}


def comparable(reply: Reply, kind: str) -> Reply:
    """Without what differs rightly: our cookie and caching headers, the path's first part, milliseconds.

    ``on_finish`` and the line of the access log come when the response has left; with something to store that is after the rest of
    the method has run, so for these two it is compared that they come, and how often.
    """
    headers = [
        (name, value)
        for name, value in reply.headers
        if name.lower() not in OF_OURS and not (name == "Set-Cookie" and value.startswith("sid="))
    ]
    # A gzip file begins with the time at which it was made.
    body = gzip.decompress(reply.body) if reply.body.startswith(b"\x1f\x8b") else reply.body
    calls = sorted(reply.calls, key=lambda call: call == "on_finish")
    lines = [re.sub(r" [\d.]+ms", "", line.replace(f"/{kind}/", "/")) for line in reply.log]
    # An error of on_finish is logged by whoever called it.
    lines = [
        re.sub(r"(Uncaught exception|Exception in) .*LookupError", "LookupError", line, flags=re.DOTALL)
        for line in lines
    ]
    log = sorted((line for line in lines if "tornado_sessions" not in line), key=lambda line: "access" in line)
    return Reply(reply.status, sorted(headers), body, calls, log)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> RefusingStore:
    return RefusingStore(MemoryStore())


@pytest.fixture
def sessions(store: RefusingStore, clock: Clock, io_loop: Any) -> Iterator[Sessions]:
    made = Sessions(store, config=SessionConfig(secret=SECRET, rotate_after=150), clock=clock)
    yield made
    io_loop.run_sync(made.close)


class SignIn(SessionMixin, RequestHandler):
    async def get(self) -> None:
        await self.log_in("ada")


class Stream(Program):
    """Flushes before it finishes, awaited or not."""

    async def get(self) -> None:
        self.use()
        self.write("one ")
        flushed = self.flush()
        if self.get_query_argument("awaits", ""):
            await flushed
        self.write("two ")
        self.flush()
        self.set_header("X-Late", "1")
        await self.finish("three")
        self.calls.append("finished")


class Cached(Program):
    """A page with an ETag."""

    def get(self) -> None:
        self.use()
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.write("the same at all times " * 100)

    def head(self) -> None:
        self.get()


@stream_request_body
class Upload(SessionMixin, Program):
    """Answers before the body has come."""

    async def prepare(self) -> None:
        await super().prepare()
        change(self)
        self.set_status(403)
        self.finish("no")

    def data_received(self, chunk: bytes) -> None:
        self.calls.append("data_received")

    def post(self) -> None:
        self.secret()


class Late(SessionMixin, Program):
    """Changes the session behind its answer, or in ``on_finish``."""

    async def get(self) -> None:
        self.session["cart"] = ["before"]
        self.finish("answered")
        self.refused("finish")

    def on_finish(self) -> None:
        self.refused("on_finish")

    def refused(self, where: str) -> None:
        def change_inside() -> None:
            cart = self.session["cart"]
            assert isinstance(cart, list)
            cart.append("late")

        tries: list[Callable[[], Any]] = [
            lambda: self.session.__setitem__("late", 1),
            lambda: self.session.__delitem__("cart"),
            self.session.clear,
            lambda: self.session.pop("cart"),
            lambda: self.session.update(late=1),
            lambda: self.session.increment("late"),
            change_inside,
        ]
        for attempt in tries:
            with pytest.raises(UsageError, match="the response is finished"):
                attempt()
        self.calls.append(f"refused in {where}")


class Broken(SessionMixin, Program):
    """Streams, and changes its session in the middle."""

    async def get(self) -> None:
        if self.get_query_argument("first", ""):
            self.write("first ")
            await self.flush()
        self.session["n"] = 1
        self.write("second ")
        flushed = self.flush()
        if self.get_query_argument("awaits", ""):
            await flushed
        await one_turn()
        self.write("third")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        self.calls.append(f"write_error {status_code}")
        self.finish(f"error {status_code}")


class Unstorable(SessionMixin, Program):
    """Puts something into a list that is no JSON: only the commit can see it."""

    def get(self) -> None:
        cart: Any = self.session.setdefault("cart", [])
        cart.append({1, 2} if self.get_query_argument("kind") == "set" else "x" * 70_000)
        if self.get_query_argument("status", ""):
            raise HTTPError(409)
        self.write("done")


class Socket(WebSocketHandler):
    def check_origin(self, origin: str) -> bool:
        return origin == "http://localhost"


@pytest.fixture
def app(sessions: Sessions, tmp_path: Any) -> Application:
    Program.templates = str(tmp_path)
    (tmp_path / "page.html").write_text("<p>rendered</p>")
    routes: list[Any] = [
        ("/in", SignIn),
        ("/upload", Upload),
        ("/late", Late),
        ("/broken", Broken),
        ("/unstorable", Unstorable),
    ]
    for kind, made in (("plain", PLAIN), ("ours", OURS)):
        routes += [(f"/{kind}/{place.replace(' ', '-').replace(',', '')}", handler) for place, handler in made.items()]
    for kind, above in (("plain", ()), ("ours", (SessionMixin,))):
        for name, handler in (("stream", Stream), ("cached", Cached), ("socket", Socket)):
            routes.append((f"/{kind}/{name}", type(name, (*above, handler), {})))
    return Application(routes, sessions=sessions, compress_response=True)


class Lines(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        text = re.sub(r"HTTPServerRequest\(.*", "", record.getMessage(), flags=re.DOTALL)
        self.lines.append(f"{record.name} {record.levelname} {text} {error}".strip())


@pytest.fixture
def server(
    http_server: Any, base_url: str, sessions: Sessions, clock: Clock, store: RefusingStore, io_loop: Any
) -> Iterator[Server]:
    made = Server(int(base_url.rpartition(":")[2]), sessions, clock, store)
    handler = Lines(made.lines)
    logger = logging.getLogger()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield made
    logger.removeHandler(handler)
    logger.setLevel(before)


async def signed_in(server: Server) -> str:
    reply = await server.ask("/in", "GET")
    return next(value.partition(";")[0] for name, value in reply.headers if name == "Set-Cookie")


async def both(server: Server, path: str, state: State, method: str = "POST", **headers: str) -> tuple[Reply, Reply]:
    """The replies of the plain handler and of ours, in a state of the session."""
    plain = await server.ask(f"/plain/{path}", method, **headers)
    if not state.is_visitor:
        headers["Cookie"] = await signed_in(server)
    server.clock.now += state.seconds
    server.store.error = READ_ONLY if state.refuses else None
    Program.use_session = staticmethod(state.use)
    ours = await server.ask(f"/ours/{path}", method, **headers)
    server.store.error = None
    return comparable(plain, "plain"), comparable(ours, "ours")


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("place", PLAIN)
@pytest.mark.gen_test
async def test_a_handler_behaves_as_it_does_without_sessions(place: str, state: str, server: Server) -> None:
    for way in in_turn(WAYS, [*PLAIN].index(place) + [*STATES].index(state), 2):
        path = f"{place.replace(' ', '-').replace(',', '')}?way={way.replace(' ', '+')}"
        plain, ours = await both(server, path, STATES[state])
        assert ours == plain, way


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("awaits", ["", "1"])
@pytest.mark.gen_test
async def test_a_streamed_response_is_the_same(awaits: str, state: str, server: Server) -> None:
    plain, ours = await both(server, f"stream?awaits={awaits}", STATES[state], "GET")
    assert ours == plain


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("headers", [{}, {"Accept_Encoding": "gzip"}, {"If_None_Match": "*"}], ids=["", "gzip", "304"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.gen_test
async def test_head_gzip_and_304_are_the_same(method: str, headers: dict[str, str], state: str, server: Server) -> None:
    plain, ours = await both(server, "cached", STATES[state], method, **headers)
    assert ours == plain


HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec_WebSocket_Key": "x" * 22 + "==",
    "Sec_WebSocket_Version": "13",
}
REFUSED = {
    "no upgrade": {"Connection": "close"},
    "elsewhere": {**HANDSHAKE, "Origin": "http://evil.example"},
    "no connection header": {**HANDSHAKE, "Connection": "close"},
    "version": {**HANDSHAKE, "Sec_WebSocket_Version": "7"},
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("refused", REFUSED)
@pytest.mark.gen_test
async def test_a_refused_websocket_is_the_same(refused: str, state: str, server: Server) -> None:
    plain, ours = await both(server, "socket", STATES[state], "GET", **REFUSED[refused])
    assert ours == plain


@pytest.mark.parametrize("place", PLAIN)
@pytest.mark.gen_test
async def test_a_change_that_cannot_be_stored_is_503_and_nothing_else_leaves(place: str, server: Server) -> None:
    refused = State(change, refuses=True)
    for way in WAYS:
        path = f"{place.replace(' ', '-').replace(',', '')}?way={way.replace(' ', '+')}"
        plain, ours = await both(server, path, refused)
        if ("base class below" in place and "prepare" in place) or " 500 " in plain.status:
            # A base class that has nothing to store, or an error page, which stores nothing.
            assert ours == plain, way
            continue
        assert "503" in ours.status, way
        assert ("Retry-After", "5") in ours.headers, way
        assert b"SECRET" not in ours.body, way
        assert plain.body.removeprefix(b"[base]") not in ours.body or not plain.body.removeprefix(b"[base]"), way
        assert ours.calls.count("on_finish") == 1, way
        assert next(line for line in ours.log if "access" in line).startswith("tornado.access ERROR 503"), way
        ran = [call for call in ours.calls if not call.startswith(("write_error", "finish of", "flush of"))]
        assert ran == [call for call in plain.calls if not call.startswith(("write_error", "finish of", "flush of"))], (
            way
        )


@pytest.mark.gen_test
async def test_a_body_that_comes_while_the_answer_waits_is_not_handed_out(server: Server) -> None:
    cookie = await signed_in(server)
    Program.calls.clear()
    server.store.gate = asyncio.Event()
    async with connected(server.port) as connection:
        head = {"Cookie": cookie, "Expect": "100-continue", "Content-Length": str(len(BODY))}
        connection.send("POST", "/upload", head)
        await until(lambda: server.store.calls["load"], "the load of the session")
        connection.writer.write(BODY)
        await one_turn(50)
        server.store.gate.set()
        # No "100 Continue" either: the answer was known before the body was asked for.
        assert (await connection.response("POST")).startswith(b"HTTP/1.1 403 Forbidden")
    assert Program.calls == ["on_finish"]


@pytest.mark.gen_test
async def test_requests_on_one_connection_are_answered_in_order(server: Server) -> None:
    cookie = await signed_in(server)
    Program.use_session = staticmethod(change)
    server.store.gate = asyncio.Event()
    async with connected(server.port) as connection:
        for way in ("redirect", "finish", "write"):
            connection.send("POST", f"/ours/in-method?way={way}", {"Cookie": cookie, "Content-Length": "0"})
        server.store.gate.set()
        statuses = [(await connection.response("POST")).split(b" ")[1] for _ in range(3)]
    assert statuses == [b"302", b"202", b"200"]


@pytest.mark.gen_test
async def test_a_change_behind_the_answer_is_refused(server: Server) -> None:
    cookie = await signed_in(server)
    reply = await server.ask("/late", "GET", Cookie=cookie)
    assert reply.body == b"answered"
    assert sorted(reply.calls) == ["refused in finish", "refused in on_finish"]
    visitor = await server.ask("/late", "GET")
    assert sorted(visitor.calls) == ["refused in finish", "refused in on_finish"]


@pytest.mark.parametrize("awaits", ["", "&awaits=1"])
@pytest.mark.gen_test
async def test_a_flush_that_cannot_be_stored_is_an_error_page_while_nothing_has_left(
    awaits: str, server: Server
) -> None:
    cookie = await signed_in(server)
    server.store.error = READ_ONLY
    reply = await server.ask(f"/broken?{awaits}", "GET", Cookie=cookie)
    assert (reply.status, reply.body) == ("HTTP/1.1 503 Service Unavailable", b"error 503")
    assert reply.calls == ["write_error 503", "on_finish"]


@pytest.mark.parametrize("awaits", ["", "&awaits=1"])
@pytest.mark.gen_test
async def test_a_stream_that_cannot_be_stored_is_cut(awaits: str, server: Server) -> None:
    cookie = await signed_in(server)
    server.store.error = READ_ONLY
    async with connected(server.port) as connection:
        connection.send("GET", f"/broken?first=1{awaits}", {"Cookie": cookie})
        raw = await connection.rest()
    assert b"first" in raw
    assert b"second" not in raw
    assert not raw.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(("kind", "status"), [("set", "500"), ("large", "413")])
@pytest.mark.parametrize("raised", ["", "409"])
@pytest.mark.gen_test
async def test_what_cannot_be_encoded_is_an_error_page_and_stores_nothing(
    raised: str, kind: str, status: str, server: Server
) -> None:
    cookie = await signed_in(server)
    reply = await server.ask(f"/unstorable?kind={kind}&status={raised}", "GET", Cookie=cookie)
    assert status in reply.status
    assert "Retry-After" not in dict(reply.headers)
    found = await server.sessions.find()
    assert await server.sessions.values_of(found.items[0].handle) == {}


def test_no_name_of_a_handler_can_replace_one_of_ours() -> None:
    """All that is private in the mixin is mangled, but for hooks of Tornado that it overrides on purpose."""
    private = {name for name in vars(SessionMixin) if name.startswith("_") and not name.startswith("__")}
    ours = {name for name in private if not name.startswith("_SessionMixin__")}
    assert ours == {"_handle_request_exception"}
