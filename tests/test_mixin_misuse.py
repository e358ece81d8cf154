"""Handlers that sign in nobody, or change a session after its response, get an error; nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from support.browser import Browser
from tornado.web import Application, RequestHandler

from tornado_sessions import SessionMixin, Sessions, UsageError

SIGN_INS: dict[str, Callable[[Any], Any]] = {
    "int": lambda handler: handler.log_in(42),
    "uuid": lambda handler: handler.log_in(UUID(int=1)),
    "none": lambda handler: handler.log_in(None),
    "empty": lambda handler: handler.log_in(""),
    "bytes": lambda handler: handler.log_in(b"ada"),
    "surrogate": lambda handler: handler.log_in("\ud800"),
    "long": lambda handler: handler.log_in("x" * 10_000),
    "nan": lambda handler: handler.log_in("bob", lifetime=float("nan")),
    "negative": lambda handler: handler.log_in("bob", lifetime=-1),
    "text": lambda handler: handler.log_in("bob", lifetime="60"),
    "true": lambda handler: handler.log_in("bob", lifetime=True),
    "idle": lambda handler: handler.log_in("bob", lifetime=60, idle_timeout=float("inf")),
    "idle alone": lambda handler: handler.log_in("bob", idle_timeout=60),
    "persistent": lambda handler: handler.log_in("bob", lifetime=60, persistent="yes"),
}


class LogIn(SessionMixin, RequestHandler):
    async def get(self) -> None:
        await self.log_in("ada", lifetime=timedelta(days=1), idle_timeout=timedelta(hours=1))
        self.session["cart"] = [1]


class Wrong(SessionMixin, RequestHandler):
    async def get(self) -> None:
        try:
            await SIGN_INS[self.get_query_argument("how")](self)
        except UsageError:
            self.write({"user": self.current_user, "handle": self.session.handle})


class Read(SessionMixin, RequestHandler):
    def get(self) -> None:
        self.write({"user": self.current_user, "handle": self.session.handle, "data": dict(self.session)})


ENDS: dict[str, Callable[[RequestHandler], Any]] = {
    "finish": lambda handler: handler.finish("done"),
    "redirect": lambda handler: handler.redirect("/read"),
    "send_error": lambda handler: handler.send_error(404),
}

CHANGES: dict[str, Callable[[Any], Any]] = {
    "assign": lambda session: session.__setitem__("late", 1),
    "delete": lambda session: session.__delitem__("cart"),
    "clear": lambda session: session.clear(),
    "increment": lambda session: session.increment("late"),
    "nested": lambda session: session["cart"].append(2),
    "lifetime": lambda session: session.set_lifetime(60),
}


class Late(SessionMixin, RequestHandler):
    """Changes its session after the response is finished, and in ``on_finish``."""

    told: list[str]

    def initialize(self, told: list[str]) -> None:
        self.told = told

    def get(self) -> None:
        self.session["early"] = self.get_query_argument("end")
        ENDS[self.get_query_argument("end")](self)
        self.change("after")

    def on_finish(self) -> None:
        self.change("on_finish")

    def change(self, when: str) -> None:
        try:
            CHANGES[self.get_query_argument("change")](self.session)
        except UsageError:
            self.told.append(f"{when}: refused")
        else:
            self.told.append(f"{when}: accepted")
        assert self.session["early"] == self.get_query_argument("end")


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def app(sessions: Sessions, told: list[str]) -> Application:
    routes: list[Any] = [("/login", LogIn), ("/wrong", Wrong), ("/read", Read), ("/late", Late, {"told": told})]
    return Application(routes, sessions=sessions)


@pytest.mark.parametrize("how", SIGN_INS)
@pytest.mark.gen_test
async def test_nobody_is_signed_in_by_a_wrong_argument(browser: Browser, sessions: Sessions, how: str) -> None:
    for user in (None, "ada"):
        if user is not None:
            await browser.get("/login")
        before = (await browser.get("/read")).body
        response = await browser.get(f"/wrong?how={how.replace(' ', '+')}")
        assert (response.code, response.headers.get("Set-Cookie")) == (200, None)
        assert (await browser.get("/read")).body == before
    assert (await sessions.count()).total == 1


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.gen_test
async def test_a_change_after_the_response_is_refused_and_not_lost(
    browser: Browser, told: list[str], end: str, change: str
) -> None:
    for is_stored in (True, False):
        if is_stored:
            await browser.get("/login")
        else:
            browser.cookie = None
            if change in ("delete", "nested"):
                continue
        told.clear()
        await browser.get(f"/late?end={end}&change={change}")
        assert sorted(told) == ["after: refused", "on_finish: refused"]
        data = (await browser.get("/read")).body.decode()
        assert f'"early": "{end}"' in data
        assert "late" not in data
        assert ('"cart": [1]' in data) is is_stored


class LateInside(SessionMixin, RequestHandler):
    """Changes a list that it read before, once the response is finished."""

    def get(self) -> None:
        cart = self.session["cart"]
        if self.get_query_argument("writes"):
            self.session["n"] = 1
        if self.get_query_argument("late"):
            self.finish("done")
        cart.append(2)


@pytest.mark.parametrize("writes", ["", "1"])
@pytest.mark.parametrize("late", ["", "1"])
@pytest.mark.gen_test
async def test_a_late_change_inside_a_list_is_logged_as_an_error(
    browser: Browser, app: Application, caplog: pytest.LogCaptureFixture, late: str, writes: str
) -> None:
    app.add_handlers(".*", [("/inside", LateInside)])
    await browser.get("/login")
    await browser.get(f"/inside?late={late}&writes={writes}")
    data = (await browser.get("/read")).body.decode()
    assert ("[1, 2]" in data) is not bool(late)
    lost = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(lost) == len(late)
    assert all("GET /inside" in line and line.endswith("and lost: cart") for line in lost)
