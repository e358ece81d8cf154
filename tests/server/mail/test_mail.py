"""Recovery, registration and notices by mail, on a real mail server."""

from __future__ import annotations

import asyncio
import logging

import pytest
from support.browser import Browser
from support.clock import Clock
from support.mail_server import MailServer, path_in, text_of
from support.passwords import PASSWORD
from support.second_step import make_two_step_user, sign_in_with_code

from tornado_sessions.server import Field
from tornado_sessions.server.accounts.fields import Fields
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.mail.service import Mail
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.operations.entries import AuditQuery
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role

NEW = "an entirely different phrase"
FORM = {"username": "ada", "email": "ada@example.org", "password": PASSWORD}


@pytest.fixture(autouse=True)
def every_log_line(caplog: pytest.LogCaptureFixture) -> None:
    # The drivers of stores log what they send.
    caplog.set_level(logging.DEBUG, "tornado_sessions")


async def add(parts: Parts, name: str = "ada", *, confirmed: bool = True) -> User:
    return await parts.accounts.register(name, f"{name}@example.org", PASSWORD, email_confirmed=confirmed)


@pytest.mark.every_backend
@pytest.mark.parametrize("typed", ["ADA", "Ada@Example.org"])
@pytest.mark.gen_test(timeout=30)
async def test_a_forgotten_password_is_replaced_by_the_link_in_a_mail(
    browser: Browser,
    other: Browser,
    parts: Parts,
    mail: Mail,
    mail_server: MailServer,
    caplog: pytest.LogCaptureFixture,
    typed: str,
) -> None:
    await add(parts)
    assert (await browser.log_in()).code == 303
    assert b'href="/forgot"' in (await other.get("/login")).body
    assert b"Check your email" in (await other.post("/forgot", {"username": typed})).body
    assert (await browser.get("/account")).code == 200, "a stranger's request changes nothing"
    await mail.outbox.deliver()
    assert mail_server.recipients == ["ada@example.org"]
    sent = mail_server.take()
    assert sent["Subject"] == "Choose a new password"
    path = path_in(sent)
    assert (await other.get(path)).code == 200
    assert (await other.post(path, {"password": NEW})).code == 200
    assert (await browser.get("/account")).code == 302, "all sessions have ended"
    assert (await other.get("/account")).code == 302, "the link signs nobody in"
    assert (await other.get(path)).code == 404
    assert (await browser.log_in(password=NEW)).code == 303
    await mail.outbox.deliver()
    assert mail_server.take()["Subject"] == "Your password has been changed"
    assert (await parts.audit.entries(AuditQuery(act=Action.PASSWORD_CHANGED)))[0].user == "ada"
    stored = f"{await parts.documents.all('link')}{await parts.documents.all('mail')}{await parts.audit.entries()}"
    assert path.rpartition("/")[2] not in stored + caplog.text
    assert "ada@example.org" not in caplog.text


@pytest.mark.gen_test(timeout=30)
async def test_an_answer_is_the_same_whether_the_account_exists(
    browser: Browser, parts: Parts, mail: Mail, mail_server: MailServer
) -> None:
    await add(parts)
    await add(parts, "eve", confirmed=False)
    answers = [
        await browser.post("/forgot", {"username": typed}) for typed in ("ada", "nobody", "eve", "x@example.org")
    ]
    assert {answer.code for answer in answers} == {200}
    assert len({answer.body.split(b"<main")[1] for answer in answers}) == 1
    assert len(await parts.documents.all("mail")) == 4, "each request writes one letter, and looks no account up"
    await mail.outbox.deliver()
    assert mail_server.recipients == ["ada@example.org"], (
        "nobody else gets a mail, nor an address that is not confirmed"
    )
    mail_server.take()
    forms = [
        FORM,
        {**FORM, "username": "new"},
        {**FORM, "email": "new@example.org"},
        {**FORM, "username": "ben", "email": "b@example.org"},
    ]
    registered = [await browser.copy().post("/reg", form) for form in forms]
    assert {answer.code for answer in registered} == {200}
    assert len({answer.body.split(b"<main")[1] for answer in registered}) == 1
    await mail.outbox.deliver()
    subjects = {
        recipient: sent["Subject"] for recipient, sent in zip(mail_server.recipients, mail_server.mails, strict=True)
    }
    assert subjects == {
        "ada@example.org": "You already have an account",
        "new@example.org": "Confirm your email to create your account",
        "b@example.org": "Confirm your email to create your account",
    }


@pytest.mark.every_backend
@pytest.mark.gen_test(timeout=30)
async def test_a_registration_makes_the_account_when_its_email_is_confirmed(
    browser: Browser, other: Browser, parts: Parts, mail: Mail, mail_server: MailServer
) -> None:
    browser.headers["Accept-Language"] = "zh"
    assert "请查收邮件" in (await browser.post("/reg", FORM)).body.decode()
    assert await parts.accounts.get("ada") is None
    assert PASSWORD not in str(await parts.documents.all("mail"))
    await mail.outbox.deliver()
    sent = mail_server.take()
    assert sent["Subject"] == "请确认邮箱以创建账户"
    assert 'lang="zh"' in text_of(sent, "html")
    path = path_in(sent)
    assert (await other.get(path)).code == 200
    assert await parts.accounts.get("ada") is None, "looking makes nothing"
    uses = await asyncio.gather(*(Browser(other.client, other.base).post(path, {}) for _ in range(3)))
    assert min(answer.code for answer in uses) == 200
    assert [answer.code for answer in uses].count(200) == 1
    assert (await browser.log_in()).code == 303
    user = await parts.accounts.get("ada")
    assert user is not None
    assert (user.email_confirmed_at is not None, user.language) == (True, "zh")
    assert "已确认" in (await browser.get("/account/profile")).body.decode()
    assert (await other.get(path)).code == 404


