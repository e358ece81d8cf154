"""Whoever has two-step verification proves themselves with both steps, and a proof replaces the token of the session."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from support.amount import knows_no_store
from support.browser import Browser
from support.clock import Clock
from support.passwords import PASSWORD
from support.role_matrix import MATRIX
from support.second_step import Phone, make_two_step_user, sign_in_with_code
from tornado.web import Application

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.entries import AuditQuery
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.access import PASSWORD_FRESH_FOR

pytestmark = knows_no_store

NEW = "an entirely different phrase"
#: The forms of one's own settings, with the field of the current password.
SETTINGS: dict[str, tuple[str, dict[str, str]]] = {
    "/account/password": ("old_password", {"new_password": NEW}),
    "/account/email": ("email_password", {"email": "new@example.org"}),
    "/account/two-steps": ("off_password", {"off": "1"}),
    "/account/remove": ("remove_password", {}),
}
#: The dashboard's forms that ask for a recent proof.
FORCE: dict[str, dict[str, str]] = {
    "/admin/end": {"user": "eve", "confirm": "1", "expected": "0"},
    "/admin/block": {"user": "eve", "seconds": "60"},
    "/admin/sessions/abc/values": {"reason": "ticket"},
    "/admin/operators/role": {"user": "eve", "role": "viewer"},
    "/admin/operators/tokens": {"name": "x", "scope": "sessions:read", "days": "1"},
    "/admin/audit.csv": {},
}
WRONG: dict[str, Callable[[Phone], dict[str, str]]] = {
    "no code": lambda phone: {},
    "empty": lambda phone: {"code": ""},
    "six digits": lambda phone: {"code": "000000"},
    "a recovery code of nobody": lambda phone: {"code": "AAAAA-AAAAA"},
    "the password again": lambda phone: {"code": PASSWORD},
}
GOOD: dict[str, Callable[[Phone], dict[str, str]]] = {
    "code": lambda phone: {"code": phone.code()},
    "recovery code": lambda phone: {"code": phone.recovery[0].lower()},
}


async def signed_in(browser: Browser, parts: Parts, clock: Clock, role: Role = Role.USER) -> Phone:
    phone = await make_two_step_user(parts, clock, role=role)
    assert (await sign_in_with_code(browser, phone.code())).code == 303
    return phone


async def is_in(browser: Browser) -> bool:
    return (await browser.get("/account")).code == 200


@pytest.mark.parametrize("path", SETTINGS)
@pytest.mark.gen_test(timeout=30)
async def test_the_password_alone_changes_nothing(browser: Browser, parts: Parts, clock: Clock, path: str) -> None:
    phone = await signed_in(browser, parts, clock)
    before = await parts.accounts.get("ada")
    field, fields = SETTINGS[path]
    for way, wrong in WRONG.items():
        answer = await browser.post(path, {**fields, field: PASSWORD, **wrong(phone)})
        assert answer.code == 400, way
        assert b"That code isn&#x27;t valid." in answer.body
    assert (await browser.post(path, {**fields, field: "wrong", "code": phone.code()})).code == 400
    assert await parts.accounts.get("ada") == before
    # Mistakes of a signed-in user are no failed sign-ins.
    assert await parts.audit.entries(AuditQuery(act="log-in failed")) == []
    assert len(await parts.audit.entries(AuditQuery(act="proof failed"))) == len(WRONG) + 1


@pytest.mark.parametrize("way", GOOD)
@pytest.mark.parametrize("path", SETTINGS)
@pytest.mark.gen_test(timeout=30)
async def test_both_change_the_account_and_the_old_token_is_dead(
    browser: Browser, parts: Parts, clock: Clock, path: str, way: str
) -> None:
    phone = await signed_in(browser, parts, clock)
    field, fields = SETTINGS[path]
    thief = browser.copy()
    answer = await browser.post(path, {**fields, field: PASSWORD, **GOOD[way](phone)})
    assert answer.code in (200, 303)
    assert not await is_in(thief)
    account = await parts.accounts.get("ada")
    if path == "/account/remove":
        assert account is None
        return
    assert account is not None
    assert await is_in(browser)
    assert account.has_two_steps is (path != "/account/two-steps")


@pytest.mark.gen_test
async def test_two_steps_that_are_on_cannot_be_replaced(browser: Browser, parts: Parts, clock: Clock) -> None:
    phone = await signed_in(browser, parts, clock)
    before = await parts.accounts.get("ada")
    fields = {"secret": "A" * 32, "password": PASSWORD, "code": phone.code()}
    assert (await browser.post("/account/two-steps", fields)).code == 303
    assert await parts.accounts.get("ada") == before
    assert (await browser.get("/account/two-steps")).code == 302


@pytest.mark.parametrize("path", FORCE)
@pytest.mark.gen_test(timeout=30)
async def test_an_admin_proves_both_before_force(
    browser: Browser, operator: Browser, parts: Parts, clock: Clock, path: str
) -> None:
    await parts.accounts.register("eve", "eve@example.org", PASSWORD)
    phone = await signed_in(operator, parts, clock, Role.ADMIN)
    clock.ahead += PASSWORD_FRESH_FOR + 1

    async def is_proved() -> bool:
        return 'name="password"' not in (await operator.post("/admin/end", {"user": "eve"})).body.decode()

    for way, wrong in WRONG.items():
        await operator.post(path, {**FORCE[path], "password": PASSWORD, **wrong(phone)})
        assert not await is_proved(), way
    assert 'name="code"' in (await operator.post("/admin/end", {"user": "eve"})).body.decode()
    changes = ("look into session", "change role of", "make API token", "block log-ins of", "end all sessions of")
    assert [await parts.audit.entries(AuditQuery(act=act)) for act in (*changes, "export audit log")] == [[]] * 6
    thief = operator.copy()
    await operator.post(path, {**FORCE[path], "password": PASSWORD, "code": phone.code()})
    assert await is_proved()
    assert await is_in(operator)
    assert not await is_in(thief), "the token from before the proof is dead"


@pytest.mark.parametrize("two_steps", [True, False])
@pytest.mark.gen_test
async def test_every_page_that_asks_for_the_password_asks_for_a_code(
    browser: Browser, operator: Browser, parts: Parts, clock: Clock, two_steps: bool
) -> None:
    await browser.register("eve")
    await browser.log_in("eve")
    if two_steps:
        await signed_in(operator, parts, clock, Role.ADMIN)
    else:
        await parts.accounts.register("ada", "ada@example.org", PASSWORD, role=Role.ADMIN)
        await operator.log_in()
    await parts.actions.create_token(Actor("ada", "::1"), "robot", ["audit:read"], None)
    handle = (await parts.sessions.find(user="eve")).items[0].handle
    clock.ahead += PASSWORD_FRESH_FOR + 1
    paths = (
        "audit", "operators/role", "operators/tokens", "operators/invite", f"sessions/{handle}", "block?user=eve", "reset?user=eve",
    )  # fmt: skip
    pages = [(await operator.get(f"/admin/{path}")).body for path in paths]
    pages += [(await operator.post("/admin/end", {"user": "eve"})).body, (await operator.get("/account/password")).body]
    pages += [(await operator.get(f"/account/{path}")).body for path in ("email", "remove")]
    for page in pages:
        asked = len(re.findall(rb'name="(?:password|old_password|email_password|off_password|remove_password)"', page))
        assert asked > 0
        assert page.count(b'name="code"') == (asked if two_steps else 0)


@pytest.mark.gen_test
async def test_the_api_takes_no_proof_by_the_password_alone(operator: Browser, parts: Parts, clock: Clock) -> None:
    phone = await signed_in(operator, parts, clock, Role.ADMIN)
    calls = [path for path, codes in MATRIX.items() if "/api/" in path and codes["POST"][-1] == 400]
    assert len(calls) > 3
    for fresh in (True, False):
        for path in calls:
            name = path.replace("([^/]{1,200})", "eve").replace("([A-Za-z0-9]{1,64})", "abc")
            answer = await operator.send(
                "POST", name, "", X_XSRFToken=await operator.token(), Content_Type="application/json"
            )
            assert answer.code == (400 if fresh else 403), path
        clock.ahead += PASSWORD_FRESH_FOR + 1
        await operator.post("/admin/end", {**FORCE["/admin/end"], "password": PASSWORD})
    await operator.post("/admin/end", {**FORCE["/admin/end"], "password": PASSWORD, "code": phone.code()})
    body = '{"seconds": 0}'
    answer = await operator.send(
        "POST", "/admin/api/users/eve/block", body, X_XSRFToken=await operator.token(), Content_Type="application/json"
    )
    assert answer.code == 404, "the user does not exist, but the proof holds"


@pytest.mark.gen_test
async def test_a_session_from_before_the_second_step_proves_nothing(
    browser: Browser, operator: Browser, parts: Parts, clock: Clock
) -> None:
    """A thief who knows the password signed in a moment before the owner turned two-step verification on."""
    await parts.accounts.register("ada", "ada@example.org", PASSWORD, role=Role.ADMIN)
    thief = operator
    await thief.log_in()
    fields = {"name": "x", "scope": "sessions:read", "days": "1"}
    assert (await thief.post("/admin/operators/tokens", fields)).code == 200
    secret = "A" * 32
    code = Phone(secret, [], clock).code()
    await browser.log_in()
    assert (
        await browser.post("/account/two-steps", {"secret": secret, "code": code, "password": PASSWORD})
    ).code == 200
    assert (await thief.post("/admin/operators/tokens", fields)).code == 400
    assert (await thief.post("/admin/operators/tokens", {**fields, "password": PASSWORD})).code == 400
    assert (await browser.post("/admin/operators/tokens", fields)).code == 200


@pytest.mark.gen_test
async def test_a_proof_before_an_outage_signs_nobody_out(
    operator: Browser, parts: Parts, clock: Clock, app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    await parts.accounts.register("ada", "ada@example.org", PASSWORD, role=Role.ADMIN)
    await operator.log_in()
    clock.ahead += PASSWORD_FRESH_FOR + 1

    async def fails(*_: object, **__: object) -> None:
        raise StoreUnavailable("test", "out")

    with monkeypatch.context() as patch:
        patch.setattr(parts.actions, "block", fails)
        answer = await operator.post("/admin/block", {"user": "ada", "seconds": "60", "password": PASSWORD})
    assert answer.code == 503
    assert await is_in(operator)


@pytest.mark.gen_test
async def test_a_short_password_keeps_its_second_step(browser: Browser, parts: Parts, clock: Clock) -> None:
    phone = await signed_in(browser, parts, clock)
    short = "kwy3 zu8"
    change = {"old_password": PASSWORD, "new_password": short, "code": phone.code()}
    assert (await browser.post("/account/password", change)).code == 303
    off = {"off": "1", "off_password": short, "code": phone.code()}
    answer = await browser.post("/account/two-steps", off)
    assert answer.code == 400
    assert b"too short without two-step verification" in answer.body
    # The same code is still good: it was not used up.
    again = {"old_password": short, "new_password": PASSWORD, "code": off["code"]}
    assert (await browser.post("/account/password", again)).code == 303
    assert (
        await browser.post("/account/two-steps", {**off, "off_password": PASSWORD, "code": phone.code()})
    ).code == 303
    assert (await browser.post("/account/password", {"old_password": PASSWORD, "new_password": short})).code == 400
    # After a reset by an operator, a short password remains until its owner is told.
    await parts.accounts.enable_two_steps("ada", "B" * 32, Phone("B" * 32, [], clock).code())
    change = {"old_password": PASSWORD, "new_password": short, "code": Phone("B" * 32, [], clock).code()}
    assert (await browser.post("/account/password", change)).code == 303
    await parts.accounts.reset_two_steps("ada")
    await browser.post("/logout", {})
    await browser.log_in(password=short)
    assert b"Your password is short." in (await browser.get("/account")).body
