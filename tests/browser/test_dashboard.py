"""What operators do, in a real browser, on thousands of sessions in SQLite, Redis and MongoDB."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser.crowd import HOSTILE
from browser.tools import context, fill, log_in
from playwright.sync_api import Browser, Page, expect
from support.passwords import PASSWORD
from support.server_process import ServerProcess


@pytest.fixture(params=["with script", "without script"])
def operator(request: pytest.FixtureRequest, chromium: Browser, state: Page) -> Iterator[Page]:
    """The same operator in a browser with and without script."""
    words = "en-US" if request.param == "with script" else "en-US without script"
    found = context(chromium, words, storage_state=state.context.storage_state())
    yield found.new_page()
    found.close()


def test_all_sessions_of_a_user_from_one_network_are_found_and_ended(
    server: ServerProcess, operator: Page, request: pytest.FixtureRequest
) -> None:
    """The task that a newcomer has to do in half a minute: two fields, three buttons."""
    network = "203.0.113.0/24" if "with script" in request.node.name else "192.0.2.0/24"
    operator.goto(server.url + "/admin/")
    operator.get_by_role("button", name="Filters").click()
    operator.get_by_label("User", exact=True).fill("mallory")
    operator.get_by_label("IP or network (CIDR)").fill(network)
    operator.get_by_role("button", name="Show sessions").click()
    button = operator.get_by_role("button", name="matching sessions")
    count = int(button.inner_text().split()[2])
    assert count > 20
    rows = operator.locator("tbody tr")
    expect(rows).to_have_count(min(count, 50))
    button.click()
    expect(operator.locator("h1")).to_have_text(f"End all {count} matching sessions?")
    operator.get_by_role("radio", name="Compromised account").check()
    operator.get_by_role("button", name=f"End {count} sessions").click()
    expect(operator.get_by_role("status").first).to_contain_text(str(count))
    operator.goto(f"{server.url}/admin/?user=mallory&ip={network}")
    expect(operator.locator("#list")).to_contain_text("No matching sessions")
    operator.goto(f"{server.url}/admin/?user=mallory&ip={network}&state=ended")
    expect(operator.locator("tbody")).to_contain_text("Compromised account")


def test_names_that_want_to_be_more_are_only_names(server: ServerProcess, operator: Page) -> None:
    dialogs: list[str] = []
    operator.on("dialog", lambda dialog: dialogs.append(dialog.message))
    operator.goto(server.url + "/admin/?ip=192.0.2.66")
    expect(operator.locator("tbody tr")).to_have_count(len(HOSTILE))
    expect(operator.locator("tbody")).to_contain_text("<img src=x onerror=alert(1)>")
    expect(operator.locator("tbody")).to_contain_text("{{ 7*7 }}")
    for number in range(0, len(HOSTILE), 3):
        operator.goto(server.url + "/admin/?ip=192.0.2.66")
        row = operator.locator("#list tbody tr").nth(number)
        user, session = row.locator("th a").get_attribute("href"), row.locator(".c-menu a").get_attribute("href")
        for address, title in ((session, "Session of"), (user, "")):
            operator.goto(f"{server.url}{address}")
            expect(operator.locator("h1")).to_contain_text(title)
            expect(operator.locator("main")).to_be_visible()
    assert dialogs == []


def test_the_numbers_of_the_overview_are_live_and_can_be_paused(
    server: ServerProcess, chromium: Browser, state: Page
) -> None:
    page = context(chromium, storage_state=state.context.storage_state()).new_page()
    page.goto(server.url + "/admin/overview")
    at = page.locator(".page-head [data-at]")
    before = at.inner_text()
    expect(at).not_to_have_text(before, timeout=15_000)
    # The stream is closed, so that no later number can arrive.
    with page.expect_event("requestfailed", lambda request: "/admin/live" in request.url):
        page.get_by_role("button", name="Pause updates").click()
    expect(page.get_by_text("Paused")).to_be_visible()
    page.context.close()


@pytest.mark.parametrize("width", [1280, 360])
def test_charts_are_read_with_pointer_keys_and_as_a_table(
    server: ServerProcess, chromium: Browser, state: Page, width: int
) -> None:
    """Real axes, a tip at the pointer, the same tip with the arrow keys, the numbers as a table; axe finds nothing in all of it."""
    found = context(chromium, storage_state=state.context.storage_state(), viewport={"width": width, "height": 740})
    page = found.new_page()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.goto(server.url + "/admin/overview?span=1h")
        page.get_by_role("button", name="Pause updates").click()
        expect(page.locator(".top a").first).to_be_visible()
        chart, tip = page.locator("svg[data-tips]").first, page.locator(".chart-tip")
        assert len(chart.locator("text").all_inner_texts()) > 8
        box = chart.bounding_box()
        assert box is not None
        chart.hover(position={"x": box["width"] - 3, "y": 60})
        expect(tip).to_contain_text(page.locator(".big a").first.inner_text())
        page.mouse.move(2, 2)
        expect(tip).to_be_hidden()
        bars = page.locator("svg.low").nth(1)
        bars.focus()
        page.keyboard.press("End")
        last = tip.inner_text()
        page.keyboard.press("ArrowLeft")
        expect(tip).not_to_have_text(last)
        expect(page.get_by_role("status").filter(has_text="a minute")).to_have_count(1)
        page.keyboard.press("Escape")
        expect(tip).to_be_hidden()
        page.get_by_role("link", name="View as table").click()
        expect(page.locator(".chart-data tbody tr").first).to_be_visible()
        assert Axe().run(page).response["violations"] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    found.close()


def test_two_steps_are_switched_on_and_asked_for(server: ServerProcess, chromium: Browser) -> None:
    import pyotp

    page = context(chromium).new_page()
    page.goto(server.url + "/reg")
    fill(page, username="careful", email="careful@example.org", password=PASSWORD)
    log_in(page, server.url, "careful")
    page.goto(server.url + "/account/security")
    page.get_by_role("link", name="Turn on").click()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    secret = str(page.locator("[name=secret]").get_attribute("value"))
    page.get_by_label("Code").fill(pyotp.TOTP(secret).now())
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_role("button", name="Turn on").click()
    code = page.locator(".recovery-codes code").first.inner_text()
    page.goto(server.url + "/logout")
    page.locator("main form button").click()
    log_in(page, server.url, "careful")
    page.locator("[name=code]").fill("000000")
    page.locator("main button").click()
    expect(page.get_by_role("alert")).to_contain_text("That code isn't valid")
    page.locator("[name=code]").fill(code)
    page.locator("main button").click()
    expect(page).to_have_url(server.url + "/account")
    page.goto(server.url + "/account/security")
    expect(page.locator("main")).to_contain_text("9 recovery codes left")
    page.context.close()
