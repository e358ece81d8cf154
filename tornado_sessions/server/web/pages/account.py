"""``/account``: a user's devices and recent activity, and the forms that change the account.

It must not know stores or hashing, which are left to ``Accounts``.
"""

from __future__ import annotations

from typing import ClassVar

from tornado_sessions.messages import N_
from tornado_sessions.record import Cause, SessionSummary
from tornado_sessions.server.accounts import two_step
from tornado_sessions.server.accounts.errors import AccountError, WrongCode, WrongCredentials
from tornado_sessions.server.accounts.user import DamagedUser, User
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.roles import Role
from tornado_sessions.server.web.people import AccountHandler

__all__ = ["AccountPage", "EmailForm", "EndDevice", "PasswordForm", "RemoveForm", "TwoStepForm"]

#: Maximum number of devices on the page.
_MAX_DEVICES = 100


class AccountPage(AccountHandler):
    """``/account``."""

    role_to_view = role_to_act = Role.USER

    async def get(self) -> None:
        """Show the page."""
        await self.show({})

    async def show(self, faults: dict[str, str]) -> None:
        """Show the page. ``faults`` contains a message for each invalid field; see ``form_faults``."""
        user, own = self.session.user or "", self.session.handle
        account = await self.parts.accounts.look_up(user)
        page = await self.sessions.find(user=user, limit=_MAX_DEVICES)
        devices: list[SessionSummary] = sorted(page.items, key=lambda item: item.handle != own)
        self.render(
            "account.html",
            faults=faults,
            account=account if isinstance(account, User) else None,
            is_damaged=isinstance(account, DamagedUser),
            devices=devices,
            own=own,
            events=await self.parts.events.of(user),
        )

    async def faults_of(self, error: AccountError, password_field: str) -> dict[str, str]:
        """Set the status of an error, record a wrong password or code, and return a message for each invalid field."""
        # Not 401, because this user is signed in.
        self.set_error_status(error, 400 if isinstance(error, WrongCredentials) else None)
        if not isinstance(error, WrongCredentials):
            return self.form_faults(error)
        # A mistake of somebody who is signed in is no failed sign-in.
        await self.record(Action.PROOF_FAILED, self.session.user or "")
        field = f"{password_field}_code" if isinstance(error, WrongCode) else password_field
        return {field: self.say(self.proof_fault(error))}

    def done(self, text: str) -> None:
        """Redirect to the page, which shows a notice."""
        self.notify(text)
        self.redirect("/account", status=303)


class EndDevice(AccountPage):
    """``/account/end``."""

    async def post(self) -> None:
        """End the user's session with the form's ``handle``. Without a handle, end all the user's sessions except this one."""
        user, own, handle = self.session.user or "", self.session.handle, self.form_value("handle")
        if not handle:
            # Only then is there anything to record: this costs no password, and must not fill the audit log.
            if any(item.handle != own for item in (await self.sessions.find(user=user, limit=2)).items):
                await self.record(Action.END_OTHER_SESSIONS, user)
                await self.sessions.destroy_user(user, own, cause=Cause.USER, by=user)
        elif await self._is_own(user, handle):
            await self.record(Action.END_OWN_SESSION, user, target=handle)
            await self.sessions.destroy(handle, cause=Cause.USER, by=user)
        if handle == own:
            await self.log_out()
            self.redirect("/login", status=303)
            return
        self.done(
            N_("The device has been signed out.") if handle else N_("You've been signed out of all other devices.")
        )

    async def _is_own(self, user: str, handle: str) -> bool:
        if (await self.sessions.find(user=user, handle=handle)).items:
            return True
        # A damaged record may have lost its user, but the list of the user's sessions still contains it.
        listed = await self.sessions.find(user=user, limit=_MAX_DEVICES)
        return any(item.handle == handle for item in listed.items)


class AccountForm(AccountPage):
    """Base of the page's forms that require a proof: the password, and a code with two-step verification."""

    password_field: ClassVar[str]

    async def get(self) -> None:
        """Redirect to the page with the form."""
        self.redirect("/account")

    async def post(self) -> None:
        """Change the account, or show the form again with messages."""
        try:
            password = self.form_value(self.password_field, strip=False)
            await self.change(self.session.user or "", password, self.form_value("code"))
        except AccountError as error:
            await self.show(await self.faults_of(error, self.password_field))

    async def change(self, user: str, password: str, code: str) -> None:
        """Verify password and code, change the account, and send the response."""
        raise NotImplementedError


