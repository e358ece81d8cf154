"""The whole server with a real mail server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.clock import Clock
from support.mail_server import MailServer, made

from tornado_sessions.server.mail.service import Mail
from tornado_sessions.server.parts import Parts


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    server = MailServer()
    yield server
    server.stop()


@pytest.fixture
def parts(url: str, clock: Clock, mail_server: MailServer, io_loop: Any) -> Iterator[Parts]:
    parts = made(url, clock, mail_server.url)
    io_loop.run_sync(parts.open)
    yield parts
    io_loop.run_sync(parts.close)


@pytest.fixture
def twin(parts: Parts, url: str, clock: Clock, mail_server: MailServer, io_loop: Any) -> Iterator[Parts]:
    """The same server in another process; what lives in memory has no other."""
    if url == "memory://":
        yield parts
        return
    twin = made(url, clock, mail_server.url)
    io_loop.run_sync(twin.open)
    yield twin
    io_loop.run_sync(twin.close)


@pytest.fixture
def mail(parts: Parts) -> Mail:
    assert parts.mail is not None
    return parts.mail
