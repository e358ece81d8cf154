"""The outbox loses no mail: outages, slow servers, refused recipients, crashes, several processes."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest
import trustme
from support.browser import Browser
from support.clock import Clock
from support.mail_server import MailServer, made, running
from support.passwords import PASSWORD
from support.waiting import until

from tornado_sessions.errors import ConfigError
from tornado_sessions.server.mail.service import Mail
from tornado_sessions.server.mail.smtp import SmtpServer
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.settings import ServerOptions


async def ask(parts: Parts, mail: Mail) -> None:
    if await parts.accounts.get("ada") is None:
        await parts.accounts.register("ada", "ada@example.org", PASSWORD, email_confirmed=True)
    await mail.recover("ada", "en_US")


@pytest.mark.every_backend
@pytest.mark.gen_test(timeout=30)
async def test_an_outage_delays_a_mail_and_does_not_lose_it(
    parts: Parts, mail: Mail, mail_server: MailServer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    await ask(parts, mail)
    mail_server.stop()
    await mail.outbox.deliver()
    assert "waits 5 s for another attempt" in caplog.text
    mail_server.start()
    await mail.outbox.deliver()
    assert mail_server.mails == [], "not at once"
    clock.ahead += 5
    await mail.outbox.deliver()
    assert mail_server.recipients == ["ada@example.org"]
    assert await parts.documents.all("mail") == []


@pytest.mark.parametrize(("answer", "is_final"), [("550 no such user", True), ("451 greylisted", False)])
@pytest.mark.gen_test
async def test_a_refused_recipient_is_given_up_and_a_deferred_one_tried_again(
    parts: Parts,
    mail: Mail,
    mail_server: MailServer,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    answer: str,
    is_final: bool,
) -> None:
    await ask(parts, mail)
    mail_server.answers["ada@example.org"] = answer
    await mail.outbox.deliver()
    mail_server.answers.clear()
    clock.ahead += 60
    await mail.outbox.deliver()
    assert len(mail_server.mails) == (0 if is_final else 1)
    assert await parts.documents.all("mail") == []
    assert "ada@" not in caplog.text


@pytest.mark.gen_test
async def test_a_slow_server_holds_up_no_request(
    parts: Parts, mail: Mail, mail_server: MailServer, browser: Browser
) -> None:
    await ask(parts, mail)
    mail_server.release.clear()
    sending = asyncio.ensure_future(mail.outbox.deliver())
    assert (await browser.post("/forgot", {"username": "ada"})).code == 200
    assert not sending.done()
    mail_server.release.set()
    await sending
    assert len(mail_server.mails) == 2


@pytest.mark.every_backend
@pytest.mark.gen_test(timeout=30)
async def test_a_crash_in_the_middle_loses_nothing_and_two_processes_send_once(
    parts: Parts, twin: Parts, mail: Mail, mail_server: MailServer, clock: Clock
) -> None:
    await ask(parts, mail)
    mail_server.release.clear()
    crashed = asyncio.ensure_future(mail.outbox.deliver())
    await until(lambda: parts.documents.all("mail"), "the mail")
    await asyncio.sleep(0)
    crashed.cancel()
    await asyncio.wait([crashed])
    mail_server.release.set()
    await until(lambda: _settled(parts), "one copy")
    mail_server.mails.clear()
    clock.ahead += 120
    assert twin.mail is not None
    await asyncio.gather(mail.outbox.deliver(), twin.mail.outbox.deliver(), mail.outbox.deliver())
    assert len(mail_server.mails) == 1
    assert await parts.documents.all("mail") == []


async def _settled(parts: Parts) -> bool:
    return len(await parts.documents.all("mail")) == 1


@pytest.mark.gen_test
async def test_an_old_or_damaged_letter_is_dropped(
    parts: Parts, mail: Mail, mail_server: MailServer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    await ask(parts, mail)
    (document,) = await parts.documents.all("mail")
    await parts.documents.put("mail", document._replace(revision=2, body=b"\x01nothing"))
    await mail.recover("ada", "en_US")
    clock.ahead += 1800
    await mail.outbox.deliver()
    assert mail_server.mails == []
    assert await parts.documents.all("mail") == []
    assert caplog.text.count("a mail was not sent") == 2


@pytest.mark.parametrize("password", ["right", "wrong"])
@pytest.mark.gen_test
async def test_a_password_goes_by_tls_from_a_file_and_into_no_log(
    url: str, clock: Clock, password: str, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    file = tmp_path / "password"
    file.write_text(f"{password}\n")
    async with running(MailServer(context, ("ada", "right"))) as server:
        parts = made(url, clock, server.url.replace("//", "//ada:never-used@"), smtp_password_file=str(file))
        try:
            await parts.open()
            assert parts.mail is not None
            await ask(parts, parts.mail)
            await parts.mail.outbox.deliver()
            assert server.was_encrypted == ([True] if password == "right" else [])
        finally:
            await parts.close()
    assert "never-used" not in caplog.text + repr(parts.options)
    assert password == "right" or "SMTPAuthenticationError 535" in caplog.text


@pytest.mark.parametrize(
    "url", ["smtp://", "http://x", "smtp://h:99999", "smtp://h/path", "smtp://ada@h", "smtp://ada:s3cret@h?x=1"]
)
def test_a_malformed_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError) as error:
        SmtpServer(url)
    assert "s3cret" not in str(error.value)


def test_links_need_a_public_url_and_a_sender_is_one_address() -> None:
    with pytest.raises(ValueError, match="public-url"):
        ServerOptions(smtp_url="smtp://localhost")
    for sender in ("x", "a@b.org, c@d.org", "a@b.org\nBcc: c@d.org"):
        with pytest.raises(ValueError, match="must be an address"):
            ServerOptions(mail_from=sender)
