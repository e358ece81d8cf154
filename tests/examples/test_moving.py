"""The guides for people who come from Flask-Session, Django or torndsession: their users go on here without signing in again.

Each old system is the real one.
"""

from __future__ import annotations

import asyncio
import pickle
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import flask
import flask_session
import pytest
import redis as redis_client
import torndsession.sessionhandler
from django.core.management import call_command
from django.db import connections
from django.test import Client
from support.browser import Browser
from support.redis_servers import Valkey
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

ROOT = Path(__file__).parents[2]


def guide(name: str) -> dict[str, Any]:
    """What the code of a guide defines."""
    text = (ROOT / f"docs/howto/{name}.md").read_text(encoding="utf8")
    names: dict[str, Any] = {"__name__": name}
    exec("\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL)), names)
    return names


@asynccontextmanager
async def running(application: Application) -> AsyncIterator[Browser]:
    server, [listening] = HTTPServer(application), bind_sockets(0, "127.0.0.1")
    server.add_socket(listening)
    client = AsyncHTTPClient(force_instance=True)
    try:
        yield Browser(client, f"http://127.0.0.1:{listening.getsockname()[1]}")
    finally:
        server.stop()
        client.close()
        if "sessions" in application.settings:
            await application.settings["sessions"].close()


async def moves(application: Application, cookie: dict[str, str], before: bytes, after: bytes) -> None:
    """Check that a browser with this cookie goes on, and that after its sign-out no copy of the cookie lets anybody in."""
    async with running(application) as browser:
        browser.cookies |= cookie
        copy = browser.copy()
        assert (await browser.get("/")).body == before
        assert (await browser.get("/")).body == after
        assert not cookie.keys() & browser.cookies.keys(), "the old cookie is removed"
        await browser.send("POST", "/logout", "")
        forged = Browser(browser.client, browser.base)
        forged.cookies |= {name: "x" * len(value) for name, value in cookie.items()}
        for out in (browser, copy, forged):
            assert before.split(b":")[0] not in (await out.get("/")).body


class TestFlaskSession:
    @pytest.fixture
    def client(self, redis: Valkey) -> Iterator[Any]:
        """A browser at a Flask application."""
        application = flask.Flask("old")
        kept = redis_client.Redis.from_url(redis.url)
        application.config |= {
            "SESSION_TYPE": "redis",
            "SESSION_REDIS": kept,
            "SECRET_KEY": "x" * 32,
            "SESSION_SERIALIZATION_FORMAT": "msgpack",
        }
        flask_session.Session(application)

        @application.post("/login")
        def sign_in() -> str:
            flask.session["user_id"] = 7
            flask.session["visits"] = 1
            flask.session["since"] = datetime.now(UTC)
            return "in"

        @application.get("/")
        def home() -> str:
            return str(flask.session.get("user_id"))

        with closing(kept):
            yield application.test_client()

    @pytest.mark.parametrize("form", ["msgpack", "json"])
    @pytest.mark.gen_test
    async def test_its_users_go_on(self, client: Any, redis: Valkey, form: str) -> None:
        client.application.session_interface.serializer = type(client.application.session_interface.serializer)(
            client.application, form
        )
        client.post("/login")
        cookie = client.get_cookie("session").value
        application = guide("from-flask-session")["make_application"]("memory://", redis.url)
        await moves(application, {"session": cookie}, b"7: 2", b"7: 3")
        assert client.get("/").text == "None"

    @pytest.mark.gen_test
    async def test_a_session_that_an_old_version_pickled_runs_nothing(self, redis: Valkey, tmp_path: Path) -> None:
        redis.ask("SET", "session:old", pickle.dumps({"user_id": 7, "run": Touch(tmp_path / "run")}))
        application = guide("from-flask-session")["make_application"]("memory://", redis.url)
        async with running(application) as browser:
            browser.cookies["session"] = "old"
            assert (await browser.get("/")).body == b"None: 1"
        assert not (tmp_path / "run").exists()


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


class TestTorndsession:
    @pytest.mark.gen_test
    async def test_its_users_go_on(self, redis: Valkey, tmp_path: Path) -> None:
        class SignIn(torndsession.sessionhandler.SessionBaseHandler):  # type: ignore[misc]
            def get(self) -> None:
                self.session["user"] = "ada"
                self.session["n"] = 4

        host, port = redis.url.removeprefix("redis://").split(":")
        session = {
            "driver": "redis",
            "driver_settings": {"host": host, "port": int(port), "db": 0},
            "force_persistence": True,
        }
        async with running(Application([("/login", SignIn)], session=session)) as browser:
            await browser.get("/login")
            cookie = browser.cookies["msid"]
        names = guide("from-torndsession")
        await moves(names["make_application"]("memory://", redis.url), {"msid": cookie}, b"ada: 4", b"ada: 5")

    @pytest.mark.parametrize("kind", ["object", "expired", "without a time", "no dict", "damaged", "another key"])
    @pytest.mark.gen_test
    async def test_what_is_no_live_session_is_a_visitors(self, redis: Valkey, tmp_path: Path, kind: str) -> None:
        later = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=1)
        good = {"user": "ada", "__expires__": later}
        stored: dict[str, bytes] = {
            "object": pickle.dumps({**good, "run": Touch(tmp_path / "run"), "price": Decimal(1)}),
            "expired": pickle.dumps({**good, "__expires__": later - timedelta(hours=2)}),
            "without a time": pickle.dumps({"user": "ada"}),
            "no dict": pickle.dumps(["ada"]),
            "damaged": pickle.dumps(good)[:-9],
            "another key": pickle.dumps(good),
        }
        key = "short" if kind == "another key" else uuid4().hex + "-_Za0123"
        redis.ask("SET", key, stored[kind])
        async with running(guide("from-torndsession")["make_application"]("memory://", redis.url)) as browser:
            browser.cookies["msid"] = key
            assert (await browser.get("/")).body == b"None: 0"
        assert not (tmp_path / "run").exists()
        assert redis.ask("EXISTS", key), "nothing was changed"


