"""Take the pictures of the documentation from the demo, and write the page that shows them all.

``make screenshots`` runs it; it needs Chromium.
"""

from __future__ import annotations

import io
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "screenshots"
SHEET = ROOT / "docs" / "reference" / "pictures.md"
LAPTOP, PHONE = ViewportSize(width=1280, height=800), ViewportSize(width=360, height=740)

#: Pages for everybody.
OPEN = {"sign-in": "/login", "home": "/home", "register": "/reg"}
#: Pages for the operator of the demo.
OWN = {
    "overview": "/admin/overview",
    "sessions": "/admin/",
    "sessions-filtered": "/admin/?user=mallory&ip=203.0.113.0/24",
    "sessions-empty": "/admin/?user=nobody",
    "ended": "/admin/?state=ended",
    "users": "/admin/users",
    "user": "/admin/user?name=mallory",
    "audit": "/admin/audit",
    "jobs": "/admin/jobs",
    "operators": "/admin/operators",
    "settings": "/admin/settings",
    "components": "/admin/_components",
    "missing": "/admin/sessions/none",
    "home-person": "/home",
    "account-devices": "/account",
    "account-security": "/account/security",
    "account-profile": "/account/profile",
    "two-steps": "/account/two-steps",
}
#: Pages that also have a picture in the dark, and on a phone.
DARK = ("overview", "sessions", "user", "account-devices")
ON_PHONE = ("overview", "sessions", "sessions-filtered", "user", "account-devices", "account-security")


def picture(page: Page, name: str) -> None:
    """Save what is on the screen with 64 colours, which a page of text hardly shows."""
    shown = Image.open(io.BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
    shown.quantize(64, dither=Image.Dither.NONE).save(PICTURES / f"{name}.png", optimize=True)


def look(browser: Browser, url: str, state: Any, name: str, path: str, **how: Any) -> None:
    """Save a picture of one page in a browser of its own."""
    context = browser.new_context(**{"viewport": LAPTOP, "color_scheme": "light", **how}, storage_state=state)
    page = context.new_page()
    page.goto(url + path, wait_until="load")
    picture(page, name)
    context.close()


def states(page: Page, url: str) -> None:
    """Save pictures of what a person does on the pages of operators. It ends three sessions."""
    page.goto(f"{url}/admin/?user=mallory")
    for number in range(3):
        page.locator("tbody [type=checkbox]").nth(number).check()
    picture(page, "sessions-selected")
    page.locator("button[data-one]").click()
    picture(page, "end")
    page.locator("main form .destroy").first.click()
    page.locator(".toast").first.wait_for()
    picture(page, "sessions-toast")
    page.locator("button.danger[form=matching]").first.click()
    picture(page, "end-matching")
    page.locator("main form .destroy, main form .primary").first.click()
    picture(page, "end-matching-pressed")
    page.goto(f"{url}/admin/?user=mallory")
    page.get_by_role("button", name="Filters", exact=True).click()
    picture(page, "sessions-filters")
    page.goto(f"{url}/admin/?user=mallory")
    page.goto(url + str(page.locator("tbody a[href*='/admin/sessions/']").first.get_attribute("href")))
    picture(page, "session")


def take(browser: Browser, url: str, password: str) -> None:
    """Save all pictures."""
    for name, path in OPEN.items():
        look(browser, url, None, name, path)
    look(browser, url, None, "sign-in-phone", "/login", viewport=PHONE)
    look(browser, url, None, "sign-in-zh", "/login", locale="zh-CN")
    context = browser.new_context(viewport=LAPTOP, color_scheme="light")
    context.set_default_timeout(6000)
    page = context.new_page()
    page.goto(f"{url}/reg")
    page.locator("main form button:not([type=button])").last.click()
    picture(page, "register-faults")
    page.goto(f"{url}/login")
    page.locator("[name=username]").fill("demo")
    page.locator("[name=password]").fill(password)
    page.locator("[name=password]").press("Enter")
    page.wait_for_url(lambda there: "/login" not in there)
    state = context.storage_state()
    for name, path in OWN.items():
        look(browser, url, state, name, path)
    for name in DARK:
        look(browser, url, state, f"{name}-dark", OWN[name], color_scheme="dark")
    for name in ON_PHONE:
        look(browser, url, state, f"{name}-phone", OWN[name], viewport=PHONE)
    for name in ("overview", "sessions"):
        look(browser, url, state, f"{name}-zh", OWN[name], locale="zh-CN")
    states(page, url)
    context.close()


def write_sheet() -> None:
    """Write the page with all pictures."""
    lines = ["# Pictures of all pages", "", "`make screenshots` takes them from the demo.", ""]
    for path in sorted(PICTURES.glob("*.png")):
        title = path.stem.replace("-", " ").capitalize()
        lines += [f"## {title}", "", f"![{title}](../screenshots/{path.name})", ""]
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


def main() -> None:
    """Start the demo, take the pictures, stop it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    demo = subprocess.Popen([sys.executable, ROOT / "server.py", "demo", "--port", str(port)], cwd=ROOT)  # noqa: S603
    try:
        url = f"http://127.0.0.1:{port}"
        shown = re.search(r"as demo with the password ([a-z0-9-]+)", opened(url))
        if shown is None:
            raise SystemExit("the demo does not show its password")
        for old in PICTURES.glob("*.png"):
            old.unlink()
        with sync_playwright() as playwright:
            chromium = shutil.which("chromium") or shutil.which("chromium-browser")
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            take(browser, url, shown[1])
            browser.close()
    finally:
        demo.terminate()
        demo.wait()
    write_sheet()


if __name__ == "__main__":
    main()
