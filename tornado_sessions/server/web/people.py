"""The base handler of pages that use accounts: records security events and checks passwords in forms.

It must not know any page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Any

from tornado.web import Finish, HTTPError
from typing_extensions import override

from tornado_sessions.errors import SessionGone
from tornado_sessions.messages import N_, Message
from tornado_sessions.server.accounts.client import Client
from tornado_sessions.server.accounts.devices import DEVICE_LIFETIME
from tornado_sessions.server.accounts.errors import AccountError, WrongCode, WrongCredentials
from tornado_sessions.server.accounts.user import User, key_of
from tornado_sessions.server.errors import Refused
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.web.base import PageHandler

__all__ = ["AccountHandler"]


class AccountHandler(PageHandler):
    """Base of pages for users who have an account or create one."""

    _is_repeated = False

    @override
    async def prepare(self) -> None:
        """Lead on from a form that is posted twice, or from a tab that was opened before the user signed in."""
        await super().prepare()
        if self._is_repeated:
            await self.answer_repeated_form()

    async def answer_repeated_form(self) -> None:
        """Lead on, and raise ``Finish``. Nothing else may be done."""
        self.redirect(self.after_repeated_form() or "/account", status=303)
        raise Finish

    def after_repeated_form(self) -> str | None:
        """Return the page that a repeated form for visitors leads to; ``None`` for other forms."""
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
        user, handle = self.session.user, self.session.handle
        session = (key_of(user), handle) if user is not None and handle is not None else None
        return Client(self.client_ip, devices=self.kept_value("devices") or "", session=session)

    def on_connection_close(self) -> None:
        """Free the places in which this request waits: the client has disconnected."""
        if "client" in vars(self):
            self.client.leave()
        super().on_connection_close()

    async def remember_device(self, user: User) -> None:
        """Make this browser known to an account, whose password it has proved to know; see ``Devices``."""
        self.keep_value("devices", await self.parts.accounts.remember(user, self.client), max_age=DEVICE_LIFETIME)

    async def record(self, action: Action, user: str, *, target: str = "") -> None:
        """Record in the audit log an action of a user on their own account. Call it before the action."""
        await self.parts.events.note(self.actor(user), action, target)

    def recorder(self, action: Action, user: str) -> Callable[[], Awaitable[None]]:
        """Return a function that records this action, for the ``note`` argument of ``Accounts``."""
        return lambda: self.record(action, user)

    async def record_failure(self, name: str, error: AccountError) -> None:
        """Count a failed sign-in, and record it if the account exists.

        Unknown names are not recorded, because people sometimes type their password into the wrong field.
        """
        if not isinstance(error, WrongCredentials):
            return
        self.parts.activity.count("failures")
        user = await self.parts.accounts.look_up(name)
        if user is not None and self.parts.events.may_record(self.client_ip):
            await self.record(Action.LOG_IN_FAILED, user.name)

    async def confirm_password(self) -> str:
        """Do the same as ``proof_faults``, and return the message only, or an empty string."""
        return next(iter((await self.proof_faults()).values()), "")

    async def proof_faults(self) -> dict[str, str]:
        """Check the form's password, and code if one is required, unless they were entered recently.

        Returns:
            The message for the wrong field, if any. The key ``""`` means that nothing was checked.
        """
        if self.has_fresh_password():
            return {}
        if self.has_identity:
            self.set_status(400)
            return {"": self.say(N_("First confirm that it's you, then send the form again."))}
        user, password = self.session.user or "", self.form_value("password", strip=False)
        try:
            account = await self.parts.accounts.prove(user, password, self.form_value("code"), self.client)
        except AccountError as error:
            # For an operator, unlike in one's own settings, a guess is as serious as one at sign-in.
            await self.record_failure(user, error)
            # Not 401, which means that the user is not signed in.
            self.set_error_status(error, 400 if isinstance(error, WrongCredentials) else None)
            field = (
                "code" if isinstance(error, WrongCode) else "password" if isinstance(error, WrongCredentials) else ""
            )
            return {field: self.say(self.proof_fault(error))}
        await self.renew_session(account)
        return {}

    def proof_fault(self, error: AccountError) -> Message | str:
        """Return the message of an error about what a signed-in user entered as a proof."""
        is_password = isinstance(error, WrongCredentials) and not isinstance(error, WrongCode)
        return N_("The current password is wrong.") if is_password else error.sentence

    async def renew_session(self, user: User) -> None:
        """Give the session a new token after its user has proved who they are: a copy of the old one stops working.

        Raises:
            Finish: the session has ended in the meantime; the response is a redirect.
        """
        try:
            await self.rotate_session(at_once=True)
        except SessionGone:
            self.redirect("/login", status=303)
            raise Finish from None
        self.mark_password_given(with_code=user.has_two_steps)

    def fail(self, template: str, error: AccountError, **names: Any) -> None:
        """Render the form again with the error's messages. ``names`` contains the typed values, without passwords."""
        self.set_error_status(error)
        self.render(template, faults=self.form_faults(error), **names)

    def form_faults(self, error: Refused) -> dict[str, str]:
        """Return a message for each invalid field, in the user's language. The key ``""`` means the whole form."""
        return {field: self.say(fault) for field, fault in error.faults.items()} or {"": self.say_error(error)}