@pytest.fixture(scope="module")
def project() -> Iterator[dict[str, Any]]:
    """The guide's code in a Django project."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_SETTINGS_MODULE", "support.django_settings")
        names = guide("from-django")
    call_command("migrate", verbosity=0)
    yield names
    connections.close_all()


class TestDjango:
    @pytest.fixture
    def user(self, project: dict[str, Any]) -> Any:
        return project["get_user_model"]().objects.create_user(uuid4().hex, password="correct horse")

    @pytest.fixture
    def client(self, user: Any) -> Any:
        """A browser that has signed in at Django."""
        client = Client()
        assert client.login(username=user.username, password="correct horse")
        session = client.session
        session["visits"] = 1
        session.save()
        return client

    @pytest.mark.gen_test
    async def test_its_users_go_on(self, project: dict[str, Any], user: Any, client: Any) -> None:
        cookie, name = client.cookies["sessionid"].value, user.username.encode()
        await moves(project["make_application"]("memory://"), {"sessionid": cookie}, name + b": 2", name + b": 3")
        assert not await asyncio.to_thread(client.session.exists, cookie)

    @pytest.fixture(params=["password changed", "deactivated", "expired", "altered", "signed out"])
    def out(self, request: pytest.FixtureRequest, project: dict[str, Any], user: Any, client: Any) -> str:
        """The cookie of somebody whom Django does not let in any more."""
        cookie = str(client.cookies["sessionid"].value)
        stored = project["Session"].objects.filter(session_key=cookie)
        if request.param == "password changed":
            user.set_password("battery staple")
        elif request.param == "deactivated":
            user.is_active = False
        elif request.param == "expired":
            stored.update(expire_date=datetime.now(UTC) - timedelta(seconds=1))
        elif request.param == "altered":
            stored.update(session_data=stored.get().session_data[:-3] + "xyz")
        else:
            client.logout()
        user.save()
        return cookie

    @pytest.mark.gen_test
    async def test_whoever_is_out_there_is_out_here(self, project: dict[str, Any], out: str) -> None:
        async with running(project["make_application"]("memory://")) as browser:
            browser.cookies["sessionid"] = out
            assert (await browser.get("/")).code == 302

    @pytest.mark.gen_test
    async def test_one_signs_in_with_the_password_of_django(self, project: dict[str, Any], user: Any) -> None:
        async with running(project["make_application"]("memory://")) as browser:
            for password, code in {"wrong": 403, "correct+horse": 302}.items():
                form = f"name={user.username}&password={password}"
                answer = await browser.send("POST", "/login", form, Content_Type="application/x-www-form-urlencoded")
                assert answer.code == code
            assert (await browser.get("/")).body == user.username.encode() + b": 1"
