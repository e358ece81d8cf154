"""Events of an application: what happens is reported once, in order, to whoever listens, and delays nobody."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from typing import Any

import pytest
from support.browser import Browser
from support.clock import Clock
from support.passwords import SECRET
from support.waiting import until
from tornado.web import Application, RequestHandler
from typing_extensions import override

from tornado_sessions import (
    Cause,
    Ended,
    EndedAll,
    Loaded,
    Moved,
    Rotated,
    SessionConfig,
    SessionEvent,
    SessionMixin,
    Sessions,
    SignedIn,
    SignedOut,
    StoreUnavailable,
    Theft,
    UsageError,
)
from tornado_sessions.session_events import MAX_WAITING
from tornado_sessions.stores.memory import MemoryStore
from tornado_sessions.testing.maker import create


class Act(SessionMixin, RequestHandler):
    """Does what its path says."""

    async def get(self, what: str) -> None:
        if what == "in":
            await self.log_in(self.get_argument("user", "ada"))
        elif what == "out":
            await self.log_out()
        elif what == "rotate":
            await self.rotate_session()
        self.write({"user": self.current_user, "handle": self.session.handle})


@pytest.fixture
def config() -> SessionConfig:
    return SessionConfig(secret=SECRET, keep_ended_for=60, trusted_proxies=["127.0.0.1"])


@pytest.fixture
def app(sessions: Sessions) -> Application:
    return Application([(r"/(in|out|rotate|read)", Act)], sessions=sessions)


def listen(sessions: Sessions, kind: type[SessionEvent] = SessionEvent) -> list[SessionEvent]:
    heard: list[SessionEvent] = []
    sessions.on(kind, heard.append)
    return heard


async def handle_of(browser: Browser) -> str:
    return str(json.loads((await browser.get("/read")).body)["handle"])


async def kinds(heard: list[SessionEvent], number: int) -> list[type[SessionEvent]]:
    await until(lambda: len(heard) >= number, f"{number} events")
    return [type(event) for event in heard]


@pytest.mark.gen_test
async def test_a_sign_in_a_rotation_and_a_sign_out_are_reported_in_order(sessions: Sessions, browser: Browser) -> None:
    heard = listen(sessions)
    await browser.get("/read")
    await browser.get("/in")
    handle = await handle_of(browser)
    await browser.get("/rotate")
    await browser.get("/out")
    await browser.get("/out")
    assert await kinds(heard, 4) == [SignedIn, Rotated, Ended, SignedOut]
    assert {(event.handle, event.user, event.ip) for event in heard} == {(handle, "ada", "127.0.0.1")}


@pytest.mark.gen_test
async def test_signing_in_again_is_reported_with_its_new_token(sessions: Sessions, browser: Browser) -> None:
    await browser.get("/in")
    heard = listen(sessions)
    await browser.get("/in")
    assert await kinds(heard, 2) == [Rotated, SignedIn]
    await browser.get("/in?user=bob")
    assert (await kinds(heard, 5))[2:] == [Ended, SignedOut, SignedIn]


@pytest.mark.gen_test
async def test_every_way_of_ending_is_reported_with_the_user_and_the_reason(
    sessions: Sessions, browser: Browser
) -> None:
    heard = listen(sessions, Ended)
    await browser.get("/in")
    await sessions.destroy(await handle_of(browser), by="op", reason="lost")
    await browser.get("/in")
    await sessions.destroy_user("ada", by="op", reason="lost")
    await browser.get("/in")
    await sessions.destroy_where(user="ada", by="op", reason="lost")
    await kinds(heard, 3)
    for event in heard:
        assert isinstance(event, Ended)
        assert (event.user, event.cause, event.by, event.reason) == ("ada", Cause.OPERATOR, "op", "lost")
        assert event.ip == "127.0.0.1"


@pytest.mark.gen_test
async def test_the_end_of_all_is_one_event(sessions: Sessions, browser: Browser) -> None:
    await browser.get("/in")
    heard = listen(sessions)
    await sessions.end_all(by="op", reason="breach")
    assert await kinds(heard, 1) == [EndedAll]
    assert isinstance(heard[0], EndedAll)
    assert (heard[0].handle, heard[0].by, heard[0].reason) == ("", "op", "breach")


@pytest.mark.gen_test
async def test_a_move_is_reported_with_both_addresses(sessions: Sessions, browser: Browser, clock: Clock) -> None:
    heard = listen(sessions, Moved)
    await browser.get("/in", X_Forwarded_For="192.0.2.1")
    clock.now += 120
    await browser.get("/read", X_Forwarded_For="192.0.2.2")
    await kinds(heard, 1)
    assert [(event.previous_ip, event.ip, event.user) for event in heard if isinstance(event, Moved)] == [
        ("192.0.2.1", "192.0.2.2", "ada")
    ]


@pytest.mark.gen_test
async def test_a_sign_of_theft_is_reported_once(sessions: Sessions, browser: Browser, clock: Clock) -> None:
    heard = listen(sessions, Theft)
    await browser.get("/in")
    thief = browser.copy()
    await browser.get("/rotate")
    await browser.get("/read")
    clock.now += 120
    for _ in range(3):
        await thief.get("/read")
    assert await kinds(heard, 1) == [Theft]
    assert heard[0].user == "ada"


@pytest.mark.gen_test
async def test_a_slow_and_a_failing_callback_delay_nobody(
    sessions: Sessions, browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    go_on, done = asyncio.Event(), []

    async def slow(event: SignedIn) -> None:
        await go_on.wait()
        done.append(event)

    def failing(_event: SignedIn) -> None:
        raise ValueError("no mail today")

    sessions.on(SignedIn, slow)
    sessions.on(SignedIn, failing)
    heard = listen(sessions, SignedIn)
    for _ in range(2):
        assert (await browser.get("/in")).code == 200
    await kinds(heard, 2)
    await until(lambda: caplog.text.count("ValueError: no mail today") == 2, "both failures in the log")
    assert not done
    go_on.set()
    await until(lambda: len(done) == 2, "the slow callback")


@pytest.mark.gen_test
async def test_what_waits_for_a_callback_is_bounded(sessions: Sessions, caplog: pytest.LogCaptureFixture) -> None:
    go_on, heard = asyncio.Event(), []

    async def slow(event: EndedAll) -> None:
        heard.append(event)
        await go_on.wait()

    stop = sessions.on(EndedAll, slow)
    await sessions.end_all()
    await until(lambda: heard, "the first event")
    for number in range(MAX_WAITING + 7):
        sessions._listeners.emit(EndedAll(at=float(number), cause=Cause.OPERATOR))
    with caplog.at_level(logging.ERROR):
        go_on.set()
        await until(lambda: "7 events were dropped" in caplog.text, "the number of dropped events")
    assert len(heard) == 1 + MAX_WAITING
    assert [event.at for event in heard[1:]] == [float(number) for number in range(MAX_WAITING)]
    stop()
    await sessions.end_all()
    await sessions.close()
    assert len(heard) == 1 + MAX_WAITING


@pytest.mark.gen_test
async def test_close_waits_for_callbacks_and_a_callback_may_close(sessions: Sessions) -> None:
    heard = []

    async def later(event: EndedAll) -> None:
        await asyncio.sleep(0)
        heard.append(event)

    sessions.on(EndedAll, later)
    await sessions.end_all()
    await sessions.close()
    assert len(heard) == 1

    async def close(_event: EndedAll) -> None:
        await sessions.close()
        heard.append(_event)

    sessions.on(EndedAll, close)
    await sessions.end_all()
    await until(lambda: len(heard) == 3, "both callbacks")


class Blind(MemoryStore):
    """Ends sessions, but cannot load what is left of them."""

    @override
    async def load(self, handles: Sequence[str], now: float) -> Loaded:
        raise StoreUnavailable("memory", "down")


@pytest.mark.gen_test
async def test_a_session_whose_rest_cannot_be_loaded_is_reported_without_its_user() -> None:
    sessions = Sessions(Blind(), config=SessionConfig(secret=SECRET))
    heard = listen(sessions, Ended)
    await sessions.open()
    now = sessions.clock()
    times = {"created_at": now, "last_seen_at": now, "expires_at": now + 60, "absolute_at": now + 60}
    await sessions.store.save([create("h", user="ada", **times)])
    assert await sessions.destroy("h")
    assert not await sessions.destroy("h")
    await kinds(heard, 1)
    assert [(event.handle, event.user) for event in heard] == [("h", None)]
    await sessions.close()


@pytest.mark.parametrize(
    ("kind", "callback"), [(str, print), ("SignedIn", print), (SignedIn, "print"), (SignedIn, None)]
)
def test_wrong_arguments_are_refused(kind: Any, callback: Any) -> None:
    with pytest.raises(UsageError, match="on\\(\\) takes"):
        Sessions("memory://", secret=SECRET).on(kind, callback)
