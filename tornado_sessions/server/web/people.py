"""What pages of people with an account share: their security events, and forms that ask for a password.

It must not know any page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tornado_sessions.server.accounts.errors import AccountError, InvalidForm, WrongCredentials
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.web.base import PageHandler

__all__ = ["AccountHandler"]


class AccountHandler(PageHandler):
    """A page for users with an account, or for those who create one."""

    async def record(self, action: Action, user: str, *, target: str = "") -> None:
        """Record in the audit log what a user is about to do with their own account."""
        await self.parts.events.note(user, self.client_ip, action, target)

    def recorder(self, action: Action, user: str) -> Callable[[], Awaitable[None]]:
        """Return ``record`` for this action, to be called just before it is done."""
        return lambda: self.record(action, user)

    async def record_failure(self, name: str, error: AccountError) -> None:
        """Count a failed sign-in, and record it if the account exists.

        Unknown names are not recorded: people type their password into the wrong field.
        """
        if not isinstance(error, WrongCredentials):
            return
        self.parts.activity.count("failures")
        user = await self.parts.accounts.look_up(name)
        if user is not None:
            await self.record(Action.LOG_IN_FAILED, user.name)

    async def confirm_password(self) -> str:
        """Check the form's password, unless one was given recently. Returns what is wrong with it; empty when nothing is."""
        if self.has_fresh_password():
            return ""
        user = self.session.user or ""
        try:
            await self.parts.accounts.log_in(user, self.form_value("password", strip=False), self.client_ip)
        except WrongCredentials as error:
            await self.record_failure(user, error)
            # 401 would make the browser ask for HTTP authentication.
            self.set_error_status(error, 400)
            return self.say("The current password is wrong.")
        except AccountError as error:
            self.set_error_status(error)
            return self.say_error(error)
        self.mark_password_given()
        return ""

    def fail(self, template: str, error: AccountError, **names: Any) -> None:
        """Render the form again with what was wrong. It keeps what was typed, except passwords."""
        self.set_error_status(error)
        self.render(template, faults=self.form_faults(error), **names)

    def form_faults(self, error: AccountError) -> dict[str, str]:
        """Return what is wrong with each field of a form, in this reader's language; ``""`` is the whole form."""
        if isinstance(error, InvalidForm):
            return {field: self.say(fault) for field, fault in error.faults.items()}
        return {"": self.say_error(error)}
