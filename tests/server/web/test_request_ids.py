"""Request IDs: one for each request, in its response and its log records; a trusted proxy may choose it."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from support.amount import knows_no_store
from support.browser import Browser
from support.passwords import SECRET
from tornado.web import Application

from tornado_sessions.server.parts import Parts
from tornado_sessions.server.request_context import request_id
from tornado_sessions.server.settings import ServerOptions
from tornado_sessions.server.web.application import make_application
from tornado_sessions.server.web.server_routes import server_routes

pytestmark = knows_no_store

# Pages, API, health checks, files, and paths without a handler.
PATHS = sorted(
    {
        re.sub(r"\([^)]*\|[^)]*\)|\(\[[^)]*\)|\([^)]*\)", "zh", str(route[0])).replace("(?:ister)?", "").rstrip("?")
        for route in server_routes(
            make_application(Parts(ServerOptions(store="memory://", secret=[SECRET]))).settings["site"]
        )[:-1]
    }
    | {"/static/app.css", "/static/nothing", "/static/%00", "/favicon.ico", "/nowhere", "/admin/api/nothing", "//"}
)


def trusting(parts: Parts, *proxies: str) -> Application:
    """The application of a server that trusts these proxies."""
    options = ServerOptions(store="memory://", secret=[SECRET], trusted_proxies=proxies)
    return make_application(Parts(options))


@pytest.mark.gen_test
async def test_every_response_has_an_id_of_its_own(browser: Browser) -> None:
    seen: list[str] = []
    for method in ("GET", "HEAD", "POST", "DELETE", "PROPFIND"):
        for path in PATHS:
            body = "" if method == "POST" else None
            response = await browser.send(method, path, body)
            ids = response.headers.get_list("X-Request-ID")
            assert len(ids) == 1, (method, path, response.code)
            assert re.fullmatch("[0-9a-f]{32}", ids[0])
            seen += ids
    assert len(seen) == len(set(seen)) > 100


@pytest.mark.gen_test
async def test_an_unexpected_error_and_an_outage_have_an_id(
    browser: Browser, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise RuntimeError("a fault of the server")

    monkeypatch.setattr(parts.accounts, "has_operator", fail)
    monkeypatch.setattr(parts.sessions, "ping", fail)
    response = await browser.get("/readyz")
    assert response.code == 500
    assert response.headers["X-Request-ID"]


class TestBehindATrustedProxy:
    @pytest.fixture
    def app(self, parts: Parts) -> Application:
        return trusting(parts, "127.0.0.1")

    @pytest.mark.gen_test
    @pytest.mark.parametrize("given", ["7b6d3ed2-4d0b-4d8a-a8f7-3b1b33b1f9f6", "f058ebd6", "Root_1-67.891", "a" * 128])
    async def test_the_proxys_id_is_kept(self, browser: Browser, given: str) -> None:
        for path in ("/login", "/healthz", "/nowhere", "/static/app.css"):
            assert (await browser.get(path, X_Request_ID=given)).headers["X-Request-ID"] == given

    @pytest.mark.gen_test
    @pytest.mark.parametrize("given", ["", " ", "a" * 129, "two words", "é", "a,b", "<b>", "%0a", "a;b=c", '"'])
    async def test_an_invalid_id_is_replaced(self, browser: Browser, given: str) -> None:
        response = await browser.get("/login", X_Request_ID=given)
        assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Request-ID"])


@pytest.mark.gen_test
async def test_a_strangers_id_is_not_believed(browser: Browser) -> None:
    response = await browser.get("/login", X_Request_ID="chosen-by-a-stranger", X_Forwarded_For="127.0.0.1")
    assert response.headers["X-Request-ID"] != "chosen-by-a-stranger"


@pytest.mark.gen_test
async def test_log_records_of_a_request_know_its_id(browser: Browser, parts: Parts) -> None:
    seen: dict[str, str] = {}

    class Recorder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen[record.getMessage().split(" (")[0]] = request_id()

    recorder, log = Recorder(), logging.getLogger("tornado_sessions.access")
    level = log.level
    log.addHandler(recorder)
    log.setLevel(logging.INFO)
    try:
        first, second = await browser.get("/login"), await browser.get("/nowhere")
    finally:
        log.removeHandler(recorder)
        log.setLevel(level)
    assert seen["200 GET /login"] == first.headers["X-Request-ID"]
    assert seen["404 GET /nowhere"] == second.headers["X-Request-ID"]
    assert request_id() == ""
