"""Every page of the dashboard: accessible, in both themes, narrow, light."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser.crowd import fill_store
from browser.tools import context, fill
from playwright.sync_api import Browser, Page, Request
from support.amount import LONG
from support.passwords import PASSWORD
from support.server_process import ServerProcess

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
PAGES = {
    "overview": "overview",
    "sessions": "",
    "ended": "?state=ended",
    "visitors": "?kind=visitors&sort=user",
    "nothing": "?user=nobody",
    "refused": "?ip=10.0.0.0/99",
    "users": "users",
    "audit": "audit",
    "jobs": "jobs",
    "operators": "operators",
    "settings": "settings",
    "user": "user?name=mallory",
    "missing": "sessions/none",
}

#: How far what is shown has moved while the page was loaded.
SHIFTS = """
  window.shifted = 0;
  new PerformanceObserver((list) => { for (const entry of list.getEntries()) shifted += entry.value; })
    .observe({type: "layout-shift", buffered: true});
"""

#: Theme and language. `make test` looks at each page in one of them, in turn; `make test-long` in both.
LOOKS = [("light", "en-US"), ("dark", "zh-CN")]
RUNS = [pytest.param(name, LOOKS if LONG else [LOOKS[n % 2]], id=name) for n, name in enumerate(PAGES)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("server")
    fill_store(f"sqlite:///{folder}/data/sessions.db", 2_000)
    made = ServerProcess(folder)
    yield made
    assert made.stop() == 0
    assert "Traceback" not in (folder / "stderr").read_text()


@pytest.fixture(scope="module")
def operator(server: ServerProcess, chromium: Browser) -> Iterator[Page]:
    page = context(chromium).new_page()
    page.goto(server.url + server.setup_path)
    fill(page, username="root", email="root@example.org", password=PASSWORD)
    page.goto(server.url + "/admin/overview")
    page.goto(server.url + "/admin/?user=amelia*")
    page.locator("tbody [type=checkbox]").first.check()
    page.locator("button[data-one]").click()
    page.locator("[name=why]").select_option("Lost or stolen device")
    page.locator("main .destroy").click()
    yield page
    page.context.close()


@pytest.mark.parametrize(("name", "looks"), RUNS)
def test_a_page_is_accessible_in_both_themes_narrow_and_light(
    server: ServerProcess, chromium: Browser, operator: Page, name: str, looks: list[tuple[str, str]]
) -> None:
    """axe-core finds nothing (WCAG 2.2 AA), nothing is wider than 320 px, and a first page weighs at most 80 KB in 6 requests."""
    said: list[str] = []
    for theme, words in looks:
        seen = context(chromium, words, color_scheme=theme, storage_state=operator.context.storage_state())
        page = seen.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.add_init_script(SHIFTS)
        asked: list[Request] = []
        page.on("requestfinished", lambda request: asked.append(request))  # noqa: B023, PLW0108
        page.goto(f"{server.url}/admin/{PAGES[name]}", wait_until="load")
        found = Axe().run(page, options=RULES)
        assert found.violations_count == 0, found.generate_report()
        # What the browser has already, such as the icons as the picture of the tab, has no size.
        sizes = [size for request in asked if (size := request.sizes()["responseBodySize"]) > 0]
        assert (len(sizes) <= 6, sum(sizes) <= 80_000) == (True, True), sizes
        assert page.evaluate("shifted") < 0.01
        page.set_viewport_size({"width": 320, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        seen.close()
    # A browser itself says that a page was refused or missing.
    assert [text for text in said if "Failed to load resource" not in text] == []


def test_the_list_is_used_with_the_keyboard_alone(server: ServerProcess, operator: Page) -> None:
    """The first Tab leads to the content, and everything that can be clicked can be reached, with its focus seen."""
    operator.goto(server.url + "/admin/?limit=3")
    operator.keyboard.press("Tab")
    assert operator.evaluate("document.activeElement.className") == "skip"
    operator.keyboard.press("Enter")
    reached = set()
    for _ in range(40):
        operator.keyboard.press("Tab")
        reached.add(
            operator.evaluate(
                "document.activeElement.tagName + ' ' + (document.activeElement.name || document.activeElement.innerText || '')"
            )
        )
        outline = operator.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none" or operator.evaluate("document.activeElement === document.body")
    assert {"INPUT q", "INPUT handle", "BUTTON Filters", "A Next"} <= reached
