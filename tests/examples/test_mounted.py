"""The example of an application with its own users and the dashboard."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import tornado.web
from support.browser import Browser
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from examples.mounted.app import Users, make


@pytest.mark.gen_test
async def test_an_operator_of_the_application_ends_the_session_of_another_user(tmp_path: Path) -> None:
    users = Users(str(tmp_path / "users.db"))
    users.add("ada", "correct horse", "admin")
    bob_id = users.add("bob", "battery staple")
    application, dashboard = make(users, f"sqlite:///{tmp_path}/sessions.db")
    server, [listening] = HTTPServer(application), bind_sockets(0, "127.0.0.1")
    server.add_socket(listening)
    client = AsyncHTTPClient(force_instance=True)
    base = f"http://127.0.0.1:{listening.getsockname()[1]}"
    await dashboard.open()
    try:
        ada, bob = Browser(client, base), Browser(client, base)
        for person, name, password in ((ada, "ada", "correct horse"), (bob, "bob", "battery staple")):
            await person.get("/login")
            form = f"name={name}&password={password.replace(' ', '+')}&next=/&_xsrf={person.cookies['_xsrf']}"
            answer = await person.send("POST", "/login", form, Content_Type="application/x-www-form-urlencoded")
            assert (answer.code, answer.headers["Location"]) == (302, "/")
        assert (await bob.get("/ops/")).code == 403
        assert ">ada<" in (await ada.get("/ops/users?q=a")).body.decode()
        block = {"user": str(bob_id), "seconds": "no end", "reason": "left"}
        assert (await ada.post("/ops/block", block, page="/ops/")).code == 303
        assert (await bob.get("/")).code == 302
        row = users.of(str(bob_id))
        assert row is not None
        assert users.is_blocked(row)
    finally:
        server.stop()
        client.close()
        await dashboard.close()
        await application.settings["sessions"].close()
        users.database.close()


@pytest.mark.gen_test
async def test_the_guide_leads_into_the_dashboard() -> None:
    """The code of the guide, from top to bottom, is a program that works."""
    text = (Path(__file__).parents[2] / "docs/howto/mount.md").read_text(encoding="utf8")
    names: dict[str, Any] = {}
    exec("\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL)), names)
    server, [listening] = HTTPServer(names["application"]), bind_sockets(0, "127.0.0.1")
    server.add_socket(listening)
    client = AsyncHTTPClient(force_instance=True)
    await names["dashboard"].open()
    try:
        ada = Browser(client, f"http://127.0.0.1:{listening.getsockname()[1]}")
        assert (await ada.get("/ops/")).headers["Location"] == "/login?next=%2Fops%2F"
        await ada.get("/login")
        form = f"user=1&password=correct+horse&_xsrf={ada.cookies['_xsrf']}"
        answer = await ada.send("POST", "/login", form, Content_Type="application/x-www-form-urlencoded")
        assert answer.headers["Location"] == "/ops/"
        assert "Ada" in (await ada.get("/ops/")).body.decode()
    finally:
        server.stop()
        client.close()
        await names["dashboard"].close()
        await names["sessions"].close()


@pytest.mark.gen_test
async def test_whoever_holds_the_cookie_of_the_old_sign_in_goes_on_once() -> None:
    text = (Path(__file__).parents[2] / "docs/howto/mount.md").read_text(encoding="utf8")
    names: dict[str, Any] = {}
    exec("\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL)), names)

    class Old(tornado.web.RequestHandler):
        def get(self) -> None:
            self.set_signed_cookie("user", "2")

    base: Any = names["Base"]

    class Home(base):  # type: ignore[misc]
        def get(self) -> None:
            self.write(self.session.user or "nobody")

    sessions = names["sessions"]
    application = tornado.web.Application([("/old", Old), ("/", Home)], sessions=sessions, cookie_secret="x" * 32)
    server, [listening] = HTTPServer(application), bind_sockets(0, "127.0.0.1")
    server.add_socket(listening)
    client = AsyncHTTPClient(force_instance=True)
    try:
        bob = Browser(client, f"http://127.0.0.1:{listening.getsockname()[1]}")
        await bob.get("/old")
        assert [(await bob.get("/")).body for _ in range(2)] == [b"2", b"2"]
        assert set(bob.cookies) == {"sid"}
        assert await sessions.destroy_user("2")
        assert (await bob.get("/")).body == b"nobody"
    finally:
        server.stop()
        client.close()
        await sessions.close()
