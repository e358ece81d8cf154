"""What another site can make a browser do here: link to a page, and nothing else."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from support.browser import Browser
from support.passwords import PASSWORD
from support.people import make_operator

from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role


@pytest.fixture
def url() -> str:
    """What is tested here knows no store."""
    return "memory://"


FORM = {"Content_Type": "application/x-www-form-urlencoded"}
#: Headers that browsers, new and old, send with a request of another site.
FOREIGN = [
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"},
    {"Sec_Fetch_Site": "cross-site", "Origin": "null"},
    {"Sec_Fetch_Site": "something new"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Referer": "https://evil.example/a"},
]
#: Headers that prove nothing.
UNPROVED: list[dict[str, str]] = [{}, {"Sec_Fetch_Site": "none"}]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.gen_test
async def test_a_form_of_another_site_is_refused_even_with_the_right_token(
    browser: Browser, headers: dict[str, str]
) -> None:
    await browser.register()
    body = urlencode({"_xsrf": await browser.token(), "username": "ada", "password": PASSWORD})
    assert (await browser.send("POST", "/login", body, **FORM, **headers)).code == 403
    assert (await browser.send("POST", "/login", body, **FORM)).code == 303


@pytest.mark.gen_test
async def test_a_form_of_our_own_is_accepted_from_every_browser(browser: Browser) -> None:
    await browser.register()
    for headers in ({"Sec_Fetch_Site": "same-origin"}, {"Origin": browser.base}, {"Referer": f"{browser.base}/login"}):
        body = urlencode({"_xsrf": await browser.token(), "username": "ada", "password": PASSWORD})
        assert (await browser.send("POST", "/login", body, **FORM, **headers)).code == 303
        await browser.post("/logout", {})


@pytest.mark.parametrize("headers", FOREIGN + UNPROVED, ids=str)
@pytest.mark.gen_test
async def test_a_sign_out_that_is_not_proved_to_be_ours_asks_first(browser: Browser, headers: dict[str, str]) -> None:
    await browser.register()
    await browser.log_in()
    answer = await browser.get("/logout", **headers, Sec_Fetch_Mode="navigate")
    assert "Sign out?" in answer.body.decode()
    assert ("Another site asked" in answer.body.decode()) == (headers not in UNPROVED)
    assert (await browser.get("/account")).code == 200


@pytest.mark.gen_test
async def test_a_sign_out_from_our_own_page_needs_no_question(browser: Browser) -> None:
    await browser.register()
    for headers in ({"Sec_Fetch_Site": "same-origin"}, {"Origin": browser.base}, {"Referer": f"{browser.base}/home"}):
        await browser.log_in()
        assert "signed out" in (await browser.get("/logout", **headers)).body.decode()
        assert (await browser.get("/account")).code == 302


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.parametrize("path", ["/admin/live", "/admin/api/sessions", "/admin/api/stats", "/admin/audit.csv"])
@pytest.mark.gen_test
async def test_streams_exports_and_the_api_are_for_our_own_pages(
    operator: Browser, parts: Parts, path: str, headers: dict[str, str]
) -> None:
    await make_operator(parts, operator, Role.ADMIN)
    answer = await operator.get(path, **headers, Sec_Fetch_Mode="navigate")
    assert answer.code == 403


@pytest.mark.gen_test
async def test_another_site_may_link_to_a_page_but_not_load_it(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    for path in ("/admin/", "/account", "/home"):
        assert (await operator.get(path, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")).code == 200
        for mode in ("no-cors", "cors", "websocket"):
            assert (await operator.get(path, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode=mode)).code == 403
