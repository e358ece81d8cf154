"""The base handler of pages that use accounts: records security events and checks passwords in forms.

It must not know any page.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from tornado.web import Finish, HTTPError
from typing_extensions import override

from tornado_sessions.server.account_parts import AccountParts
from tornado_sessions.server.accounts.client import Client
from tornado_sessions.server.accounts.devices import DEVICE_LIFETIME
from tornado_sessions.server.accounts.errors import AccountError
from tornado_sessions.server.accounts.fields import Field
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.mail.letters import Kind
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.web.account_site import AccountSite
from tornado_sessions.server.web.base import PageHandler
from tornado_sessions.server.web.local_paths import local_path
from tornado_sessions.server.web.proofs import ProofHandler
from tornado_sessions.server.web.server_visitors import FindUser, new_client, record_failure

__all__ = ["AccountHandler"]


class AccountHandler(ProofHandler):
    """Base of pages for users who have an account or create one."""

    site: AccountSite

    _is_repeated = False

    @property
    @override
    def parts(self) -> AccountParts:
        return self.site.parts

    @override
    async def prepare(self) -> None:
        """Redirect from a form that is posted twice, or from a tab that was opened before the user signed in."""
        await super().prepare()
        if self._is_repeated:
            await self.answer_repeated_form()

    async def answer_repeated_form(self) -> None:
        """Redirect, and raise ``Finish``, so that nothing else is done."""
        self.lead_to(self.after_repeated_form() or self.site.url("/account"))
        raise Finish

    def lead_to(self, url: str, status: int = 303) -> None:
        """Redirect to a URL of this host: one of ``reachable`` or of our own pages, with the prefix."""
        super(PageHandler, self).redirect(url, status=status)

    def reachable(self, url: str) -> str | None:
        """Return the URL, which a client gave, of a page of this host to which a sign-in may lead; ``None`` for any other."""
        own = self.following(url)
        if own is not None or not self.site.leads_anywhere:
            return self.site.url(own) if own is not None else None
        found = local_path(url, self.origins)
        # Below the prefix, only what ``following`` accepts.
        is_ours = found is not None and f"{found.partition('?')[0]}/".startswith(f"{self.site.prefix}/")
        return None if is_ours else found

    def after_repeated_form(self) -> str | None:
        """Return the URL of the page that a repeated form for visitors leads to; ``None`` for other forms."""
        return None

    @override
    def check_form(self) -> None:
        try:
            super().check_form()
        except HTTPError:
            # Nothing is done for such a form, so another site gains nothing by sending one.
            if self.after_repeated_form() is None or not self.was_visitors_form():
                raise
            self._is_repeated = True

    @cached_property
    def client(self) -> Client:
        """Where the request comes from, for limits on attempts."""
        return new_client(self)

    async def remember_device(self, user: User) -> None:
        """Make this browser a known device of an account, after it has proved to know the password; see ``Devices``."""
        self.keep_value("devices", await self.parts.accounts.remember(user, self.client), max_age=DEVICE_LIFETIME)

    async def tell(self, user: User, kind: Kind, *values: str) -> None:
        """Mail a user a notice of a change that has been made, if this server sends mail."""
        if self.parts.mail is not None:
            await self.parts.mail.tell(user, kind, self.language.code, *values)

    async def record_creation(self, name: str) -> None:
        """Record that somebody creates an account with this name."""
        if self.parts.ids_are_names:
            await self.record(Action.ACCOUNT_CREATED, name)
        else:
            # In the application's table, the name may be the id of another user.
            await self.record(Action.ACCOUNT_CREATED, "", target=name)

    async def record_failure(self, error: AccountError, find: FindUser) -> None:
        """Do the same as the function ``record_failure``."""
        await record_failure(self, self.parts, error, find)

    @property
    def own_fields(self) -> tuple[Field, ...]:
        """What the application adds to its users."""
        return self.parts.accounts.fields.all

    def typed_extra(self) -> dict[str, str]:
        """Return what was typed into the application's fields."""
        return {field.form_name: self.form_value(field.form_name) for field in self.own_fields}

    def fail(self, template: str, error: AccountError, **names: Any) -> None:
        """Render the form again with the error's messages. ``names`` contains the typed values, without passwords."""
        self.set_error_status(error)
        self.render(template, faults=self.form_faults(error), **names)
