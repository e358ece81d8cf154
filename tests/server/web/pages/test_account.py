"""The account page: other devices, password, what people are told."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bs4 import BeautifulSoup
from support.amount import knows_no_store
from support.browser import Browser
from support.clock import Clock
from support.passwords import PASSWORD
from tornado.web import Application

from tornado_sessions.server.accounts.client import Client
from tornado_sessions.server.accounts.errors import HasherBusy
from tornado_sessions.server.accounts.waiting import Waiting
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.entries import AuditQuery
from tornado_sessions.server.operations.tokens import Scope
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role

pytestmark = knows_no_store


@pytest.mark.gen_test
async def test_one_of_my_other_devices_is_ended(browser: Browser, other: Browser, parts: Parts) -> None:
    await browser.register()
    await browser.log_in()
    await other.log_in()
    page = (await browser.get("/account")).body.decode()
    assert "Firefox on Linux" in page
    handle = re.findall(r'name="handle" value="(\w+)"', page)
    assert len(handle) == 1
    await browser.post("/account/end", {"handle": handle[0]})
    assert (await other.get("/account")).code == 302
    assert "You were signed out from another device" in (await other.get("/login")).body.decode()
    assert (await browser.get("/account")).code == 200


@pytest.mark.gen_test
async def test_ending_no_other_device_again_and_again_does_not_fill_the_audit_log(
    browser: Browser, other: Browser, parts: Parts
) -> None:
    await browser.register()
    await browser.log_in()
    await other.log_in()
    for _ in range(5):
        assert (await browser.post("/account/end", {})).code == 303
    assert (await other.get("/account")).code == 302
    assert len(await parts.audit.entries(AuditQuery(act=Action.END_OTHER_SESSIONS))) == 1


@pytest.mark.gen_test
async def test_a_changed_password_ends_the_other_sessions(browser: Browser, other: Browser) -> None:
    await browser.register()
    await browser.log_in()
    await other.log_in()
    new = "an entirely different phrase"
    response = await browser.post("/account/password", {"old_password": PASSWORD, "new_password": new})
    assert response.code == 303
    assert (await browser.get("/account")).code == 200
    assert (await other.get("/account")).code == 302
    assert (await other.log_in()).code == 401
    assert (await other.log_in(password=new)).code == 303


@pytest.mark.gen_test
async def test_who_removes_the_account_is_out_everywhere(browser: Browser, other: Browser, parts: Parts) -> None:
    await browser.register()
    await browser.log_in()
    await other.log_in()
    assert (await other.get("/account")).code == 200
    assert (await browser.post("/account/remove", {"remove_password": PASSWORD})).code == 200
    assert [(await one.get("/account")).code for one in (browser, other)] == [302, 302]
    assert (await parts.sessions.count(user="ada")).total == 0
    assert (await other.log_in()).code == 401


@pytest.mark.gen_test(timeout=30)
async def test_all_devices_are_listed_page_by_page_and_this_one_first(
    browser: Browser, parts: Parts, clock: Clock
) -> None:
    await browser.register()
    await browser.log_in()
    for _ in range(59):
        clock.ahead += 1
        await Browser(browser.client, browser.base).log_in()
    seen: list[str] = []
    path = "/account"
    while path:
        page = BeautifulSoup((await browser.get(path)).body, "html.parser")
        seen += [str(link["href"]) for link in page.select(".device a.rename")]
        badges = page.select(".device .badge.accent")
        assert len(badges) == (path == "/account"), path
        assert "60 devices" in page.get_text()
        following = page.select_one('a[rel="next"]')
        path = str(following["href"]) if following else ""
        first = page.select_one(".device")
        assert first is not None
        assert bool(badges) == ("This device" in first.get_text())
    assert len(seen) == len(set(seen)) == 60
    assert (await browser.get("/account?cursor=x")).headers["Location"] == "/account"


@pytest.mark.gen_test
async def test_a_device_keeps_the_name_that_its_owner_gives_it(
    browser: Browser, other: Browser, parts: Parts, clock: Clock
) -> None:
    await browser.register()
    await browser.log_in()
    handle = (await parts.sessions.find(user="ada")).items[0].handle
    path = f"/account/devices/{handle}"
    assert (await browser.post(path, {"name": "  Wen's <b>laptop</b> "})).code == 303
    clock.ahead += 901
    before = browser.cookie
    await browser.get("/account")
    assert browser.cookie != before, "rotated"
    shown = (await browser.get("/account")).body.decode()
    assert "Wen&#x27;s &lt;b&gt;laptop&lt;/b&gt;" in shown
    for bad in ("x" * 41, "a\u202eb", "a\x00b"):
        refused = await browser.post(path, {"name": bad})
        assert (refused.code, b'aria-invalid="true"' in refused.body) == (400, True)
    assert list((await parts.device_names.of("ada")).values()) == ["Wen's <b>laptop</b>"]
    # Nobody names the devices of others, or what is none.
    await other.register("eve")
    await other.log_in("eve")
    for answer in (await other.get(path), await other.post(path, {"name": "mine"}), await browser.get(path + "x")):
        assert answer.code == 404
    assert (await browser.post(path, {"name": ""})).code == 303
    assert await parts.device_names.of("ada") == {}


@pytest.mark.gen_test
async def test_nothing_is_left_of_a_removed_account_for_the_next_of_its_name(browser: Browser, parts: Parts) -> None:
    await parts.accounts.register("zoe", "zoe@example.org", PASSWORD, role=Role.ADMIN)
    await browser.log_in("zoe")
    handle = (await parts.sessions.find(user="zoe")).items[0].handle
    assert (await browser.post(f"/account/devices/{handle}", {"name": "my laptop"})).code == 303
    assert (await browser.post("/admin/views", {"name": "mine", "query": "user=ada"})).code == 303
    await parts.tokens.create("robot", [Scope.READ], None, "zoe")
    kinds = ("account", "devices", "view", "token")
    before = {kind: [found async for found in documents_of(parts, kind, "zoe")] for kind in kinds}
    assert all(before.values()), before
    assert (await browser.post("/account/remove", {"remove_password": PASSWORD})).code == 200
    assert [found for kind in kinds for found in [each async for each in documents_of(parts, kind, "zoe")]] == []
    assert (await parts.sessions.find(user="zoe")).items == []


async def documents_of(parts: Parts, kind: str, name: str) -> AsyncIterator[str]:
    """The keys of documents of a kind that mention a name."""
    for document in await parts.documents.all(kind):
        if name in document.key or name.encode() in document.body:
            yield document.key


@pytest.mark.gen_test
async def test_names_of_devices_are_bounded_and_none_is_lost_in_a_race(parts: Parts) -> None:
    await asyncio.gather(*(parts.device_names.rename("ada", f"h{number}", f"n{number}") for number in range(10)))
    assert len(await parts.device_names.of("ADA")) == 10
    for number in range(10, 230):
        await parts.device_names.rename("ada", f"h{number}", f"n{number}")
    kept = await parts.device_names.of("ada")
    assert (len(kept), kept["h229"]) == (200, "n229")


@pytest.mark.gen_test
async def test_the_strength_of_a_password_is_told_within_bounds_and_stored_nowhere(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "an entirely different phrase"

    async def measure(password: str, **more: str) -> tuple[int, dict[str, Any]]:
        answer = await browser.post("/strength", {"password": password, **more}, "/reg")
        return answer.code, json.loads(answer.body)

    code, found = await measure(secret)
    assert (code, found["score"] >= 2) == (200, True)
    assert (await measure("short"))[1] == {"score": 0, "text": "Use at least 15 characters."}
    assert (await measure("graceexample graceexample", username="grace", email="grace@example.org"))[1]["score"] < 2
    assert (await measure("x" * 5000))[0] == 200
    assert (await browser.send("POST", "/strength", "password=x")).code == 403, "only for forms of ours"
    # More than two periods allow, because a period may end in the meantime.
    assert 503 in [(await measure(secret))[0] for _ in range(45)]
    assert secret not in caplog.text


@pytest.mark.parametrize("url_of_recovery", ["", "https://example.org/recover"])
@pytest.mark.gen_test
async def test_the_link_for_a_forgotten_password_is_shown_where_there_is_a_way(
    browser: Browser, app: Application, url_of_recovery: str
) -> None:
    app.settings["site"].recovery_url = url_of_recovery
    page = (await browser.get("/login")).body.decode()
    assert ("Ask an administrator" in page) is not bool(url_of_recovery)
    assert (f'href="{url_of_recovery}">Forgot' in page) is bool(url_of_recovery)


@pytest.mark.gen_test
async def test_an_attempt_that_would_have_to_wait_is_refused_once_the_server_stops(parts: Parts) -> None:
    waiting = Waiting(HasherBusy)
    waiting.close()
    with waiting.place((0,), {"all": 1}, Client("192.0.2.1")) as place, pytest.raises(HasherBusy):
        await place.called
    assert len(waiting) == 0
