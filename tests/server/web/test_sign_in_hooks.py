"""Sign-ins while something else happens: a block, a hook that fails."""

from __future__ import annotations

import pytest
from support.amount import knows_no_store
from support.browser import Browser
from support.passwords import PASSWORD
from tornado.web import Application

from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role

pytestmark = knows_no_store


@pytest.mark.gen_test
async def test_a_log_in_does_not_outlive_a_block_that_came_while_it_was_checked(
    browser: Browser, parts: Parts, app: Application
) -> None:
    await browser.register()
    await browser.log_in()
    await browser.post("/logout", {})

    async def blocks(*_: object) -> None:
        await parts.accounts.block("ada", parts.sessions.clock() + 3600)

    app.settings["site"].on_new_device = blocks
    browser.headers["User-Agent"] = "curl/8.5.0"
    assert (await browser.log_in()).headers["Location"] == "/login"
    assert (await browser.get("/account")).code == 302
    assert (await parts.sessions.count()).total == 0


@pytest.mark.gen_test
async def test_a_hook_that_fails_locks_nobody_out(browser: Browser, app: Application) -> None:
    await browser.register()

    async def fails(*_: object) -> None:
        raise ConnectionError("no letters today")

    await browser.log_in()
    await browser.post("/logout", {})
    app.settings["site"].on_new_device = fails
    browser.headers["User-Agent"] = "curl/8.5.0"
    assert (await browser.log_in()).headers["Location"] == "/account"
    assert (await browser.get("/account")).code == 200


@pytest.mark.gen_test
async def test_who_works_here_begins_with_the_overview(browser: Browser, parts: Parts) -> None:
    await parts.accounts.register("ada", "ada@example.org", PASSWORD, role=Role.VIEWER)
    assert (await browser.log_in()).headers["Location"] == "/admin/overview"
