"""An admin resets credentials and invites staff, by links that work once and for a short time."""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import quote

import pyotp
import pytest
from support.browser import Browser
from support.clock import Clock
from support.passwords import PASSWORD
from support.people import make_operator
from support.second_step import make_two_step_user, sign_in_with_code

from tornado_sessions.errors import StoreUnavailable
from tornado_sessions.server.accounts.errors import AccountError, LinkInvalid
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.entries import AuditQuery
from tornado_sessions.server.operations.errors import InvalidInput, NoSuchUser, NotPermitted
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role

NEW = "an entirely different phrase"
ADMIN = Actor("root", "192.0.2.1")


@pytest.fixture(autouse=True)
def every_log_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


async def made(parts: Parts) -> list[str]:
    """The accounts that the audit log says were made."""
    return [entry.user for entry in await parts.audit.entries(AuditQuery(act=Action.ACCOUNT_CREATED))]


@pytest.mark.gen_test(timeout=30)
async def test_the_audit_log_names_no_account_that_nobody_made(
    browser: Browser, operator: Browser, parts: Parts
) -> None:
    await make_operator(parts, operator, Role.ADMIN)
    await browser.register("ada")
    link = f"/invite/{await parts.links.for_invitation(Role.OPERATOR, 'root')}"
    for path in ("/reg", link):
        taken = {"username": "ADA", "email": "other@example.org", "password": NEW}
        assert (await operator.copy().post(path, taken)).code == 400
    assert await made(parts) == ["ada"]
    guests = [Browser(browser.client, browser.base) for _ in range(4)]
    forms = [{"username": f"new{n}", "email": f"new{n}@example.org", "password": NEW} for n in range(len(guests))]
    answers = await asyncio.gather(*(guest.post(link, form) for guest, form in zip(guests, forms, strict=True)))
    assert sorted(answer.code for answer in answers) == [200, 404, 404, 404]
    joined = [person.name for person in await parts.accounts.with_role(Role.OPERATOR)]
    assert sorted(await made(parts)) == ["ada", *joined]


