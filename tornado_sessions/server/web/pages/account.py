"""``/account``: who I am, my devices, what happened lately, and everything that I can change about it.

It must not know stores or hashing; ``Accounts`` decides.
"""

from __future__ import annotations

from typing import Any

from tornado_sessions.errors import SessionGone
from tornado_sessions.record import Cause, SessionSummary
from tornado_sessions.server.accounts import two_step
from tornado_sessions.server.accounts.errors import AccountError, InvalidForm, WrongCode, WrongCredentials
from tornado_sessions.server.accounts.user import DamagedUser, User
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.people import AccountHandler

__all__ = ["routes"]

_MOST_DEVICES = 100


class Account(AccountHandler):
    """``/account``: who I am, and my devices."""

    role_to_view = role_to_act = Role.USER

    async def get(self) -> None:
        """The page."""
        await self.show({})

    async def show(self, faults: dict[str, str]) -> None:
        """The page, with what was wrong with a form on it."""
        user = self.session.user
        account = await self.parts.accounts.look_up(user or "")
        page = await self.sessions.find(user=user, limit=_MOST_DEVICES)
        notice = self.take_notice()
        events = await self.parts.events.of(user or "")
        devices: list[SessionSummary] = sorted(page.items, key=lambda item: item.handle != self.session.handle)
        self.render(
            "account.html",
            faults=faults,
            account=account if isinstance(account, User) else None,
            is_damaged=isinstance(account, DamagedUser),
            devices=devices,
            own=self.session.handle,
            notice=notice,
            events=events,
        )

    async def refuse(self, error: AccountError, field: str) -> None:
        """The page again, with what was wrong beside the field that it was wrong with."""
        wrong = {"": str(error)}
        if isinstance(error, InvalidForm):
            wrong = error.faults
        elif isinstance(error, WrongCode):
            wrong = {field: str(error)}
        elif isinstance(error, WrongCredentials):
            await self.record_failure(self.session.user or "", error)
            wrong = {field: "The current password is wrong."}
        # 401 would ask the browser for HTTP authentication; whoever fills in this form is signed in.
        self.set_error_status(error, 400 if isinstance(error, WrongCredentials) else None)
        await self.show(wrong)


class EndDevice(AccountHandler):
    """``/account/end``: one of my other sessions, or all of them."""

    role_to_view = role_to_act = Role.USER

    async def post(self) -> None:
        """End the session that ``handle`` names if it is mine; without one, all but this."""
        user, handle = self.session.user or "", self.form_value("handle")
        if not handle:
            await self.record(Action.END_OTHER_SESSIONS, user)
            await self.sessions.destroy_user(user, self.session.handle, cause=Cause.USER, by=user)
        elif await self._is_own(user, handle):
            await self.record(Action.END_OWN_SESSION, user, target=handle)
            await self.sessions.destroy(handle, cause=Cause.USER, by=user)
        if handle == self.session.handle:
            await self.log_out()
            self.redirect("/login", status=303)
            return
        self.notify("The session has ended." if handle else "Your other sessions have ended.")
        self.redirect("/account", status=303)

    async def _is_own(self, user: str, handle: str) -> bool:
        if (await self.sessions.find(user=user, handle=handle)).items:
            return True
        # The record of a damaged one may not say any more whose it is, while the list of this user's sessions does.
        listed = await self.sessions.find(user=user, limit=_MOST_DEVICES)
        return any(item.handle == handle for item in listed.items)


class Change(Account):
    """A form of the page, at an address of its own."""

    async def get(self) -> None:
        """Back to the page with the form."""
        self.redirect("/account")

    async def done(self, text: str) -> None:
        """Back to the page, which says so."""
        self.notify(text)
        self.redirect("/account", status=303)


