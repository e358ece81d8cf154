"""The list of sessions in a browser: how many rows one sees, and ending what matches on a phone."""

from __future__ import annotations

import re

from browser.looks import CHECKS
from browser.tools import context, fill, log_in
from playwright.sync_api import Browser, Page, expect
from support.passwords import PASSWORD
from support.server_process import ServerProcess

_ROWS = """() => {
  const foot = document.querySelector(".dock.pager").getBoundingClientRect().top;
  return [...document.querySelectorAll("#rows tbody tr")].filter((row) => row.getBoundingClientRect().bottom <= foot + 1).length;
}"""

# Names as long as an account may have, each with two badges.
_LONG_NAMES = """() => document.querySelectorAll("#rows tbody .c-user > a").forEach((name) => {
  name.textContent = "a-name-of-sixty-characters".repeat(3).slice(0, 60);
  name.insertAdjacentHTML("afterend", ' <span class="badge">Remembered</span> <span class="badge">Two-step</span>');
})"""

_PLACES = """() => document.querySelectorAll("#rows tbody .c-ip a").forEach((address) => {
  address.textContent = "2001:db8:1234:5678::cf2b";
  address.insertAdjacentHTML("afterend", ' <span class="place">San Francisco, US</span>');
})"""
_CUT = """() => [...document.querySelectorAll("#rows tbody .c-ip")].filter((cell) => cell.scrollWidth > cell.clientWidth
  || cell.scrollHeight > cell.clientHeight + 1
  || cell.getBoundingClientRect().bottom > cell.parentNode.getBoundingClientRect().bottom)
  .map((cell) => cell.textContent)"""


def test_fourteen_rows_fit_a_laptop_and_five_a_phone(server: ServerProcess, chromium: Browser, state: Page) -> None:
    for width, height, least in ((1280, 800, 14), (360, 740, 5)):
        size = {"width": width, "height": height}
        page = context(chromium, viewport=size, storage_state=state.context.storage_state()).new_page()
        page.goto(server.url + "/admin/")
        assert page.evaluate(_ROWS) >= least
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if width == 360:
            assert page.evaluate("document.documentElement.scrollHeight") <= 4500
            # Places as long as they come, each with an address of IPv6.
            page.evaluate(_PLACES)
            assert page.evaluate(_ROWS) >= least
            assert page.evaluate(_CUT) == []
        page.context.close()


def test_new_sessions_are_offered_once_there_are_some(server: ServerProcess, chromium: Browser, state: Page) -> None:
    """On a laptop and on a phone, how many have signed in since the page was shown, and a link to them."""
    for number, (width, height) in enumerate(((1280, 800), (360, 740))):
        size = {"width": width, "height": height}
        page = context(chromium, viewport=size, storage_state=state.context.storage_state()).new_page()
        page.clock.install()
        # Whoever signs in in the very second counts as well, so another sign-in of just now must not match.
        page.goto(f"{server.url}/admin/?q=newcomer{number}")
        link = page.locator("[data-new]")
        page.clock.fast_forward(31_000)
        expect(link).to_be_hidden()
        visitor = context(chromium).new_page()
        visitor.goto(server.url + "/reg")
        fill(visitor, username=f"newcomer{number}", email=f"newcomer{number}@example.org", password=PASSWORD)
        log_in(visitor, server.url, f"newcomer{number}")
        visitor.context.close()
        page.clock.fast_forward(31_000)
        expect(link).to_have_text(re.compile(r"1 sign-in since \d\d:\d\d – show"))
        link.click()
        expect(page.locator("#rows tbody th")).to_contain_text([f"newcomer{number}"])
        page.context.close()


def test_a_printed_list_names_its_filters_and_the_exact_times(
    server: ServerProcess, chromium: Browser, state: Page
) -> None:
    page = context(chromium, storage_state=state.context.storage_state()).new_page()
    page.goto(server.url + "/admin/?user=mallory")
    page.emulate_media(media="print")
    expect(page.locator(".tools > .chips")).to_contain_text("mallory")
    for clicked in ("#q", ".suggestions", ".segment", ".dock", ".chip a", "#rows .box", "#rows .c-menu"):
        expect(page.locator(clicked).first).to_be_hidden()
    shown = page.evaluate("getComputedStyle(document.querySelector('#rows time'), '::after').content")
    assert shown.endswith('UTC"'), shown
    page.context.close()


def test_a_long_name_is_whole_beside_its_badges(server: ServerProcess, chromium: Browser, state: Page) -> None:
    for width, height in ((1280, 800), (360, 740)):
        size = {"width": width, "height": height}
        page = context(chromium, viewport=size, storage_state=state.context.storage_state()).new_page()
        page.goto(server.url + "/admin/?kind=users")
        page.evaluate(CHECKS)
        assert page.evaluate("checks.cut()") == []
        page.evaluate(_LONG_NAMES)
        assert page.evaluate("checks.cut()") == [], width
        page.context.close()


def test_all_sessions_of_a_user_from_one_network_are_ended_on_a_phone_in_seven_steps(
    server: ServerProcess, chromium: Browser, state: Page
) -> None:
    """Open the filters, two fields, show, end all, choose a reason, confirm."""
    size = {"width": 360, "height": 740}
    page = context(chromium, viewport=size, has_touch=True, storage_state=state.context.storage_state()).new_page()
    page.goto(server.url + "/admin/")
    page.get_by_role("button", name="Filters").tap()
    page.locator("#user").fill("mallory")
    page.locator("#ip").fill("203.0.113.0/24")
    page.get_by_role("button", name="Show sessions").tap()
    page.get_by_role("button", name=re.compile("End all .* matching sessions")).tap()
    page.get_by_role("radio", name="Compromised account").check()
    page.locator("main .destroy").tap()
    expect(page.locator("#list")).to_contain_text("No matching sessions")
    page.context.close()


def test_the_list_is_used_with_the_keyboard_alone(server: ServerProcess, state: Page) -> None:
    """The first Tab leads to the content, and everything that can be clicked can be reached, with its focus seen."""
    state.goto(server.url + "/admin/?limit=3")
    state.keyboard.press("Tab")
    assert state.evaluate("document.activeElement.className") == "skip"
    state.keyboard.press("Enter")
    reached = set()
    for _ in range(40):
        state.keyboard.press("Tab")
        reached.add(
            state.evaluate(
                "document.activeElement.tagName + ' ' + (document.activeElement.name || document.activeElement.innerText || '')"
            )
        )
        outline = state.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none" or state.evaluate("document.activeElement === document.body")
    assert {"INPUT q", "INPUT handle", "BUTTON Filters", "A Next"} <= reached
