"""``/password/TOKEN``: set a new password by a one-time link. ``/two-steps/TOKEN``: turn two-step verification off by one.

It must not know how links are stored.
"""

from __future__ import annotations

from tornado_sessions.record import Cause
from tornado_sessions.server.accounts.errors import AccountError, InvalidForm, LinkInvalid, WrongCredentials
from tornado_sessions.server.accounts.user import User
from tornado_sessions.server.mail.letters import Kind
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.web.people import AccountHandler
from tornado_sessions.server.web.server_visitors import proof_fault

__all__ = ["NewPasswordPage", "TwoStepsLinkPage"]


class NewPasswordPage(AccountHandler):
    """``/password/TOKEN``."""

    async def get(self, token: str) -> None:
        """Show the form. This uses nothing up: mail programs open links to preview them."""
        self._show(await self.parts.links.user_of(token))

    async def post(self, token: str) -> None:
        """Set the password."""
        user = await self.parts.links.user_of(token)
        new, note = self.form_value("password", strip=False), self.recorder(Action.PASSWORD_CHANGED, user.id)
        try:
            await self.parts.links.set_password(token, new, self.client, note)
        except InvalidForm as error:
            self.set_error_status(error)
            self._show(user, self.form_faults(error))
            return
        # None was left when the password was reset; somebody who was let in since must not stay.
        await self.sessions.destroy_user(user.id, cause=Cause.PASSWORD, by=user.id)
        await self.tell(user, Kind.PASSWORD_CHANGED)
        self._show(user, is_done=True)

    def _show(self, user: User, faults: dict[str, str] | None = None, *, is_done: bool = False) -> None:
        shortest = self.parts.accounts.rules.shortest(two_steps=user.has_two_steps)
        self.render("new_password.html", name=user.name, faults=faults or {}, shortest=shortest, is_done=is_done)


class TwoStepsLinkPage(AccountHandler):
    """``/two-steps/TOKEN``."""

    async def get(self, token: str) -> None:
        """Show the form. This uses nothing up."""
        self._show(await self.parts.links.two_steps_of(token))

    async def post(self, token: str) -> None:
        """Turn two-step verification off, and end all sessions of the user."""
        user = await self.parts.links.two_steps_of(token)
        password, note = self.form_value("password", strip=False), self.recorder(Action.TWO_STEPS_OFF, user.id)
        try:
            await self.parts.links.turn_off_two_steps(token, password, self.client, note)
        except LinkInvalid:
            raise
        except AccountError as error:
            await self.record_failure(error, lambda: self.parts.accounts.look_up(user.id))
            self.set_error_status(error, 400 if isinstance(error, WrongCredentials) else None)
            is_wrong = isinstance(error, WrongCredentials)
            self._show(user, {"password" if is_wrong else "": self.say(proof_fault(error))})
            return
        await self.sessions.destroy_user(user.id, cause=Cause.OPERATOR, by=user.id)
        await self.tell(user, Kind.TWO_STEPS_OFF)
        self._show(user, is_done=True)

    def _show(self, user: User, faults: dict[str, str] | None = None, *, is_done: bool = False) -> None:
        self.render("two_steps_link.html", name=user.name, faults=faults or {}, is_done=is_done)
