"""The overview in a real browser while its store is really away: it says that it is out of date, and recovers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser.looks import SHIFTS
from browser.tools import context, fill
from playwright.sync_api import Browser, expect
from support.passwords import PASSWORD
from support.redis_servers import Valkey
from support.server_process import ServerProcess


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    made = Valkey()
    yield made
    made.stop()


@pytest.fixture
def own_server(tmp_path: Path, valkey: Valkey) -> Iterator[ServerProcess]:
    options = ("--store", valkey.url, "--store-timeout", "1", "--secret", "a-secret-of-the-browser-tests-long-enough")
    made = ServerProcess(tmp_path, *options)
    yield made
    made.stop()


def test_the_overview_shows_no_good_news_while_the_store_or_the_server_is_away_and_stays_where_it_is(
    own_server: ServerProcess, valkey: Valkey, chromium: Browser
) -> None:
    page = context(chromium, viewport={"width": 360, "height": 740}).new_page()
    page.add_init_script(SHIFTS)
    page.clock.install()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(own_server.url + own_server.setup_path)
    fill(page, username="root", email="root@example.org", password=PASSWORD)
    page.goto(own_server.url + "/admin/overview")
    page.wait_for_url(own_server.url + "/admin/overview")
    page.goto(own_server.url + "/admin/overview")
    bar, box, health = (
        page.locator("[data-live-bar]"),
        page.locator("[data-live]").first,
        page.locator("[data-part=health]"),
    )
    state = page.locator("[data-live-state]")
    expect(state).to_have_text("Live")
    expect(bar).to_be_hidden()
    expect(health).to_contain_text("answers in")
    valkey.kill()
    # Two missed updates are four seconds, and a second for the network.
    page.clock.fast_forward(2500)
    expect(bar).to_be_hidden()
    page.clock.fast_forward(3500)
    expect(bar).to_be_visible()
    expect(bar).to_contain_text("reconnecting")
    expect(box).to_have_attribute("data-stale", "")
    expect(state).to_have_text("Reconnecting")
    expect(health).to_contain_text("no answer", timeout=9000)
    expect(health).not_to_contain_text("answers in")
    # The news about the store may take more room. Nothing else moves anything: no bar that comes or goes, and no recovery.
    page.evaluate("shifted = 0")
    valkey.start()
    page.get_by_role("button", name="Try now").click()
    expect(bar).to_be_hidden(timeout=15000)
    expect(box).not_to_have_attribute("data-stale", "")
    expect(state).to_have_text("Live")
    expect(health).to_contain_text("answers in", timeout=15000)
    own_server.process.kill()
    page.clock.fast_forward(6000)
    expect(bar).to_be_visible()
    assert page.evaluate("shifted") == 0
    assert errors == []
    page.context.close()
