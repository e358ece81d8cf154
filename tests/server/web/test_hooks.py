"""Hooks of an application: news of a new device, places of addresses."""

from __future__ import annotations

from typing import Any

import pytest
from support.browser import Browser
from support.people import make_operator
from tornado.web import Application

from tornado_sessions.server.parts import Parts


@pytest.mark.gen_test
async def test_a_log_in_from_a_new_device_is_told(
    browser: Browser, other: Browser, parts: Parts, app: Application
) -> None:
    told: list[tuple[str, str]] = []

    async def tell(user: Any, ip: str, device: str) -> None:
        told.append((user.name, device))

    app.settings["site"].on_new_device = tell
    await browser.register()
    await browser.log_in()
    await browser.post("/logout", {})
    await browser.log_in()
    other.headers["User-Agent"] = "curl/8.5.0"
    await other.log_in()
    assert told == [("ada", "curl")]


@pytest.mark.gen_test
async def test_a_place_is_shown_beside_an_address(operator: Browser, parts: Parts, app: Application) -> None:
    app.settings["site"].place = lambda ip: f"<Lund> of {ip}"
    await make_operator(parts, operator)
    for path in ("/admin/", "/admin/user?name=root", "/account"):
        assert b"&lt;Lund&gt; of 127.0.0.1" in (await operator.get(path)).body, path
