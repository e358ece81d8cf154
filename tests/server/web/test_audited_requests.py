"""Who asked for what from where: the fields of an audit entry, and requests that were refused or failed."""

from __future__ import annotations

import csv
import io
import json

import pytest
from support.amount import knows_no_store
from support.browser import Browser
from support.clock import Clock
from support.passwords import PASSWORD
from support.people import fill_store, make_operator
from support.waiting import until

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.entries import AuditQuery, Entry
from tornado_sessions.server.operations.tokens import Scope
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role

pytestmark = knows_no_store

AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


async def refused(parts: Parts, many: int = 1) -> list[Entry]:
    """The latest entries about refused requests, once there are this many."""
    await until(lambda: not parts.events.is_writing, "refused requests are recorded")
    found = await parts.audit.entries(AuditQuery(act=Action.REFUSED, limit=500))
    assert len(found) == many
    return found


@pytest.mark.gen_test
async def test_an_entry_names_browser_request_and_session_everywhere(operator: Browser, parts: Parts) -> None:
    await make_operator(parts, operator, Role.ADMIN)
    await fill_store(parts, 1, "192.0.2.7")
    target = (await parts.sessions.find(ip="192.0.2.7")).items[0].handle
    own = (await parts.sessions.find(user="root")).items[0].handle
    form = {"handle": target, "confirm": "1", "reason": "leaver"}
    body = "&".join(f"{name}={value}" for name, value in {**form, "_xsrf": await operator.token()}.items())
    answer = await operator.send(
        "POST", "/admin/end", body, Content_Type="application/x-www-form-urlencoded", User_Agent=AGENT
    )
    entry = (await parts.audit.entries(AuditQuery(act=Action.END_SESSION)))[0]
    request_id = answer.headers["X-Request-ID"]
    expected = {"user_agent": AGENT, "request_id": request_id, "session": own, "ended": 1, "error": ""}
    assert {name: getattr(entry, name) for name in expected} == expected
    outcome = (await parts.audit.entries(AuditQuery(act=Action.OUTCOME)))[0]
    assert (outcome.ref, outcome.ended, outcome.request_id) == (entry.ref, 1, request_id)
    item = json.loads((await operator.get("/admin/api/audit?act=end+session")).body)["items"][0]
    assert {name: item[name] for name in expected} == expected
    line = json.loads((await operator.get("/admin/audit.jsonl?act=end+session")).body.splitlines()[0])
    assert {name: line[name] for name in expected} == expected
    row = next(csv.DictReader(io.StringIO((await operator.get("/admin/audit.csv?act=end+session")).body.decode())))
    assert (row["user_agent"], row["request_id"], row["session"]) == (AGENT, request_id, own)
    page = (await operator.get("/admin/audit?act=end+session")).body.decode()
    assert all(text in page for text in ("Firefox", request_id, own))


@pytest.mark.gen_test
async def test_what_is_refused_is_an_entry(operator: Browser, browser: Browser, parts: Parts) -> None:
    """A viewer who acts, a user who looks, a wrong token, a token without the scope, a form without its token."""
    await make_operator(parts, operator, Role.VIEWER)
    assert (await operator.post("/admin/block", {"user": "ada", "seconds": "60"})).code == 403
    found = (await refused(parts))[0]
    assert (found.actor, found.target) == ("root", "POST /admin/block")
    assert (found.reason, bool(found.request_id), bool(found.session)) == ("403 Forbidden, as viewer", True, True)
    await browser.register()
    await browser.log_in()
    assert (await browser.get("/admin/audit")).code == 403
    assert (await refused(parts, 2))[0].actor == "ada"
    stranger = Browser(browser.client, browser.base)
    assert (await stranger.get("/admin/api/sessions", Authorization="Bearer ts_wrong")).code == 401
    assert (await refused(parts, 3))[0].reason.startswith("401")
    token = await parts.tokens.create("robot", [Scope.AUDIT])
    assert (await stranger.get("/admin/api/sessions", Authorization=f"Bearer {token}")).code == 403
    assert (await refused(parts, 4))[0].actor == "token robot"
    wrong = await operator.send("POST", "/admin/end", "_xsrf=x", Content_Type="application/x-www-form-urlencoded")
    assert wrong.code == 403
    await refused(parts, 5)
    assert (await stranger.get("/admin/audit")).code == 302, "who is not signed in may still sign in"
    await refused(parts, 5)


@pytest.mark.gen_test(timeout=30)
async def test_a_flood_of_refused_requests_fills_no_disk(browser: Browser, parts: Parts) -> None:
    for _ in range(30):
        await browser.get("/admin/api/sessions", Authorization="Bearer ts_wrong")
    await refused(parts, 20)
    for number in range(400):
        parts.events.may_record(f"2001:db8:{number:x}::7")
    await parts.events.summarise()
    assert (await refused(parts, 21))[0].target == "230 more requests"
    await parts.events.summarise()
    await refused(parts, 21)
    assert parts.events.may_record("2001:db8::1"), "the next period is a new one"


@pytest.mark.gen_test
async def test_addresses_of_one_ipv6_network_are_one_source(parts: Parts) -> None:
    assert [parts.events.may_record(f"2001:db8::{number:x}") for number in range(25)] == [True] * 20 + [False] * 5
    assert parts.events.may_record("2001:db8:0:1::1")


@pytest.mark.gen_test
async def test_expired_sessions_are_counted_in_one_entry(browser: Browser, parts: Parts, clock: Clock) -> None:
    await fill_store(parts, 5, "192.0.2.7")
    clock.ahead += 90 * 86400
    await parts.sessions.prune()
    for _ in range(2):
        await parts.events.summarise()
    found = await parts.audit.entries(AuditQuery(act=Action.EXPIRED))
    assert [(entry.actor, entry.ended) for entry in found] == [("server", 5)]


@pytest.mark.gen_test
async def test_an_action_that_fails_has_an_outcome_with_the_class_of_its_error(
    operator: Browser, browser: Browser, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await browser.register()
    await make_operator(parts, operator, Role.ADMIN)

    async def fails(*_: object, **__: object) -> None:
        raise StoreUnavailable("test", "at 10.0.0.1 is the password")

    monkeypatch.setattr(parts.people, "block", fails)
    monkeypatch.setattr(parts.sessions, "destroy_many", fails)
    monkeypatch.setattr(parts.sessions, "destroy_user", fails)
    monkeypatch.setattr(parts.sessions, "end_all", fails)
    monkeypatch.setattr(parts.tokens, "create", fails)
    own = (await parts.sessions.find(user="root")).items[0].handle
    for path, form in (
        ("/admin/block", {"user": "ada", "seconds": "60"}),
        ("/admin/end", {"handle": own, "confirm": "1", "reason": "x"}),
        ("/admin/end", {"user": "ada", "confirm": "1", "expected": "0", "reason": "x"}),
        ("/admin/operators/tokens", {"name": "ada", "scope": "sessions:read", "days": "90"}),
    ):
        assert (await operator.post(path, form)).code == 503, path
        entry = (await parts.audit.entries())[0]
        assert (entry.error, entry.ended) == ("StoreUnavailable", None), path
    page = (await operator.get("/admin/audit")).body.decode()
    assert ("StoreUnavailable" in page, "10.0.0.1" in page, PASSWORD in page) == (True, False, False)
    assert (await parts.audit.verify()).is_whole
