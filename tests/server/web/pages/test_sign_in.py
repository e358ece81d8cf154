"""Registration, sign-in, sign-out and the link for the first operator."""

from __future__ import annotations

import re

import pytest
from support.amount import knows_no_store
from support.browser import Browser
from support.clock import Clock
from support.passwords import PASSWORD

from tornado_sessions.server.parts import Parts

pytestmark = knows_no_store


@pytest.mark.gen_test
async def test_people_register_log_in_and_log_out(browser: Browser) -> None:
    assert "Account created" in (await browser.register()).body.decode()
    response = await browser.log_in()
    assert (response.code, response.headers["Location"]) == (303, "/account")
    assert "Hello ada" in (await browser.get("/account")).body.decode()
    assert "Hello ada" in (await browser.get("/home")).body.decode()
    assert "You&#x27;ve signed out" in (await browser.post("/logout", {})).body.decode()
    assert (await browser.get("/account")).headers["Location"] == "/login?next=%2Faccount"


@pytest.mark.gen_test
async def test_a_wrong_password_and_an_unknown_name_get_the_same_answer(browser: Browser) -> None:
    await browser.register()
    wrong, unknown = await browser.log_in(password="wrong"), await browser.log_in("nobody", "wrong")
    assert wrong.code == unknown.code == 401
    first, second = (re.sub(rb"2\|[0-9a-f|]+", b"TOKEN", response.body) for response in (wrong, unknown))
    assert first.replace(b'value="ada"', b'value="nobody"') == second


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"username": "ADA"}, "That username is taken."),
        ({"email": "Ada@Example.ORG"}, "An account with this email already exists."),
        ({"username": "a b"}, "Use 2 to 64 letters"),
        ({"email": "nonsense"}, "Enter a valid email address, like name@example.com."),
        ({"password": "short"}, "Use at least 15 characters."),
        ({"password": "passwordpassword"}, "Repeats like"),
    ],
)
@pytest.mark.gen_test
async def test_a_refused_registration_says_what_is_wrong(browser: Browser, fields: dict[str, str], fault: str) -> None:
    await browser.register()
    good = {"username": "eve", "email": "eve@example.org", "password": PASSWORD}
    response = await browser.post("/reg", {**good, **fields})
    assert response.code == 400
    assert fault in response.body.decode()


@pytest.mark.gen_test
async def test_failures_are_throttled_and_success_is_not(browser: Browser) -> None:
    await browser.register()
    for _ in range(12):
        assert (await browser.log_in()).code == 303
        await browser.post("/logout", {})
    codes = [(await browser.log_in(password="wrong")).code for _ in range(11)]
    assert codes == [401] * 10 + [429]
    assert int((await browser.log_in()).headers["Retry-After"]) > 0


@pytest.mark.gen_test
async def test_a_setup_link_makes_one_operator_and_no_second(browser: Browser, parts: Parts) -> None:
    link = f"/setup/{await parts.setup.make()}"
    fields = {"username": "root", "email": "root@example.org", "password": PASSWORD}
    assert (await browser.get(link)).code == 200
    assert "Account created" in (await browser.post(link, fields)).body.decode()
    assert (await browser.get("/admin/")).code == 200, "signed in at once"
    used = await browser.get(link)
    assert (used.code, b"The setup link was used on 20" in used.body, b"root@" in used.body) == (404, True, False)
    assert b"used" not in (await browser.get("/setup/" + "x" * 32)).body, "a link that never was"
    await browser.log_in("root")
    assert (await browser.get("/admin/")).code == 200
    # A restart marks the links; so it tells, too, when an admin was made in another way.
    assert await parts.setup.make() is None
    assert b"The setup link was used on 20" in (await browser.get(link)).body


@pytest.mark.gen_test
async def test_a_stolen_token_that_comes_back_is_in_the_audit_log(
    browser: Browser, operator: Browser, parts: Parts, clock: Clock
) -> None:
    await browser.register()
    await browser.log_in()
    old = browser.cookies["sid"]
    clock.ahead += 901
    await browser.get("/account")
    assert browser.cookies["sid"] != old
    await browser.get("/account")
    clock.ahead += 300
    presented = await operator.send("GET", "/home", Cookie=f"sid={old}")
    await parts.sessions.deliver_events()
    found = await parts.audit.entries()
    assert [entry.act for entry in found] == ["old token presented", "log-in", "account made"]
    assert found[0].request_id == presented.headers["X-Request-ID"]
