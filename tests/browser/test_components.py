"""The components in a real browser: accessible in both themes and at every width, usable without a mouse, script or motion."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser.tools import context, log_in
from playwright.sync_api import Browser, Page, expect
from support.amount import only_long
from support.server_process import Client, ServerProcess

from tornado_sessions.server.demo import OPERATOR

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


class SmallDemo(ServerProcess):
    """The demo with few sessions, which takes less time to start."""

    program = (
        sys.executable,
        "-c",
        "from tornado_sessions.server import demo, settings; raise SystemExit(demo.run(settings.ServerOptions(port=0), 100))",
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, str]]:
    server = SmallDemo(tmp_path_factory.mktemp("demo"))
    shown = re.search(r"as demo with the password ([a-z0-9-]+)", Client(server.url).get("/login")[1])
    assert shown
    yield server, shown[1]
    assert server.stop() == 0


@pytest.fixture(scope="module")
def page(demo: tuple[ServerProcess, str], chromium: Browser) -> Iterator[Page]:
    server, password = demo
    page = context(chromium).new_page()
    log_in(page, server.url, OPERATOR, password)
    yield page
    page.context.close()


@pytest.fixture
def said(page: Page) -> Iterator[list[str]]:
    """What the browser complains about, such as something that the content security policy has blocked."""
    found: list[str] = []
    page.on("console", lambda message: found.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    yield found
    assert found == []


@pytest.mark.usefixtures("said")
@pytest.mark.parametrize(
    ("width", "scheme"),
    [(320, "light"), *(pytest.param(*each, marks=only_long) for each in ((1280, "light"), (360, "dark")))],
)
def test_every_component_is_accessible_in_both_themes(
    demo: tuple[ServerProcess, str], page: Page, width: int, scheme: str
) -> None:
    """The page shows each component in both themes, whatever the browser prefers."""
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"{demo[0].url}/admin/_components")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(page, options=RULES)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.usefixtures("said")
def test_the_script_refines_what_works_without_it(demo: tuple[ServerProcess, str], page: Page) -> None:
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto(f"{demo[0].url}/admin/_components")
    assert page.evaluate("document.activeElement.matches('[data-focus]')")
    field = page.locator("#l-password")
    field.fill("correct horse")
    button = page.locator("[data-show='l-password']")
    button.click()
    assert (field.get_attribute("type"), button.get_attribute("aria-pressed")) == ("text", "true")
    button.press("Enter")
    assert field.get_attribute("type") == "password"
    page.locator("[data-dialog='l-modal']").press("Enter")
    assert page.evaluate("document.querySelector('#l-modal').matches(':modal')")
    page.keyboard.press("Escape")
    assert not page.locator("#l-modal").is_visible()
    assert page.evaluate("document.activeElement.dataset.dialog") == "l-modal"
    page.locator("[popovertarget='me-menu']").click()
    button_box, menu_box = (
        page.locator("[popovertarget='me-menu']").bounding_box(),
        page.locator("#me-menu").bounding_box(),
    )
    assert button_box
    assert menu_box
    assert 0 <= menu_box["y"] - button_box["y"] - button_box["height"] <= 8
    page.keyboard.press("Escape")
    assert not page.locator("#me-menu").is_visible()


@pytest.mark.usefixtures("said")
def test_a_text_is_copied_where_a_page_has_no_clipboard(demo: tuple[ServerProcess, str], page: Page) -> None:
    """As at every address without https but that of one's own machine."""
    page.goto(f"{demo[0].url}/admin/_components")
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    button = page.locator("main [data-copy]").first
    button.click()
    expect(button).to_have_attribute("aria-label", "Copied")
    field = page.locator("main input[type=search]").first
    field.fill("")
    field.press("Control+V")
    expect(field).to_have_value(str(button.get_attribute("data-copy")))


@pytest.mark.usefixtures("said")
def test_what_the_reader_asks_of_the_browser_is_done(demo: tuple[ServerProcess, str], page: Page) -> None:
    page.goto(f"{demo[0].url}/admin/_components")
    style = "([css, name]) => getComputedStyle(document.querySelector(css))[name]"
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(style, [".bone", "animationName"]) == "none"
    assert page.evaluate(style, [".btn", "transitionDuration"]) == "0s"
    page.emulate_media(forced_colors="active", reduced_motion="no-preference")
    for css in (
        ".segment [aria-current]",
        ".list tbody tr:has(:checked)",
        ".app .main [aria-current], .tabs [aria-current]",
    ):
        shown = page.evaluate(style, [css, "outlineStyle"]), page.evaluate(style, [css, "borderBottomStyle"])
        assert "solid" in shown, css
    page.emulate_media(forced_colors="none", media="print")
    for css in (".app", ".foot", ".toolbar", ".dock", "main .btn"):
        assert page.evaluate(style, [css, "display"]) == "none", css
    page.emulate_media(media="screen")


def test_htmx_works_under_the_security_policy_and_runs_no_text(demo: tuple[ServerProcess, str], page: Page) -> None:
    """It swaps what a server sends; a text that it would have to run as code stays a text."""
    blocked: list[str] = []
    page.on("pageerror", lambda error: blocked.append(str(error)))
    page.on("console", lambda message: blocked.append(message.text) if "Security Policy" in message.text else None)
    page.goto(f"{demo[0].url}/admin/users")
    page.evaluate(
        """async (src) => {
          const script = Object.assign(document.createElement("script"), {src});
          const done = new Promise((loaded) => (script.onload = loaded));
          document.head.append(script);
          await done;
          document.querySelector("main").innerHTML =
            "<button id=swap hx-get='/admin/_components' hx-select='h1' hx-target='#place'>swap</button><div id=place></div>" +
            "<button id=run hx-on:click='window.ran = true'>run</button>";
          htmx.process(document.querySelector("main"));
        }""",
        "/static/vendor/htmx.min.js",
    )
    page.locator("#swap").click()
    page.locator("#place h1").get_by_text("Components").wait_for()
    assert blocked == []
    # Not by evaluate(), which Chromium frees from the policy.
    page.locator("#run").click()
    assert page.evaluate("window.ran") is None


def test_menus_toasts_and_themes_need_no_script(demo: tuple[ServerProcess, str], chromium: Browser) -> None:
    server, password = demo
    seen = context(chromium, "en-US without script", color_scheme="light", viewport={"width": 360, "height": 740})
    page = seen.new_page()
    log_in(page, server.url, OPERATOR, password)
    page.goto(f"{server.url}/admin/_components")
    page.get_by_role("button", name="Menu", exact=True).click()
    assert page.locator("#nav-menu").get_by_role("link", name="Users").is_visible()
    page.keyboard.press("Escape")
    toast = page.locator(".toast").first
    toast.get_by_role("button", name="Dismiss").click()
    assert not toast.is_visible()
    for theme, colour in (
        ("Dark", "rgb(15, 17, 21)"),
        ("Light", "rgb(255, 255, 255)"),
        ("System", "rgb(255, 255, 255)"),
    ):
        page.locator("[popovertarget='me-menu']").click()
        page.get_by_role("button", name=theme, exact=True).click()
        assert page.url.endswith("/admin/_components")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == colour
    seen.close()