@pytest.mark.gen_test(timeout=30)
async def test_an_outage_lets_an_invitation_work_again_but_never_twice(
    operator: Browser, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_operator(parts, operator, Role.ADMIN)
    token = await parts.links.for_invitation(Role.OPERATOR, "root")

    async def refuse() -> None:
        raise StoreUnavailable("memory", "the disk is full")

    with pytest.raises(StoreUnavailable):
        await parts.links.register(token, "eve", "eve@example.org", NEW, note=refuse)
    assert (await parts.links.invitation(token)).role is Role.OPERATOR
    add = parts.accounts.repository.add

    async def lose_the_answer(user: User) -> User:
        await add(user)
        raise StoreUnavailable("memory", "the answer was lost")

    monkeypatch.setattr(parts.accounts.repository, "add", lose_the_answer)
    with pytest.raises(StoreUnavailable):
        await parts.links.register(token, "eve", "eve@example.org", NEW)
    with pytest.raises(LinkInvalid):
        await parts.links.invitation(token)


@pytest.mark.every_backend
@pytest.mark.gen_test(timeout=30)
async def test_a_reset_password_stops_at_once_and_its_link_sets_a_new_one_once(
    browser: Browser, operator: Browser, other: Browser, parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    await browser.register()
    await browser.log_in()
    await make_operator(parts, operator, Role.ADMIN)
    reset = await parts.credentials.reset_password(ADMIN, "ADA", "phished")
    assert (reset.person.name, reset.ended, reset.link[:10]) == ("ada", 1, "/password/")
    assert (await browser.get("/account")).code == 302
    assert (await browser.log_in()).code == 401
    for _ in range(2):
        assert b"ada" in (await other.get(reset.link)).body, "looking uses nothing up"
    assert (await other.post(reset.link, {"password": "short"})).code == 400
    assert b"Your password has been changed" in (await other.post(reset.link, {"password": NEW})).body
    assert (await other.get(reset.link)).code == 404
    again = await other.post(reset.link, {"password": "a phrase that comes too late"})
    assert (again.code, b"ask for a new link" in again.body) == (404, True)
    assert (await browser.log_in(password=NEW)).code == 303
    entry = (await parts.audit.entries(AuditQuery(act=Action.RESET_PASSWORD)))[0]
    assert (entry.actor, entry.user, entry.reason, entry.ended) == ("root", "ada", "phished", 1)
    assert (await parts.audit.entries(AuditQuery(act=Action.PASSWORD_CHANGED)))[0].user == "ada"
    kept = f"{caplog.text}{await parts.audit.entries()}{await parts.documents.all('link')}"
    assert reset.link.rpartition("/")[2] not in kept
    assert NEW not in kept


@pytest.mark.parametrize("spoiled", ["later reset", "expired", "own change", "other purpose", "made up"])
@pytest.mark.gen_test
async def test_a_link_that_is_spoiled_sets_nothing(
    browser: Browser, other: Browser, parts: Parts, clock: Clock, spoiled: str
) -> None:
    await browser.register()
    await make_operator(parts, Browser(browser.client, browser.base), Role.ADMIN)
    link = (await parts.credentials.reset_password(ADMIN, "ada")).link
    if spoiled == "later reset":
        await parts.credentials.reset_password(ADMIN, "ada")
    elif spoiled == "expired":
        clock.ahead += 1800
    elif spoiled == "own change":
        await parts.accounts.reset_password("ada", "something else altogether")
    elif spoiled == "other purpose":
        link = link.replace("password", "invite")
    else:
        link += "a"
    assert (await other.get(link)).code == 404
    fields = {"username": "eve", "email": "eve@example.org", "password": NEW}
    assert (await other.post(link, fields)).code == 404
    assert (await browser.log_in(password=NEW)).code == 401


@pytest.mark.every_backend
@pytest.mark.gen_test(timeout=30)
async def test_of_uses_at_the_same_moment_one_succeeds(browser: Browser, parts: Parts, twin: Parts) -> None:
    await browser.register()
    await make_operator(parts, browser, Role.ADMIN)
    token = (await parts.credentials.reset_password(ADMIN, "ada")).link.rpartition("/")[2]
    invitation = (await parts.credentials.invite(ADMIN, Role.VIEWER)).rpartition("/")[2]

    async def join(made: Parts, name: str) -> bool:
        try:
            await made.links.register(invitation, name, f"{name}@example.org", PASSWORD)
        except AccountError:
            return False
        return True

    async def change(number: int) -> bool:
        person = Browser(browser.client, browser.base)
        return (await person.post(f"/password/{token}", {"password": f"{NEW} {number}"})).code == 200

    assert sum(await asyncio.gather(*(join(made, f"v{n}") for n, made in enumerate((parts, twin, parts))))) == 1
    assert sum(await asyncio.gather(*map(change, range(3)))) == 1


@pytest.mark.gen_test
async def test_who_may_reset_whom(browser: Browser, operator: Browser, parts: Parts) -> None:
    await browser.register()
    await make_operator(parts, operator, Role.ADMIN)
    for role in (Role.USER, Role.VIEWER, Role.OPERATOR):
        lower = Actor("oscar", "192.0.2.1", role)
        for act in (
            parts.credentials.reset_password(lower, "ada"),
            parts.credentials.reset_two_steps(lower, "ada"),
            parts.credentials.invite(lower, Role.VIEWER),
            parts.credentials.revoke_invitation(lower, "x"),
        ):
            with pytest.raises(NotPermitted):
                await act
    for act in (parts.credentials.reset_password(ADMIN, "root"), parts.credentials.reset_two_steps(ADMIN, "root")):
        with pytest.raises(NotPermitted, match="your own account"):
            await act
    with pytest.raises(NoSuchUser):
        await parts.credentials.reset_password(ADMIN, "nobody")
    with pytest.raises(InvalidInput):
        await parts.credentials.invite(ADMIN, Role.USER)
    assert (await browser.log_in()).code == 303, "nothing has changed"


@pytest.mark.every_backend
@pytest.mark.gen_test(timeout=30)
async def test_a_link_and_the_password_turn_the_second_step_off_once(
    browser: Browser, other: Browser, parts: Parts, clock: Clock
) -> None:
    phone = await make_two_step_user(parts, clock)
    assert (await sign_in_with_code(browser, phone.code())).code == 303
    link = (await parts.credentials.reset_two_steps(ADMIN, "ada", "lost phone")).link
    assert (await browser.get("/account")).code == 200, "until the link is used, nothing changes"
    assert (await other.post(link, {"password": NEW})).code == 400, "whoever finds the link knows no password"
    forms = [Browser(browser.client, browser.base).post(link, {"password": PASSWORD}) for _ in range(3)]
    answers = await asyncio.gather(*forms)
    assert sorted(answer.code for answer in answers) == [200, 404, 404]
    assert (await browser.get("/account")).code == 302, "all sessions have ended"
    assert (await browser.log_in()).code == 303
    assert (await other.get(link)).code == 404
    entry = (await parts.audit.entries(AuditQuery(act=Action.RESET_TWO_STEPS)))[0]
    assert (entry.actor, entry.user, entry.reason) == ("root", "ada", "lost phone")
    assert (await parts.audit.entries(AuditQuery(act=Action.TWO_STEPS_OFF)))[0].user == "ada"
    kept = f"{await parts.audit.entries()}{await parts.documents.all('link')}"
    assert link.rpartition("/")[2] not in kept


@pytest.mark.parametrize("spoiled", ["expired", "turned off and on", "off", "other purpose"])
@pytest.mark.gen_test
async def test_a_spoiled_link_leaves_the_second_step_on(
    other: Browser, parts: Parts, clock: Clock, spoiled: str
) -> None:
    await make_two_step_user(parts, clock)
    link = (await parts.credentials.reset_two_steps(ADMIN, "ada")).link
    if spoiled == "expired":
        clock.ahead += 1800
    elif spoiled == "other purpose":
        link = link.replace("two-steps", "password")
    else:
        await parts.accounts.reset_two_steps("ada")
        if spoiled == "turned off and on":
            secret = pyotp.random_base32(32)
            await parts.accounts.enable_two_steps("ada", secret, pyotp.TOTP(secret).at(int(clock())))
        else:
            with pytest.raises(InvalidInput):
                await parts.credentials.reset_two_steps(ADMIN, "ada")
    assert (await other.get(link)).code == 404
    assert (await other.post(link, {"password": PASSWORD})).code == 404
    user = await parts.accounts.get("ada")
    assert user is not None
    assert user.has_two_steps is (spoiled != "off")


@pytest.mark.gen_test
async def test_an_invitation_makes_one_account_with_its_role(
    browser: Browser, operator: Browser, other: Browser, parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    await browser.register()
    await make_operator(parts, operator, Role.ADMIN)
    link = await parts.credentials.invite(ADMIN, Role.OPERATOR, "night shift")
    assert [(open_.role, open_.made_by) for open_ in await parts.credentials.invitations()] == [(Role.OPERATOR, "root")]
    assert b"Operator" in (await other.get(link)).body
    fields = {"username": "ada", "email": "oscar@example.org", "password": PASSWORD}
    assert (await other.post(link, fields)).code == 400, "the name is taken, the link still works"
    assert (await other.post(link, {**fields, "username": "oscar"})).code == 200
    assert (await other.get(link)).code == 404
    assert (await other.log_in("oscar")).code == 303
    assert (await other.get("/admin/")).code == 200
    assert not await parts.credentials.invitations()
    entry = (await parts.audit.entries(AuditQuery(act=Action.INVITE)))[0]
    assert (entry.actor, entry.target, entry.reason) == ("root", "operator", "night shift")
    # Whatever spelling a client uses for the path.
    for path in (link, quote(link, safe=""), link.replace("/", "//").upper()):
        await other.get("/" + path.lstrip("/"))
    token = link.rpartition("/")[2]
    assert token not in f"{caplog.text}{await parts.audit.entries()}{await parts.documents.all('link')}"


@pytest.mark.parametrize("end", ["revoked", "expired", "maker demoted", "maker blocked"])
@pytest.mark.gen_test
async def test_an_invitation_ends(browser: Browser, parts: Parts, clock: Clock, end: str) -> None:
    await make_operator(parts, browser, Role.ADMIN)
    token = (await parts.credentials.invite(ADMIN, Role.ADMIN)).rpartition("/")[2]
    if end == "revoked":
        (invitation,) = await parts.credentials.invitations()
        assert await parts.credentials.revoke_invitation(ADMIN, invitation.id)
        assert not await parts.credentials.revoke_invitation(ADMIN, invitation.id)
    elif end == "expired":
        clock.ahead += 86400
    elif end == "maker demoted":
        await parts.accounts.set_role("root", Role.OPERATOR)
    else:
        await parts.accounts.block("root", clock() + 60)
    with pytest.raises(LinkInvalid):
        await parts.links.register(token, "eve", "eve@example.org", PASSWORD)
    assert await parts.accounts.get("eve") is None


@pytest.mark.gen_test
async def test_damaged_links_are_dead_and_removed(parts: Parts, browser: Browser) -> None:
    await make_operator(parts, browser, Role.ADMIN)
    token = (await parts.credentials.invite(ADMIN, Role.VIEWER)).rpartition("/")[2]
    (document,) = await parts.documents.all("link")
    await parts.documents.put("link", document._replace(revision=2, body=b"{}"), tags=["invitation"])
    with pytest.raises(LinkInvalid):
        await parts.links.invitation(token)
    assert not await parts.credentials.invitations()
    await parts.credentials.invite(ADMIN, Role.VIEWER)
    assert len(await parts.documents.all("link")) == 1
