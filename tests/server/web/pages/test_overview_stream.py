"""The stream of numbers on the overview."""

from __future__ import annotations

import asyncio
import json

import pytest
from support.browser import Browser
from support.people import make_operator
from support.waiting import until
from tornado.httpclient import HTTPRequest
from tornado.web import Application

from tornado_sessions.server.parts import Parts
from tornado_sessions.server.web.pages import live as streams


@pytest.mark.gen_test(timeout=30)
async def test_the_stream_tells_numbers_and_closes_with_the_session(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    chunks: list[bytes] = []
    cookie = "; ".join(f"{name}={value}" for name, value in operator.cookies.items())
    request = HTTPRequest(
        operator.base + "/admin/live", headers={"Cookie": cookie}, streaming_callback=chunks.append, request_timeout=20
    )
    stream = asyncio.ensure_future(operator.client.fetch(request, raise_error=False))
    await until(lambda: chunks, "the first event")
    told = json.loads(chunks[0].decode().removeprefix("data: "))
    assert told["numbers"]["active"] == "1"
    assert told["charts"]["sign-ins"][0].startswith("<svg")
    await parts.sessions.destroy_user("root")
    await asyncio.wait_for(asyncio.wait([stream]), 3)
    assert stream.done()


@pytest.mark.gen_test(timeout=30)
async def test_who_leaves_a_stream_leaves_no_error(
    operator: Browser, parts: Parts, app: Application, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "INTERVAL", 0.02)
    await make_operator(parts, operator)
    cookie = "; ".join(f"{name}={value}" for name, value in operator.cookies.items())
    host, port = operator.base.removeprefix("http://").split(":")
    for _ in range(5):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET /admin/live HTTP/1.1\r\nHost: {host}:{port}\r\nCookie: {cookie}\r\n\r\n".encode())
        assert b"200" in await reader.readline()
        await reader.readuntil(b"data: ")
        writer.transport.abort()
    await until(lambda: not app.settings["site"].streams, "the end of all streams")
    assert [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []
    app.settings["site"].streams.update(range(streams.MAX_STREAMS))
    full = await operator.get("/admin/live")
    assert (full.code, full.headers["Retry-After"]) == (503, "60")
