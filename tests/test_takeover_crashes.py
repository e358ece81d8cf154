"""A process that is killed in the middle of a move loses nobody's session, and revives none that Express has ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from support.amount import only_long
from support.browser import Browser
from support.express_app import SECRET as EXPRESS_SECRET
from support.express_app import ExpressApp
from support.passwords import SECRET
from support.programs import PROGRAMS
from support.tried import Tried
from tornado.httpclient import AsyncHTTPClient
from tornado.simple_httpclient import HTTPStreamClosedError
from tornado.web import Application, RequestHandler

from tornado_sessions import SessionMixin, Sessions
from tornado_sessions.takeover import Express


class Home(SessionMixin, RequestHandler):
    def get(self) -> None:
        self.write({"user": self.session.user})


class Switch:
    """An application of Express, and the place of its sessions.

    Args:
        kind: of its store.
        url: of its store.
        store: the URL of ours.
    """

    def __init__(self, kind: str, url: str, store: str) -> None:
        self.store, self._place = store, uuid4().hex
        self._url = url if kind == "redis" else f"{url}/{self._place}"
        named = {"prefix": self._place} if kind == "redis" else {"collectionName": self._place}
        self.express = ExpressApp({"redis": "connect-redis-9", "mongo": "connect-mongo-6"}[kind], self._url, named)
        self.arguments: dict[str, Any] = {
            "url": self._url,
            "secret": EXPRESS_SECRET,
            "user_key": "user.name",
            "prefix": self._place,
            "collection": self._place,
        }

    async def signed_in(self, client: AsyncHTTPClient, name: str) -> Browser:
        """Return a browser that has signed in at Express."""
        browser = Browser(client, self.express.base)
        assert (await browser.get(f"/login?user={name}")).code == 200
        return browser

    async def die(self, browser: Browser, point: str) -> None:
        """Let a server begin to move the session of a browser, until it dies."""
        given = {"store": self.store, "secret": SECRET, "express": self.arguments, "dies": point}
        server = subprocess.Popen(
            [sys.executable, str(PROGRAMS / "takeover_server.py"), json.dumps(given)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(PROGRAMS.parents[2])},
            text=True,
        )
        assert server.stdout is not None
        victim = browser.copy()
        victim.base = f"http://127.0.0.1:{int(server.stdout.readline())}"
        server.stdout.close()
        with pytest.raises(HTTPStreamClosedError):
            await victim.get("/home")
        assert server.wait(timeout=10) < 0


@pytest.fixture
def switch(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Switch]:
    switch = Switch(kind, request.getfixturevalue(kind).url, f"sqlite:///{tmp_path}/sessions.db")
    yield switch
    switch.express.stop()


@pytest.fixture
def app(switch: Switch, io_loop: Any) -> Iterator[Application]:
    """Another server of the same application."""
    sessions = Sessions(switch.store, secret=SECRET, takeover=Express(**switch.arguments))
    yield Application([("/home", Home)], sessions=sessions)
    io_loop.run_sync(sessions.close)


async def user_at(browser: Browser, base: str) -> str | None:
    browser.base = base
    answer = await browser.get("/home")
    assert answer.code == 200, answer.body
    user: str | None = json.loads(answer.body)["user"]
    return user


@pytest.mark.parametrize("kind", ["redis", "mongo"])
@pytest.mark.gen_test(timeout=60)
async def test_a_process_that_dies_while_it_moves_a_session_loses_nobody(
    switch: Switch, base_url: str, http_client: AsyncHTTPClient, tried: Tried
) -> None:
    lost, points = 0, ("before end", "after end", "before forget")
    for point in points:
        browser = await switch.signed_in(http_client, point.replace(" ", "-"))
        old = browser.copy()
        await switch.die(browser, point)
        # At once: nobody has to wait until the other process counts as dead.
        lost += await user_at(browser, base_url) != point.replace(" ", "-")
        assert browser.cookies.keys() == {"sid"}
        assert await user_at(browser, base_url) is not None
        assert "登录 注册" in (await old.get("/home")).body.decode(), "its session has moved"
    tried("processes killed while they moved a session of Express", times=len(points), lost=lost)
    assert lost == 0


@pytest.mark.parametrize("kind", ["redis", pytest.param("mongo", marks=only_long)])
@pytest.mark.gen_test(timeout=60)
async def test_a_session_that_express_ends_after_the_crash_is_not_revived(
    switch: Switch, base_url: str, http_client: AsyncHTTPClient
) -> None:
    browser = await switch.signed_in(http_client, "ada")
    await switch.die(browser, "before end")
    assert "ada" in (await browser.get("/home")).body.decode(), "until it has moved, Express knows it"
    assert "成功退出" in (await browser.copy().get("/logout")).body.decode()
    assert await user_at(browser.copy(), base_url) is None
    assert await user_at(browser, base_url) is None