class PasswordForm(AccountForm):
    """``/account/password``."""

    password_field = "old_password"

    async def change(self, user: str, password: str, code: str) -> None:
        """Change the password, end the user's other sessions and rotate this one."""
        new, note = self.form_value("new_password", strip=False), self.recorder(Action.PASSWORD_CHANGED, user)
        account = await self.parts.accounts.change_password(user, password, new, self.client, note, code)
        await self.sessions.destroy_user(user, self.session.handle, cause=Cause.PASSWORD, by=user)
        await self.renew_session(account)
        # The change has made every known device of the account unknown, such as a thief's copy; this one stays known.
        await self.remember_device(account)
        self.done(N_("Your password has been changed. You've been signed out of all other devices."))


class EmailForm(AccountForm):
    """``/account/email``."""

    password_field = "email_password"

    async def change(self, user: str, password: str, code: str) -> None:
        """Change the email address."""
        email, note = self.form_value("email"), self.recorder(Action.EMAIL_CHANGED, user)
        account = await self.parts.accounts.change_email(user, password, email, self.client, note, code)
        await self.renew_session(account)
        self.done(N_("Your email has been changed."))


class RemoveForm(AccountForm):
    """``/account/remove``."""

    password_field = "remove_password"

    async def change(self, user: str, password: str, code: str) -> None:
        """Delete the account and end all of its sessions."""
        note = self.recorder(Action.ACCOUNT_REMOVED, user)
        # Delete the account first, so that no session can be started after the others have ended.
        await self.parts.accounts.remove(user, password, self.client, note, code)
        await self.parts.tokens.revoke_all_of(user)
        await self.sessions.destroy_user(user, self.session.handle, cause=Cause.USER, by=user)
        await self.log_out()
        self.render("removed.html")


class TwoStepForm(AccountForm):
    """``/account/two-steps``: turn two-step verification on or off."""

    password_field = "off_password"

    async def get(self) -> None:
        """Show a new secret. It is stored only after a code has proved that the authenticator app knows it."""
        account = await self.parts.accounts.get(self.session.user or "")
        if account is None or account.has_two_steps:
            self.redirect("/account")
            return
        self._show_secret(two_step.new_secret(), {})

    def _show_secret(self, secret: str, faults: dict[str, str]) -> None:
        user = self.session.user or ""
        picture = two_step.picture(user, secret)
        self.render("two_steps.html", faults=faults, secret=secret, picture=picture, uri=two_step.uri(user, secret))

    async def post(self) -> None:
        """Turn two-step verification on (requires the password and a code) or, with the field ``off``, off (password and code)."""
        secret = self.form_value("secret")
        if self.form_value("off"):
            await super().post()
        elif two_step.is_secret(secret):
            await self._turn_on(self.session.user or "", secret)
        else:
            self.redirect("/account/two-steps", status=303)

    async def _turn_on(self, user: str, secret: str) -> None:
        accounts, password = self.parts.accounts, self.form_value("password", strip=False)
        try:
            account = await accounts.log_in(user, password, self.client)
            if account.has_two_steps:
                # An attacker who knows only the password must not be able to replace the secret.
                self.redirect("/account", status=303)
                return
            note = self.recorder(Action.TWO_STEPS_ON, user)
            codes = await accounts.enable_two_steps(user, secret, self.form_value("code"), note, verified=account)
        except WrongCredentials as error:
            faults = await self.faults_of(error, "password")
            self._show_secret(
                secret, {"code" if isinstance(error, WrongCode) else "password": next(iter(faults.values()))}
            )
        except AccountError as error:
            await self.show(await self.faults_of(error, ""))
        else:
            await self.renew_session(await accounts.get(user) or account)
            self.render("recovery.html", codes=codes)

    async def change(self, user: str, password: str, code: str) -> None:
        """Turn two-step verification off."""
        note = self.recorder(Action.TWO_STEPS_OFF, user)
        await self.renew_session(await self.parts.accounts.disable_two_steps(user, password, code, self.client, note))
        self.done(N_("Two-step verification is off."))
