"""Invalid filters, lists that take too long, and exports."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import quote

import pytest
from support.amount import in_turn
from support.browser import Browser
from support.clock import Clock
from support.passwords import PASSWORD
from support.people import make_operator
from support.waiting import until
from tornado.httpclient import HTTPResponse

from tornado_sessions.messages import Message
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.web.site import MAX_QUERIES
from tornado_sessions.stores import Store
from tornado_sessions.stores.base import Diagnosis
from tornado_sessions.testing.faults import SlowStore

BAD = [
    ("ip=1.2.3.4/99", "a network is written like", "网络应写成"),
    ("ip=300.1", "Enter an IP address like", "这样的 IP 地址"),
    ("device=Netscape%25s", "device is one of Chrome", "设备只能是"),
    ("sort=%25d", "sort must be one of: last_seen", "sort 只能是"),
    ("idle_for=soon", "idle_for must be a whole number", "idle_for 必须是整数"),
    ("cursor=AAAA", "start from the first page", "请从第一页开始"),
    ("limit=9999", "limit must be a number from 1 to 500, not 9999", "limit 必须在 1 到 500 之间"),
]


@pytest.mark.parametrize(("query", "english", "chinese"), BAD)
@pytest.mark.gen_test
async def test_what_makes_no_sense_is_told_in_the_readers_language(
    operator: Browser, parts: Parts, query: str, english: str, chinese: str
) -> None:
    await make_operator(parts, operator)
    problem = json.loads((await operator.get(f"/admin/api/sessions?{query}")).body)
    assert problem["status"] == 400
    assert english in problem["detail"]
    page = await operator.get(f"/admin/?{query}")
    assert (page.code, english in page.body.decode()) == (400, True)
    page = await operator.get(f"/admin/?{query}", Accept_Language="zh-CN")
    assert (page.code, chinese in page.body.decode()) == (400, True)


@pytest.mark.parametrize("where", [{"ip": "1.2.3.4/99"}, {"device": "Netscape"}, {"idle_for": "soon"}])
@pytest.mark.gen_test
async def test_a_bulk_act_by_a_filter_that_makes_no_sense_ends_nothing(
    operator: Browser, parts: Parts, where: dict[str, str]
) -> None:
    await make_operator(parts, operator)
    token = await operator.token()
    asked = json.dumps({"where": where, "reason": "a slip"})
    answer = await operator.send("POST", "/admin/api/sessions/destroy", asked, X_XSRFToken=token)
    assert answer.code == 400
    assert "%s" not in json.loads(answer.body)["detail"]
    form = {"where": json.dumps({"network": "nowhere"}), "confirm": "1", "reason": "a slip"}
    answer = await operator.post("/admin/end", form)
    assert (answer.code, "a network is written like" in answer.body.decode()) == (400, True)
    assert (await parts.sessions.count()).total == 1


class SlowLists(SlowStore):
    """Only lists wait; and it counts how many at a time."""

    waiting = most = 0

    async def before(self, method: str) -> None:
        if method != "find":
            return
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        try:
            await super().before(method)
        finally:
            self.waiting -= 1


@pytest.mark.gen_test(timeout=30)
async def test_a_list_that_takes_too_long_is_given_up_and_people_go_on(
    operator: Browser, browser: Browser, parts: Parts
) -> None:
    await make_operator(parts, operator)
    await browser.register()
    await browser.log_in()
    slow = SlowLists(parts.sessions.store)
    parts.sessions.store = slow

    async def answers() -> list[HTTPResponse]:
        return await asyncio.gather(*(operator.get("/admin/") for _ in range(MAX_QUERIES + 1)))

    looking = asyncio.ensure_future(answers())
    await until(lambda: slow.waiting >= MAX_QUERIES, "as many lists as may run at once")
    assert (await browser.get("/home")).code == 200
    told = await looking
    assert {(answer.code, answer.headers.get("Retry-After")) for answer in told} == {(503, "5")}
    assert slow.most == MAX_QUERIES
    slow.go_on.set()
    assert (await operator.get("/admin/")).code == 200


@pytest.mark.gen_test
async def test_an_export_asks_for_the_password_where_it_was_given_long_ago(
    operator: Browser, parts: Parts, clock: Clock
) -> None:
    await make_operator(parts, operator)
    assert 'href="/admin/audit.csv' in (await operator.get("/admin/audit")).body.decode()
    clock.ahead += 301
    back = await operator.get("/admin/audit.csv?act=log-in")
    assert (back.code, back.headers["Location"]) == (303, "/admin/audit?act=log-in")
    page = (await operator.get("/admin/audit?act=log-in")).body.decode()
    assert "Enter your password again to export." in page
    assert 'href="/admin/audit.csv' not in page
    assert (await operator.post("/admin/audit.csv?act=log-in", {"password": "wrong"})).code == 303
    assert "The current password is wrong." in (await operator.get("/admin/audit")).body.decode()
    answer = await operator.post("/admin/audit.csv?act=log-in", {"password": PASSWORD})
    assert (answer.code, answer.headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
    assert b"log-in" in answer.body
    assert 'href="/admin/audit.csv' in (await operator.get("/admin/audit")).body.decode()


@pytest.mark.gen_test
async def test_what_is_wrong_with_a_store_is_told_in_the_readers_language(
    operator: Browser, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_operator(parts, operator)
    text = "maxmemory-policy is %s: a full server would drop live sessions; set it to noeviction"

    async def diagnose(_store: Store) -> Diagnosis:
        return Diagnosis([Message(text, ("allkeys-lru",))], [])

    monkeypatch.setattr(type(parts.sessions.store), "diagnose", diagnose)
    assert text % "allkeys-lru" in (await operator.get("/admin/settings")).body.decode()
    page = (await operator.get("/admin/settings", Accept_Language="zh-CN")).body.decode()
    assert "maxmemory-policy 为 allkeys-lru" in page


@pytest.mark.gen_test
async def test_an_address_in_words_of_any_kind_is_never_an_error_of_ours(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator)
    words = ("%s", "%", "{{ 1 }}", "::/0", "0.0.0.0/0", "fe80::1%eth0/64", "\u202e", "\x00", "🦊" * 100)
    names = ("user", "ip", "handle", "q", "device", "kind", "role", "sort", "state", "cursor", "limit")
    for number, word in enumerate(words):
        for name in in_turn(names, number, 4):
            answer = await operator.get(f"/admin/?{name}={quote(word)}")
            assert answer.code in (200, 400), (name, word)
