"""Each notice is read as its reader sees it: text and HTML, English and Chinese, at the right address; no header is forged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from email.message import EmailMessage
from typing import Any, NamedTuple

import pyotp
import pytest
from support.browser import Browser
from support.clock import Clock
from support.mail_server import MailServer, path_in, text_of
from support.passwords import PASSWORD
from support.second_step import Phone, make_two_step_user, sign_in_with_code

from tornado_sessions.server.accounts.client import Client
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.languages import language
from tornado_sessions.server.mail.letters import WORDS, Kind, Letter, written
from tornado_sessions.server.mail.service import Mail
from tornado_sessions.server.operations.audit import Actor
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.roles import Role

NEW = "an entirely different phrase"


@pytest.fixture
def url() -> str:
    """What is stored where makes no difference to what a mail says."""
    return "memory://"


class Scene(NamedTuple):
    """A user with a confirmed address, and everything that happens to them."""

    browser: Browser
    parts: Parts
    mail: Mail
    server: MailServer
    clock: Clock

    async def confirmed(self, name: str = "ada") -> User:
        return await self.parts.accounts.register(name, f"{name}@example.org", PASSWORD, email_confirmed=True)

    async def phone(self) -> Phone:
        phone = await make_two_step_user(self.parts, self.clock)
        await self.parts.accounts.repository.change("ada", lambda _: None, email_confirmed_at=1.0)
        return phone

    async def post(self, path: str, fields: dict[str, str]) -> None:
        answer = await self.browser.post(path, fields)
        assert answer.code in (200, 303), answer.body

    async def taken(self) -> EmailMessage:
        await self.mail.outbox.deliver()
        return self.server.take()


async def new_device(scene: Scene) -> None:
    await scene.confirmed()
    await scene.browser.log_in()
    other = scene.browser.copy()
    other.cookies = {}
    other.headers["User-Agent"] = "curl/8.0"
    await other.log_in()


async def password_changed(scene: Scene) -> None:
    await scene.confirmed()
    await scene.browser.log_in()
    await scene.post("/account/password", {"old_password": PASSWORD, "new_password": NEW})


async def password_replaced_by_mail(scene: Scene) -> None:
    await scene.confirmed()
    await scene.post("/forgot", {"username": "ada"})
    await scene.post(path_in(await scene.taken()), {"password": NEW})


async def password_reset(scene: Scene) -> None:
    await scene.confirmed()
    await scene.parts.accounts.register("root", "root@example.org", PASSWORD, role=Role.ADMIN)
    await scene.parts.credentials.reset_password(Actor("root", "192.0.2.1"), "ada")


async def email_changed(scene: Scene) -> None:
    await scene.confirmed()
    await scene.browser.log_in()
    await scene.post("/account/email", {"email": "new@example.org", "email_password": PASSWORD})
    await scene.post(path_in(await scene.taken()), {})


async def two_steps_on(scene: Scene) -> None:
    await scene.confirmed()
    await scene.browser.log_in()
    secret = pyotp.random_base32(32)
    code = pyotp.TOTP(secret).at(int(scene.clock()))
    await scene.post("/account/two-steps", {"secret": secret, "code": code, "password": PASSWORD})


async def two_steps_off(scene: Scene) -> None:
    phone = await scene.phone()
    assert (await sign_in_with_code(scene.browser, phone.code())).code == 303
    await scene.post("/account/two-steps", {"off": "1", "off_password": PASSWORD, "code": phone.code()})


async def two_steps_reset(scene: Scene) -> None:
    await scene.phone()
    await scene.parts.accounts.register("root", "root@example.org", PASSWORD, role=Role.ADMIN)
    await scene.parts.credentials.reset_two_steps(Actor("root", "192.0.2.1"), "ada")


async def recovery_code_at_sign_in(scene: Scene) -> None:
    phone = await scene.phone()
    assert (await sign_in_with_code(scene.browser, phone.recovery[0])).code == 303


async def recovery_code_in_the_settings(scene: Scene) -> None:
    phone = await scene.phone()
    assert (await sign_in_with_code(scene.browser, phone.code())).code == 303
    change = {"email": "new@example.org", "email_password": PASSWORD, "code": phone.recovery[1]}
    await scene.post("/account/email", change)
    await scene.mail.outbox.deliver()
    scene.server.mails[:] = [mail for mail in scene.server.mails if mail["To"] == "ada@example.org"]
    scene.server.recipients.remove("new@example.org")


NOTICES = [
    (new_device, Kind.NEW_DEVICE),
    (password_changed, Kind.PASSWORD_CHANGED),
    (password_replaced_by_mail, Kind.PASSWORD_CHANGED),
    (password_reset, Kind.PASSWORD_RESET),
    (email_changed, Kind.EMAIL_CHANGED),
    (two_steps_on, Kind.TWO_STEPS_ON),
    (two_steps_off, Kind.TWO_STEPS_OFF),
    (two_steps_reset, Kind.TWO_STEPS_RESET),
    (recovery_code_at_sign_in, Kind.RECOVERY_CODE),
    (recovery_code_in_the_settings, Kind.RECOVERY_CODE),
]
#: Of these, no request of the user says the language.
BY_ADMIN = {Kind.PASSWORD_RESET, Kind.TWO_STEPS_RESET}


def test_every_notice_has_a_test() -> None:
    with_link = {kind for kind, words in WORDS.items() if words.label}
    assert {kind for _, kind in NOTICES} == set(Kind) - with_link


@pytest.mark.parametrize("tag", ["en", "zh"])
@pytest.mark.parametrize(("happens", "kind"), NOTICES)
@pytest.mark.gen_test(timeout=30)
async def test_what_happens_is_told_to_the_confirmed_address(
    browser: Browser,
    parts: Parts,
    mail: Mail,
    mail_server: MailServer,
    clock: Clock,
    happens: Callable[[Scene], Awaitable[None]],
    kind: Kind,
    tag: str,
) -> None:
    browser.headers["Accept-Language"] = tag
    await happens(Scene(browser, parts, mail, mail_server, clock))
    await mail.outbox.deliver()
    assert mail_server.recipients == ["ada@example.org"]
    sent = mail_server.take()
    said = language("zh" if tag == "zh" and kind not in BY_ADMIN else "en_US")
    assert sent["Subject"] == said.translate(WORDS[kind].subject)
    assert sent["From"] == "noreply@sessions.example"
    alarm = said.translate(WORDS[kind].paragraphs[-1].replace("%s", "ada"))
    for form in ("plain", "html"):
        text = text_of(sent, form)
        assert "ada" in text
        assert "http://sessions.example" in text
        assert "/password/" not in text, "a notice opens nothing"
        if kind is not Kind.PASSWORD_RESET:
            assert alarm.replace("'", "&#x27;") in text or alarm in text
    assert f'lang="{said.tag}"' in text_of(sent, "html")


HOSTILE = ["<b>ada</b>", "ada\r\nBcc: eve@example.org", "a" * 5000, "%s%s%n", "\u202eada", "ada\x00"]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("tag", ["en_US", "zh"])
def test_a_name_is_only_text_in_every_kind_of_mail(name: str, tag: str) -> None:
    for kind in Kind:
        values = (name, name, name)
        letter = Letter(id="1", kind=kind, language=tag, expires_at=0.0, user=name, values=values)
        subject, text, html = written(letter, language(tag), "http://sessions.example/x", "http://sessions.example")
        assert name not in subject
        assert name in text or kind is Kind.HAS_ACCOUNT
        assert "<b>" not in html


@pytest.mark.parametrize("name", ["<b>ada</b>", "ada\r\nBcc: eve@example.org", "a" * 5000])
@pytest.mark.gen_test(timeout=30)
async def test_no_stored_name_or_address_makes_a_header_or_a_recipient(
    parts: Parts, mail: Mail, mail_server: MailServer, name: str
) -> None:
    """A table of somebody's own may contain anything."""
    made: dict[str, Any] = {"password_hash": "", "created_at": 1.0, "password_changed_at": 1.0}
    user = User(name=name, email="ada@example.org", email_confirmed_at=1.0, **made)
    await mail.tell(user, Kind.PASSWORD_CHANGED)
    for email in ("ada@example.org\r\nBcc: eve@example.org", "ada@example.org, eve@example.org", "", "@", name):
        await mail.tell(User(name="x", email=email, email_confirmed_at=1.0, **made), Kind.PASSWORD_CHANGED)
    await mail.outbox.deliver()
    assert mail_server.recipients == ["ada@example.org"]
    sent = mail_server.take()
    assert sent["Bcc"] is None
    assert sent["To"] == "ada@example.org"
    assert await parts.documents.all("mail") == [], "the others are given up"


@pytest.mark.gen_test(timeout=30)
async def test_however_a_victim_is_named_an_hour_brings_few_mails(
    browser: Browser, parts: Parts, mail: Mail, mail_server: MailServer, clock: Clock
) -> None:
    await parts.accounts.register("ada", "ada@example.org", PASSWORD, email_confirmed=True)
    for typed in ("ada", "ADA", " ada ", "ada@example.org", "Ada@Example.ORG", "ａｄａ"):
        for _ in range(3):
            await mail.recover(typed, "en_US")
    for number in range(8):
        registered = await parts.accounts.prepare(f"new{number}", "ADA@example.org", PASSWORD, Client("192.0.2.1"))
        await mail.register(registered, "en_US")
    await mail.outbox.deliver()
    assert len(mail_server.mails) == 5
    user = await parts.accounts.get("ada")
    assert user is not None
    for _ in range(30):
        await mail.tell(user, Kind.NEW_DEVICE, "", "Firefox", "192.0.2.1", "now")
    await mail.outbox.deliver()
    assert len(mail_server.mails) == 25
    clock.ahead += 3601
    await mail.recover("ada", "en_US")
    await mail.outbox.deliver()
    assert len(mail_server.mails) == 26, "an hour later the next one comes"