class ChangePassword(Change):
    """``/account/password``."""

    async def post(self) -> None:
        """Change it, give this browser a new token and end every other session of mine."""
        user = self.session.user or ""
        old, new = self.form_value("old_password", strip=False), self.form_value("new_password", strip=False)
        try:
            await self.parts.accounts.change_password(
                user, old, new, self.client_ip, self.recorder(Action.PASSWORD_CHANGED, user)
            )
        except AccountError as error:
            await self.refuse(error, "old_password")
            return
        await self.sessions.destroy_user(user, self.session.handle, cause=Cause.PASSWORD, by=user)
        try:
            await self.rotate_session(at_once=True)
            self.mark_password_given()
        except SessionGone:
            # Somebody ended this session while the password was hashed: what is ended stays ended.
            self.redirect("/login", status=303)
            return
        await self.done("Your password is changed, and your other sessions have ended.")


class ChangeEmail(Change):
    """``/account/email``."""

    async def post(self) -> None:
        """Change it, with the password."""
        user = self.session.user or ""
        try:
            password, email = self.form_value("email_password", strip=False), self.form_value("email")
            note = self.recorder(Action.EMAIL_CHANGED, user)
            await self.parts.accounts.change_email(user, password, email, self.client_ip, note)
        except AccountError as error:
            await self.refuse(error, "email_password")
            return
        await self.done("Your e-mail address is changed.")


class RemoveAccount(Change):
    """``/account/remove``."""

    async def post(self) -> None:
        """Remove the account and end all of its sessions, with the password."""
        user = self.session.user or ""
        try:
            password, note = (
                self.form_value("remove_password", strip=False),
                self.recorder(Action.ACCOUNT_REMOVED, user),
            )
            await self.parts.accounts.remove(user, password, self.client_ip, note)
        except AccountError as error:
            await self.refuse(error, "remove_password")
            return
        await self.sessions.destroy_user(user, self.session.handle, cause=Cause.USER, by=user)
        await self.log_out()
        self.render("removed.html")


class TwoSteps(Change):
    """``/account/two-steps``: show what an authenticator app needs, then switch codes on, or off again."""

    async def get(self) -> None:
        """The secret as a picture and as text; it counts only when a code of it was shown back, and is stored only then."""
        account = await self.parts.accounts.get(self.session.user or "")
        if account is None or account.has_two_steps:
            self.redirect("/account")
            return
        self._show({}, two_step.new_secret())

    def _show(self, faults: dict[str, str], secret: str) -> None:
        user = self.session.user or ""
        picture = two_step.picture(user, secret)
        self.render("two_steps.html", faults=faults, secret=secret, picture=picture, uri=two_step.uri(user, secret))

    async def post(self) -> None:
        """Switch on with the password and a code, or off with the password; what is on is never replaced."""
        user, secret = self.session.user or "", self.form_value("secret")
        if self.form_value("off"):
            await self._switch_off(user)
            return
        if not two_step.is_secret(secret):
            self.redirect("/account/two-steps", status=303)
            return
        try:
            account = await self.parts.accounts.log_in(user, self.form_value("password", strip=False), self.client_ip)
            if account.has_two_steps:
                self.redirect("/account", status=303)
                return
            note = self.recorder(Action.TWO_STEPS_ON, user)
            codes = await self.parts.accounts.enable_two_steps(user, secret, self.form_value("code"), note)
        except WrongCode as error:
            self.set_status(400)
            self._show({"code": str(error)}, secret)
            return
        except WrongCredentials as error:
            await self.record_failure(user, error)
            self.set_status(400)
            self._show({"password": "The current password is wrong."}, secret)
            return
        except AccountError as error:
            await self.refuse(error, "")
            return
        self.render("recovery.html", codes=codes)

    async def _switch_off(self, user: str) -> None:
        try:
            await self.parts.accounts.log_in(user, self.form_value("off_password", strip=False), self.client_ip)
        except AccountError as error:
            await self.refuse(error, "off_password")
            return
        await self.record(Action.TWO_STEPS_OFF, user)
        await self.parts.accounts.disable_two_steps(user)
        await self.done("The password is enough again.")


def routes() -> list[Any]:
    """Addresses and their handlers."""
    return [
        (r"/account", Account),
        (r"/account/end", EndDevice),
        (r"/account/password", ChangePassword),
        (r"/account/email", ChangeEmail),
        (r"/account/remove", RemoveAccount),
        (r"/account/two-steps", TwoSteps),
    ]
