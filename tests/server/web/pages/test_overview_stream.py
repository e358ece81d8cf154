"""The stream of numbers on the overview."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
from support.browser import Browser
from support.passwords import PASSWORD
from support.people import make_operator
from support.waiting import until
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.web import Application

from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.pages import live as streams
from tornado_sessions.server.web.site import MAX_STREAMS, MAX_STREAMS_OF_PERSON


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
    assert re.search(r">\s*1\s*<", told["parts"]["numbers"])
    assert "<svg" in told["parts"]["charts"]
    await until(lambda: len(chunks) > 1, "the second event")
    again = json.loads(chunks[1].decode().removeprefix("data: "))
    assert "tops" not in again["parts"], "what has not changed is not sent again"
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
    site = app.settings["site"]
    await until(lambda: not site.streams.taken, "the end of all streams")
    assert [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []
    site.streams.taken.update({f"person {number}": 1 for number in range(MAX_STREAMS)})
    full = await operator.get("/admin/live")
    assert (full.code, full.headers["Retry-After"]) == (503, "60")


@pytest.mark.gen_test(timeout=30)
async def test_one_person_cannot_take_the_places_of_all(
    operator: Browser, parts: Parts, app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "INTERVAL", 0.02)
    await make_operator(parts, operator)
    await parts.accounts.register("boss", "boss@example.org", PASSWORD, role=Role.ADMIN)
    second, colleague = Browser(operator.client, operator.base), Browser(operator.client, operator.base)
    await second.log_in("root")
    await colleague.log_in("boss")
    site, own = app.settings["site"], (await parts.sessions.find(limit=500)).items

    def ask(person: Browser) -> HTTPRequest:
        cookie = "; ".join(f"{name}={value}" for name, value in person.cookies.items())
        return HTTPRequest(
            f"{person.base}/admin/live", headers={"Cookie": cookie}, streaming_callback=lambda _chunk: None
        )

    clients = [AsyncHTTPClient(force_instance=True) for _ in range(MAX_STREAMS_OF_PERSON + 1)]
    opened = [
        asyncio.ensure_future(client.fetch(ask((operator, second)[number % 2]), raise_error=False))
        for number, client in enumerate(clients[:-1])
    ]
    await until(lambda: site.streams.taken.total() == MAX_STREAMS_OF_PERSON, "all streams of one person")
    assert site.load.streams == MAX_STREAMS_OF_PERSON, "streams do not take the places of requests"
    for own_session in (operator, second):
        refused = await own_session.get("/admin/live")
        assert (refused.code, refused.headers["Retry-After"]) == (503, "60")
    opened.append(asyncio.ensure_future(clients[-1].fetch(ask(colleague), raise_error=False)))
    await until(lambda: site.streams.taken["boss"] == 1, "a stream of another person")
    for item in own:
        await parts.sessions.destroy(item.handle)
    await asyncio.wait(opened, timeout=5)
    await until(lambda: not site.streams.taken, "the end of all streams")
    assert site.load.streams == 0


@pytest.mark.gen_test(timeout=30)
async def test_a_stream_ends_with_the_role_of_its_reader(
    operator: Browser, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "INTERVAL", 0.02)
    await make_operator(parts, operator)
    events: list[bytes] = []
    cookie = "; ".join(f"{name}={value}" for name, value in operator.cookies.items())
    request = HTTPRequest(f"{operator.base}/admin/live", headers={"Cookie": cookie}, streaming_callback=events.append)
    stream = asyncio.ensure_future(operator.client.fetch(request, raise_error=False))
    await until(lambda: len(events) > 1, "events")
    # Elsewhere than by an action, which would end the session as well.
    await parts.accounts.set_role("root", Role.USER)
    assert (await asyncio.wait_for(stream, 5)).code == 200
