"""TLS with certificates that are verified, refused logins, servers that hang, and every refusal: bounded, and said in the log."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import quote

import pytest
import trustme
from support.clock import Clock
from support.mail_server import MailServer, running
from support.passwords import PASSWORD

from tornado_sessions.server.mail.errors import MailRefused, MailUnavailable
from tornado_sessions.server.mail.service import Mail
from tornado_sessions.server.mail.smtp import SmtpServer
from tornado_sessions.server.parts import Parts

#: This machine under a name for which certificates are verified, unlike those of localhost.
HOST = "127.1"
SECRET = "pass:word/of@the account"


def message() -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "a@example.org", "b@example.org", "Hello"
    made.set_content("text")
    return made


async def sent_to(url: str, timeout: float = 10.0) -> None:
    await SmtpServer(url, timeout=timeout).send(message(), "a@example.org", "b@example.org")


async def fault_of(url: str, timeout: float = 10.0) -> str:
    with pytest.raises(MailUnavailable) as error:
        await sent_to(url, timeout)
    said = str(error.value)
    assert SECRET not in said
    assert quote(SECRET) not in said
    assert "@" not in said
    return said


class Authority:
    """An authority that this process trusts, and a certificate of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._authority = trustme.CA()
        file = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(str(file))
        monkeypatch.setenv("SSL_CERT_FILE", str(file))

    def context(self, name: str = HOST) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(name).configure_cert(context)
        return context


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Authority:
    return Authority(monkeypatch, tmp_path)


def url_of(server: MailServer, login: str = "") -> str:
    return server.url.replace("127.0.0.1", HOST).replace("://", f"://{login}")


@pytest.mark.parametrize("is_implicit", [True, False])
@pytest.mark.gen_test(timeout=30)
async def test_a_password_goes_by_tls_to_a_server_whose_certificate_is_good(
    authority: Authority, is_implicit: bool
) -> None:
    login = f"ada:{quote(SECRET, safe='')}@"
    async with running(MailServer(authority.context(), ("ada", SECRET), is_implicit=is_implicit)) as server:
        await sent_to(url_of(server, login))
        assert server.was_encrypted == [True]
        said = await fault_of(url_of(server, "ada:not-it@"))
        assert said == "SMTPAuthenticationError 535: the mail server refuses the name or the password"
    assert len(server.mails) == 1


@pytest.mark.parametrize("is_implicit", [True, False])
@pytest.mark.gen_test(timeout=30)
async def test_nothing_goes_to_a_server_whose_certificate_is_not_good(authority: Authority, is_implicit: bool) -> None:
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert(HOST).configure_cert(stranger)
    for context, why in ((stranger, "certificate"), (authority.context("mail.example.org"), "not valid for")):
        async with running(MailServer(context, ("ada", SECRET), is_implicit=is_implicit)) as server:
            said = await fault_of(url_of(server, f"ada:{quote(SECRET, safe='')}@"))
        assert "its certificate is invalid: " in said
        assert why in said
        assert server.mails == []


@pytest.mark.gen_test(timeout=30)
async def test_a_password_waits_for_a_server_that_offers_tls() -> None:
    async with running(MailServer()) as server:
        said = await fault_of(url_of(server, f"ada:{quote(SECRET, safe='')}@"))
        assert "STARTTLS" in said
        said = await fault_of(url_of(server).replace("smtp:", "smtps:"))
        assert "smtps:// is for port 465" in said


@asynccontextmanager
async def scripted(*answers: str) -> AsyncIterator[str]:
    """Serve the URL of a server that gives these answers, the first one as its greeting; after the last one it is silent."""

    tasks: list[asyncio.Task[object] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.current_task())
        try:
            for answer in answers:
                writer.write(answer.encode() + b"\r\n")
                await reader.readuntil(b"\r\n.\r\n" if answer.startswith("354") else b"\n")
            await reader.read()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        running = [task for task in tasks if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


HELLO = ("220 here", "250 hello")
OK = "250 fine"


@pytest.mark.parametrize(
    "answers",
    [(), ("220 here",), HELLO, (*HELLO, OK), (*HELLO, OK, OK), (*HELLO, OK, OK, "354 go on")],
)
@pytest.mark.gen_test(timeout=30)
async def test_a_server_that_hangs_is_left_after_a_while(answers: tuple[str, ...]) -> None:
    async with scripted(*answers) as url:
        started = asyncio.get_running_loop().time()
        said = await fault_of(url, timeout=0.3)
        assert asyncio.get_running_loop().time() - started < 3
    assert "does not answer in time" in said


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        (("421 busy b@example.org",), MailUnavailable),
        (("554 go away b@example.org",), MailUnavailable),
        ((*HELLO, "451 later b@example.org"), MailUnavailable),
        ((*HELLO, "550 not you b@example.org"), MailUnavailable),
        ((*HELLO, OK, "450 greylisted b@example.org"), MailUnavailable),
        ((*HELLO, OK, "550 nobody b@example.org"), MailRefused),
        ((*HELLO, OK, OK, "452 full b@example.org"), MailUnavailable),
        ((*HELLO, OK, OK, "554 no b@example.org"), MailRefused),
        ((*HELLO, OK, OK, "354 go on", "451 later b@example.org"), MailUnavailable),
        ((*HELLO, OK, OK, "354 go on", "554 spam b@example.org"), MailRefused),
        (("nonsense",), MailUnavailable),
    ],
)
@pytest.mark.gen_test(timeout=30)
async def test_what_may_pass_is_tried_again_and_what_will_not_is_given_up(
    answers: tuple[str, ...], kind: type[Exception]
) -> None:
    async with scripted(*answers, "221 bye") as url:
        with pytest.raises(kind) as error:
            await sent_to(url, timeout=1)
    assert type(error.value) is kind
    assert "example.org" not in str(error.value)


@pytest.mark.gen_test(timeout=30)
async def test_operators_see_what_waits_and_what_was_given_up(
    parts: Parts, mail: Mail, mail_server: MailServer, clock: Clock, url: str
) -> None:
    async def said() -> list[str]:
        return [str(check) for check in await mail.checks()]

    assert await said() == ["Email: none waits for another attempt"]
    await parts.accounts.register("ada", "ada@example.org", PASSWORD, email_confirmed=True)
    await mail.recover("ada", "en_US")
    mail_server.answers["ada@example.org"] = "451 greylisted"
    await mail.outbox.deliver()
    assert await said() == ["1 email waits: SMTPRecipientsRefused 451 → Run: tornado-sessions check"]
    mail_server.answers["ada@example.org"] = "550 nobody"
    clock.ahead += 10
    await mail.outbox.deliver()
    assert await said() == ["1 email could not be sent: within a day; the log says why → Run: tornado-sessions check"]
    board = await parts.overview.look()
    assert "1 email could not be sent: within a day; the log says why → Run: tornado-sessions check" in map(
        str, board.checks
    )
    # Redis removes a count by its own clock, which no test can move.
    if not url.startswith("redis:"):
        clock.ahead += 86401
        assert await said() == ["Email: none waits for another attempt"]
