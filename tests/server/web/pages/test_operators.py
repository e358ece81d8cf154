"""What operators do with people: blocks, roles, tokens, values of a session."""

from __future__ import annotations

from functools import reduce

import pytest
from support.amount import knows_no_store
from support.browser import Browser
from support.clock import Clock
from support.passwords import PASSWORD
from support.people import make_operator
from support.role_matrix import MATRIX

from tornado_sessions.server.operations.entries import AuditQuery
from tornado_sessions.server.operations.tokens import ApiToken, Scope
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role

pytestmark = knows_no_store


@pytest.mark.gen_test
async def test_a_blocked_user_cannot_log_in_until_the_time_is_over(
    browser: Browser, operator: Browser, parts: Parts, clock: Clock
) -> None:
    await browser.register()
    await make_operator(parts, operator)
    assert (await operator.post("/admin/block", {"user": "ada", "seconds": "3600", "reason": "fraud"})).code == 303
    assert b"Sign-ins are blocked" in (await operator.get("/admin/user?name=ada")).body
    refused = await browser.log_in()
    assert refused.code == 403
    assert b"This account is blocked until" in refused.body
    assert (await browser.log_in(password="wrong")).code == 401
    clock.ahead += 3601
    assert (await browser.log_in()).code == 303
    entry = (await parts.audit.entries(AuditQuery(act="block log-ins of")))[0]
    assert (entry.actor, entry.user, entry.reason) == ("root", "ada", "fraud")


@pytest.mark.gen_test
async def test_an_admin_gives_roles_and_makes_tokens_and_an_operator_does_not(
    browser: Browser, operator: Browser, other: Browser, parts: Parts
) -> None:
    await browser.register()
    await make_operator(parts, operator, Role.ADMIN)
    await parts.accounts.register("oscar", "oscar@example.org", PASSWORD, role=Role.OPERATOR)
    await other.log_in("oscar")
    change = {"user": "ada", "role": "viewer"}
    assert (await other.post("/admin/operators/role", change)).code == 403
    assert (await operator.post("/admin/operators/role", change)).code == 303
    await browser.log_in()
    assert (await browser.get("/admin/")).code == 200
    own = await operator.post("/admin/operators/role", {"user": "root", "role": "user"})
    assert b"You can&#x27;t change your own role." in own.body
    made = await operator.post("/admin/operators/tokens", {"name": "robot", "scope": "sessions:read", "days": "7"})
    token = made.body.decode().split("<code>ts_")[1].split("<")[0]
    bearer = {"Authorization": f"Bearer ts_{token}"}
    assert (await Browser(browser.client, browser.base).send("GET", "/admin/api/sessions", **bearer)).code == 200
    assert (await Browser(browser.client, browser.base).send("GET", "/admin/api/audit", **bearer)).code == 403
    listed = (await parts.tokens.all())[0]
    assert isinstance(listed, ApiToken)
    assert (listed.created_by, listed.scopes, listed.used_from) == ("root", frozenset({Scope.READ}), "127.0.0.1")
    assert token.encode() not in (await operator.get("/admin/operators")).body
    assert (await operator.post("/admin/operators/tokens", {"revoke": listed.handle})).code == 303
    assert (await Browser(browser.client, browser.base).send("GET", "/admin/api/sessions", **bearer)).code == 401


@pytest.mark.gen_test
async def test_values_are_shown_to_an_admin_with_a_reason_only(
    browser: Browser, operator: Browser, parts: Parts, clock: Clock
) -> None:
    await browser.register()
    await browser.log_in()
    await make_operator(parts, operator, Role.ADMIN)
    handle = (await parts.sessions.find(user="ada")).items[0].handle
    await operator.get("/admin/")
    page = (await operator.get(f"/admin/sessions/{handle}")).body
    assert b"notice" in page
    assert b"You&#x27;re signed in." not in page
    path = f"/admin/sessions/{handle}/values"
    assert (await operator.post(path, {})).code == 400
    clock.ahead += 400
    assert (await operator.post(path, {"reason": "ticket 7", "password": "wrong"})).code == 400
    shown = await operator.post(path, {"reason": "ticket 7", "password": PASSWORD})
    assert b"You&#x27;re signed in." in shown.body
    history = (await operator.get(f"/admin/sessions/{handle}")).body
    assert b"Viewed session data" in history
    assert b"Signed in" in history
    looks = await parts.audit.entries(AuditQuery(act="look into session"))
    assert [(entry.actor, entry.user, entry.target, entry.reason) for entry in looks] == [
        ("root", "ada", handle, "ticket 7")
    ]


FORMS = {
    "/admin/end": {"handle": "HANDLE", "confirm": "1"},
    "/admin/block": {"user": "ada", "seconds": "3600"},
    "/admin/reset": {"user": "ada"},
    "/admin/sessions/HANDLE/values": {"reason": "ticket"},
    "/admin/jobs/none/cancel": {},
    "/admin/jobs/none/resume": {},
    "/admin/operators/role": {"user": "ada", "role": "viewer"},
    "/admin/operators/invite": {"role": "viewer"},
    "/admin/operators/tokens": {"name": "x", "scope": "sessions:read", "days": "1"},
    "/admin/audit.csv": {},
    "/admin/sessions.csv": {},
}
#: Forms that change nothing but how somebody's own pages look.
PERSONAL = {"/admin/views"}


@pytest.mark.gen_test(timeout=30)
async def test_every_form_that_changes_something_leaves_an_entry(
    browser: Browser, operator: Browser, parts: Parts
) -> None:
    """A new route that takes POST has to be listed here, and what it does has to be in the audit log."""
    posting = {p for p, codes in MATRIX.items() if "/api/" not in p and codes["POST"][-1] != 405} - PERSONAL
    shapes = {"HANDLE": "([A-Za-z0-9]{1,64})", "none": "([A-Za-z0-9]{1,64})", ".csv": r"\.(jsonl|csv)"}
    assert posting == {reduce(lambda path, name: path.replace(name, shapes[name]), shapes, path) for path in FORMS}
    await browser.register()
    await browser.log_in()
    await make_operator(parts, operator, Role.ADMIN)
    handle = (await parts.sessions.find(user="ada")).items[0].handle
    for path, fields in reversed(FORMS.items()):
        before = (await parts.audit.entries(AuditQuery(limit=1)))[0].id
        sent = {name: value.replace("HANDLE", handle) for name, value in fields.items()}
        await operator.post(path.replace("HANDLE", handle), sent)
        assert (await parts.audit.entries(AuditQuery(limit=1)))[0].id > before, path
