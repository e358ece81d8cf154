"""Preferences: chosen without script, kept in a cookie for a year, and nothing that a browser sends breaks a page."""

from __future__ import annotations

import re

import pytest
from support.browser import Browser

from tornado_sessions.server.web.preferences import Preferences


@pytest.fixture
def url() -> str:
    """What is tested here knows no store."""
    return "memory://"


def test_what_is_written_is_read_again() -> None:
    chosen = Preferences(theme="dark", density="roomy", columns=("user", "last_seen"))
    assert Preferences.read(chosen.write()) == chosen


@pytest.mark.parametrize(
    "cookie",
    [
        "",
        ":",
        "&&",
        "theme:pink",
        "theme",
        "density:\0",
        "columns:<b>+A+" + "x" * 21,
        "theme:dark:light",
        "=" * 4096,
        "é:ü",
    ],
)
def test_bad_values_are_ignored(cookie: str) -> None:
    assert Preferences.read(cookie) == Preferences()


def test_a_cookie_cannot_name_endless_columns() -> None:
    assert len(Preferences.read("columns:" + "+".join("abcdefghijklmnopqrstuvwxyz" * 50)).columns) == 20


def test_a_change_leaves_the_other_preferences() -> None:
    before = Preferences(theme="dark", density="roomy", columns=("user",))
    assert before.changed({"theme": ["light"]}) == Preferences(theme="light", density="roomy", columns=("user",))
    assert before.changed({"columns": ["ip", "ip", "user"]}).columns == ("ip", "user")
    assert before.changed({"columns": [""]}).columns == ()
    assert before.changed({"theme": ["none"], "density": ["none"]}) == before


@pytest.mark.gen_test
async def test_the_theme_is_chosen_for_a_year_and_leads_back(browser: Browser) -> None:
    await browser.register()
    await browser.log_in()
    assert "data-theme" not in (await browser.get("/account")).body.decode()
    chosen = await browser.post("/preferences", {"theme": "dark", "next": "/account"})
    assert (chosen.code, chosen.headers["Location"]) == (303, "/account")
    [cookie] = [text for text in chosen.headers.get_list("Set-Cookie") if text.startswith("preferences=")]
    assert re.search(r"expires=", cookie, re.IGNORECASE)
    assert {"HttpOnly", "Path=/", "SameSite=Lax"} <= set(cookie.split("; "))
    assert 'data-theme="dark"' in (await browser.get("/account")).body.decode()
    await browser.post("/preferences", {"density": "roomy"})
    page = (await browser.get("/account")).body.decode()
    assert 'data-theme="dark"' in page
    assert 'data-density="roomy"' in page


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "following", ["https://evil.example/", "//evil.example", "/logout/x", "/\\evil.example", "nothing"]
)
async def test_a_choice_leads_to_no_other_site(browser: Browser, following: str) -> None:
    await browser.get("/login")
    assert (await browser.post("/preferences", {"theme": "dark", "next": following})).headers["Location"] == "/home"


@pytest.mark.gen_test
async def test_another_site_cannot_choose(browser: Browser) -> None:
    await browser.get("/login")
    assert (await browser.send("POST", "/preferences", "theme=dark")).code == 403
