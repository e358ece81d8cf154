"""An application of somebody else with dashboards in it, and the browsers of its users."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from support.browser import Browser
from support.clock import Clock
from support.passwords import SECRET
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from tornado_sessions import SessionConfig, SessionMixin, Sessions
from tornado_sessions.server import Dashboard, Person

ROLES: dict[str, Any] = {"1": None, "2": "viewer", "3": "operator", "4": "admin"}


class People:
    """The users of the application; the least that the dashboard needs."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.seconds = 0.0

    async def current(self, handler: Any) -> Person | None:
        await asyncio.sleep(self.seconds)
        if self.fault is not None:
            raise self.fault
        return await self.get(handler.session.user)

    async def get(self, user_id: str) -> Person | None:
        return Person(user_id, f"Name {user_id}", ROLES[user_id]) if user_id in ROLES else None


class FullPeople(People):
    """With everything that is optional."""

    def __init__(self) -> None:
        super().__init__()
        self.blocked: dict[str, float | None] = {}

    async def verify(self, handler: Any, password: str) -> bool:
        return password == f"password of {handler.session.user}"

    async def search(self, text: str, limit: int) -> list[Person]:
        found = [await self.get(user) for user in ROLES if f"Name {user}".startswith(text)]
        return [person for person in found if person is not None][:limit]

    async def block(self, user_id: str, until: float | None) -> None:
        self.blocked[user_id] = until


class Login(SessionMixin, RequestHandler):
    async def get(self) -> None:
        await self.log_in(self.get_argument("user"))


class Visit(SessionMixin, RequestHandler):
    """A page of the application; with `?rotate`, it gives the session a new token."""

    async def get(self) -> None:
        if self.get_argument("rotate", None) is not None:
            await self.rotate_session()
        self.write(self.session.user or "nobody")


@asynccontextmanager
async def mounted(
    *dashboards: tuple[Sessions, Dashboard], opens: bool = True, **settings: Any
) -> AsyncIterator[Browser]:
    """An application with dashboards; its own handlers use the sessions of the first. It may forget to open them."""
    routes = [route for _, dashboard in dashboards for route in dashboard.routes()]
    app = Application([("/login", Login), ("/visit", Visit), *routes], sessions=dashboards[0][0], **settings)
    server, [listening] = HTTPServer(app), bind_sockets(0, "127.0.0.1")
    server.add_socket(listening)
    for _, dashboard in dashboards if opens else ():
        await dashboard.open()
    client = AsyncHTTPClient(force_instance=True)
    try:
        yield Browser(client, f"http://127.0.0.1:{listening.getsockname()[1]}")
    finally:
        server.stop()
        client.close()
        for _, dashboard in dashboards:
            await dashboard.close()
        for sessions, _ in dashboards:
            await sessions.close()


def made(
    people: People,
    prefix: str = "/ops",
    clock: Clock | None = None,
    url: str = "memory://",
    store_timeout: float = 5,
    **given: Any,
) -> tuple[Sessions, Dashboard]:
    config = SessionConfig(store_timeout=store_timeout, trusted_proxies=["127.0.0.1"])
    sessions = Sessions(url, secret=SECRET, config=config, clock=clock or Clock(now=None))
    return sessions, Dashboard(sessions, people=people, prefix=prefix, **given)


async def signed_in(browser: Browser, user: str) -> Browser:
    person = Browser(browser.client, browser.base)
    assert (await person.get(f"/login?user={user}")).code == 200
    return person


async def rows(person: Browser, *, own: bool = False) -> list[dict[str, Any]]:
    items = json.loads((await person.get("/ops/api/sessions")).body)["items"]
    return [item for item in items if item["current"] or not own]


async def delete(person: Browser, path: str) -> Any:
    return await person.send("DELETE", path, X_XSRFToken=await person.token("/ops/"))
