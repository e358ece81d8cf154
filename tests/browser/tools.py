"""What the browser tests share: a Chromium, its contexts and forms."""

from __future__ import annotations

import shutil

from playwright.sync_api import Browser, BrowserContext, Page
from support.passwords import PASSWORD

#: The one without windows needs less time for the same pages.
CHROMIUM = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "chromium-browser"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def context(chromium: Browser, words: str = "en-US", **more: object) -> BrowserContext:
    """A browser of somebody; ``words`` is a language, and ``without script`` behind it."""
    language, _, without = words.partition(" ")
    return chromium.new_context(locale=language, java_script_enabled=not without, **more)  # type: ignore[arg-type]


def fill(page: Page, **fields: str) -> None:
    """Type into the fields of these names, then press the first button."""
    for name, value in fields.items():
        page.locator(f"[name={name}]").first.fill(value)
    page.locator("main form button:not([type=button])").first.click()


def log_in(page: Page, url: str, name: str, password: str = PASSWORD) -> None:
    """Log in."""
    page.goto(url + "/login")
    fill(page, username=name, password=password)
