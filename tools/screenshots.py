"""Take the pictures of the documentation from the demo, and write the page that shows them all.

``make screenshots`` runs it; it needs Chromium. The pictures of before are replaced only when every new one was taken.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Error, Page, sync_playwright

from tools.picture_servers import MOUNTED_PASSWORD, free_port, letterbox, served, served_mounted
from tools.picture_states import (
    AWAY,
    FIRST,
    MAIL,
    MOUNTED,
    NEWCOMER_PASSWORD,
    PROVIDER,
    PROVIDER_ONLY,
    STATES,
    VIEWS,
    State,
    View,
    send,
)

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "screenshots"
SHEET = ROOT / "docs" / "reference" / "pictures.md"
#: Colours of a picture: enough for a page of text, and no file is large.
COLOURS = 40
#: Name and password of the first admin, and of whoever registers in the demo.
ADMIN = ("root", "four brisk herons over water")
NEWCOMER = ("newcomer", NEWCOMER_PASSWORD)
#: The overview of a store that goes away while it is shown.
OUT_OF_DATE = State("overview-out-of-date", "/admin/overview", "admin", ("", "-dark", "-phone"))


class Photographer:
    """Takes pictures of one server.

    Args:
        browser: that shows the pages.
        url: of the server.
        folder: where the pictures go.

    Attributes:
        links: paths that steps have returned, by the name of their state.
        failed: what could not be taken.
    """

    def __init__(self, browser: Browser, url: str, folder: Path) -> None:
        self._browser = browser
        self._url = url
        self._folder = folder
        self._signed_in: dict[str, Any] = {}
        self._contexts: dict[tuple[str, str], BrowserContext] = {}
        self.links: dict[str, str] = {}
        self.failed: list[str] = []

    def sign_in(self, who: str, name: str, password: str, register_at: str = "", field: str = "username") -> None:
        """Sign somebody in, whom ``who`` stands for; somebody new registers first. ``field`` is that of the name."""
        context = self._browser.new_context()
        page = context.new_page()
        # The demo makes its people before it answers.
        page.set_default_timeout(90000)
        if register_at:
            page.goto(self._url + register_at)
            page.locator("[name=username]").fill(name)
            page.locator("[name=email]").fill(f"{name}@example.org")
            page.locator("[name=password]").fill(password)
            send(page)
        page.goto(f"{self._url}/login")
        # The first admin is signed in already.
        if "/login" in page.url:
            page.locator(f"[name={field}]").fill(name)
            page.locator("[name=password]").fill(password)
            send(page)
        self._signed_in[who] = context.storage_state()
        context.close()

    def _context(self, who: str, language: str) -> BrowserContext:
        """Return the browser of somebody, the same for all pages, so that it loads styles and scripts once."""
        if (who, language) not in self._contexts:
            made = self._browser.new_context(
                locale=language, timezone_id="Europe/Berlin", storage_state=self._signed_in.get(who)
            )
            made.set_default_timeout(30000)
            self._contexts[who, language] = made
        return self._contexts[who, language]

    def _share_session(self, who: str, context: BrowserContext) -> None:
        """Give the session of one browser to the other browsers of that person: some acts replace it."""
        mine = [cookie for cookie in context.cookies() if cookie.get("name") == "sid"]
        for (name, _), other in self._contexts.items():
            if name == who and who in self._signed_in:
                other.add_cookies([dict(cookie) for cookie in mine])  # type: ignore[misc]

    def open(self, state: State, view: View) -> Page:
        """Show one state, and return its page."""
        page = self._context(state.who, view.language).new_page()
        _look(page, view)
        page.goto(self._url + state.path.format_map(self.links), wait_until="load")
        if state.steps is not None and isinstance(found := state.steps(page), str):
            self.links[state.name] = found
        return page

    def save(self, page: Page, name: str, view: View) -> None:
        """Save a picture of a page with few colours, which a page of text hardly shows."""
        _look(page, view)
        shown = Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
        few = shown.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
        few.save(self._folder / f"{name}.png", optimize=True)

    def take(self, state: State, views: Sequence[str]) -> None:
        """Show one state, and save a picture of each view. The views are of one language."""
        page = self.open(state, VIEWS[views[0]])
        for view in views:
            self.save(page, state.name + view, VIEWS[view])
        self._share_session(state.who, page.context)
        page.close()

    def take_all(self, states: Sequence[State]) -> None:
        """Take the pictures of states. What fails is recorded, and the next one is taken."""
        for state in states:
            for language, views in groupby(sorted(state.views, key=_language), key=_language):
                try:
                    self.take(state, list(views))
                except Error as error:
                    self.failed.append(f"{state.name} in {language}: {error.message}")
                    print("failed:", self.failed[-1], file=sys.stderr, flush=True)


def _language(view: str) -> str:
    return VIEWS[view].language


def _look(page: Page, view: View) -> None:
    page.set_viewport_size({"width": view.width, "height": view.height})
    page.emulate_media(color_scheme=view.theme, media=view.media)


def write_sheet() -> None:
    """Write the page with all pictures."""
    lines = ["# Pictures of all pages", "", "`make screenshots` takes them from the demo.", ""]
    for state in [*FIRST, *STATES, *AWAY, OUT_OF_DATE, *MAIL, *PROVIDER, *PROVIDER_ONLY, *MOUNTED]:
        title = state.name.replace("-", " ").capitalize()
        lines += [f"## {title}", ""]
        for view in state.views:
            how = view.replace("-", " ").replace("zh", "in Chinese")
            lines += [f"![{title}{how}](../screenshots/{state.name}{view}.png)", ""]
    SHEET.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def show_demo(browser: Browser, folder: Path) -> list[str]:
    """Save the pictures of the demo; return what failed."""
    with served("demo") as (url, printed):
        photographer = Photographer(browser, url, folder)
        photographer.sign_in("operator", "demo", printed.split("password ")[1].split()[0])
        photographer.sign_in("person", *NEWCOMER, register_at="/reg")
        photographer.take_all(STATES)
    return photographer.failed


def show_beginning_and_outage(browser: Browser, folder: Path) -> list[str]:
    """Save the pictures of a server without people, and of one whose store goes away; return what failed."""
    with tempfile.TemporaryDirectory() as made, served("--store", f"sqlite:///{made}/sessions.db") as (url, printed):
        photographer = Photographer(browser, url, folder)
        photographer.links["setup"] = "/setup/" + printed.split("/setup/")[1].split()[0]
        photographer.take_all(FIRST)
        photographer.sign_in("admin", *ADMIN, register_at=photographer.links["setup"])
        overview = photographer.open(OUT_OF_DATE, VIEWS[""])
        for file in Path(made).glob("sessions.db*"):
            file.unlink()
        overview.locator("[data-live-bar]").wait_for(timeout=20000)
        overview.locator("[data-part=health]").get_by_text("no answer").wait_for(timeout=20000)
        for view in OUT_OF_DATE.views:
            photographer.save(overview, OUT_OF_DATE.name + view, VIEWS[view])
        photographer.take_all(AWAY)
    return photographer.failed


def show_mail(browser: Browser, folder: Path) -> list[str]:
    """Save the pictures of a server that sends mail; return what failed."""
    port = free_port()
    with tempfile.TemporaryDirectory() as made, letterbox() as (box, smtp):
        mail = ("--smtp-url", smtp, "--public-url", f"http://127.0.0.1:{port}")
        with served("--store", f"sqlite:///{made}/sessions.db", *mail, port=port) as (url, printed):
            photographer = Photographer(browser, url, folder)
            photographer.sign_in("admin", *ADMIN, register_at="/setup/" + printed.split("/setup/")[1].split()[0])
            photographer.links["email-link"] = box.link("confirm")
            for state in MAIL:
                photographer.take_all([state])
                if state.name == "registration-sent":
                    photographer.links["registration-link"] = box.link("confirm")
    return photographer.failed


def show_provider(browser: Browser, folder: Path) -> list[str]:
    """Save the pictures of servers with an OpenID provider, which is not asked for these pages; return what failed."""
    failed: list[str] = []
    for states, more in ((PROVIDER, ()), (PROVIDER_ONLY, ("--oidc-only", "true"))):
        port = free_port()
        known = ("--oidc-issuer", "https://login.example.com", "--oidc-client-id", "sessions", "--oidc-name", "Example")
        with tempfile.TemporaryDirectory() as made:
            place = ("--store", f"sqlite:///{made}/sessions.db", "--public-url", f"http://127.0.0.1:{port}")
            with served(*place, *known, *more, port=port) as (url, _):
                photographer = Photographer(browser, url, folder)
                photographer.take_all(states)
        failed += photographer.failed
    return failed


def show_mounted(browser: Browser, folder: Path) -> list[str]:
    """Save the pictures of the dashboard in an application with its own users; return what failed."""
    with served_mounted() as url:
        photographer = Photographer(browser, url, folder)
        photographer.sign_in("ada", "ada", MOUNTED_PASSWORD, field="name")
        photographer.take_all(MOUNTED)
    return photographer.failed


def photograph(folder: Path) -> list[str]:
    """Save all pictures in ``folder``; return what failed."""
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        shows = (show_beginning_and_outage, show_mail, show_provider, show_mounted, show_demo)
        failed = [fault for show in shows for fault in show(browser, folder)]
        browser.close()
    return failed


def main() -> None:
    """Take all pictures, and put them in the place of the old ones if none failed."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made, "screenshots")
        folder.mkdir()
        failed = photograph(folder)
        if failed:
            raise SystemExit("\n".join(["the old pictures stay, because these failed:", *failed]))
        shutil.rmtree(PICTURES, ignore_errors=True)
        shutil.copytree(folder, PICTURES)
    write_sheet()


if __name__ == "__main__":
    main()
