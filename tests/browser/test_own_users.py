"""What people see of our pages in an application with its own table of users, which asks for more than we do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser.elsewhere import OwnUsersSite
from browser.tools import context, fill
from playwright.sync_api import Browser, Page, expect
from support.passwords import PASSWORD


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[OwnUsersSite]:
    with OwnUsersSite(tmp_path) as made:
        yield made


def is_accessible(page: Page) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_customer_registers_signs_in_changes_details_and_signs_out(shop: OwnUsersSite, chromium: Browser) -> None:
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
