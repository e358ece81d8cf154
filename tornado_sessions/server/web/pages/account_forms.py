"""``/account/security`` and the forms that change the account, one page each. All of them require a proof.

It must not know stores or hashing, which are left to ``Accounts``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from tornado.web import HTTPError
from typing_extensions import override

from tornado_sessions.messages import N_
from tornado_sessions.record import Cause
from tornado_sessions.server.accounts import two_step
from tornado_sessions.server.accounts.errors import AccountError, NoPassword, WrongCode, WrongCredentials
from tornado_sessions.server.display import picture
from tornado_sessions.server.mail.letters import Kind
from tornado_sessions.server.operations.action_names import Action
from tornado_sessions.server.operations.entries import Entry
from tornado_sessions.server.web.pages.account import AccountPage
from tornado_sessions.server.web.server_visitors import proof_fault

__all__ = ["ConfirmationForm", "EmailForm", "PasswordForm", "RemoveForm", "SecurityPage", "TwoStepForm", "TwoStepOff"]


#: The icons of what happens to an account; other events have that of their device.
_ICONS: dict[str, str] = {
    Action.LOG_IN_FAILED: "error",
    Action.PROOF_FAILED: "error",
    Action.LOG_OUT: "signout",
    Action.ADDRESS_CHANGED: "warn",
    Action.OLD_TOKEN_PRESENTED: "warn",
    Action.PASSWORD_CHANGED: "key",
    Action.RESET_PASSWORD: "key",
    Action.TWO_STEPS_ON: "two-step",
    Action.TWO_STEPS_OFF: "two-step",
    Action.RESET_TWO_STEPS: "two-step",
    Action.EMAIL_CHANGED: "mail",
}


def _icon_of(entry: Entry) -> str:
    return _ICONS.get(entry.act) or (picture(entry.user_agent) if entry.user_agent else "info")


class SecurityPage(AccountPage):
    """``/account/security``."""

    async def get(self) -> None:
        """Show how the user signs in, and the recent activity."""
        await self.show("security", events=await self.parts.events.of(self.session.user or ""), event_icon=_icon_of)


class AccountForm(AccountPage):
    """Base of the forms: they require the password, and a code with two-step verification."""

    template: ClassVar[str]
    password_field: ClassVar[str]
    #: Whether users of an OpenID provider, who have no password, can send the form as well.
    works_without_password: ClassVar[bool] = False

    @override
    async def authorize(self) -> None:
        """Refuse the form to users who have nothing to enter."""
        await super().authorize()
        if not (self.has_password or self.works_without_password):
            raise NoPassword

    async def get(self) -> None:
        """Show the form."""
        await self.show_form({})

    async def post(self) -> None:
        """Change the account, or show the form again with messages."""
        try:
            password = self.form_value(self.password_field, strip=False)
            await self.change(self.session.user or "", password, self.form_value("code"))
        except AccountError as error:
            await self.show_form(await self.faults_of(error, self.password_field))

    async def change(self, user: str, password: str, code: str) -> None:
        """Verify password and code, change the account, and send the response."""
        raise NotImplementedError

    async def show_form(self, faults: dict[str, str], **names: Any) -> None:
        """Show the form. ``faults`` contains a message for each invalid field; see ``form_faults``."""
        await self.show(self.template, faults=faults, proved=self.has_fresh_password(), **names)

    async def faults_of(self, error: AccountError, password_field: str) -> dict[str, str]:
        """Set the status of an error, record a wrong password or code, and return a message for each invalid field."""
        # Not 401, because this user is signed in.
        self.set_error_status(error, 400 if isinstance(error, WrongCredentials) else None)
        if not isinstance(error, WrongCredentials):
            return self.form_faults(error)
        # A mistake of a signed-in user is not a failed sign-in.
        await self.record(Action.PROOF_FAILED, self.session.user or "")
        field = "code" if isinstance(error, WrongCode) else password_field
        return {field: self.say(proof_fault(error))}

    def done(self, text: str, path: str) -> None:
        """Redirect to a page, which shows a notice."""
        self.notify(text)
        self.redirect(path, status=303)


class PasswordForm(AccountForm):
    """``/account/password``."""

    template, password_field = "password", "old_password"

    async def change(self, user: str, password: str, code: str) -> None:
        """Change the password, end the user's other sessions and rotate this one."""
        new, note = self.form_value("new_password", strip=False), self.recorder(Action.PASSWORD_CHANGED, user)
        account = await self.parts.accounts.change_password(user, password, new, self.client, note, code)
        await self.sessions.destroy_user(user, self.session.handle, cause=Cause.PASSWORD, by=user)
        await self.renew_session(with_code=account.has_two_steps)
        # The change has made every known device of the account unknown, such as a thief's copy; this one stays known.
        await self.remember_device(account)
        await self.tell(account, Kind.PASSWORD_CHANGED)
        self.done(
            N_("Your password has been changed. You've been signed out of all other devices."), "/account/security"
        )

    async def show_form(self, faults: dict[str, str], **names: Any) -> None:
        """Show the form with the minimum length of the new password."""
        shortest = self.parts.accounts.rules.shortest(two_steps=self.two_steps)
        await super().show_form(faults, shortest=shortest, **names)


