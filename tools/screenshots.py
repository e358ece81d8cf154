"""Take the pictures of the documentation from the demo, and write the page that shows them all.

``make screenshots`` runs it; it needs Chromium. The pictures of before are replaced only when every new one was taken.
"""

from __future__ import annotations

import io
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Error, Page, sync_playwright

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "screenshots"
SHEET = ROOT / "docs" / "reference" / "pictures.md"

LAPTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"}
PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "color_scheme": "light"}
#: How a page is looked at: the end of the picture's name, and what the browser is.
VIEWS: dict[str, dict[str, Any]] = {
    "": LAPTOP,
    "-dark": {**LAPTOP, "color_scheme": "dark"},
    "-zh": {**LAPTOP, "locale": "zh-CN"},
    "-phone": PHONE,
    "-phone-dark": {**PHONE, "color_scheme": "dark"},
    "-phone-zh": {**PHONE, "locale": "zh-CN"},
}
BOTH = ("", "-phone")
DARK = ("", "-dark", "-phone")
CHINESE = ("", "-zh", "-phone")
MOST = ("", "-dark", "-zh", "-phone")

MALLORY = "/admin/?user=mallory"


class State(NamedTuple):
    """One state of one page.

    Attributes:
        name: of the picture.
        path: of the page.
        who: looks at it: ``visitor``, ``person`` or ``operator``.
        views: of which pictures are taken.
        steps: what is done on the page first.
    """

    name: str
    path: str
    who: str = "operator"
    views: tuple[str, ...] = BOTH
    steps: Callable[[Page], object] | None = None


def _send(page: Page) -> None:
    page.locator("main form button:not([type=button])").last.click()
    page.wait_for_load_state()


def _sign_in_wrong(page: Page) -> None:
    page.locator("[name=username]").fill("somebody")
    page.locator("[name=password]").fill("not the password")
    page.locator("[name=password]").press("Enter")
    page.locator("main [role=alert]").first.wait_for()


def _filters(page: Page) -> None:
    page.locator("[popovertarget=filters]").click()


def _select(page: Page) -> None:
    for box in page.locator("#rows tbody .box").all()[:3]:
        box.check()


def _open_first(part: str) -> Callable[[Page], object]:
    """Return the step to the first page of the table whose address has ``part``."""

    def step(page: Page) -> None:
        address = page.locator(f"main a[href*='{part}']").first.get_attribute("href")
        page.goto(page.url.split("/admin")[0] + str(address))

    return step


def _preview(page: Page) -> None:
    _select(page)
    page.locator("button[data-one]").click()
    page.locator("main form .destroy").first.wait_for()


def _preview_matching(page: Page) -> None:
    page.locator("button.danger[form=matching]").first.click()
    page.locator("main form .destroy").first.wait_for()


def _end(page: Page) -> None:
    _preview(page)
    page.locator("main form .destroy").first.click()
    page.locator(".toast").first.wait_for()


def _preview_others(page: Page) -> None:
    page.locator("summary", has_text="End everyone's sessions").click()
    page.get_by_role("button", name=re.compile("End everyone else's sessions")).click()
    page.locator("main form .destroy").first.wait_for()


def _end_others(page: Page) -> None:
    _preview_others(page)
    page.get_by_label("Details (optional)").fill("Stolen database")
    page.locator("[name=number]").fill(str(page.locator("[name=expected]").get_attribute("value")))
    page.locator("main form .destroy").first.click()
    page.get_by_role("link", name="View job").wait_for()


#: All states in the order of the page that shows them. What ends sessions comes last.
STATES = [
    State("sign-in", "/login", "visitor", MOST),
    State("sign-in-faults", "/login", "visitor", CHINESE, _sign_in_wrong),
    State("register", "/reg", "visitor", CHINESE),
    State("register-faults", "/reg", "visitor", BOTH, _send),
    State("home", "/home", "visitor", DARK),
    State("not-found", "/nothing-here", "visitor"),
    State("home-person", "/home", "person"),
    State("account-devices", "/account", "operator", MOST),
    State("account-security", "/account/security", "operator", CHINESE),
    State("account-profile", "/account/profile", "operator", DARK),
    State("account-password", "/account/password", "person"),
    State("two-steps", "/account/two-steps", "person", DARK),
    State("sign-out", "/logout", "person"),
    State("not-permitted", "/admin/", "person"),
    State("overview", "/admin/overview", "operator", MOST),
    State("sessions", "/admin/", "operator", tuple(VIEWS)),
    State("sessions-filters", MALLORY, "operator", CHINESE, _filters),
    State("sessions-filtered", f"{MALLORY}&ip=203.0.113.0/24"),
    State("sessions-selected", MALLORY, "operator", BOTH, _select),
    State("sessions-empty", "/admin/?user=nobody"),
    State("session", MALLORY, "operator", MOST, _open_first("/admin/sessions/")),
    State("session-missing", "/admin/sessions/none"),
    State("ended", "/admin/?state=ended"),
    State("users", "/admin/users", "operator", CHINESE),
    State("user", "/admin/user?name=mallory", "operator", DARK),
    State("block", "/admin/block?user=mallory"),
    State("audit", "/admin/audit", "operator", CHINESE),
    State("audit-filtered", "/admin/audit?who=demo&days=7&verify=1"),
    State("operators", "/admin/operators"),
    State("invite", "/admin/operators/invite"),
    State("token", "/admin/operators/tokens"),
    State("settings", "/admin/settings", "operator", DARK),
    State("components", "/admin/_components", "operator", DARK),
    State("end", MALLORY, "operator", DARK, _preview),
    State("end-matching", MALLORY, "operator", CHINESE, _preview_matching),
    State("end-everyone-else", "/admin/", "operator", BOTH, _preview_others),
    State("sessions-toast", MALLORY, "operator", BOTH, _end),
    State("everyone-else-ended", "/admin/", "operator", ("",), _end_others),
    State("jobs", "/admin/jobs"),
    State("job", "/admin/jobs", "operator", CHINESE, _open_first("/admin/jobs/")),
]


