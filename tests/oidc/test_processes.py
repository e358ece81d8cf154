"""Two processes of an application on one store: the provider tells one of them, and both obey."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from oidc.conftest import sign_in
from support.browser import Browser
from support.oidc_provider import Person
from support.server_process import environment
from support.urls import COMMON_BACKENDS, url_of
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from tornado_sessions import Sessions

PROGRAM = Path(__file__).parents[1] / "support/programs/socket_server.py"


@pytest.fixture(params=COMMON_BACKENDS[1:])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_of(request.param, request, tmp_path)


@pytest.fixture
def other_process(store_url: str) -> Iterator[str]:
    """The address of another process of the application."""
    paths = [str(PROGRAM.parents[2]), environment()["PYTHONPATH"]]
    with subprocess.Popen(
        [sys.executable, str(PROGRAM), store_url],
        env={**environment(), "PYTHONPATH": ":".join(paths)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield f"ws://127.0.0.1:{int(process.stdout.readline())}"
        process.communicate(timeout=20)


@pytest.mark.gen_test
async def test_a_logout_at_the_provider_closes_the_sockets_of_another_process_within_a_second(
    browser: Browser, person: Person, sessions: Sessions, other_process: str
) -> None:
    await sign_in(browser, person)
    request = HTTPRequest(f"{other_process}/socket", headers={"Cookie": f"sid={browser.cookie}"})
    socket = await websocket_connect(request)
    (session,) = (await sessions.find()).items
    assert await socket.read_message() == session.user
    # This browser signs out elsewhere, and confirms it at the provider, which tells this process only.
    out = await browser.get("/sign-out?stay")
    began = time.monotonic()
    await person.sign_out(out.headers["Location"])
    assert await socket.read_message() is None
    assert time.monotonic() - began < 1
    assert (await sessions.find()).items == []
    socket.close()