class EmailForm(AccountForm):
    """``/account/email``."""

    template, password_field = "email", "email_password"

    async def change(self, user: str, password: str, code: str) -> None:
        """Change the email address."""
        email, note = self.form_value("email"), self.recorder(Action.EMAIL_CHANGED, user)
        mail = self.parts.mail
        account = await self.parts.accounts.change_email(
            user, password, email, self.client, note, code, must_confirm=mail is not None
        )
        await self.renew_session(with_code=account.has_two_steps)
        if mail is None:
            self.done(N_("Your email has been changed."), "/account/profile")
            return
        await mail.confirm(account, self.language.code)
        self.done(
            N_("We've sent a link to the new address. It is used as soon as you open the link."), "/account/profile"
        )

    async def show_form(self, faults: dict[str, str], **names: Any) -> None:
        """Show the form with what was typed."""
        await super().show_form(faults, email=self.form_value("email") if faults else "", **names)


class ConfirmationForm(AccountPage):
    """``/account/email/confirm``: send the link that confirms an email once more."""

    @override
    async def post(self) -> None:
        """Send it."""
        account, mail = await self.parts.accounts.get(self.session.user or ""), self.parts.mail
        if account is None or mail is None:
            raise HTTPError(404)
        if account.unconfirmed_email and await self.parts.accounts.admit_mail(self.client, account.unconfirmed_email):
            await mail.confirm(account, self.language.code)
        self.notify(N_("We've sent the link again."))
        self.redirect("/account/profile", status=303)


class RemoveForm(AccountForm):
    """``/account/remove``."""

    template, password_field = "remove", "remove_password"
    works_without_password = True

    @override
    async def post(self) -> None:
        """Delete the account. Users of an OpenID provider must have proved there, just now, who they are."""
        faults = {} if self.has_password else await self.proof_faults()
        if faults:
            await self.show_form(faults)
        else:
            await super().post()

    async def change(self, user: str, password: str, code: str) -> None:
        """Delete the account and end all of its sessions."""
        note = self.recorder(Action.ACCOUNT_REMOVED, user)
        # Delete the account first, so that no session can be started after the others have ended.
        if self.has_password:
            await self.parts.accounts.remove(user, password, self.client, note, code)
        else:
            await self.parts.accounts.remove_proved(user, note)
        await self.parts.tokens.revoke_all_of(user)
        await self.sessions.destroy_user(user, self.session.handle, cause=Cause.USER, by=user)
        # Whoever takes the name later must not find what was this user's.
        await self.parts.device_names.forget(user)
        await self.parts.saved_views.forget(user)
        await self.log_out()
        self.render("removed.html")


class TwoStepForm(AccountForm):
    """``/account/two-steps``: turn two-step verification on or off."""

    template, password_field = "two_steps_off", "off_password"

    async def get(self) -> None:
        """Show a new secret. It is stored only after a code has proved that the authenticator app knows it."""
        account = await self.parts.accounts.get(self.session.user or "")
        if account is None or account.has_two_steps:
            self.redirect("/account")
            return
        await self._show_secret(two_step.new_secret(), {})

    async def _show_secret(self, secret: str, faults: dict[str, str]) -> None:
        named = (self.person.name if self.person else "", secret, self.site.service)
        picture, uri = two_step.picture(*named), two_step.uri(*named)
        await self.show("two_steps", faults=faults, secret=secret, picture=picture, uri=uri)

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
            account = await accounts.verify(user, password, self.client)
            if account.has_two_steps:
                # An attacker who knows only the password must not be able to replace the secret.
                self.redirect("/account", status=303)
                return
            note = self.recorder(Action.TWO_STEPS_ON, user)
            codes = await accounts.enable_two_steps(user, secret, self.form_value("code"), note, verified=account)
        except AccountError as error:
            await self._show_secret(secret, await self.faults_of(error, "password"))
        else:
            account = await accounts.get(user) or account
            await self.renew_session(with_code=account.has_two_steps)
            await self.tell(account, Kind.TWO_STEPS_ON)
            self.render("account/recovery.html", codes=codes)

    async def change(self, user: str, password: str, code: str) -> None:
        """Turn two-step verification off."""
        note = self.recorder(Action.TWO_STEPS_OFF, user)
        account = await self.parts.accounts.disable_two_steps(user, password, code, self.client, note)
        await self.renew_session(with_code=account.has_two_steps)
        await self.tell(account, Kind.TWO_STEPS_OFF)
        self.done(N_("Two-step verification is off."), "/account/security")


class TwoStepOff(TwoStepForm):
    """``/account/two-steps/off``: the form that turns two-step verification off. It is sent to ``/account/two-steps``."""

    async def get(self) -> None:
        """Show the form."""
        if self.two_steps:
            await self.show_form({})
        else:
            self.redirect("/account/two-steps")