class Photographer:
    """Takes pictures of the demo.

    Args:
        browser: that shows the pages.
        url: of the demo.
        folder: where the pictures go.
    """

    def __init__(self, browser: Browser, url: str, folder: Path) -> None:
        self._browser = browser
        self._url = url
        self._folder = folder
        self._people: dict[str, Any] = {"visitor": None}
        self._contexts: dict[tuple[str, str], BrowserContext] = {}

    def sign_in(self, who: str, name: str, password: str, *, is_new: bool = False) -> None:
        """Sign somebody in, whom ``who`` stands for; somebody new registers first."""
        context = self._browser.new_context(**LAPTOP)
        page = context.new_page()
        if is_new:
            page.goto(f"{self._url}/reg")
            page.locator("[name=username]").fill(name)
            page.locator("[name=email]").fill(f"{name}@example.org")
            page.locator("[name=password]").fill(password)
            _send(page)
        page.goto(f"{self._url}/login")
        page.locator("[name=username]").fill(name)
        page.locator("[name=password]").fill(password)
        page.locator("[name=password]").press("Enter")
        page.wait_for_url(lambda there: "/login" not in there)
        self._people[who] = context.storage_state()
        context.close()

    def _context(self, who: str, view: str) -> BrowserContext:
        """Return the browser of somebody, the same for all pages, so that it loads styles and scripts once."""
        if (who, view) not in self._contexts:
            made = self._browser.new_context(**VIEWS[view], storage_state=self._people[who])
            made.set_default_timeout(6000)
            self._contexts[who, view] = made
        return self._contexts[who, view]

    def _share_session(self, who: str, context: BrowserContext) -> None:
        """Give the session of one browser to the other browsers of that person: some acts replace it."""
        mine = [cookie for cookie in context.cookies() if cookie.get("name") == "sid"]
        for (name, _), other in self._contexts.items():
            if name == who and who != "visitor":
                other.add_cookies([dict(cookie) for cookie in mine])  # type: ignore[misc]

    def take(self, state: State, view: str) -> None:
        """Save a picture of one state with 64 colours, which a page of text hardly shows."""
        context = self._context(state.who, view)
        page = context.new_page()
        try:
            page.goto(self._url + state.path, wait_until="load")
            if state.steps is not None:
                state.steps(page)
            shown = Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
            self._share_session(state.who, context)
        finally:
            page.close()
        few = shown.quantize(64, dither=Image.Dither.NONE)
        few.save(self._folder / f"{state.name}{view}.png", optimize=True)

    def take_all(self) -> list[str]:
        """Take the pictures of all states; return what failed."""
        failed = []
        for state in STATES:
            for view in state.views:
                try:
                    self.take(state, view)
                except Error as error:
                    failed.append(f"{state.name}{view}: {error.message}")
                    print("failed:", failed[-1], file=sys.stderr, flush=True)
        return failed


def write_sheet() -> None:
    """Write the page with all pictures."""
    lines = ["# Pictures of all pages", "", "`make screenshots` takes them from the demo.", ""]
    for state in STATES:
        title = state.name.replace("-", " ").capitalize()
        lines += [f"## {title}", ""]
        for view in state.views:
            how = view.replace("-", " ").replace("zh", "in Chinese")
            lines += [f"![{title}{how}](../screenshots/{state.name}{view}.png)", ""]
    SHEET.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def opened(url: str, seconds: float = 60.0) -> str:
    """Return the page for signing in, once the demo answers within ``seconds``."""
    end = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"{url}/login", timeout=5) as answer:  # noqa: S310 - our own server
                return str(answer.read().decode())
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def photograph(folder: Path) -> list[str]:
    """Start the demo, save all pictures in ``folder``, stop the demo; return what failed."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    demo = subprocess.Popen([sys.executable, ROOT / "server.py", "demo", "--port", str(port)], cwd=ROOT)  # noqa: S603
    try:
        url = f"http://127.0.0.1:{port}"
        shown = re.search(r"as demo with the password ([a-z0-9-]+)", opened(url))
        if shown is None:
            raise SystemExit("the demo does not show its password")
        with sync_playwright() as playwright:
            chromium = shutil.which("chromium") or shutil.which("chromium-browser")
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            photographer = Photographer(browser, url, folder)
            photographer.sign_in("operator", "demo", shown[1])
            photographer.sign_in("person", "newcomer", "seven quiet lanterns by the sea", is_new=True)
            failed = photographer.take_all()
            browser.close()
    finally:
        demo.terminate()
        demo.wait()
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
