"""One Chromium for all modules of this folder: while it runs, its loop is the thread's, and no other test could run one.

And a server full of sessions, with its first operator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from browser.crowd import fill_store
from browser.tools import CHROMIUM, FLAGS, context, fill
from playwright.sync_api import Browser, Page, sync_playwright
from support.amount import amount, only_long
from support.passwords import PASSWORD
from support.server_process import ServerProcess
from support.urls import url_of

#: The MongoDB server of the tests sorts all rows of a list in Python, where a real one reads an index: fewer there.
COUNTS = {"sqlite": amount(5_000, 20_000), "redis": 20_000, "mongo_motor": 5_000}


#: What runs from the first test that asks for a browser until the next test is one of another folder.
_RUNNING = ExitStack()
_BROWSERS: list[Browser] = []


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser that nobody has opened a page in."""
    if CHROMIUM is None:
        pytest.skip("install Chromium (Debian: apt install chromium-headless-shell)")
    if not _BROWSERS:
        playwright = _RUNNING.enter_context(sync_playwright())
        _BROWSERS.append(_RUNNING.enter_context(playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)))
    [browser] = _BROWSERS
    yield browser
    for each in browser.contexts:
        each.close()


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> Iterator[None]:
    """End the browser when tests of another folder follow, each of which may run a loop."""
    yield
    if nextitem is None or not nextitem.path.is_relative_to(Path(__file__).parent):
        _BROWSERS.clear()
        _RUNNING.close()


@pytest.fixture(
    scope="module", params=["sqlite", *(pytest.param(kind, marks=only_long) for kind in ("redis", "mongo_motor"))]
)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("server")
    url = url_of(request.param, request, folder)
    fill_store(url, COUNTS[request.param])
    # The MongoDB-wire server at hand sorts in Python, and does not find a page among thousands within a second.
    patience = ("--store-timeout", "60") if url.startswith("mongodb") else ()
    made = ServerProcess(folder, "--store", url, "--secret", "a-secret-of-the-browser-tests-long-enough", *patience)
    made.environment["FILLED"] = request.param
    yield made
    assert made.stop() == 0
    assert "Traceback" not in (folder / "stderr").read_text()


@pytest.fixture(scope="module")
def state(server: ServerProcess, chromium: Browser) -> Iterator[Page]:
    """The first operator, logged in."""
    page = context(chromium).new_page()
    page.goto(server.url + server.setup_path)
    fill(page, username="root", email="root@example.org", password=PASSWORD)
    page.goto(server.url + "/admin/overview")
    yield page
    page.context.close()
