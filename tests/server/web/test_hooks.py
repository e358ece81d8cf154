"""Hooks of an application: news of a new device, places of addresses."""

from __future__ import annotations

import re
from typing import Any

import pytest
from support.amount import knows_no_store
from support.browser import Browser
from support.clock import Clock
from support.crowds import put, record
from support.people import make_operator
from tornado.web import Application

from tornado_sessions.server.parts import Parts

pytestmark = knows_no_store


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


@pytest.mark.gen_test
async def test_countries_of_a_user_are_said_in_words_once_on_a_page(
    operator: Browser, parts: Parts, app: Application, clock: Clock
) -> None:
    """In further rows of the user there is a picture with the same name."""
    app.settings["site"].place = parts.census.place = lambda ip: f"City, {ip}"
    await make_operator(parts, operator)
    seen = [
        record(n, clock(), user, f"192.0.2.{n}") for n, user in enumerate(["roams", "ada", "roams", "roams", "too"] * 4)
    ]
    await put(parts.sessions, seen)
    await parts.census.figures(wait=10)
    page = (await operator.get("/admin/")).body.decode()
    badges = re.findall(r'<span class="badge danger( quiet)?" title="(\d+ countries in 1 h)">', page)
    assert badges.count((" quiet", "12 countries in 1 h")) == 11
    assert badges.count(("", "12 countries in 1 h")) == 1
    assert [quiet for quiet, _ in badges].count("") == 3, "once for each user"
