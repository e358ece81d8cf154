"""Lists of sessions and ending them, as operators do."""

from __future__ import annotations

import json
import re
import time

import pytest
from support.browser import Browser
from support.people import fill_store, make_operator

from tornado_sessions.server.parts import Parts


@pytest.mark.gen_test
async def test_an_operator_ends_a_session_and_it_is_in_the_audit_log(
    browser: Browser, operator: Browser, parts: Parts
) -> None:
    await browser.register()
    await browser.log_in()
    await make_operator(parts, operator)
    page = (await operator.get("/admin/?user=ada")).body.decode()
    handle = re.findall(r"/admin/sessions/(\w+)", page)[0]
    detail = (await operator.get(f"/admin/sessions/{handle}")).body.decode()
    assert "notice" in detail
    assert "You&#x27;re signed in." not in detail
    asked = await operator.post("/admin/end", {"handle": handle})
    assert "End 1 session?" in asked.body.decode()
    assert (await browser.get("/account")).code == 200
    act = {"handle": handle, "confirm": "1", "reason": "stolen <laptop>", "tell": "1"}
    done = await operator.post("/admin/end", act)
    assert done.code == 303
    assert (await browser.get("/account")).code == 302
    assert "An administrator ended your session" in (await browser.get("/login")).body.decode()
    audit = (await operator.get("/admin/audit")).body.decode()
    assert "stolen &lt;laptop&gt;" in audit
    assert "root" in audit
    assert "stolen" in (await operator.get("/admin/?state=ended")).body.decode()


@pytest.mark.gen_test
async def test_the_list_pages_by_cursor_without_loss(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    names = [f"user{number:02}" for number in range(5)]
    for name in names:
        browser = Browser(operator.client, operator.base)
        await browser.register(name)
        await browser.log_in(name)
    seen: list[str] = []
    cursor = ""
    while True:
        response = await operator.get("/admin/api/sessions?limit=2" + (f"&cursor={cursor}" if cursor else ""))
        answer = json.loads(response.body)
        seen += [item["user"] for item in answer["items"]]
        cursor = answer["next_cursor"]
        if not cursor:
            break
    assert sorted(seen) == sorted([*names, "root"])


@pytest.mark.gen_test
async def test_all_of_a_filter_end_and_nobody_else(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    await fill_store(parts, 3, "192.0.2.7")
    await fill_store(parts, 2, "192.0.2.8")
    fields = {"where": json.dumps({"ip": "192.0.2.7", "created_until": time.time() + 60})}
    asked = await operator.post("/admin/end", fields)
    assert b"End all 3 matching sessions?" in asked.body
    confirmed = {**fields, "confirm": "1", "expected": "3"}
    assert b"Enter a reason." in (await operator.post("/admin/end", confirmed)).body
    await fill_store(parts, 1, "192.0.2.7")
    assert b"more session matches now" in (await operator.post("/admin/end", {**confirmed, "reason": "leak"})).body
    done = await operator.post("/admin/end", {**confirmed, "reason": "leak", "expected": "4"})
    assert done.code == 303
    assert b"4 sessions ended." in (await operator.get("/admin/")).body
    assert (await parts.sessions.count(ip="192.0.2.8")).total == 2
    entry = (await parts.audit.entries())[0]
    assert (entry.act, entry.target, entry.reason, entry.ended) == (
        "end all sessions matching",
        "ip=192.0.2.7",
        "leak",
        4,
    )


@pytest.mark.gen_test
async def test_many_sessions_end_only_after_their_number_is_typed(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    await fill_store(parts, 101, "192.0.2.7")
    fields = {"where": '{"ip": "192.0.2.7"}', "confirm": "1", "reason": "leak", "expected": "101"}
    assert b"Type 101 to confirm" in (await operator.post("/admin/end", fields)).body
    assert (await operator.post("/admin/end", {**fields, "number": "101"})).code == 303
    assert (await parts.sessions.count()).total == 1


@pytest.mark.gen_test
async def test_everybody_is_out_with_one_button_the_operator_as_well(
    browser: Browser, operator: Browser, parts: Parts
) -> None:
    await browser.register()
    await browser.log_in()
    await make_operator(parts, operator)
    asked = await operator.post("/admin/end", {"everybody": "1"})
    assert b"This ends all 2 sessions, yours included." in asked.body
    fields = {"everybody": "1", "confirm": "1", "reason": "breach", "expected": "2"}
    assert (await operator.post("/admin/end", fields)).code == 303
    assert (await browser.get("/account")).code == 302
    assert (await operator.get("/admin/")).code == 302
    assert (await parts.sessions.count()).total == 0
    await browser.log_in()
    assert (await browser.get("/account")).code == 200
