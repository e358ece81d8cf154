"""The pages that end sessions: what they show, offer and lead back to."""

from __future__ import annotations

import pytest
from support.amount import knows_no_store
from support.browser import Browser
from support.people import fill_store, make_operator

from tornado_sessions.server.operations.entries import AuditQuery
from tornado_sessions.server.parts import Parts

pytestmark = knows_no_store


@pytest.mark.gen_test
async def test_each_of_the_selected_is_in_its_users_history(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    for name in ("ada", "bob"):
        await fill_store(parts, 30, "192.0.2.7", user=name)
    handles = [item.handle for item in (await parts.sessions.find(ip="192.0.2.7", limit=100)).items]
    shown = await operator.post("/admin/end", {"handle": handles})
    assert "End 60 sessions" in shown.body.decode()
    done = await operator.post("/admin/end", {"handle": handles, "confirm": "1", "reason": "leak", "expected": "60"})
    assert done.code == 303
    for name in ("ada", "bob"):
        entries = await parts.audit.entries(AuditQuery(who=name))
        assert [(entry.act, entry.ended) for entry in entries] == [("end session", 1)] * 30
    page = (await operator.get(f"/admin/sessions/{handles[0]}")).body.decode()
    assert "Ended a session" in page


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.gen_test
async def test_people_see_the_reason_where_the_operator_allows_it(
    browser: Browser, operator: Browser, parts: Parts, *, tells: bool
) -> None:
    await browser.register()
    await browser.log_in()
    await make_operator(parts, operator)
    allowed = {"tell": "1"} if tells else {}
    act = {
        "user": "ada",
        "confirm": "1",
        "why": "Suspicious activity",
        "reason": "ticket 7",
        "expected": "1",
        **allowed,
    }
    done = await operator.post("/admin/end", act)
    assert (done.code, done.headers["Location"]) == (303, "/admin/user?name=ada")
    page = (await browser.get("/login", Accept_Language="zh-CN")).body.decode()
    assert "管理员结束了你的会话" in page
    assert ("可疑活动：ticket 7" in page) is tells
    assert (await parts.audit.entries())[0].reason == "Suspicious activity: ticket 7"


@pytest.mark.gen_test
async def test_an_act_leads_back_to_the_view_it_came_from(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    await fill_store(parts, 2, "192.0.2.7")
    page = (await operator.get("/admin/?ip=192.0.2.7&kind=visitors")).body.decode()
    view = page.split('name="from" value="')[1].split('"')[0].replace("&amp;", "&")
    act = {"where": '{"ip": "192.0.2.7"}', "from": view, "confirm": "1", "reason": "x", "expected": "2"}
    assert (await operator.post("/admin/end", act)).headers["Location"] == "/admin/?ip=192.0.2.7&kind=visitors"
    assert "2 sessions ended." in (await operator.get("/admin/")).body.decode()
    for foreign in ("//evil.example", "https://evil.example/?user=x", "?next=//evil.example"):
        nothing = await operator.post("/admin/end", {"from": foreign})
        assert nothing.headers["Location"] == "/admin/"


@pytest.mark.gen_test
async def test_the_operators_own_session_is_not_ended_by_surprise(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    await fill_store(parts, 2, "192.0.2.7")
    own = (await parts.sessions.find(user="root")).items[0].handle
    assert "You will be signed out" in (await operator.post("/admin/end", {"handle": own})).body.decode()
    page = (await operator.post("/admin/end", {"everybody": "1", "but_mine": "1"})).body.decode()
    assert "This ends 2 sessions." in page
    assert "This session" not in page
    page = (await operator.post("/admin/end", {"everybody": "1"})).body.decode()
    assert "This ends all 3 sessions, yours included." in page


@pytest.mark.gen_test
async def test_a_block_is_offered_for_accounts_only(browser: Browser, operator: Browser, parts: Parts) -> None:
    await browser.register()
    await browser.log_in()
    await make_operator(parts, operator)
    await fill_store(parts, 1, "192.0.2.7", user="guest")
    for asked, offered in (({"user": "guest"}, False), ({"user": "ada"}, True), ({"where": '{"user": "ada"}'}, True)):
        page = (await operator.post("/admin/end", asked)).body.decode()
        assert ('name="block"' in page) is offered, asked
    own = {"where": '{"user": "ada", "ip": "127.0.0.1"}', "confirm": "1", "reason": "x", "expected": "1"}
    await fill_store(parts, 2, "192.0.2.8", user="ada")
    page = (await operator.post("/admin/end", {"where": own["where"]})).body.decode()
    assert "2 other sessions of ada stay active." in page
    assert (await operator.post("/admin/end", {**own, "block": "1", "block_for": "3600"})).code == 303
    assert (await parts.sessions.count(user="ada")).total == 2, "the number confirmed ends, also with a block"
    assert (await browser.log_in()).code == 403
    forged = {"user": "guest", "block": "3600", "confirm": "1", "reason": "x", "expected": "1"}
    assert (await operator.post("/admin/end", forged)).code == 303
    assert [entry.user for entry in await parts.audit.entries(AuditQuery(act="block log-ins of"))] == ["ada"]
