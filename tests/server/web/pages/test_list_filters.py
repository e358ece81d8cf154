"""Filters and order of the list of sessions are in its address."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.browser import Browser
from support.people import fill_store, make_operator

from tornado_sessions.server.parts import Parts
from tornado_sessions.stores.requests import MAX_EXAMINED
from tornado_sessions.testing.maker import create


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
        ("sort=user&direction=desc&kind=users&limit=1", {"root"}),
        ("signed_in_since=1", {"ada", "root"}),
        ("signed_in_since=8999999999", set()),
    ):
        answer = json.loads((await operator.get(f"/admin/api/sessions?{query}")).body)
        assert {item["user"] for item in answer["items"]} == shown, query
        assert (await operator.get(f"/admin/?{query}")).code == 200
    for query in (
        "ip=1/2/3",
        "device=Lynx",
        "kind=x",
        "role=god",
        "sort=x",
        "direction=x",
        "signed_in_since=x",
        "idle_for=x",
        "cursor=x",
        "limit=0",
    ):
        refused = await operator.get(f"/admin/?{query}")
        assert refused.code == 400, query
        assert b'role="alert"' in refused.body
        assert (await operator.get(f"/admin/api/sessions?{query}")).code == 400, query


@pytest.mark.gen_test
async def test_pages_of_the_api_lead_in_both_directions(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    await fill_store(parts, 4, "192.0.2.7")

    async def page(cursor: str = "") -> dict[str, Any]:
        answer = await operator.get(f"/admin/api/sessions?ip=192.0.2.7&limit=2&cursor={cursor}")
        found: dict[str, Any] = json.loads(answer.body)
        return found

    first = await page()
    second = await page(first["next_cursor"])
    assert (first["start"], first["previous_cursor"], second["start"], second["next_cursor"]) == (1, None, 3, None)
    assert await page(second["previous_cursor"]) == first


@pytest.mark.gen_test
async def test_a_search_that_gives_up_claims_no_exact_number(operator: Browser, parts: Parts) -> None:
    """No index fits the filter, and every session that it lets through is behind those that one page examines."""
    await make_operator(parts, operator)
    await fill_store(parts, 1, "192.0.2.7", agent="Opera OPR/114")
    now = parts.sessions.clock()
    times = {"created_at": now, "last_seen_at": now + 1, "expires_at": now + 600, "absolute_at": now + 600}
    others = [create(f"h{number}", user="ada", **times) for number in range(MAX_EXAMINED + 50)]
    for start in range(0, len(others), 500):
        await parts.sessions.store.save(others[start : start + 500])
    answer = json.loads((await operator.get("/admin/api/sessions?device=Opera")).body)
    assert (answer["items"], answer["total"], answer["total_is_exact"]) == ([], 0, False)
    answer = json.loads((await operator.get(f"/admin/api/sessions?device=Opera&cursor={answer['next_cursor']}")).body)
    assert [item["ip"] for item in answer["items"]] == ["192.0.2.7"]
    # The page of another order gives up as well, but an index counts the visitors.
    answer = json.loads((await operator.get("/admin/api/sessions?kind=visitors&sort=expires")).body)
    assert (answer["total"], answer["total_is_exact"], answer["next_cursor"] is None) == (1, True, False)
