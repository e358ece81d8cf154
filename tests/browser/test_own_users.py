"""What people see of our pages in an application with its own table of users, which asks for more than we do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2.profiles import CHEAPEST
from axe_playwright_python.sync_playwright import Axe
from browser.served import Served
from browser.tools import context, fill
from playwright.sync_api import Browser, Page, expect
from support.passwords import PASSWORD, SECRET
from tornado.web import Application
from typing_extensions import override

from examples.own_users.app import Plan
from examples.own_users.users import Members
from tornado_sessions import Sessions
from tornado_sessions.server import AccountPages, Field
from tornado_sessions.server.accounts.passwords import Passwords

FIELDS = [
    Field("full_name", "Full name", required=True),
    Field("desk", "Desk", kind=int, hint="The number on it."),
    Field("team", "Team", choices={"ops": "Operations", "dev": "Development"}),
    Field("terms", "I accept the terms", kind=bool, required=True),
]


class Shop(Served):
    """The example, with fields of every kind."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._members = Members(f"sqlite:///{folder}/members.db")
        self._sessions = Sessions(f"sqlite:///{folder}/shop.db", secret=SECRET)

    @override
    async def make(self) -> Application:
        passwords = Passwords(CHEAPEST)
        self._pages = AccountPages(
            self._sessions, users=self._members, home="/plan", service="Shop", fields=FIELDS, passwords=passwords
        )
        await self._pages.open()
        return Application(
            [("/plan", Plan), *self._pages.routes()],
            sessions=self._sessions,
            members=self._members,
            login_url=self._pages.login_url,
            xsrf_cookies=True,
        )

    @override
    async def end(self) -> None:
        await self._pages.close()
        await self._sessions.close()
        self._members.engine.dispose()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with Shop(tmp_path) as made:
        yield made


def is_accessible(page: Page) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_customer_registers_signs_in_changes_details_and_signs_out(shop: Shop, chromium: Browser) -> None:
    page = context(chromium, viewport={"width": 360, "height": 800}).new_page()
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(shop.url + "/auth/register")
    expect(page).to_have_title("Register · Shop")
    page.locator("[name=extra_desk]").fill("seven")
    page.locator("[name=extra_terms]").check()
    fill(page, username="ada", email="ada@example.org", extra_full_name="Ada Lovelace", password=PASSWORD)
    expect(page.get_by_role("alert")).to_contain_text("Enter a whole number.")
    page.get_by_role("link", name="Enter a whole number.").click()
    expect(page.locator("#extra_desk")).to_be_focused()
    is_accessible(page)
    page.locator("[name=extra_team]").select_option("Operations")
    fill(page, extra_desk="7", password=PASSWORD)
    expect(page.locator("h1")).to_have_text("Account created")
    page.goto(shop.url + "/plan")
    fill(page, username="ada", password=PASSWORD)
    expect(page).to_have_url(shop.url + "/plan")
    page.get_by_role("link", name="Account").click()
    page.goto(shop.url + "/auth/account/profile")
    expect(page.locator("main")).to_contain_text("Operations")
    is_accessible(page)
    page.get_by_role("link", name=re.compile("Change.*Team")).click()
    is_accessible(page)
    page.locator("[name=extra_team]").select_option("Development")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("main")).to_contain_text("Development")
    page.get_by_role("button", name="Account menu of ada").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("h1")).to_have_text("You've signed out")
    page.goto(shop.url + "/plan")
    expect(page).to_have_title("Sign in · Shop")
    assert said == []
    page.context.close()
