"""Operators of an application read the names of its users, whose ids are mostly numbers."""

from __future__ import annotations

import re

import pytest
from bs4 import BeautifulSoup
from support.browser import Browser
from support.clock import Clock
from support.mounted import FullPeople, made, mounted, rows, signed_in
from typing_extensions import override

from tornado_sessions.server import Person

NAMES = {"7f00": "Ada", "7f01": "Bob"}


class Numbered(FullPeople):
    """Users whose ids tell nobody anything."""

    @override
    async def get(self, user_id: str) -> Person | None:
        role = "admin" if user_id == "7f00" else None
        return Person(user_id, NAMES[user_id], role) if user_id in NAMES else None  # type: ignore[arg-type]

    @override
    async def verify(self, handler: object, password: str) -> bool:
        return True

    @override
    async def search(self, text: str, limit: int) -> list[Person]:
        found = [await self.get(user) for user, name in NAMES.items() if name.startswith(text)]
        return [person for person in found if person is not None]


async def text_of(browser: Browser, path: str) -> str:
    """What a person reads on a page."""
    page = await browser.get(path)
    assert page.code == 200, path
    return text_in(page.body)


def text_in(body: bytes) -> str:
    tree = BeautifulSoup(body, "html.parser")
    for hidden in tree.select("script, style, template"):
        hidden.decompose()
    return " ".join(tree.get_text(" ").split())


@pytest.mark.gen_test(timeout=30)
async def test_no_page_calls_a_user_by_an_id() -> None:
    sessions, dashboard = made(Numbered(), clock=Clock(now=None))
    async with mounted((sessions, dashboard)) as browser:
        ada, _, _ = [await signed_in(browser, user) for user in ("7f00", "7f01", "7f01")]
        handle, other = [row["handle"] for row in await rows(ada) if row["user"] == "7f01"]
        for fields in ({"handle": handle}, {"user": "7f01"}, {"where": '{"user":"7f01"}'}, {"everybody": "1"}):
            asked = text_in((await ada.post("/ops/end", fields, page="/ops/")).body)
            assert "Bob" in asked, fields
            assert "7f01" not in asked, fields
        assert (await ada.post("/ops/end", {"handle": handle, "confirm": "1", "why": "x"}, page="/ops/")).code == 303
        shown = {
            "/ops/": "Bob",
            "/ops/?user=7f01": "Bob",
            "/ops/?state=ended": "Bob",
            "/ops/?state=ended&user=7f01": "Ada",
            f"/ops/sessions/{handle}": "By Ada",
            f"/ops/sessions/{other}": "Session of Bob",
            "/ops/user?name=7f01": "Bob",
            "/ops/user?name=7f01&tab=security": "Ada",
            "/ops/users?q=B": "Bob",
            "/ops/audit": "Bob",
        }
        for path, name in shown.items():
            text = await text_of(ada, path)
            assert name in text, path
            assert not re.search("7f0[01]", text), path
        where = {"where": '{"user":"7f01"}', "confirm": "1", "why": "x", "expected": "1"}
        assert (await ada.post("/ops/end", where, page="/ops/")).code == 303
        for path in ("/ops/overview", "/ops/jobs", "/ops/audit"):
            text = await text_of(ada, path)
            assert "Ada" in text, path
            assert not re.search("7f0[01]", text), path
        # The search finds sessions by what they store; people whose name it is are offered.
        found = BeautifulSoup((await ada.get("/ops/?q=Ada")).body, "html.parser").select(".suggestions a")
        assert [(link.get_text(" ", strip=True), str(link["href"])) for link in found] == [("User Ada 1", "?user=7f00")]
        # One page has it, for whoever looks it up elsewhere.
        assert "User ID 7f01" in await text_of(ada, "/ops/user?name=7f01&tab=profile")
