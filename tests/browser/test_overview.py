"""The overview in a browser: what one sees first."""

from __future__ import annotations

from browser.tools import context
from playwright.sync_api import Browser, Page, expect
from support.server_process import ServerProcess


def test_a_phone_shows_in_one_line_whether_all_works_and_then_the_numbers(
    server: ServerProcess, chromium: Browser, state: Page
) -> None:
    size = {"width": 360, "height": 740}
    page = context(chromium, viewport=size, storage_state=state.context.storage_state()).new_page()
    page.goto(server.url + "/admin/overview")
    numbers = page.locator(".stats > div")
    assert all(box and box["y"] + box["height"] <= 740 for box in (each.bounding_box() for each in numbers.all()))
    line = page.locator(".works summary")
    expect(page.get_by_text("answers in")).to_be_hidden()
    line.click()
    expect(page.get_by_text("answers in")).to_be_visible()
    # An update leaves it open.
    with page.expect_response("**/admin/live*", timeout=15000):
        page.reload()
    page.locator(".works summary").click()
    before = page.locator("#main [data-at]").inner_text()
    expect(page.locator("#main [data-at]")).not_to_have_text(before, timeout=15000)
    expect(page.get_by_text("answers in")).to_be_visible()
    page.context.close()


def test_a_laptop_shows_every_check(server: ServerProcess, chromium: Browser, state: Page) -> None:
    size = {"width": 1280, "height": 800}
    page = context(chromium, viewport=size, storage_state=state.context.storage_state()).new_page()
    page.goto(server.url + "/admin/overview")
    for each in page.locator(".health li").all():
        expect(each).to_be_visible()
    expect(page.locator(".works summary")).to_be_hidden()
    page.context.close()
