"""An application as its author types it: accepted by strict type checkers without a cast or an ignored error.

It is checked, and never run; what ``assert_type`` says is what the author sees.
"""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import aclosing
from datetime import timedelta
from typing import assert_type

import tornado.web
import tornado.websocket

from tornado_sessions import (
    Cause,
    Count,
    Damaged,
    Event,
    EventKind,
    JSONValue,
    Page,
    Record,
    Session,
    SessionConfig,
    SessionError,
    SessionGone,
    SessionMixin,
    Sessions,
    SessionSummary,
    Sort,
    State,
    Store,
    StoreUnavailable,
    Tombstone,
    TooManySessions,
    Where,
    open_store,
)


class Base(SessionMixin, tornado.web.RequestHandler):
    async def prepare(self) -> None:
        await super().prepare()

    def get_current_user(self) -> str | None:
        return self.session.user


class Home(SessionMixin, tornado.web.RequestHandler):
    def get(self) -> None:
        session = assert_type(self.session, Session)
        assert_type(session.increment("visits"), int)
        assert_type(session.increment("visits", 10**30), int)
        assert_type(session.increment("balance", -0.5), float)
        assert_type(session.handle, str | None)
        assert_type(session.ended, Tombstone | None)
        session["visits"] = session.get("visits", 0) + 1
        session["cart"] = [{"item": 5, "count": 2}]
        names: list[str] = ["ada"]
        prices: dict[str, float] = {"tea": 2.5}
        session["names"], session["prices"] = names, prices
        session["cart"].append({"item": 6})
        session["cart"][0]["count"] += 1
        session.update({"a": None, "b": True}, c="text")
        session.setdefault("seen", []).append(self.client_ip)
        session.set_lifetime(timedelta(days=30), idle_timeout=3600)
        total: float = session["prices"]["tea"] * 2
        del session["visits"]
        self.write(f"{total} {len(session)} {', '.join(session)}")


class LogIn(Base):
    async def post(self) -> None:
        try:
            await self.log_in("ada", lifetime=30 * 86400, idle_timeout=timedelta(hours=1))
        except TooManySessions as refused:
            assert_type(refused.limit, int)
        value: int = await self.session.transform("n", lambda number: (number or 0) + 1)
        await self.rotate_session(at_once=True)
        await self.save_session()
        try:
            await self.reload_session()
        except SessionGone as gone:
            assert_type(gone.handle, str)
        self.write(str(value))
        await self.log_out()
        await self.destroy_session()


class Socket(SessionMixin, tornado.websocket.WebSocketHandler):
    async def prepare(self) -> None:
        await super().prepare()

    def on_message(self, message: str | bytes) -> Awaitable[None] | None:
        self.session["last"] = message if isinstance(message, str) else message.decode()
        return None

    def close_for_session(self) -> None:
        super().close_for_session()


async def operate(sessions: Sessions) -> None:
    page = assert_type(await sessions.find(user="ada", state="ended", sort=Sort.USER, limit=10), Page)
    assert_type(page.items, list[SessionSummary])
    assert_type(await sessions.count(Where(network="192.0.2.0/24"), state=State.LIVE), Count)
    found = assert_type(await sessions.inspect("h1"), Record | Tombstone | Damaged | None)
    if isinstance(found, Damaged):
        assert_type(found.why, str)
    values = await sessions.values_of("h1") or {}
    shown: dict[str, JSONValue] = values
    assert_type(len(shown), int)
    assert_type(await sessions.destroy("h1", by="root", reason="lost laptop", cause=Cause.OPERATOR), bool)
    assert_type(await sessions.destroy_many(item.handle for item in page.items), list[str])
    assert_type(await sessions.destroy_user("ada", except_handle=page.items[0].handle), list[str])
    assert_type(await sessions.destroy_where(users=["ada", "bob"], cause="password"), int)
    assert_type(await sessions.end_all(reason="breach"), float)
    async with aclosing(sessions.events()) as events:
        async for event in events:
            assert_type(event, Event)
            if event.kind is EventKind.DESTROYED:
                break


def make() -> tornado.web.Application:
    config = SessionConfig(
        idle_timeout=timedelta(hours=1), same_site="Strict", secure=True, trusted_proxies=["10.0.0.0/8"]
    )
    store: Store = open_store("memory://")
    sessions = Sessions(store=store, secret=["new", "old"], config=config)
    return tornado.web.Application([("/", Home), ("/login", LogIn), ("/socket", Socket)], sessions=sessions)


def status_of(error: SessionError) -> int:
    return 503 if isinstance(error, StoreUnavailable) else error.status
