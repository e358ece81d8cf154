"""The audit log while stores fail, clocks differ and it grows long."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from support.browser import Browser
from support.clock import Clock
from support.passwords import PASSWORD
from support.people import make_operator
from tornado.simple_httpclient import HTTPStreamClosedError

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.server.documents import Document
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.audit_check import VERIFIED
from tornado_sessions.server.operations.entries import AuditQuery
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.web.api import audit as api_audit

ROOT = Actor("root", "::1")


@pytest.mark.gen_test
async def test_what_cannot_be_written_down_is_not_done(
    browser: Browser, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await browser.register()
    await browser.log_in()
    token = await browser.token()

    put = parts.documents.put

    async def fails(kind: str, document: Document, **links: Any) -> bool:
        if kind == "audit":
            raise StoreUnavailable("test", "out")
        return await put(kind, document, **links)

    monkeypatch.setattr(parts.documents, "put", fails)

    async def post(path: str, **fields: str) -> int:
        body = "&".join(f"{name}={value.replace(' ', '+')}" for name, value in {"_xsrf": token, **fields}.items())
        return (await browser.send("POST", path, body, Content_Type="application/x-www-form-urlencoded")).code

    before = await parts.accounts.get("ada")
    new = "another horse and battery"
    assert await post("/account/password", old_password=PASSWORD, new_password=new) == 503
    assert await post("/account/email", email_password=PASSWORD, email="new@example.org") == 503
    assert await post("/account/remove", remove_password=PASSWORD) == 503
    assert await parts.accounts.get("ada") == before
    assert await post("/reg", username="bob", email="bob@example.org", password=PASSWORD) == 503
    assert await parts.accounts.get("bob") is None


@pytest.mark.gen_test
async def test_an_entry_waits_until_it_is_stored(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    put, is_out, asked, may_go = parts.documents.put, True, asyncio.Event(), asyncio.Event()

    async def slow(kind: str, document: Document, **links: Any) -> bool:
        if is_out:
            raise StoreUnavailable("test", "out")
        asked.set()
        await may_go.wait()
        return await put(kind, document, **links)

    await parts.audit.note(ROOT, Action.LOG_IN)
    monkeypatch.setattr(parts.documents, "put", slow)
    await parts.audit.note(ROOT, Action.END_SESSION)
    is_out = False
    storing = asyncio.ensure_future(parts.audit.note(ROOT, Action.LOG_OUT))
    await asked.wait()
    is_waiting = parts.audit.is_waiting
    may_go.set()
    await storing
    assert is_waiting, "it was on its way to the store"
    assert not parts.audit.is_waiting
    found = [entry.act for entry in await parts.audit.entries(AuditQuery(limit=2))]
    assert found == ["log-out", "end session"]


@pytest.mark.gen_test
async def test_entries_are_forgotten_from_the_oldest_on(parts: Parts, clock: Clock) -> None:
    """Writers' clocks differ; a chain is only ever cut at its end."""
    start = clock()
    for at in (0, 100, 50, 200):
        clock.ahead += start + at - clock()
        await parts.audit.note(ROOT, Action.LOG_OUT)
    clock.ahead += start + 275 - clock()
    await parts.audit.forget(200)
    found = await parts.audit.verify()
    assert (found.entries, found.faults) == (3, [])


@pytest.mark.gen_test(timeout=30)
async def test_two_filters_find_what_is_far_back(parts: Parts) -> None:
    await parts.audit.note(ROOT, Action.PASSWORD_CHANGED, user="ada")
    for _ in range(450):
        await parts.audit.note(Actor("ada"), Action.LOG_IN, user="ada")
    assert len(await parts.audit.entries(AuditQuery(who="ada", act="password changed"))) == 1


@pytest.mark.gen_test
async def test_an_export_that_is_cut_off_does_not_look_whole(
    operator: Browser, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_operator(parts, operator)
    real = parts.audit.all

    async def cut(query: AuditQuery) -> Any:
        async for page in real(query):
            yield page
            raise StoreUnavailable("test", "out")

    monkeypatch.setattr(parts.audit, "all", cut)
    with pytest.raises(HTTPStreamClosedError):
        await operator.get("/admin/audit.csv")


@pytest.mark.gen_test(timeout=30)
async def test_a_head_that_may_be_older_is_neither_known_nor_missing(
    operator: Browser, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_operator(parts, operator)
    head = (await parts.audit.entries())[0].hash
    for _ in range(510):
        await parts.audit.note(ROOT, Action.LOG_OUT)
    monkeypatch.setattr(api_audit, "VERIFIED", 500)
    answer = json.loads((await operator.get(f"/admin/api/audit/verify?head={head}")).body)
    assert (answer["entries"], answer["knows_head"]) == (500, None)
    monkeypatch.setattr(api_audit, "VERIFIED", VERIFIED)
    answer = json.loads((await operator.get(f"/admin/api/audit/verify?head={head}")).body)
    assert answer["knows_head"] is True


@pytest.mark.gen_test
async def test_a_guess_at_the_password_once_more_is_written_down(operator: Browser, parts: Parts, clock: Clock) -> None:
    await make_operator(parts, operator)
    clock.ahead += 301
    await operator.post(
        "/admin/end", {"user": "root", "confirm": "1", "expected": "1", "reason": "x", "password": "guess"}
    )
    assert [entry.user for entry in await parts.audit.entries(AuditQuery(act="log-in failed"))] == ["root"]
