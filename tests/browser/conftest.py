"""A Chromium for each module: while it runs, its loop is the thread's, and no other test could run one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser.tools import CHROMIUM, FLAGS
from playwright.sync_api import Browser, sync_playwright


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("install chromium (Debian: apt install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()
