"""``/forgot``: ask for a mail with a link for a new password. Only with ``--smtp-url``.

It must not know accounts: the answer is the same, after the same time, whatever is typed.
"""

from __future__ import annotations

from tornado.web import HTTPError

from tornado_sessions.server.accounts.errors import AccountError
from tornado_sessions.server.mail.service import Mail
from tornado_sessions.server.web.people import AccountHandler

__all__ = ["ForgotPage"]

#: Maximum number of characters of a name or address that are stored.
_LONGEST = 254


class ForgotPage(AccountHandler):
    """``/forgot``. 404 if this server sends no mail, or nobody has a password."""

    is_for_signed_in = False

    def get(self) -> None:
        """Show the form."""
        self._required()
        self._show({})

    async def post(self) -> None:
        """Put the request into the outbox."""
        mail, typed = self._required(), self.form_value("username")[:_LONGEST]
        if not typed:
            self.set_status(400)
            self._show({"username": self.say("Enter your username or email.")})
            return
        try:
            if await self.parts.accounts.admit_mail(self.client, typed):
                await mail.recover(typed, self.language.code)
        except AccountError as error:
            self.set_error_status(error)
            self._show(self.form_faults(error), typed)
            return
        self._show({}, is_sent=True)

    def _required(self) -> Mail:
        if self.parts.mail is None or self.parts.oidc_only:
            raise HTTPError(404)
        return self.parts.mail

    def _show(self, faults: dict[str, str], username: str = "", *, is_sent: bool = False) -> None:
        self.render("forgot.html", faults=faults, username=username, is_sent=is_sent)
