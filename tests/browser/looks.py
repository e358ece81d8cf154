"""How a page is looked at: window, language, theme, script; and what is wrong with it then."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlencode

from axe_playwright_python.base import AXE_SCRIPT
from browser.served import Served
from browser.states import Request
from browser.tools import context
from playwright.sync_api import Browser, Page, Response, Route
from support.amount import LONG

CHECKS = (Path(__file__).parent / "checks.js").read_text(encoding="utf-8")
#: Adds up how far what is seen is moved by itself.
SHIFTS = """
  window.shifted = 0;
  new PerformanceObserver((list) => { for (const entry of list.getEntries()) shifted += entry.value; })
    .observe({type: "layout-shift", buffered: true});
"""
#: What has moved once two more frames are painted.
_AFTER_FRAMES = (
    "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => done(shifted)))))"
)
_PAINTED = 'new Promise((done) => new PerformanceObserver(() => done()).observe({type: "paint", buffered: true}))'
_SCRIPT = re.compile(r"\.js(\?|$)")
_SIZES = {"laptop": (1280, 800), "phone": (360, 740)}
#: A window of 1280 × 800 at 200 %, and the narrowest that WCAG 1.4.10 names.
_ZOOMED, _NARROW = (640, 400), (320, 640)
_MOST_BYTES, _MOST_REQUESTS = 80_000, 6


def _paint_before_scripts(route: Route) -> None:
    """Answer as the server does, but let no script hold back the first paint: not all browsers let them.

    Only the script that adds local times has to: how long they are, and whether there are any, only the browser knows.
    """
    answer = route.fetch(max_redirects=0)
    text = answer.text()
    route.fulfill(response=answer, body=text if "/local-time.js" in text else text.replace(' blocking="render"', ""))


class Look(NamedTuple):
    """One way to look at a page."""

    size: str
    language: str
    theme: str
    has_script: bool


#: Every way to open a page. Seven and their number have no common divisor, so neighbours differ in several respects.
LOOKS = [Look(*each) for each in itertools.product(_SIZES, ("en_US", "zh"), ("light", "dark"), (True, False))]
#: The ways to open pages that are turned dark afterwards: nothing but the colours differs between the themes.
LIGHT = [look for look in LOOKS if look.theme == "light"]


class Viewer:
    """Looks at pages in one page of the browser, as one person after another.

    A page of its own for each person would take a process of the browser for each, which compiles the checks again.

    Args:
        chromium: the browser.
        site: whose people look.
    """

    def __init__(self, chromium: Browser, site: Served) -> None:
        self.site = site
        self._sizes: list[float] = []
        self._said: list[str] = []
        self._who = ""
        self._cookies: dict[str, Sequence[Any]] = {}
        # Far from UTC, so that pages show the local time beside it.
        self._context = context(chromium, timezone_id="Asia/Kolkata")
        # Faster than to send them to each page. Without script they do not run, and are sent.
        for script in (SHIFTS, CHECKS, AXE_SCRIPT):
            self._context.add_init_script(script)
        if site.elsewhere:
            # To go nowhere is what a browser does at 204.
            self._context.route(f"{site.elsewhere}/**", lambda route: route.fulfill(status=204))
        self._page = self._context.new_page()
        self._protocol = self._context.new_cdp_session(self._page)
        self._protocol.send("Network.enable")
        self._protocol.on("Network.loadingFinished", lambda event: self._sizes.append(event["encodedDataLength"]))
        self._page.on("console", self._hear)
        self._page.on("pageerror", lambda error: self._said.append(str(error)))

    def _become(self, who: str) -> None:
        """Go on with the cookies that this person has by now."""
        if who == self._who:
            return
        self._cookies[self._who] = self._context.cookies()
        self._context.clear_cookies()
        if who in self._cookies:
            self._context.add_cookies(self._cookies[who])
        else:
            self._add_cookies(self.site.cookies.get(who, {}))
        self._who = who

    def _hear(self, message: Any) -> None:
        # A browser itself says that a page was refused or missing.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self._said.append(message.text)

    def moved_by_late_scripts(self, who: str, look: Look, request: Request) -> float:
        """Show a page whose scripts come when it has been painted, and return how far they move what is seen."""
        page, held = self._page, list[Route]()

        def hold(route: Route) -> None:
            held.append(route)

        page.route(_SCRIPT, hold)
        page.route(self.site.url + request.path, _paint_before_scripts)
        self.show(who, look, request, until="commit")
        page.wait_for_selector("body", state="attached")
        if not page.locator("script[blocking]").count():
            page.evaluate(_PAINTED)
        for route in held:
            route.continue_()
        page.wait_for_load_state("load")
        page.unroute_all()
        return float(page.evaluate(_AFTER_FRAMES))

    def show(
        self, who: str, look: Look, request: Request, until: Literal["load", "commit"] = "load"
    ) -> tuple[Page, Response]:
        """Show a page in one look; a form is sent as the browser sends forms."""
        page, kept = self._page, self.site.kept
        if request.cookies is None:
            self._become(who)
        else:
            self._become("stray")
            self._context.clear_cookies()
            self._add_cookies(request.cookies)
        self._add_cookies({f"{kept}lang": look.language, f"{kept}preferences": f"theme:{look.theme}"})
        self._protocol.send("Emulation.setScriptExecutionDisabled", {"value": not look.has_script})
        width, height = _SIZES[look.size]
        page.set_viewport_size({"width": width, "height": height})
        if request.fields is not None or request.site:
            self._prepare(request)
        # What the page has already, such as the icons as the picture of the tab, costs nothing.
        self._protocol.send("Network.clearBrowserCache")
        self._sizes.clear()
        self._said.clear()
        response = page.goto(self.site.url + request.path, wait_until=until)
        assert response is not None
        return page, response

    def _add_cookies(self, cookies: Mapping[str, str]) -> None:
        self._context.add_cookies(
            [{"name": name, "value": value, "url": self.site.url} for name, value in cookies.items()]
        )

    def _prepare(self, request: Request) -> None:
        """Let the next request of this path be that of a form, or come from another site."""
        more, sent = {}, {}
        if request.site:
            more = {"sec-fetch-site": request.site}
        if request.fields is not None:
            home = self._context.request.get(self.site.url + self.site.home).text()
            token = re.search(r'name="xsrf-token" content="([^"]+)"', home)
            assert token
            sent = {"method": "POST", "post_data": urlencode({"_xsrf": token[1], **request.fields}, doseq=True)}
            more |= {"content-type": "application/x-www-form-urlencoded", "referer": self.site.url + self.site.home}

        def send(route: Route) -> None:
            route.fallback(headers={**route.request.headers, **more}, **sent)

        self._page.route(self.site.url + request.path, send, times=1)

    def faults(self, look: Look, known: set[str]) -> list[str]:
        """Return everything that is wrong with the page that is shown.

        Args:
            look: how it is looked at.
            known: the menus, dialogs and details that have been looked at; those of this page are added.
        """
        page = self._page
        sizes, found = [size for size in self._sizes if size > 0], list(self._said)
        if not look.has_script:
            page.evaluate(CHECKS)
        shifted = page.evaluate(_AFTER_FRAMES) if look.has_script else 0
        [language, *cut] = page.evaluate("checks.shown()")
        if language != look.language[:2]:
            found.append("another language")
        if shifted >= 0.01:
            found.append(f"its layout shifts by {shifted}")
        if sum(sizes) > _MOST_BYTES or len(sizes) > _MOST_REQUESTS:
            found.append(f"it weighs {sum(sizes):.0f} bytes in {len(sizes)} requests")
        found += [f"{look.size}: {fault}" for fault in cut]
        if not look.has_script:
            page.evaluate("checks.freeze()")
            self._protocol.send("Emulation.setScriptExecutionDisabled", {"value": False})
            page.evaluate(AXE_SCRIPT)
        # Themes do not depend on scripts.
        options = [sorted(known), LONG, LONG and look.has_script]
        seen = page.evaluate("(options) => checks.accessible(...options)", options)
        known.update(seen["keys"])
        found += seen["found"]
        # Motion goes first: otherwise what changes with the width or the colours starts transitions, which nothing would end.
        page.emulate_media(reduced_motion="reduce")
        for width, height in (_ZOOMED, _NARROW):
            page.set_viewport_size({"width": width, "height": height})
            found += [f"{width} px: {fault}" for fault in page.evaluate("checks.cut()")]
        page.emulate_media(forced_colors="active")
        page.keyboard.press("Shift")
        found += page.evaluate("checks.forced().map((fault) => `forced colours: ${fault}`).concat(checks.moving())")
        page.emulate_media(forced_colors="none", reduced_motion="no-preference")
        return found
