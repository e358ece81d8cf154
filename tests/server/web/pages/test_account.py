"""The account page: other devices, password, what people are told."""

from __future__ import annotations

import re

import pytest
from support.browser import Browser
from support.passwords import PASSWORD

from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.entries import AuditQuery
from tornado_sessions.server.parts import Parts


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
