"""``Mail``: who gets which mail, when, and with which link. Requests only put a letter into the outbox.

So an answer says nothing about accounts, neither by its words nor by its time: accounts are looked up when a letter is sent. It
must not know HTTP.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlsplit

from tornado_sessions.codec import Codec
from tornado_sessions.errors import StoreError
from tornado_sessions.extras import import_extra
from tornado_sessions.messages import N_, Message
from tornado_sessions.server.accounts.confirmations import CONFIRMATION_LIFETIME, Confirmations
from tornado_sessions.server.accounts.links import RECOVERY_LIFETIME, Links
from tornado_sessions.server.accounts.service import Accounts
from tornado_sessions.server.accounts.user import User, check_email, key_of
from tornado_sessions.server.budgets import Budget, Budgets
from tornado_sessions.server.documents import DocumentStore
from tornado_sessions.server.languages import CODES, language
from tornado_sessions.server.mail.errors import MailRefused
from tornado_sessions.server.mail.letters import Kind, Letter, written
from tornado_sessions.server.mail.outbox import Outbox
from tornado_sessions.server.operations.self_check import Check, Grade, Remedy, check_of
from tornado_sessions.server.settings import ServerOptions

__all__ = ["Mail"]

logger = logging.getLogger("tornado_sessions.mail")

_HOUR, _DAY = 3600.0, 86400.0
#: Maximum number of mails to one address in an hour: of those that anybody can cause, and of notices.
_MAX_ASKED, _MAX_NOTICES = 5, 20
#: The kinds that strangers can cause.
_ASKED = frozenset({Kind.RECOVER, Kind.REGISTER, Kind.HAS_ACCOUNT, Kind.CONFIRM})


class Mail:
    """The mails of a server. Methods that put a letter into the outbox may raise ``StoreUnavailable``, except ``tell``.

    Args:
        options: the settings.
        accounts, links, confirmations: see these classes.
        documents: stores the outbox.
        codec: encrypts it.
        budgets: count the mails to each address.
        clock: the time in UTC seconds.
    """

    def __init__(
        self,
        options: ServerOptions,
        accounts: Accounts,
        links: Links,
        confirmations: Confirmations,
        *,
        documents: DocumentStore,
        codec: Codec,
        budgets: Budgets,
        clock: Callable[[], float],
    ) -> None:
        self._accounts = accounts
        self._links = links
        self._confirmations = confirmations
        self._budgets = budgets
        self._clock = clock
        # Only a server with this setting needs the extra.
        smtp = import_extra("tornado_sessions.server.mail.smtp", "smtp", "--smtp-url")
        self._server = smtp.SmtpServer(options.smtp_url or "", options.smtp_password_file)
        # Links never follow the Host header of a request, which a stranger chooses.
        self._url = options.base_url("")
        self._host = urlsplit(self._url).hostname or "localhost"
        self._sender = options.mail_from or f"noreply@{self._host}"
        self.outbox = Outbox(documents, codec, clock, self._deliver)

    # --- requests ------------------------------------------------------------------------------------------------

    async def recover(self, typed: str, code: str) -> None:
        """Mail a link for a new password to the confirmed address of an account, if there is one with this name or address."""
        await self._add(Kind.RECOVER, code, RECOVERY_LIFETIME, user=typed)

    async def register(self, user: User, code: str) -> None:
        """Mail a link that creates this account; if its address already has an account, mail a notice to that one."""
        fields: dict[str, Any] = {"email": user.email, "password_hash": user.password_hash, "extra": user.extra}
        await self._add(Kind.REGISTER, code, _DAY, user=user.name, **fields)

    async def confirm(self, user: User, code: str) -> None:
        """Mail a link that confirms the unconfirmed address of an account, if it has one."""
        if user.unconfirmed_email:
            await self._add(Kind.CONFIRM, code, CONFIRMATION_LIFETIME, user=user.name, email=user.unconfirmed_email)

    async def tell(self, user: User, kind: Kind, code: str = "", *values: str) -> None:
        """Mail a notice to the confirmed address of an account. It never fails, because the change has already been made.

        Args:
            user: the account, with the address to notify.
            kind: what has happened.
            code: of the language; empty for that in which the account was registered.
            values: fill the words.
        """
        if user.email_confirmed_at is None:
            return
        try:
            await self._add(kind, code or user.language, _DAY, user=user.name, email=user.email, values=values)
        except StoreError as error:
            logger.warning("no mail to %s (%s): %s", user.name, kind.value, error)

    async def tell_of_recovery_code(self, user: User, code: str) -> None:
        """Mail a notice that a recovery code was used, in the language with this code. It never fails."""
        await self.tell(user, Kind.RECOVERY_CODE, code)

    async def checks(self) -> list[Check]:
        """Return what is wrong with the mails, for operators. Raises ``StoreUnavailable``."""
        state, found = await self.outbox.state(), []
        remedy = Remedy(N_("What to check"), command="tornado-sessions check")
        if state.failing:
            sentence = Message.plural("%s email waits", "%s emails wait", state.failing)
            found.append(check_of(Grade.NOTE, sentence, "%s", state.fault, remedy=remedy))
        if state.given_up:
            sentence = Message.plural("%s email could not be sent", "%s emails could not be sent", state.given_up)
            found.append(check_of(Grade.NOTE, sentence, N_("within a day; the log says why"), remedy=remedy))
        return found or [check_of(Grade.GOOD, N_("Email"), N_("none waits for another attempt"))]

    async def _add(self, kind: Kind, code: str, lifetime: float, **fields: object) -> None:
        expires_at = self._clock() + lifetime
        code = code if code in CODES else CODES[0]
        letter = Letter(id=secrets.token_hex(12), kind=kind, language=code, expires_at=expires_at, **fields)  # type: ignore[arg-type]
        await self.outbox.add(letter)

    # --- delivery, behind the response ---------------------------------------------------------------------------

    async def _deliver(self, letter: Letter) -> None:
        made = await self._prepared(letter)
        if made is None:
            return
        letter, path = made
        if letter.attempts == 0 and await self._is_too_many(letter):
            raise MailRefused("too many mails to this address within an hour")
        link = self._url + path if path else ""
        await self._server.send(self._message(letter, link), self._sender_address, letter.email)

    async def _prepared(self, letter: Letter) -> tuple[Letter, str] | None:
        """Return a letter with its address and the path of its link; ``None`` if nobody gets it."""
        if letter.kind is Kind.RECOVER:
            user = await self._accounts.find_by_name_or_email(letter.user)
            # Whoever signs in with a provider has no password here.
            if user is None or user.issuer or user.email_confirmed_at is None:
                return None
            link = await self._links.for_password(user)
            return _for(letter, Kind.RECOVER, user.name, user.email), f"/password/{link}"
        if letter.kind not in (Kind.REGISTER, Kind.CONFIRM):
            return letter, ""
        owner = await self._accounts.find_by_email(letter.email)
        if owner is not None and (letter.kind is Kind.REGISTER or owner.key != key_of(letter.user)):
            return _for(letter, Kind.HAS_ACCOUNT, letter.user, letter.email), "/forgot"
        if letter.kind is Kind.REGISTER:
            token = await self._confirmations.for_registration(
                letter.user, letter.email, letter.password_hash, letter.language, letter.extra
            )
        else:
            asking = await self._accounts.get(letter.user)
            if asking is None or asking.unconfirmed_email != letter.email:
                return None
            token = await self._confirmations.for_email(asking)
        return letter, f"/confirm/{token}"

    async def _is_too_many(self, letter: Letter) -> bool:
        is_asked = letter.kind in _ASKED
        limit, what = (_MAX_ASKED, "asked mail") if is_asked else (_MAX_NOTICES, "notice")
        (total,) = await self._budgets.add([Budget(limit, _HOUR, (what, key_of(letter.email)))], [1])
        return total.amount > limit

    def _message(self, letter: Letter, link: str) -> EmailMessage:
        if check_email(letter.email) is not None:
            # An application's own table may contain anything.
            raise MailRefused("the address is malformed")
        subject, text, html = written(letter, language(letter.language), link, self._url)
        message = EmailMessage()
        try:
            # ``Address`` refuses everything but one address, and the policy of messages every line break in a header.
            message["From"] = self._sender
            message["To"] = Address(addr_spec=letter.email)
            message["Subject"] = subject
            message["Message-ID"] = f"<{letter.id}@{self._host}>"
            # Suppresses out-of-office replies (RFC 3834).
            message["Auto-Submitted"] = "auto-generated"
        except (ValueError, MessageError):
            raise MailRefused("the address is malformed") from None
        message.set_content(text)
        message.add_alternative(html, subtype="html")
        return message

    @property
    def _sender_address(self) -> str:
        message = EmailMessage()
        message["From"] = self._sender
        return str(message["From"].addresses[0].addr_spec)


def _for(letter: Letter, kind: Kind, user: str, email: str) -> Letter:
    return Letter(
        id=letter.id,
        kind=kind,
        language=letter.language,
        expires_at=letter.expires_at,
        user=user,
        email=email,
        attempts=letter.attempts,
    )
