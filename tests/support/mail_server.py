"""A real mail server in a thread, which can be slow, away, or refuse recipients."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from ssl import SSLContext
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from argon2.profiles import CHEAPEST
from support.clock import Clock
from support.passwords import SECRET
from support.ports import free_port
from support.waiting import one_turn, until

from tornado_sessions.server.accounts.passwords import Passwords
from tornado_sessions.server.parts import Parts
from tornado_sessions.server.settings import ServerOptions


class MailServer:
    """Receives mails.

    Args:
        tls: offers STARTTLS with this certificate.
        is_implicit: takes TLS from the first byte instead.
        login: the name and password that it demands.

    Attributes:
        mails: received so far.
        answers: by recipient, the line that refuses it.
        was_encrypted: for each mail, whether it came by TLS.
        begun: how many mails have come so far as to be accepted, as soon as it is released.
    """

    def __init__(
        self, tls: SSLContext | None = None, login: tuple[str, str] | None = None, *, is_implicit: bool = False
    ) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.answers: dict[str, str] = {}
        self.was_encrypted: list[bool] = []
        self.begun = 0
        self.release = threading.Event()
        self.release.set()
        # It logs what it receives, which must not be mistaken for our log.
        logging.getLogger("mail.log").setLevel(logging.ERROR)
        self._login = login
        self._scheme = "smtps" if is_implicit else "smtp"
        more: dict[str, Any] = {"ssl_context" if is_implicit else "tls_context": tls} if tls else {}
        if login:
            # aiosmtpd does not count TLS from the first byte as TLS.
            by_tls = tls is not None and not is_implicit
            more |= {"authenticator": self._authenticate, "auth_required": by_tls, "auth_require_tls": by_tls}
        self._make: Callable[[int], Controller] = lambda port: Controller(self, "127.0.0.1", port, **more)
        self.port = free_port()
        self.start()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Be away."""
        self.release.set()
        self._controller.stop()

    def start(self) -> None:
        """Come back, at the same port."""
        self._controller = self._make(self.port)
        self._controller.start()

    def _authenticate(self, _server: SMTP, _session: Session, _envelope: Envelope, _kind: str, data: Any) -> AuthResult:
        given = isinstance(data, LoginPassword) and (data.login.decode(), data.password.decode())
        # ``handled``: the server sends the refusal.
        return AuthResult(success=given == self._login, handled=given == self._login)

    async def handle_RCPT(  # noqa: N802 - the name that aiosmtpd calls
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address in self.answers:
            return self.answers[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.begun += 1
        await server.loop.run_in_executor(None, self.release.wait)
        content = envelope.content
        assert isinstance(content, bytes)
        self.mails.append(message_from_bytes(content, policy=policy.default))
        self.recipients += envelope.rcpt_tos
        by_tls = session.ssl is not None or (server.transport and server.transport.get_extra_info("ssl_object"))
        self.was_encrypted.append(bool(by_tls))
        return "250 OK"

    def take(self) -> EmailMessage:
        """Return the only mail, and forget it."""
        (mail,) = self.mails
        self.mails.clear()
        self.recipients.clear()
        return mail


@asynccontextmanager
async def running(server: MailServer) -> AsyncIterator[MailServer]:
    """Stop a server at the end, and let our side of its connections close: with TLS, both sides say that they do."""
    loop: Any = asyncio.get_running_loop()
    try:
        yield server
    finally:
        server.stop()
        address = ("127.0.0.1", server.port)
        await until(
            lambda: all(
                each.is_closing() or each.get_extra_info("peername") != address for each in loop._transports.values()
            ),
            "the connections to the mail server are closed",
        )
        await one_turn(3)


def made(url: str, clock: Clock, smtp_url: str, **more: Any) -> Parts:
    """Return the parts of a server that sends mail."""
    options = ServerOptions(
        store=url,
        secret=[SECRET],
        smtp_url=smtp_url,
        public_url="http://sessions.example",
        allowed_hosts=["127.0.0.1", "localhost"],
        **more,
    )
    return Parts(options, passwords=Passwords(CHEAPEST), clock=clock)


def text_of(mail: EmailMessage, kind: str = "plain") -> str:
    """Return the text or the HTML of a mail."""
    body = mail.get_body((kind,))
    assert body is not None
    return str(body.get_content())


def path_in(mail: EmailMessage) -> str:
    """Return the path of the link in a mail, which is the same as text and as HTML."""
    found = re.findall(r"http://sessions\.example(/\S+)", text_of(mail))
    assert f'href="http://sessions.example{found[0]}"' in text_of(mail, "html")
    return str(found[0])
