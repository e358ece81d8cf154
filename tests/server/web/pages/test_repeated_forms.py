"""A form that is posted twice, or from a tab that was opened earlier, leads on instead of showing an error."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

import pytest
from support.amount import knows_no_store
from support.browser import Browser
from support.clock import Clock
from support.passwords import PASSWORD
from support.second_step import make_two_step_user, sign_in_with_code
from tornado.httpclient import HTTPResponse
from tornado.web import Application

from tornado_sessions.server.operations.entries import AuditQuery
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.base import PageHandler

pytestmark = knows_no_store

FORM = "application/x-www-form-urlencoded"
SIGN_IN = {"username": "ada", "password": PASSWORD}
REGISTER = {"username": "eve", "email": "eve@example.org", "password": PASSWORD}


async def opened(browser: Browser, path: str) -> str:
    """Open a page and return the token of its form, as an earlier tab has it."""
    return await browser.token(path)


async def post(browser: Browser, path: str, token: str, fields: dict[str, str], **headers: str) -> HTTPResponse:
    return await browser.send("POST", path, urlencode({"_xsrf": token, **fields}), Content_Type=FORM, **headers)


@pytest.mark.parametrize("role", [Role.USER, Role.ADMIN])
@pytest.mark.parametrize("following", ["", "/home", "//evil.example"])
@pytest.mark.gen_test
async def test_a_second_sign_in_form_leads_to_where_the_first_led(
    browser: Browser, parts: Parts, following: str, role: Role
) -> None:
    await parts.accounts.register("ada", "ada@example.org", PASSWORD, role=role)
    token = await opened(browser, "/login")
    first = await post(browser, "/login", token, {**SIGN_IN, "next": following})
    cookie = browser.cookie
    for fields in (SIGN_IN, {"username": "ada", "password": "wrong"}, {"username": "eve", "password": PASSWORD}):
        second = await post(browser, "/login", token, {**fields, "next": following})
        assert (second.code, second.headers["Location"]) == (303, first.headers["Location"])
        assert browser.cookie == cookie, "nobody signs in by it"
    assert len(await parts.audit.entries(AuditQuery(act="log-in"))) == 1
    assert await parts.audit.entries(AuditQuery(act="log-in failed")) == []


@pytest.mark.gen_test
async def test_two_clicks_at_once_sign_in(browser: Browser, parts: Parts) -> None:
    await parts.accounts.register("ada", "ada@example.org", PASSWORD)
    token = await opened(browser, "/login")
    answers = await asyncio.gather(*(post(browser, "/login", token, SIGN_IN) for _ in range(2)))
    assert [answer.code for answer in answers] == [303, 303]
    assert (await browser.get("/account")).code == 200


class Remembers(PageHandler):
    """A page that starts a session for a visitor."""

    def get(self) -> None:
        self.session["seen"] = True


@pytest.mark.parametrize("copy", ["with the new cookie", "with the cookie of before", "at once"])
@pytest.mark.gen_test
async def test_a_visitor_with_a_session_may_click_twice(
    browser: Browser, parts: Parts, app: Application, copy: str
) -> None:
    app.add_handlers(".*", [("/remembers", Remembers, {"site": app.settings["site"]})])
    await parts.accounts.register("ada", "ada@example.org", PASSWORD)
    await browser.get("/remembers")
    token = await opened(browser, "/login")
    before = browser.copy()
    sent = {**SIGN_IN, "next": "/home"}
    if copy == "at once":
        answers = await asyncio.gather(*(post(browser, "/login", token, sent) for _ in range(2)))
    else:
        first = await post(browser, "/login", token, sent)
        answers = [first, await post(browser if copy == "with the new cookie" else before, "/login", token, sent)]
    assert [answer.code for answer in answers] == [303, 303]
    # A browser follows with the cookie that it has by then.
    following = answers[-1].headers["Location"]
    if following.startswith("/login"):
        following = (await browser.get(following)).headers["Location"]
    assert following == "/home"
    assert (await browser.get("/account")).code == 200


@pytest.mark.parametrize("path", ["/login", "/reg"])
@pytest.mark.gen_test
async def test_a_form_from_before_the_visitors_session_is_shown_again(
    browser: Browser, parts: Parts, app: Application, path: str
) -> None:
    app.add_handlers(".*", [("/remembers", Remembers, {"site": app.settings["site"]})])
    await parts.accounts.register("ada", "ada@example.org", PASSWORD)
    token = await opened(browser, path)
    await browser.get("/remembers")
    answer = await post(browser, path, token, {**SIGN_IN, **REGISTER})
    assert (answer.code, answer.headers["Location"].partition("?")[0]) == (303, path)
    assert (await browser.get("/account")).code == 302, "nothing was done for it"


@pytest.mark.gen_test
async def test_a_second_code_form_leads_on(browser: Browser, parts: Parts, clock: Clock) -> None:
    phone = await make_two_step_user(parts, clock)
    page = (await browser.log_in()).body.decode()
    fields = {name: page.split(f'name="{name}" value="')[1].split('"')[0] for name in ("name", "ticket", "_xsrf")}
    fields["code"] = phone.code()
    for _ in range(2):
        answer = await browser.send("POST", "/login/code", urlencode(fields), Content_Type=FORM)
        assert (answer.code, answer.headers["Location"]) == (303, "/account")


@pytest.mark.gen_test
async def test_two_clicks_at_once_on_a_code_form_sign_in(
    browser: Browser, other: Browser, parts: Parts, clock: Clock
) -> None:
    phone = await make_two_step_user(parts, clock)
    page = (await browser.log_in()).body.decode()
    fields = {name: page.split(f'name="{name}" value="')[1].split('"')[0] for name in ("name", "ticket", "_xsrf")}
    fields["code"] = phone.code()
    thief = browser.copy()
    both = [browser.send("POST", "/login/code", urlencode(fields), Content_Type=FORM) for _ in range(2)]
    answers = await asyncio.gather(*both)
    assert [answer.code for answer in answers] == [303, 303]
    assert (await browser.get("/account")).code == 200
    assert await parts.audit.entries(AuditQuery(act="log-in failed")) == []
    assert len(await parts.audit.entries(AuditQuery(act="log-in"))) == 1
    # Whoever has copied the form gets the same answer, and nothing by it; neither does another form with the same code.
    assert (await thief.send("POST", "/login/code", urlencode(fields), Content_Type=FORM)).headers["Location"][
        :6
    ] == "/login"
    assert (await thief.get("/account")).code == 302
    assert (await sign_in_with_code(other, fields["code"])).code == 401


@pytest.mark.gen_test
async def test_a_tab_from_before_the_sign_in_leads_on(browser: Browser, parts: Parts) -> None:
    await parts.accounts.register("ada", "ada@example.org", PASSWORD)
    tabs = {path: await opened(browser, path) for path in ("/login", "/reg")}
    await browser.log_in()
    for path, fields in (("/login", SIGN_IN), ("/reg", REGISTER)):
        answer = await post(browser, path, tabs[path], fields)
        assert (answer.code, answer.headers["Location"]) == (303, "/account")
    assert await parts.accounts.get("eve") is None


@pytest.mark.parametrize("path", ["/login", "/reg", "/login/code"])
@pytest.mark.gen_test
async def test_another_sites_form_is_still_refused(browser: Browser, other: Browser, parts: Parts, path: str) -> None:
    """Nor does a token help that was made for another browser."""
    await parts.accounts.register("ada", "ada@example.org", PASSWORD)
    own, foreign = await opened(browser, "/login"), await opened(other, "/login")
    for signed_in in (False, True):
        for token in ("", "x", foreign):
            assert (await post(browser, path, token, SIGN_IN)).code == 403
        headers = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
        assert (await post(browser, path, own, SIGN_IN, **headers)).code == 403
        if not signed_in:
            await browser.log_in()


@pytest.mark.gen_test
async def test_a_second_registration_says_what_the_first_said(browser: Browser, parts: Parts, clock: Clock) -> None:
    token = await opened(browser, "/reg")
    answers = [await post(browser, "/reg", token, REGISTER) for _ in range(2)]
    assert [answer.code for answer in answers] == [200, 200]
    assert all(b"Account created" in answer.body for answer in answers)
    assert len(await parts.audit.entries(AuditQuery(act="account made"))) == 1
    # Another password, another email, or a minute later: the name is taken.
    for changed in ({"password": "an entirely different phrase"}, {"email": "other@example.org"}):
        assert (await post(browser, "/reg", token, {**REGISTER, **changed})).code == 400
    clock.ahead += 61
    assert (await post(browser, "/reg", token, REGISTER)).code == 400


@pytest.mark.gen_test
async def test_two_registrations_at_once_make_one_account(browser: Browser, parts: Parts) -> None:
    token = await opened(browser, "/reg")
    answers = await asyncio.gather(*(post(browser, "/reg", token, REGISTER) for _ in range(2)))
    assert [answer.code for answer in answers] == [200, 200]
    assert (await browser.log_in("eve")).code == 303


@pytest.mark.gen_test
async def test_a_second_sign_out_is_one(browser: Browser, parts: Parts) -> None:
    await parts.accounts.register("ada", "ada@example.org", PASSWORD)
    await browser.log_in()
    token = await opened(browser, "/account")
    for _ in range(2):
        assert b"You&#x27;ve signed out" in (await post(browser, "/logout", token, {})).body
    # A form of an earlier session asks, and does not sign the later one out.
    await browser.log_in()
    for stale in (token, "x", ""):
        answer = await post(browser, "/logout", stale, {})
        assert (answer.code, answer.headers["Location"]) == (303, "/logout")
    assert (await browser.get("/account")).code == 200
    assert b"Sign out?" in (await browser.get("/logout")).body


@pytest.mark.gen_test
async def test_a_form_of_a_user_who_signs_in_again_is_refused(browser: Browser, parts: Parts, clock: Clock) -> None:
    """Only forms for visitors lead on; what changes an account needs its own session's token."""
    await parts.accounts.register("ada", "ada@example.org", PASSWORD)
    token = await opened(browser, "/login")
    await browser.log_in()
    assert (await post(browser, "/account/end", token, {})).code == 403


@pytest.mark.gen_test
async def test_a_code_works_once_in_another_browser(
    browser: Browser, other: Browser, parts: Parts, clock: Clock
) -> None:
    phone = await make_two_step_user(parts, clock)
    code = phone.code()
    assert (await sign_in_with_code(browser, code)).code == 303
    assert (await sign_in_with_code(other, code)).code == 401


@pytest.mark.gen_test
async def test_the_form_of_the_setup_link_posted_twice_makes_one_admin(browser: Browser, parts: Parts) -> None:
    link = f"/setup/{await parts.setup.make()}"
    token = await opened(browser, link)
    for _ in range(2):
        answer = await post(browser, link, token, REGISTER)
        assert (answer.code, b"Account created" in answer.body) == (200, True)
    assert len(await parts.accounts.with_role(Role.ADMIN)) == 1
    for changed in ({"password": "an entirely different phrase"}, {"username": "mallory"}, {"email": "m@example.org"}):
        browser.cookies.pop("sid", None)
        assert (await post(browser, link, token, {**REGISTER, **changed})).code == 404
    assert (await browser.get(link)).code == 404
