"""The cookie of known devices in a browser, and what it is worth there."""

from __future__ import annotations

import pytest
from support.amount import knows_no_store
from support.browser import Browser
from support.passwords import PASSWORD

pytestmark = [pytest.mark.gen_test, knows_no_store]

COOKIE = "devices"


async def test_only_a_complete_sign_in_makes_a_device_known(browser: Browser, other: Browser) -> None:
    await browser.register()
    for password in ("wrong", "wrong too"):
        await browser.log_in(password=password)
    assert COOKIE not in browser.cookies
    response = await browser.log_in()
    lines = [line for line in response.headers.get_list("Set-Cookie") if line.startswith(COOKIE)]
    assert len(lines) == 1
    for attribute in ("HttpOnly", "Path=/", "SameSite=Lax", "Max-Age=34560000"):
        assert attribute in lines[0]
    assert "Secure" not in lines[0]
    await browser.post("/logout", {})
    assert COOKIE in browser.cookies


async def test_a_known_device_signs_in_where_strangers_are_refused(browser: Browser, other: Browser) -> None:
    await browser.register()
    await browser.log_in()
    await browser.post("/logout", {})
    codes = [(await other.log_in(password="wrong")).code for _ in range(11)]
    assert codes == [401] * 10 + [429]
    assert (await other.log_in()).code == 429
    assert (await browser.log_in()).code == 303


async def test_a_new_password_ends_stolen_copies_and_keeps_this_device(browser: Browser, other: Browser) -> None:
    await browser.register()
    await browser.log_in()
    other.cookies = {COOKIE: browser.cookies[COOKIE]}
    new = "another horse battery staple"
    form = {"old_password": PASSWORD, "new_password": new}
    assert (await browser.post("/account/password", form, "/account")).code == 303
    await browser.post("/logout", {})
    for _ in range(10):
        await other.log_in(password="wrong")
    assert (await other.log_in(password=new)).code == 429
    assert (await browser.log_in(password=new)).code == 303
