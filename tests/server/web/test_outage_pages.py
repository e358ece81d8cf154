"""What people read while the store is really away: a Valkey server that was killed."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.browser import Browser
from support.passwords import PASSWORD
from support.people import make_operator
from support.redis_servers import Valkey
from support.waiting import until
from tornado.httpclient import HTTPRequest

from tornado_sessions.server.parts import Parts
from tornado_sessions.server.web.pages import live


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    server = Valkey()
    yield server
    server.stop()


@pytest.fixture
def url(valkey: Valkey, tmp_path: Path) -> str:
    return f"{valkey.url}?prefix={tmp_path.name}"


def text_of(body: bytes) -> str:
    main = re.sub(r"(?s).*<main|</main>.*", "", body.decode())
    return " ".join(re.sub(r"<[^>]+>", " ", main).split())


@pytest.mark.gen_test(timeout=60)
async def test_an_outage_is_named_to_everyone_and_only_who_may_be_signed_in_reads_of_being_signed_in(
    browser: Browser, other: Browser, operator: Browser, parts: Parts, valkey: Valkey
) -> None:
    await browser.register()
    await browser.log_in()
    await make_operator(parts, operator)
    await other.get("/login")
    form = {"username": "ada", "password": PASSWORD}
    token = await other.token("/login")
    pages = [(browser, "/account"), (operator, "/admin/?ip=192.0.2.7&sort=user"), (operator, "/admin/overview")]
    valkey.kill()
    try:
        for person, path in pages:
            answer = await person.get(path)
            text = text_of(answer.body)
            assert (answer.code, answer.headers["Retry-After"]) == (503, "5"), path
            assert "You have not been signed out" in text, path
            assert f'href="{path.replace("&", "&amp;")}"' in answer.body.decode(), "the same page is asked for again"
        assert "Set-Cookie" not in answer.headers
        in_from = [
            await other.get("/login"),
            await other.send("POST", "/login", "&".join(f"{name}={value}" for name, value in {**form, "_xsrf": token}.items()),
                             Content_Type="application/x-www-form-urlencoded", Referer=f"{other.base}/login?next=%2Faccount"),
            await browser.send("POST", "/login", "x=1", Content_Type="application/x-www-form-urlencoded"),
            await browser.get("/reg"),
        ]  # fmt: skip
        for answer in in_from:
            if answer.code == 503:
                assert "signed out" not in text_of(answer.body).replace("Sign", "sign").lower()
        assert 503 in {answer.code for answer in in_from}
        assert 'href="/login?next=%2Faccount"' in in_from[1].body.decode(), "a form is not sent twice"
        for answer in [answer for answer in (*in_from, await operator.get("/admin/")) if answer.code == 503]:
            text = text_of(answer.body)
            assert "Redis" in text
            assert re.search(r"StoreUnavailable – \w+", text), text
            assert "tornado-sessions check" in text
            assert "127.0.0.1" not in answer.body.decode().replace(answer.effective_url, "")
            assert str(valkey.port) not in answer.body.decode()
        problem = json.loads((await operator.get("/admin/api/sessions")).body)
        assert (problem["status"], "Redis" in problem["detail"]) == (503, True)
        assert str(valkey.port) not in problem["detail"]
    finally:
        valkey.start()
    assert (await browser.get("/account")).code == 200, "an outage signs nobody out"


@pytest.mark.gen_test(timeout=60)
async def test_the_live_stream_says_what_is_wrong_and_no_numbers(
    operator: Browser, parts: Parts, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "INTERVAL", 0.1)
    await make_operator(parts, operator)
    chunks: list[bytes] = []
    cookie = "; ".join(f"{name}={value}" for name, value in operator.cookies.items())
    request = HTTPRequest(
        operator.base + "/admin/live", headers={"Cookie": cookie}, streaming_callback=chunks.append, request_timeout=50
    )
    stream = asyncio.ensure_future(operator.client.fetch(request, raise_error=False))
    await until(lambda: chunks, "the first event")
    assert chunks[0].startswith(b"data: ")
    valkey.kill()
    try:
        await until(lambda: b"event: down" in b"".join(chunks), "what is wrong")
        told = b"".join(chunks).partition(b"event: down\ndata: ")[2].partition(b"\n\n")[0]
        health = json.loads(told)["parts"]["health"]
        assert "no answer since" in health
        assert "StoreUnavailable" in health
        assert str(valkey.port) not in health
        seen = len(chunks)
        await until(lambda: len(chunks) > seen + 2, "more of it")
        assert not any(chunk.startswith(b"data: ") for chunk in chunks[seen:]), "old numbers are no news"
    finally:
        valkey.start()
    seen = len(chunks)
    await until(lambda: any(chunk.startswith(b"data: ") for chunk in chunks[seen:]), "numbers again")
    await parts.sessions.destroy_user("root")
    await asyncio.wait([stream], timeout=5)


@pytest.mark.gen_test(timeout=60)
async def test_a_live_stream_that_begins_in_an_outage_says_what_is_wrong(
    operator: Browser, parts: Parts, valkey: Valkey
) -> None:
    """Browsers tell a page nothing about a stream that is refused, so it is not: what is wrong is its only event."""
    await make_operator(parts, operator)
    valkey.kill()
    try:
        answer = await operator.get("/admin/live")
        assert (answer.code, answer.headers["Content-Type"]) == (200, "text/event-stream")
        assert answer.body.startswith(b"event: down\ndata: ")
        assert answer.body.count(b"event:") == 1
        health = json.loads(answer.body.partition(b"data: ")[2])["parts"]["health"]
        assert "no answer" in health
        assert "tornado-sessions check" in health
        assert str(valkey.port) not in health
    finally:
        valkey.start()
