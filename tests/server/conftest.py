"""The whole server on each back end, with a clock that tests move, and people before it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from argon2.profiles import CHEAPEST
from support.browser import Browser
from support.clock import Clock
from support.passwords import SECRET
from support.urls import COMMON_BACKENDS, url_of
from tornado.httpclient import AsyncHTTPClient
from tornado.web import Application
from zxcvbn import zxcvbn

from tornado_sessions.server.accounts import password_rules
from tornado_sessions.server.accounts.passwords import Passwords
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.settings import ServerOptions
from tornado_sessions.server.web.application import make_application


@pytest.fixture(scope="session", autouse=True)
def measured_once() -> Iterator[None]:
    """Measure the strength of a password once for the same words: most accounts of the tests have the same one."""

    @functools.cache
    def measure(password: str, words: tuple[str, ...], longest: int) -> dict[str, Any]:
        found: dict[str, Any] = zxcvbn(password, user_inputs=list(words), max_length=longest)
        return found

    def measured(password: str, user_inputs: list[str], max_length: int) -> dict[str, Any]:
        return measure(password, tuple(user_inputs), max_length)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(password_rules, "zxcvbn", measured)
        yield


@pytest.fixture
def clock() -> Clock:
    return Clock(now=None)


@pytest.fixture(params=COMMON_BACKENDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_of(request.param, request, tmp_path)


@pytest.fixture
def parts(url: str, clock: Clock, io_loop: Any) -> Iterator[Parts]:
    made = _parts(url, clock)
    io_loop.run_sync(made.open)
    yield made
    io_loop.run_sync(made.close)


@pytest.fixture
def twin(parts: Parts, url: str, clock: Clock, io_loop: Any) -> Iterator[Parts]:
    """The same server in another process, as far as the store can tell; what lives in memory has no other."""
    if url == "memory://":
        yield parts
        return
    made = _parts(url, clock)
    io_loop.run_sync(made.open)
    yield made
    io_loop.run_sync(made.close)


def _parts(url: str, clock: Clock) -> Parts:
    return Parts(
        ServerOptions(store=url, secret=[SECRET]),
        passwords=Passwords(CHEAPEST),
        clock=clock,
    )


@pytest.fixture
def app(parts: Parts) -> Application:
    return make_application(parts)


@pytest.fixture
def browser(parts: Parts, http_client: AsyncHTTPClient, base_url: str) -> Browser:
    return Browser(http_client, base_url)


@pytest.fixture
def other(browser: Browser) -> Browser:
    return Browser(browser.client, browser.base)


@pytest.fixture
def operator(browser: Browser) -> Browser:
    return Browser(browser.client, browser.base)
