"""An application of the library whose users sign in at a real provider."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from support.browser import Browser
from support.clock import Clock
from support.oidc_provider import OIDCProvider, Person, path_of
from support.passwords import SECRET
from tornado.httpclient import AsyncHTTPClient
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from tornado_sessions import SessionConfig, SessionError, SessionMixin, Sessions
from tornado_sessions.oidc import BackChannelLogout, OpenIDConnect, OpenIDMixin


class Answers(OpenIDMixin, RequestHandler):
    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs["exc_info"][1]
        self.finish(str(error) if isinstance(error, SessionError) else "unexpected")


class SignIn(Answers):
    async def get(self) -> None:
        await self.start_open_id(self.get_argument("next", "/home"), prove="prove" in self.request.arguments)


class Callback(Answers):
    async def get(self) -> None:
        identity = await self.finish_open_id()
        if identity.is_proof:
            kept = self.kept_identity()
            assert kept is not None
            assert identity.subject == kept.subject
            self.session["proved_at"] = identity.proved_at
        else:
            await self.log_in_identity(identity)
        self.session["groups"] = identity.claims.get("groups", [])
        self.redirect(identity.following or "/home")


class SignOut(Answers):
    async def get(self) -> None:
        kept = self.kept_identity()
        url = await self.oidc.sign_out_url(kept.id_token if kept else "", state="out")
        if "stay" not in self.request.arguments:
            await self.log_out()
        self.redirect(url or "/home")


class Read(SessionMixin, RequestHandler):
    def get(self) -> None:
        self.write({"user": self.session.user, "data": dict(self.session)})


class Socket(SessionMixin, WebSocketHandler):
    pass


@pytest.fixture
def clock() -> Clock:
    return Clock(now=None)


@pytest.fixture
def store_url() -> str:
    return "memory://"


@pytest.fixture
def config() -> SessionConfig:
    return SessionConfig(secret=SECRET)


@pytest.fixture
def sessions(store_url: str, config: SessionConfig, clock: Clock, io_loop: Any) -> Iterator[Sessions]:
    made = Sessions(store_url, config=config, clock=clock)
    yield made
    io_loop.run_sync(made.close)


@pytest.fixture
def app(sessions: Sessions) -> Application:
    routes: list[Any] = [
        ("/sign-in", SignIn), ("/callback", Callback), ("/sign-out", SignOut), ("/read", Read), ("/socket", Socket),
        ("/back-channel", BackChannelLogout),
    ]  # fmt: skip
    return Application(routes, sessions=sessions, xsrf_cookies=True)


@pytest.fixture
def registered() -> dict[str, str]:
    """Further metadata with which the client is registered."""
    return {}


@pytest.fixture
def oidc(
    app: Application, oidc_provider: OIDCProvider, base_url: str, http_client: AsyncHTTPClient, clock: Clock, io_loop: Any,
    registered: dict[str, str],
) -> OpenIDConnect:  # fmt: skip
    """The application's client, registered at the provider."""
    callback = f"{base_url}/callback"
    more: dict[str, Any] = {
        "backchannel_logout_uri": f"{base_url}/back-channel",
        "backchannel_logout_session_required": True,
    }
    more |= registered
    made = io_loop.run_sync(lambda: oidc_provider.register(http_client, callback, **more))
    client = OpenIDConnect(
        oidc_provider.issuer, made["client_id"], made.get("client_secret", ""), redirect_url=callback, clock=clock
    )
    app.settings["oidc"] = client
    return client


@pytest.fixture
def browser(oidc: OpenIDConnect, http_client: AsyncHTTPClient, base_url: str) -> Browser:
    return Browser(http_client, base_url)


@pytest.fixture
def person(http_client: AsyncHTTPClient, oidc_provider: OIDCProvider) -> Person:
    return Person(http_client, oidc_provider.issuer, f"ada-{uuid4().hex[:8]}", "staff")


async def sign_in(browser: Browser, person: Person, path: str = "/sign-in") -> str:
    """Sign in at the provider; return the path and query of its response, which the browser has followed."""
    started = await browser.get(path)
    assert started.code == 302, started.body
    back = path_of(await person.follow(started.headers["Location"]))
    answer = await browser.get(back)
    assert answer.code == 302, answer.body
    return back
