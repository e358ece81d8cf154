"""Tasks done with the keyboard alone: each focused element is in sight, nothing covers it, and it shows that it has the focus."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser.crowd import people
from browser.site import Site
from browser.tools import context
from playwright.sync_api import Browser, Page, Route, expect
from support.passwords import PASSWORD

from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.access import PASSWORD_FRESH_FOR

#: What is wrong with the focus: WCAG 2.4.7 (it is seen) and 2.4.11 (nothing covers it).
_FAULT = """() => {
  const element = document.activeElement;
  if (element === document.body) return "nothing has the focus";
  const name = element.outerHTML.slice(0, 120);
  if (!element.checkVisibility({ visibilityProperty: true, opacityProperty: true })) return `not shown: ${name}`;
  const marks = [element, element.closest("label, .search, .with-end")].filter(Boolean).map((one) => getComputedStyle(one));
  if (marks.every((style) => style.outlineStyle === "none" && style.boxShadow === "none")) return `no mark: ${name}`;
  const { left, top, width, height } = element.getClientRects()[0];
  const hit = document.elementFromPoint(left + width / 2, top + height / 2);
  if (!hit) return `outside of the window: ${name}`;
  if (!(element.closest("label") ?? element).contains(hit)) return `covered by ${hit.outerHTML.slice(0, 120)}: ${name}`;
  return "";
}"""
_ROW = "[...document.querySelectorAll('#rows tbody tr')].indexOf(document.activeElement.closest('#rows tbody tr'))"
_IS_BEHIND = "document.activeElement !== document.body && !document.activeElement.closest('#shortcuts')"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with an admin, two users with several devices, and a crowd."""
    with Site(tmp_path_factory.mktemp("site")) as made:
        made.run(lambda: _fill(made))
        yield made


async def _fill(site: Site) -> None:
    for name, role in (("root", Role.ADMIN), ("ada", Role.USER), ("grace", Role.USER)):
        await site.parts.accounts.register(name, f"{name}@example.org", PASSWORD, role=role)
    await site.parts.sessions.store.save(list(people(200)))
    for name in ("ada", "ada", "grace", "grace", "grace", "root"):
        await site.sign_in(name)


@pytest.fixture(scope="module")
def operator(site: Site, chromium: Browser) -> Iterator[Page]:
    """A laptop on which the admin has signed in."""
    found = context(chromium, viewport={"width": 1280, "height": 800})
    found.add_cookies([{"name": "sid", "value": site.cookies["root"]["sid"], "url": site.url}])
    yield found.new_page()
    found.close()


def press(page: Page, key: str) -> None:
    """Press a key; then the focus must be seen."""
    page.keyboard.press(key)
    assert not (fault := page.evaluate(_FAULT)), f"{page.url}, after {key}: {fault}"


def tab_to(page: Page, css: str) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(80):
        press(page, "Tab")
        if page.evaluate("(css) => document.activeElement.matches(css)", css):
            return
    raise AssertionError(f"Tab does not reach {css} on {page.url}")


def sign_in(page: Page, site: Site, name: str, following: str) -> None:
    """Sign in and be led to a page."""
    page.goto(f"{site.url}/login?next={following}")
    tab_to(page, "[name=username]")
    page.keyboard.type(name)
    tab_to(page, "[name=password]")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(site.url + following)


