"""Fixtures of the library's tests: sessions on each backend, a clock that stands still, a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.browser import Browser
from support.clock import Clock
from support.passwords import SECRET
from support.urls import COMMON_BACKENDS, url_of
from tornado.httpclient import AsyncHTTPClient

from tornado_sessions import SessionConfig, Sessions


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def config() -> SessionConfig:
    return SessionConfig(secret=SECRET)


@pytest.fixture(params=COMMON_BACKENDS)
def sessions(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock, config: SessionConfig, io_loop: Any) -> Any:
    made = Sessions(url_of(request.param, request, tmp_path), config=config, clock=clock)
    yield made
    io_loop.run_sync(made.close)


@pytest.fixture
def browser(sessions: Sessions, http_client: AsyncHTTPClient, base_url: str) -> Browser:
    return Browser(http_client, base_url)
