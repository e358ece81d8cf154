"""Housekeeping never decides a request, whatever a store raises: a page that changes nothing is served."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from support.browser import Browser
from support.clock import Clock
from support.passwords import SECRET
from support.refusing_store import RefusingStore
from tornado.httpclient import AsyncHTTPClient
from tornado.web import Application, RequestHandler

from tornado_sessions import SessionConfig, SessionMixin, Sessions
from tornado_sessions.errors import StoreMismatch, StoreUnavailable
from tornado_sessions.record import Conflict, Outcome
from tornado_sessions.request import RequestInfo
from tornado_sessions.stores.memory import MemoryStore
from tornado_sessions.testing.faults import WrappedStore

ERRORS = {
    "unavailable": StoreUnavailable("own", "a test says so"),
    "mismatch": StoreMismatch("own", "a test says so"),
    "of a driver": ConnectionResetError("a test says so"),
    "a mistake in a store": LookupError("a test says so"),
}


class SignIn(SessionMixin, RequestHandler):
    async def get(self) -> None:
        await self.log_in("ada", lifetime=86400)


class Rotate(SessionMixin, RequestHandler):
    async def get(self) -> None:
        await self.rotate_session()


class Read(SessionMixin, RequestHandler):
    def get(self) -> None:
        self.write({"user": self.current_user})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> RefusingStore:
    return RefusingStore(MemoryStore())


@pytest.fixture
def sessions(store: RefusingStore, clock: Clock, io_loop: Any) -> Iterator[Sessions]:
    made = Sessions(store, config=SessionConfig(secret=SECRET, rotate_after=600, end_on_theft=True), clock=clock)
    yield made
    io_loop.run_sync(made.close)


@pytest.fixture
def app(sessions: Sessions) -> Application:
    return Application([("/in", SignIn), ("/rotate", Rotate), ("/read", Read)], sessions=sessions)


@pytest.fixture
def browser(http_client: AsyncHTTPClient, base_url: str) -> Browser:
    return Browser(http_client, base_url)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("seconds", [70, 700], ids=["touch due", "rotation due"])
@pytest.mark.gen_test
async def test_a_page_that_only_reads_is_served(
    seconds: float, error: str, browser: Browser, clock: Clock, store: RefusingStore
) -> None:
    await browser.get("/in")
    clock.now += seconds
    store.error = ERRORS[error]
    read = await browser.get("/read")
    assert (read.code, read.body) == (200, b'{"user": "ada"}')


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.gen_test
async def test_a_stolen_token_is_a_visitors_although_its_session_cannot_be_ended(
    error: str, browser: Browser, clock: Clock, store: RefusingStore
) -> None:
    await browser.get("/in")
    thief = browser.copy()
    await browser.get("/rotate")
    await browser.get("/read")
    clock.now += 120
    store.error = ERRORS[error]
    read = await thief.get("/read")
    assert (read.code, read.body) == (200, b'{"user": null}')
    # It is ended as soon as that is possible.
    store.error = None
    await thief.get("/read")
    assert (await browser.get("/read")).body == b'{"user": null}'


class Strange(WrappedStore):
    """A store whose answers to a save have a wrong shape, or never come."""

    answer: Any = None

    async def save(self, changes: Any) -> list[Outcome | Conflict | Exception]:
        if self.answer == "cancelled":
            raise asyncio.CancelledError
        return self.answer  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ([], StoreMismatch),
        ([Outcome.SAVED] * 3, StoreMismatch),
        (None, TypeError),
        ("cancelled", StoreUnavailable),
    ],
    ids=["too few", "too many", "none", "cancelled"],
)
@pytest.mark.gen_test
async def test_whatever_a_store_answers_nobody_waits_for_ever(answer: Any, error: type[Exception]) -> None:
    store = Strange(MemoryStore())
    store.answer = answer
    sessions = Sessions(store, secret=SECRET)
    requests = [sessions.new_request_session(RequestInfo(sessions.clock())) for _ in range(2)]
    for request in requests:
        request.session["n"] = 1
    waiting = asyncio.gather(*(sessions.commit(request) for request in requests), return_exceptions=True)
    results = await asyncio.wait_for(waiting, 2)
    assert [type(result) for result in results] == [error] * 2
    await sessions.close()