def walk_through_the_sheet(page: Page) -> None:
    """Open the help; the focus stays in it, and goes back to where it was."""
    before = page.evaluate_handle("document.activeElement")
    press(page, "?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    reached = set()
    for _ in range(6):
        page.keyboard.press("Tab")
        assert not page.evaluate(_IS_BEHIND)
        # Between the last element and the first one, the focus is with the browser itself.
        if page.evaluate("document.activeElement !== document.body"):
            assert not page.evaluate(_FAULT)
            reached.add(page.evaluate("document.activeElement.textContent || document.activeElement.id"))
    assert reached == {"use-shortcuts", "Close"}
    page.keyboard.press("Escape")
    expect(page.locator("#shortcuts")).to_be_hidden()
    assert page.evaluate("(before) => document.activeElement === before", before)


def test_an_operator_finds_and_ends_a_session_with_the_keyboard_alone(site: Site, chromium: Browser) -> None:
    page = context(chromium, viewport={"width": 1280, "height": 800}).new_page()
    sign_in(page, site, "root", "/admin/")
    # The password is old by now, so that the end asks for it.
    site.clock.ahead += PASSWORD_FRESH_FOR + 1
    press(page, "/")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.type("grace")
    press(page, "Enter")
    expect(page.locator("h1")).to_have_text("3 matching sessions")
    press(page, "Tab")
    for key, row in (("j", 0), ("j", 1), ("j", 2), ("j", 2), ("k", 1)):
        press(page, key)
        assert page.evaluate(_ROW) == row
    press(page, "x")
    expect(page.locator("#rows tbody .box:checked")).to_have_count(1)
    walk_through_the_sheet(page)
    assert page.evaluate(_ROW) == 1

    page.keyboard.press("e")
    expect(page.locator("h1")).to_contain_text("End 1 session")
    tab_to(page, "[name=why]")
    press(page, "Space")
    expect(page.get_by_role("radio", name="Lost or stolen device")).to_be_checked()
    press(page, "ArrowRight")
    expect(page.get_by_role("radio").nth(1)).to_be_checked()
    tab_to(page, "[name=password]")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("1 session")
    expect(page.locator("#rows tbody tr")).to_have_count(2)
    # The message is open, and does not take the shortcuts away.
    page.wait_for_load_state()
    press(page, "j")
    assert page.evaluate(_ROW) == 0
    walk_through_the_sheet(page)
    page.context.close()


def test_an_answer_that_comes_late_leaves_the_focus_in_its_place(site: Site, operator: Page) -> None:
    """The rows and the tools beside the search are replaced while one of them has the focus."""
    filters, row = "#tools [popovertarget=filters]", "#rows tbody tr:first-child .c-user a"
    held: list[Route] = []
    operator.goto(site.url + "/admin/?limit=25")

    def hold(route: Route) -> None:
        held.append(route)

    operator.route("**/admin/?*q=*", hold)
    # The second Tab leads to the filter of the first search, which the answer removes.
    for name, keys, wanted in (("bruno", "Tab", filters), ("chiara", "Tab", filters), ("hiro", "Tab j", row)):
        press(operator, "/")
        with operator.expect_request("**/admin/?*q=*"):
            operator.keyboard.insert_text(name)
            press(operator, "Enter")
        for key in keys.split():
            press(operator, key)
        held.pop().continue_()
        expect(operator.locator("#rows tbody tr").first).to_contain_text(name)
        expect(operator.locator(wanted)).to_be_focused()
    operator.unroute("**/admin/?*q=*")


def test_every_row_that_is_stepped_to_is_in_sight(site: Site, operator: Page) -> None:
    """Neither the head of the table nor the bar at the foot of the window covers it."""
    operator.goto(site.url + "/admin/?limit=25")
    press(operator, "j")
    press(operator, "x")
    for key in "j" * 24 + "k" * 24:
        press(operator, key)
    assert operator.evaluate(_ROW) == 0


def test_somebody_signs_out_another_device_on_a_phone_with_tab_and_enter(site: Site, chromium: Browser) -> None:
    page = context(chromium, viewport={"width": 360, "height": 740}, has_touch=True).new_page()
    sign_in(page, site, "ada", "/account")
    others = page.locator(".device form")
    count = others.count()
    assert count >= 2
    tab_to(page, ".device form button")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("The device has been signed out.")
    expect(others).to_have_count(count - 1)
    # The message is dismissed with the keyboard, too.
    tab_to(page, ".toast button")
    page.keyboard.press("Enter")
    expect(page.locator(".toast")).to_be_hidden()
    page.context.close()
