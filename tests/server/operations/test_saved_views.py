"""Views of the list that operators save for themselves."""

from __future__ import annotations

import asyncio

import pytest
from support.browser import Browser
from support.people import make_operator

from tornado_sessions.server.documents import Document
from tornado_sessions.server.operations.errors import InvalidInput
from tornado_sessions.server.operations.saved_views import MAX_NAME, MAX_VIEWS, SavedView
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role

pytestmark = pytest.mark.every_backend


@pytest.mark.gen_test(timeout=30)
async def test_each_operator_has_views_of_their_own(parts: Parts, twin: Parts) -> None:
    views = parts.saved_views
    await views.save("ada", "  Phones \n of mine ", "device=iPhone")
    await views.save("ada", "anonymous", "kind=visitors")
    await views.save("eve", "Phones of mine", "device=Android")
    await views.save("ada", "Phones of mine", "device=iPad")
    expected = [SavedView("anonymous", "kind=visitors"), SavedView("Phones of mine", "device=iPad")]
    assert await twin.saved_views.of("ada") == expected
    await twin.saved_views.delete("ada", "Phones of mine")
    await twin.saved_views.delete("ada", "unknown")
    assert await views.of("ada") == expected[:1]
    assert [view.query for view in await views.of("eve")] == ["device=Android"]
    assert await views.of("nobody") == []


@pytest.mark.gen_test(timeout=30)
async def test_views_are_bounded_and_what_is_refused_changes_nothing(parts: Parts) -> None:
    views = parts.saved_views
    for number in range(MAX_VIEWS):
        await views.save("ada", f"view {number:02}", "kind=users")
    refused = ["", " \n", "n" * (MAX_NAME + 1), "a\0b", "\u202eabc", "\u200b"]
    for name, query in (("one more", ""), ("view 00", "q" * 501), *((name, "") for name in refused)):
        with pytest.raises(InvalidInput):
            await views.save("ada", name, query)
    await views.save("ada", "view 00", "kind=visitors")
    found = await views.of("ada")
    assert (len(found), found[0].query) == (MAX_VIEWS, "kind=visitors")


@pytest.mark.gen_test(timeout=30)
async def test_two_tabs_at_once_lose_no_view(parts: Parts, twin: Parts) -> None:
    tabs = [(parts, "a"), (parts, "b"), (twin, "c"), (twin, "d")]
    await asyncio.gather(*(each.saved_views.save("ada", name, "") for each, name in tabs))
    assert len(await parts.saved_views.of("ada")) == 4


@pytest.mark.gen_test(timeout=30)
async def test_damaged_views_are_none_and_can_be_saved_again(parts: Parts) -> None:
    await parts.documents.put("view", Document("ada", 1, b"{"))
    assert await parts.saved_views.of("ada") == []
    await parts.saved_views.save("ada", "new", "")
    assert [view.name for view in await parts.saved_views.of("ada")] == ["new"]


@pytest.mark.gen_test(timeout=30)
async def test_the_page_keeps_only_what_a_list_understands(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator, Role.VIEWER)
    await operator.get("/admin/")
    given = {"name": "<b>mine</b>", "query": "?user=ada&cursor=abc&limit=9&x=https://evil.example&sort=user"}
    assert (await operator.post("/admin/views", given)).headers["Location"] == "/admin/?user=ada&sort=user"
    assert await parts.saved_views.of("root") == [SavedView("<b>mine</b>", "user=ada&sort=user")]
    page = (await operator.get("/admin/")).body
    assert b"<b>mine</b>" not in page
    assert b"&lt;b&gt;mine&lt;/b&gt;" in page
    refused = await operator.post("/admin/views", {"name": "n" * 41, "query": ""})
    assert refused.code == 303
    assert b"at most 40 characters" in (await operator.get("/admin/")).body
    await operator.post("/admin/views", {"delete": "<b>mine</b>", "query": ""})
    assert await parts.saved_views.of("root") == []
