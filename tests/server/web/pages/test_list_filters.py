"""Filters and order of the list of sessions are in its address."""

from __future__ import annotations

import json

import pytest
from support.browser import Browser
from support.people import fill_store, make_operator

from tornado_sessions.server.parts import Parts


@pytest.mark.gen_test
async def test_the_whole_view_is_in_the_address(browser: Browser, operator: Browser, parts: Parts) -> None:
    await browser.register()
    await browser.log_in()
    await fill_store(parts, 2, "192.0.2.7")
    await make_operator(parts, operator)
    for query, shown in (
        ("user=ad*", {"ada"}),
        ("role=operator", {"root"}),
        ("kind=users&device=Firefox", {"ada", "root"}),
        ("ip=192.0.2.0/24", {None}),
        ("ip=127.0.0.0/8&signed_in_within=3600", {"ada", "root"}),
        ("idle_for=3600", set()),
        ("sort=user&limit=1", {"ada"}),
    ):
        answer = json.loads((await operator.get(f"/admin/api/sessions?{query}")).body)
        assert {item["user"] for item in answer["items"]} == shown, query
        assert (await operator.get(f"/admin/?{query}")).code == 200
    for query in ("ip=1/2/3", "device=Lynx", "kind=x", "role=god", "sort=x", "idle_for=x", "cursor=x", "limit=0"):
        refused = await operator.get(f"/admin/?{query}")
        assert refused.code == 400, query
        assert b'role="alert"' in refused.body
        assert (await operator.get(f"/admin/api/sessions?{query}")).code == 400, query