@pytest.mark.gen_test(timeout=30)
async def test_whoever_confirms_late_chooses_another_name(
    other: Browser, parts: Parts, mail: Mail, mail_server: MailServer
) -> None:
    parts.accounts.fields = Fields([Field("team", "Team", required=True)])
    assert (await other.post("/reg", {**FORM, "email": "late@example.org"})).code == 400
    await other.post("/reg", {**FORM, "email": "late@example.org", "extra_team": "Operations"})
    await mail.outbox.deliver()
    path = path_in(mail_server.take())
    await add(parts)
    answer = await other.post(path, {})
    assert (answer.code, b"That username is taken." in answer.body) == (400, True)
    assert (await other.post(path, {"username": "ada2"})).code == 200
    assert (await other.log_in("ada2")).code == 303
    user = await parts.accounts.get("ada2")
    assert user is not None
    assert user.extra == {"team": "Operations"}


@pytest.mark.gen_test(timeout=30)
async def test_a_new_address_is_used_when_it_is_confirmed_and_the_old_one_is_told(
    browser: Browser, other: Browser, parts: Parts, mail: Mail, mail_server: MailServer
) -> None:
    await add(parts)
    await add(parts, "eve")
    await browser.log_in()
    change = {"email": "new@example.org", "email_password": PASSWORD}
    assert (await browser.post("/account/email", change)).code == 303
    assert b"new@example.org" in (await browser.get("/account/profile")).body
    await mail.outbox.deliver()
    stale = path_in(mail_server.take())
    assert (await browser.post("/account/email", {**change, "email": "newer@example.org"})).code == 303
    assert (await other.get(stale)).code == 404, "another address has been asked for"
    await mail.outbox.deliver()
    mail_server.mails.clear()
    assert (await browser.post("/account/email/confirm", {})).code == 303
    await mail.outbox.deliver()
    path = path_in(mail_server.take())
    user = await parts.accounts.get("ada")
    assert user is not None
    assert user.email == "ada@example.org", "until then, the old one is used"
    assert (await other.post(path, {})).code == 200
    await mail.outbox.deliver()
    assert mail_server.recipients == ["ada@example.org"]
    assert mail_server.take()["Subject"] == "Your email has been changed"
    assert (await parts.accounts.find_by_email("newer@example.org")) is not None
    assert (await browser.post("/account/email", {**change, "email": "eve@example.org"})).code == 303
    await mail.outbox.deliver()
    assert mail_server.take()["Subject"] == "You already have an account", "only the owner of the address learns this"


@pytest.mark.gen_test(timeout=30)
async def test_an_account_from_before_confirms_its_email(
    browser: Browser, parts: Parts, mail: Mail, mail_server: MailServer
) -> None:
    await add(parts, confirmed=False)
    await browser.log_in()
    assert b"Not confirmed" in (await browser.get("/account/profile")).body
    await browser.post("/account/email/confirm", {})
    await mail.outbox.deliver()
    assert (await browser.post(path_in(mail_server.take()), {})).code == 200
    assert b"Not confirmed" not in (await browser.get("/account/profile")).body


@pytest.mark.gen_test(timeout=30)
async def test_users_are_told_of_changes_and_new_devices(
    browser: Browser, other: Browser, parts: Parts, mail: Mail, mail_server: MailServer, clock: Clock
) -> None:
    phone = await make_two_step_user(parts, clock)
    user = await parts.accounts.get("ada")
    assert user is not None
    await parts.accounts.confirm_email("ada", user.email, _nothing, lambda _: None)
    subjects: list[str] = []

    async def told() -> str:
        await mail.outbox.deliver()
        subjects.append(mail_server.take()["Subject"])
        return subjects[-1]

    assert (await sign_in_with_code(browser, phone.code())).code == 303
    other.headers["User-Agent"] = "curl/8.0"
    assert (await sign_in_with_code(other, phone.code())).code == 303
    assert await told() == "Sign-in from a new device"
    change = {"old_password": PASSWORD, "new_password": NEW, "code": phone.code()}
    assert (await browser.post("/account/password", change)).code == 303
    assert await told() == "Your password has been changed"
    off = {"off": "1", "off_password": NEW, "code": phone.code()}
    assert (await browser.post("/account/two-steps", off)).code == 303
    assert await told() == "Two-step verification is off"
    await parts.accounts.register("root", "root@example.org", PASSWORD, role=Role.ADMIN)
    await parts.credentials.reset_password(Actor("root", "192.0.2.1"), "ada")
    assert await told() == "Your password has been reset"


async def _nothing() -> None:
    return


@pytest.mark.gen_test(timeout=30)
async def test_nobody_is_flooded(browser: Browser, parts: Parts, mail: Mail, mail_server: MailServer) -> None:
    await add(parts)
    for typed in ("ada", "ada@example.org"):
        for _ in range(6):
            assert (await browser.post("/forgot", {"username": typed})).code == 200
    await mail.outbox.deliver()
    assert len(mail_server.mails) == 5
    codes = [(await browser.post("/forgot", {"username": f"n{n}"})).code for n in range(20)]
    assert set(codes) == {200, 429}


@pytest.mark.parametrize(
    "email", ["a@example.org\r\nBcc: x@example.org", "a,b@example.org", "<a@example.org>", "a@b.org;c@d.org"]
)
@pytest.mark.gen_test
async def test_no_address_becomes_another_header_or_recipient(browser: Browser, parts: Parts, email: str) -> None:
    assert (await browser.post("/reg", {**FORM, "email": email})).code == 400
    assert await parts.documents.all("mail") == []
